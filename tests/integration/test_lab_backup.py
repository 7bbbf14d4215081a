"""Physical backups, restores and the archive: what they claim to cover is what a restored server holds."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.servers import backup as backups
from dr.lab.servers.archive import Coverage, segments
from dr.lab.servers.backup import Backup
from dr.lab.servers.postgres import Heartbeat, Server
from dr.lab.servers.site import Site, free_port
from tests.lab_servers import lab_site, log_in, make_server
from tests.support import eventually

COMMITS = {"track_commit_timestamp": "on"}
NEWEST = """
    SELECT max(extract(epoch FROM pg_xact_commit_timestamp(xmin)))::float8 FROM {}
    WHERE pg_xact_commit_timestamp(xmin) IS NOT NULL
"""


class Writer(threading.Thread):
    """Inserts rows 1, 2, 3, ... at most a thousand a second; ``acknowledged``: how many were confirmed."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._over = threading.Event()
        self.acknowledged = 0

    def run(self) -> None:
        with suppress(psycopg.OperationalError), log_in(self._server) as session:
            self._first = session.execute("SELECT coalesce(max(n), 0) FROM written").fetchone()[0]
            while not self._over.is_set():
                session.execute("INSERT INTO written VALUES (%s)", (self._first + self.acknowledged + 1,))
                self.acknowledged += 1
                time.sleep(0.001)

    def __enter__(self) -> Writer:
        self.start()
        eventually(lambda: self.acknowledged > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@contextmanager
def beating(server: Server) -> Iterator[None]:
    heart = Heartbeat(server, 0.2)
    heart.start()
    try:
        yield
    finally:
        heart.stop()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with lab_site() as made:
        yield made


@pytest.fixture(scope="module")
def source(site: Site) -> Iterator[Server]:
    server = make_server(site, "source", COMMITS)
    with log_in(server) as session:
        session.execute("CREATE TABLE written (n int PRIMARY KEY)")
    with beating(server):
        yield server


@pytest.fixture(scope="module")
def base(site: Site, source: Server) -> Backup:
    return backups.take(source, site.directory / "base")


@pytest.fixture
def place(site: Site, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = site.directory / request.node.name[:40]
    yield path
    Server(site, path, 0).remove()


def newest_commit(server: Server) -> float:
    """The newest commit a server holds, of the writer's or of the heartbeat's."""
    with server.connect() as session, log_in(server) as clinic:
        beat = session.execute(NEWEST.format("rds_heartbeat2")).fetchone()
        row = clinic.execute(NEWEST.format("written")).fetchone()
    return max(float((found or [None])[0] or 0) for found in (beat, row))


def test_a_backup_covers_exactly_the_last_transaction_of_its_restoration(
    site: Site, source: Server, place: Path
) -> None:
    with Writer(source) as writer:
        before = writer.acknowledged
        backup = backups.take(source, site.directory / "under-load")
    restored = backups.restore(site, backup, place, free_port(), parameters=COMMITS)
    assert newest_commit(restored) == pytest.approx(backup.covers, abs=2e-6)
    assert backup.started <= backup.covers <= backup.finished
    assert backup.finished - backup.covers < 1.0
    with log_in(restored) as session:
        numbers = [n for (n,) in session.execute("SELECT n FROM written ORDER BY n")]
    assert len(numbers) >= before > 0
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_backup_says_again_what_it_said_when_taken(base: Backup) -> None:
    assert backups.load(base.directory) == base
    assert base.size >= sum(path.stat().st_size for path in base.data.rglob("*") if path.is_file())


def test_a_restored_server_takes_writes_and_is_its_own(site: Site, source: Server, base: Backup, place: Path) -> None:
    restored = backups.restore(site, base, place, free_port())
    with log_in(restored) as session:
        session.execute("INSERT INTO written VALUES (-1)")
    with log_in(source) as session:
        assert session.execute("SELECT 1 FROM written WHERE n = -1").fetchone() is None
    assert restored.is_ready
    restored.switch_wal()
    eventually(lambda: bool(segments(restored.archive)))
    assert not restored.archive.samefile(source.archive)


def test_a_point_in_time_restore_holds_every_commit_up_to_its_second_and_none_after(
    site: Site, source: Server, base: Backup, place: Path
) -> None:
    coverage = Coverage(site.binaries, source.archive)
    with Writer(source):
        time.sleep(2.2)
    when = int(newest_commit(source)) - 1
    eventually(lambda: (coverage.until(base.first) or 0) > when)
    restored = backups.restore_to_time(site, base, source.archive, place, free_port(), when, parameters=COMMITS)
    with log_in(source) as session:
        wanted = session.execute(
            "SELECT n FROM written WHERE extract(epoch FROM pg_xact_commit_timestamp(xmin)) <= %s ORDER BY n", (when,)
        ).fetchall()
    with log_in(restored) as session:
        assert session.execute("SELECT n FROM written ORDER BY n").fetchall() == wanted
        session.execute("INSERT INTO written VALUES (-2)")
    assert wanted


def test_what_is_restorable_keeps_up_with_the_present(site: Site, source: Server, base: Backup) -> None:
    coverage = Coverage(site.binaries, source.archive)
    started = time.time()
    eventually(lambda: (coverage.until(base.first) or 0) > started, seconds=8)


def test_a_time_past_the_archive_is_refused_and_leaves_nothing(
    site: Site, source: Server, base: Backup, place: Path
) -> None:
    with pytest.raises(RefusedError, match="lies past the archive: it covers up to"):
        backups.restore_to_time(site, base, source.archive, place, free_port(), int(time.time()) + 60)
    assert not place.exists()


def test_a_time_before_the_backups_end_is_refused(site: Site, source: Server, base: Backup, place: Path) -> None:
    with pytest.raises(RefusedError, match="lies before the backup's end"):
        backups.restore_to_time(site, base, source.archive, place, free_port(), int(base.covers) - 1)


def test_a_cut_archive_covers_no_more_and_goes_on_when_it_is_back(site: Site, source: Server, base: Backup) -> None:
    coverage = Coverage(site.binaries, source.archive)
    away = source.archive.with_name("away")
    source.archive.rename(away)
    try:
        assert coverage.until(base.first) is None
        cut = time.time()
        time.sleep(3)
    finally:
        away.rename(source.archive)
    # The server tries again by itself; what it kept meanwhile follows without a hole.
    eventually(lambda: (coverage.until(base.first) or 0) > cut, seconds=90)


def test_a_hole_in_the_archive_ends_what_it_covers(
    site: Site, source: Server, base: Backup, place: Path, tmp_path: Path
) -> None:
    coverage = Coverage(site.binaries, source.archive)
    names = sorted(name for name in segments(source.archive) if name >= base.first)
    eventually(lambda: len([name for name in segments(source.archive) if name >= base.first]) > 3)
    whole = coverage.until(base.first)
    lost = source.archive / names[len(names) // 2]
    shutil.move(lost, tmp_path / lost.name)
    try:
        short = Coverage(site.binaries, source.archive).until(base.first)
        assert whole is not None
        assert short is None or short < whole
        with pytest.raises(RefusedError, match="past the archive"):
            backups.restore_to_time(site, base, source.archive, place, free_port(), int(whole) - 1)
    finally:
        shutil.move(tmp_path / lost.name, lost)


def test_a_restored_server_can_itself_be_backed_up_and_restored_to_a_time(
    site: Site, base: Backup, place: Path
) -> None:
    first = backups.restore(site, base, place / "first", free_port())
    second = backups.take(first, place / "backup")
    coverage = Coverage(site.binaries, first.archive)
    with log_in(first) as session, beating(first):
        session.execute("INSERT INTO written VALUES (-3)")
        eventually(lambda: (coverage.until(second.first) or 0) > second.covers + 2)
    when = int(coverage.until(second.first) or 0)
    third = backups.restore_to_time(site, second, first.archive, place / "third", free_port(), when)
    with log_in(third) as session:
        assert session.execute("SELECT n FROM written WHERE n < 0").fetchall() == [(-3,)]
    for server in (first, third):
        server.remove()


def test_a_backup_of_a_server_that_is_down_fails_and_leaves_nothing(site: Site, base: Backup, place: Path) -> None:
    server = backups.restore(site, base, place, free_port())
    server.kill()
    with pytest.raises(ProviderError, match="cannot be used") as caught:
        backups.take(server, site.directory / "never")
    assert caught.value.transient
    assert not list(site.directory.glob("never*"))


def test_a_server_killed_while_it_is_backed_up_leaves_nothing(site: Site, base: Backup, place: Path) -> None:
    server = backups.restore(site, base, place, free_port())
    half = site.directory / "torn.half"

    def kill() -> None:
        eventually(lambda: (half / "data" / "base").exists())
        server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ProviderError):
        backups.take(server, site.directory / "torn")
    killer.join()
    assert not list(site.directory.glob("torn*"))


def test_a_destination_that_is_there_already_is_refused(source: Server, base: Backup) -> None:
    with pytest.raises(RefusedError, match="is there already"):
        backups.take(source, base.directory)
    assert backups.load(base.directory) == base


def test_a_half_backup_is_refused(site: Site, base: Backup, place: Path) -> None:
    half = site.directory / "half-copied"
    backups.copy(base.directory, half)
    (half / "backup.json").unlink()
    with pytest.raises(RefusedError, match=r"backup\.json cannot be read: there is no such file"):
        backups.restore(site, dataclasses.replace(base, directory=half), place, free_port())
    assert not place.exists()


def test_a_backup_without_its_wal_fails_with_postgresqls_reason_and_leaves_nothing(
    site: Site, base: Backup, place: Path
) -> None:
    torn = site.directory / "without-wal"
    backups.copy(base.directory, torn)
    for segment in segments(torn / "data" / "pg_wal"):
        (torn / "data" / "pg_wal" / segment).unlink()
    with pytest.raises(ProviderError, match=r"did not start: .*checkpoint record"):
        backups.restore(site, dataclasses.replace(base, directory=torn), place, free_port())
    assert not place.exists()


def test_a_backup_of_another_major_version_is_refused(site: Site, base: Backup, place: Path) -> None:
    with pytest.raises(RefusedError, match="The backup is of PostgreSQL 11"):
        backups.restore(site, dataclasses.replace(base, major=11), place, free_port())


def test_a_place_that_cannot_be_written_is_refused(site: Site, source: Server, base: Backup) -> None:
    file = site.directory / "file"
    file.write_text("")
    with pytest.raises(RefusedError, match="cannot enter"):
        backups.take(source, file / "backup")
    with pytest.raises(RefusedError, match="cannot enter"):
        backups.restore(site, base, file / "server", free_port())


def test_the_wheels_server_is_backed_up_and_restored_to_a_second_too() -> None:
    with lab_site("wheel") as site:
        server = make_server(site, "source")
        with log_in(server) as session:
            session.execute("CREATE TABLE written (n int PRIMARY KEY)")
        backup = backups.take(server, site.directory / "base")
        coverage = Coverage(site.binaries, server.archive)
        with beating(server), Writer(server):
            eventually(lambda: (coverage.until(backup.first) or 0) > backup.covers + 2)
        when = int(coverage.until(backup.first) or 0)
        restored = backups.restore_to_time(site, backup, server.archive, site.directory / "second", free_port(), when)
        with log_in(restored) as session:
            count = session.execute("SELECT count(*), max(n) FROM written").fetchone()
        assert count is not None
        assert count[0] == count[1] > 0
