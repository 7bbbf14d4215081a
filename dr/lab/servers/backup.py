"""Physical backups, and servers made from them: to the end of a backup, or to a second of an archive.

A backup is a directory with data/ (whole in itself, WAL included) and backup.json, which is written last.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from dr.domain.errors import ProviderError, RefusedError
from dr.host.decode import read_json
from dr.lab.servers import settings
from dr.lab.servers.archive import Coverage, commit_times, segment_name
from dr.lab.servers.postgres import BEAT, Server, last_line
from dr.lab.servers.settings import ADMIN
from dr.lab.servers.site import Site

BEAT_EVERY = 0.05
"""Seconds between the commits during a backup, so that what it covers lies close to its end."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup. Times are epoch seconds of the server's clock.

    ``covers``: the newest commit that a server restored from it holds (RDS: SnapshotDatabaseTime).
    ``first``: the WAL segment from which an archive continues it. ``size``: bytes. ``major``: of its PostgreSQL.
    """

    directory: Path
    started: float
    finished: float
    covers: float
    first: str
    size: int
    major: int

    @property
    def data(self) -> Path:
        return self.directory / "data"


def load(directory: Path) -> Backup:
    """A finished backup. Raises RefusedError where there is none, or a half one."""
    stored = read_json(directory / "backup.json", dict[str, Any], RefusedError, "Choose another backup.")
    try:
        return msgspec.convert({**stored, "directory": directory}, Backup)
    except msgspec.ValidationError as wrong:
        raise RefusedError(f"There is no complete backup in {directory}: {wrong}.", "Choose another one.") from None


def take(server: Server, destination: Path, limit: float = 3600.0) -> Backup:
    """Back a running server up. ``destination`` appears when it is whole, and not before.

    Raises RefusedError where it is there already, ProviderError where the backup fails; nothing stays behind then.
    """
    if destination.exists():
        raise RefusedError(f"{destination} is there already.", "Choose another name.")
    half = destination.with_name(f"{destination.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    server.site.make_directory(half)
    try:
        started, known = _present(server)
        with _Commits(server):
            copy_live(server, half / "data", limit=limit)
        finished, _ = _present(server)
        first, covers = _contained(server, half / "data", known)
        size = sum(path.lstat().st_size for path in half.rglob("*") if path.is_file())
        backup = Backup(destination, started, finished, covers, first, size, server.site.binaries.major)
        fields = {name: value for name, value in asdict(backup).items() if name != "directory"}
        server.site.write(half / "backup.json", json.dumps(fields))
        half.rename(destination)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return backup


def restore(
    site: Site,
    backup: Backup,
    directory: Path,
    port: int,
    archive: Path | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Server:
    """A running server with exactly what ``backup`` holds. Raises RefusedError, ProviderError; then nothing stays."""
    server = Server(site, directory, port, archive, parameters)
    return _restored(server, backup, settings.recover_to_end_of_backup())


def restore_to_time(
    site: Site,
    backup: Backup,
    source_archive: Path,
    directory: Path,
    port: int,
    when: int,
    archive: Path | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Server:
    """A running server with every commit up to the second ``when`` (epoch, inclusive), from a backup and an archive.

    Raises RefusedError where ``when`` is outside what the two cover, ProviderError where it fails; then nothing stays.
    """
    if when < backup.covers:
        raise RefusedError(
            f"{_iso(when)} lies before the backup's end ({_iso(backup.covers)}).", "Ask for a later time."
        )
    until = Coverage(site.binaries, source_archive).until(backup.first)
    if until is None or when >= until:
        latest = f"it covers up to {_iso(until)}" if until is not None else "it covers nothing beyond the backup"
        raise RefusedError(f"{_iso(when)} lies past the archive: {latest}.", "Ask for an earlier time, or wait.")
    server = Server(site, directory, port, archive, parameters)
    return _restored(server, backup, settings.recover_to_time(source_archive, f"{_iso(when)}"))


def _restored(server: Server, backup: Backup, recovery: dict[str, str]) -> Server:
    if backup.major != server.site.binaries.major:
        raise RefusedError(
            f"The backup is of PostgreSQL {backup.major}; this lab runs {server.site.binaries.major}.",
            "Set DR_LAB_POSTGRES as it was when the backup was taken.",
        )
    load(backup.directory)
    server.prepare_directory()
    try:
        copy(backup.data, server.data)
        server.site.write(server.data / "recovery.signal", "")
        server.start(recovery)
        server.mark_ready()
    except BaseException:
        server.remove()
        raise
    return server


def _present(server: Server) -> tuple[float, float]:
    """The server's clock, and the newest heartbeat that is surely committed."""
    with server.connect() as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8, extract(epoch FROM value)::float8"
            " FROM rds_heartbeat2"
        ).fetchone()
    if row is None:
        raise ProviderError(f"PostgreSQL on port {server.port} has lost its heartbeat.")
    return float(row[0]), float(row[1])


class _Commits:
    """Commits heartbeats while a backup runs: there is a commit in it, and one close to its end."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        # A server that goes away fails the backup itself; this thread need not say so again.
        with suppress(ProviderError, psycopg.Error), self._server.connect() as connection:
            while not self._over.wait(BEAT_EVERY):
                connection.execute(BEAT)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def copy_live(
    server: Server, destination: Path, via: tuple[Path, int] | None = None, slot: str = "", limit: float = 3600.0
) -> None:
    """Copy a running server's data with all the WAL that makes it whole. Raises ProviderError.

    ``via``: the directory and port of another socket that leads to it. ``slot``: goes on holding WAL back afterwards.
    """
    directory, port = via or (server.socket_directory, server.port)
    arguments = ["--pgdata", str(destination), "--host", str(directory), "--port", str(port)]
    arguments += ["--username", ADMIN, "--no-password", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
    arguments += [f"--slot={slot}"] if slot else []
    secret = {"PGPASSWORD": server.site.admin_password()}
    answer = server.site.binaries.run("pg_basebackup", arguments, secret, limit)
    if answer.returncode:
        raise ProviderError(f"The backup of PostgreSQL on port {server.port} failed: {last_line(answer.stderr)}.")


def _contained(server: Server, data: Path, known: float) -> tuple[str, float]:
    """The first segment of a copy's WAL, and its newest commit: read from the WAL that a restore will replay.

    ``known``: a heartbeat that was committed before the backup began, for a copy whose WAL holds no commit.
    """
    try:
        manifest = read_json(data / "backup_manifest", dict[str, Any], ProviderError)  # PostgreSQL's own
        stretch = manifest["WAL-Ranges"][0]
        label = (data / "backup_label").read_text()
    except (OSError, ValueError, LookupError, TypeError):
        raise ProviderError("The backup is not whole: its manifest or its label cannot be read.") from None
    start, end, timeline = stretch["Start-LSN"], stretch["End-LSN"], int(stretch["Timeline"])
    located = re.search(r"\(file ([0-9A-F]{24})\)", label)
    first = located[1] if located else segment_name(timeline, 0)
    times = commit_times(
        server.site.binaries, data / "pg_wal", ["--timeline", str(timeline), "--start", start, "--end", end]
    )
    return first, max([known, *times])


def copy(source: Path, destination: Path) -> None:
    """Copy a directory with owners, modes and times; shared blocks where the file system can. Raises ProviderError."""
    share = ["--reflink=auto"] if sys.platform == "linux" else []
    command = ["cp", "-a", *share, "--", str(source), str(destination)]
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if answer.returncode:
        raise ProviderError(f"{source} could not be copied: {last_line(answer.stderr)}.")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds" if float(at).is_integer() else "auto")
