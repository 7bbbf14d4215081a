"""Where an entry of PgBouncer's leads: edited in its file, and taken up by a reload.

PgBouncer's console changes no entry: over a network alone it cannot be led elsewhere. So its file is to be seen from
here (in a cluster it is a Secret or ConfigMap, which ``kubernetes_secret`` moves). What leads where is PgBouncer's to
say: its console is asked before a move is planned, and after each reload, which it calls done also where it could load
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg import sql

from dr.domain.errors import ProviderError, RefusedError
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.pgbouncer_console import Session, console, shown
from dr.drivers.clients.pgbouncer_file import Found, find, led
from dr.drivers.clients.place import DEFAULT_PORT, NotTakenError, Place, entry
from dr.host.files import write_atomically

SILENT_SECONDS = 10.0
"""How long old connections may finish their queries. A server that is lost lets none finish: they are dropped then,
and so are the clients that wait for them, which connect anew."""
PATIENCE = 30.0
"""Seconds in which the console is to be reached. A pooler that is stormed by clients turns its administrator away."""


class Entry:
    """One entry of [databases], the one that leads to the primary. ``ca``: where the pooler names none of its own."""

    def __init__(self, config: PoolerConfig, ca: str) -> None:
        self._config, self._ca = config, ca
        self.ref = entry(config)
        self._main = Path(config.configuration).expanduser()
        self._shown_as = config.entry.encode().decode("latin-1")
        self._taken = False

    def identity(self) -> Mapping[str, str]:
        """None beside its certificate, which TLS verifies."""
        return {}

    def present(self) -> Place:
        return self._found()[2].place

    def check(self) -> None:
        """Raises RefusedError where the file could not be changed, or says something else than PgBouncer, and as
        ``console`` does."""
        path, _, found = self._found()
        if not os.access(path.parent, os.W_OK):
            raise RefusedError(f"No file can be made in {path.parent}, where PgBouncer's is.", "Let this user do so.")
        with console(self._config, self._ca) as session:
            row = self._row(session)
        if not _leads(row, found.place):
            raise RefusedError(
                f"PgBouncer {self._told(row)}, and line {found.line} of {path} says {found.place}.",
                "Let PgBouncer reload, see what it logs, and correct the target's pooler.configuration.",
            )

    def lead(self, to: Place) -> None:
        """Raises RefusedError where the file cannot be changed. PgBouncer takes it up while it is waited for."""
        path, before, found = self._found()
        after = led(before, found, to)
        self._taken = False
        if after == before:
            return
        try:
            write_atomically(path, after, path.stat())
        except OSError as error:
            raise RefusedError(
                f"PgBouncer's file {path} cannot be written: {error.strerror}.",
                "Let this user write it and its directory.",
            ) from None

    def waiting(self, to: Place, seconds: float) -> str:
        """PgBouncer marks the connections that a reload made old; it closes each when its query has ended."""
        try:
            with console(self._config, self._ca) as session:
                self._take(session, to)
                return self._old(session, seconds)
        except (ProviderError, RefusedError) as error:
            if isinstance(error, ProviderError) and (self._taken or seconds < PATIENCE):
                raise
            raise NotTakenError(f"{self.ref} was not led to {to}: {error}") from None

    def _take(self, session: Session, to: Place) -> None:
        if not self._taken and not _leads(self._row(session), to):
            session.execute("RELOAD")
            row = self._row(session)
            if not _leads(row, to):
                raise RefusedError(
                    f"after a reload it still {self._told(row)}.",
                    f"See what it logs, and whether it reads {self._main}.",
                )
        self._taken = True

    def _old(self, session: Session, seconds: float) -> str:
        servers = [row for row in shown(session, "SERVERS") if row["database"] == self._shown_as]
        old = [row for row in servers if int(row["close_needed"] or 0)]
        if old and seconds >= SILENT_SECONDS:
            for verb in ("KILL", "RESUME"):
                session.execute(sql.SQL("{} {}").format(sql.SQL(verb), sql.Identifier(self._shown_as)))
        return f"{len(old)} old connections of {self.ref} are not closed yet" if old else ""

    def _row(self, session: Session) -> dict[str, Any]:
        return next((row for row in shown(session, "DATABASES") if row["name"] == self._shown_as), {})

    def _told(self, row: dict[str, Any]) -> str:
        entry = self._config.entry
        return f"leads {entry} to {row['host'] or 'its socket'}:{row['port']}" if row else f"knows no entry {entry}"

    def _found(self) -> tuple[Path, bytes, Found]:
        """The file that the entry is in, what it holds, and where. Raises RefusedError."""
        main = self._read(self._main)
        found = find(main, self._config.entry, self._included)
        path = self._main.parent / found.file if found.file else self._main
        return path.resolve(), self._read(path) if found.file else main, found

    def _included(self, name: str) -> bytes | None:
        """A file that another includes; PgBouncer seeks a relative one where it was started, most often beside."""
        try:
            return (self._main.parent / name).read_bytes()
        except OSError:
            return None

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise RefusedError(
                f"PgBouncer's file {path} cannot be read: {error.strerror}.",
                "Correct the target's pooler.configuration, or its permissions.",
            ) from None


def _leads(row: dict[str, Any], to: Place) -> bool:
    return bool(row) and (str(row["host"]), int(row["port"] or DEFAULT_PORT)) == (to.host, to.port)
