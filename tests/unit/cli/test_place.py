"""A DR_HOME that cannot be used is one sentence with what to do, in every command, and never an empty one.

Modes do not bind root: as root the commands are run without the capabilities that overrule them, and a probe sees so.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dr
from dr.config.place import check_entered, make_ready
from dr.domain.errors import RefusedError

OVERRULING = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
PR_CAPBSET_DROP = 24
LIBC = ctypes.CDLL(None, use_errno=True)
RUN = "20261123-101500-abcd"
READING = (("history",), ("verify", RUN), ("report", RUN))
CHANGING = (
    ("restore", "--latest", "--yes"),
    ("restore", "--resume", RUN),
    ("failover", "--yes"),
    ("drill", "run", "rds-pitr", "--yes"),
    ("adopt", RUN),
    ("cleanup",),
    ("cleanup", "--all"),
    ("baseline",),
    ("backups",),
    ("doctor",),
    ("lab", "up"),
    ("lab", "down"),
)
LOOKING = (("abort",), ("lab", "status"), ("lab", "env"))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    (home / "runs" / RUN).mkdir(parents=True)
    (home / "runs" / RUN / "run.json").write_text("{}")
    yield home
    subprocess.run(["chmod", "-R", "u+rwX", str(tmp_path)], check=False)


def unprivileged() -> None:
    """What is executed next is bound by modes, also as root, and still owns what root does."""
    for capability in OVERRULING if os.geteuid() == 0 else ():
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "The capability cannot be dropped")


def as_user(argv: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env={"PATH": os.environ["PATH"], "DR_HOME": str(home), "PYTHONPATH": str(Path(dr.__file__).parents[1])},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=unprivileged,
    )


EVERY = """
import sys
from click.testing import CliRunner
from dr.cli import cli
from dr.domain.errors import DrError
for words in sys.argv[1:]:
    ended = CliRunner().invoke(cli, words.split(), standalone_mode=False)
    code, error = ended.return_value, ended.exception
    if isinstance(error, DrError):
        code, error = error.exit_code, error
    elif error is not None:
        code = "DEFECT"
    print(repr((words, code or 0, ended.stdout, ended.stderr, str(error or ""))))
"""


def every(commands: tuple[tuple[str, ...], ...], home: Path) -> list[tuple[str, int, str, str, str]]:
    """Each command in one process of the user's: its exit code, stdout, stderr and error."""
    ended = as_user([sys.executable, "-c", EVERY, *(" ".join(command) for command in commands)], home)
    assert ended.returncode == 0, ended.stderr
    return [eval(line) for line in ended.stdout.splitlines()]  # noqa: S307 - our own repr


def unentered(home: Path) -> None:
    home.chmod(0)


def crossed_only(home: Path) -> None:
    home.chmod(0o100)


def readable_only(home: Path) -> None:
    home.chmod(0o400)


def a_file(home: Path) -> None:
    shutil.rmtree(home)
    home.write_text("")


def runs_unreadable(home: Path) -> None:
    (home / "runs").chmod(0)


def runs_a_file(home: Path) -> None:
    shutil.rmtree(home / "runs")
    (home / "runs").write_text("")


UNUSABLE: tuple[Callable[[Path], None], ...] = (unentered, crossed_only, readable_only, a_file)
UNLISTED: tuple[Callable[[Path], None], ...] = (runs_unreadable, runs_a_file)


@pytest.mark.parametrize("harm", UNUSABLE)
def test_every_command_says_that_it_cannot_use_dr_home(harm: Callable[[Path], None], home: Path) -> None:
    harm(home)
    assert as_user(["sh", "-c", "ls $DR_HOME && ls $DR_HOME/runs/"], home).returncode != 0, (
        "the mode binds whoever runs the commands"
    )
    for words, code, out, err, error in every((*READING, *CHANGING, *LOOKING), home):
        assert code in (2, 3), (words, code, error)
        assert str(home) in err + error, words
        assert "DR_HOME" in err + error, words
        assert "Nothing was left" not in out, words
        assert "No run is under way" not in out, words


@pytest.mark.parametrize(
    ("owner", "remedy"),
    [(os.geteuid(), "Run 'chmod u+rwx' on it"), (4_000_001, "Run dr as the user 4000001, whose it is")],
)
def test_whoever_may_not_enter_dr_home_is_told_what_its_owner_can_do(
    owner: int, remedy: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mode that is changed lets nobody in but the owner."""
    found = list(home.stat())
    found[stat.ST_UID] = owner
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result(found))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RefusedError) as refused:
        check_entered(home)
    assert str(refused.value).endswith(f"{remedy}, or set DR_HOME to another place.")


def test_what_could_not_be_asked_for_is_never_nothing(home: Path) -> None:
    (home / "lab").mkdir(exist_ok=True)
    (home / "lab" / "target.yaml").write_text("no: [target")
    shutil.rmtree(home / "runs")
    ((_, code, out, err, _),) = every((("cleanup", "--all"),), home)
    assert code == 2
    assert "were not looked for on lab" in err
    assert out == "Of the runs here, nothing was left unfinished.\n"


@pytest.mark.parametrize("harm", UNLISTED)
def test_runs_that_cannot_be_listed_are_never_no_runs(harm: Callable[[Path], None], home: Path) -> None:
    harm(home)
    listing = tuple(command for command in CHANGING if command not in (("backups",), ("lab", "up")))
    for words, code, out, err, error in every((*READING, *listing, ("abort",)), home):
        assert code == 3, (words, code, error)
        assert f"{home}/runs cannot be listed" in err + error, words
        assert out == ("The lab was not running.\n" if words == "lab down" else ""), words  # the lab is ended first


def test_a_dr_home_that_cannot_be_written_is_said_before_anything_is_begun(home: Path) -> None:
    shutil.rmtree(home / "runs")
    home.chmod(0o500)
    assert as_user(["touch", str(home / "x")], home).returncode != 0, "modes bind who runs them"
    for words, code, out, err, error in every(CHANGING, home):
        if words.startswith(("adopt", "restore --resume")):
            assert code in (2, 3), words
            continue
        assert code == 3, (words, code, error)
        assert f"Nothing can be written in DR_HOME, {home}" in err + error, words
        assert out == "", words
    assert [code for _, code, *_ in every((("history",), ("abort",)), home)] == [0, 0]


def test_a_run_whose_directory_may_not_be_entered_is_named_and_stops_nothing(home: Path) -> None:
    (home / "runs" / RUN).chmod(0)
    for words, code, out, err, error in every((("history",), ("cleanup",), ("abort",), ("verify", RUN)), home):
        assert code == (0 if words == "history" else 4), (words, error)
        assert f"{RUN}/run.json cannot be read: Permission denied" in err + error, words
        assert "Nothing was left" not in out


def test_a_full_disk_is_said_before_anything_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RefusedError, match=r"Nothing can be written in DR_HOME, .*: No space left on device"):
        make_ready(tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_a_dr_home_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    for name in ("runs", "lab", "locks", "profiles", "baselines"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    (tmp_path / "defects.log").write_text("")
    (tmp_path / "theirs").write_text("")
    theirs = stat.S_IMODE((tmp_path / "theirs").stat().st_mode)
    before = stat.S_IMODE(tmp_path.stat().st_mode)
    assert make_ready(tmp_path) == ()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {
        **dict.fromkeys(("runs", "locks", "profiles", "baselines"), 0o700),
        "lab": 0o711,
        "defects.log": 0o600,
        "theirs": theirs,
    }
    assert stat.S_IMODE(tmp_path.stat().st_mode) == before
