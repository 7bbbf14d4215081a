"""Where an entry of PgBouncer's leads: edited in its file, and taken up by a reload.

Called by: ``dr.drivers.moving`` and ``dr.drivers.checks``. PgBouncer's console changes no entry: over a network alone
it cannot be led elsewhere. So its file is to be seen from here (in a cluster it is a Secret or ConfigMap, which
``kubernetes_secret`` moves).
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from psycopg import sql

from dr.config.model import PoolerConfig
from dr.domain.errors import DrError, RefusedError
from dr.domain.names import pooler_entry
from dr.drivers.moving import Place
from dr.drivers.pgbouncer_console import Console, shown

SILENT_SECONDS = 10.0
"""How long old connections may finish their queries. A server that is lost lets none finish: they are dropped then,
and so are the clients that wait for them, which connect anew."""
DEFAULT_PORT = 5432

_HOST, _PORT = re.compile(r"\bhost=('[^']*'|\S+)"), re.compile(r"\bport=('[^']*'|\S+)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Entry:
    """One entry of [databases], the one that leads to the primary. ``ca``: where the pooler names none of its own."""

    def __init__(self, config: PoolerConfig, ca: str) -> None:
        self._config = config
        self._path = Path(config.configuration).expanduser()
        self._console = Console(config, ca)

    @property
    def name(self) -> str:
        return pooler_entry(self._config.entry)

    def present(self) -> Place:
        return place(self._read(), self._config.entry)

    def lead(self, to: Place) -> None:
        """Raises RefusedError where the file cannot be changed. Where PgBouncer does not reload, it is put back."""
        before = self._read()
        after = led(before, self._config.entry, to)
        if after != before:
            self._write(after)
        try:
            self._command("RELOAD")
        except DrError:
            if after != before:
                self._write(before)
            raise

    def waiting(self, to: Place, seconds: float) -> str:
        """PgBouncer marks the connections that a reload made old; it closes each when its query has ended."""
        entry = self._config.entry
        with self._console.session() as console:
            row = next((row for row in shown(console, "DATABASES") if row["name"] == entry), {})
            old = [r for r in shown(console, "SERVERS") if r["database"] == entry and int(r["close_needed"] or 0)]
            if (str(row.get("host")), int(row.get("port") or 0)) != (to.host, to.port):
                return f"{self.name} leads to {row.get('host')}:{row.get('port')}"
            if old and seconds >= SILENT_SECONDS:
                for verb in ("KILL", "RESUME"):
                    console.execute(sql.SQL("{} {}").format(sql.SQL(verb), sql.Identifier(entry)))
        return f"{len(old)} old connections of {self.name} are not closed yet" if old else ""

    def check_console(self) -> None:
        """Raises as ``Console.session`` does where it does not take the administrator's login, or cannot be reached."""
        self._command("SHOW VERSION")

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except OSError as error:
            raise RefusedError(
                f"PgBouncer's file {self._path} cannot be read: {error.strerror}.",
                "Correct the target's pooler.configuration, or its permissions.",
            ) from None

    def _write(self, text: str) -> None:
        """Whole or not at all, with the owner and the mode that it had."""
        try:
            was = self._path.stat()
            file, name = tempfile.mkstemp(dir=self._path.parent, prefix=".dr-")
            try:
                with os.fdopen(file, "w") as new:
                    os.fchmod(new.fileno(), was.st_mode & 0o7777)
                    if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(new.fileno(), was.st_uid, was.st_gid)
                    new.write(text)
                Path(name).replace(self._path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise RefusedError(
                f"PgBouncer's file {self._path} cannot be written: {error.strerror}.",
                "Let this user write it and its directory.",
            ) from None

    def _command(self, verb: str) -> None:
        with self._console.session() as console:
            console.execute(sql.SQL(verb))


def place(text: str, entry: str) -> Place:
    """Where ``entry`` leads by an ini file's text. Pure. Raises RefusedError where there is no such entry."""
    line = text.splitlines()[_line(text, entry)]
    host, port = _HOST.search(line), _PORT.search(line)
    if host is None:
        raise RefusedError(f"PgBouncer's entry {entry} names no host.", "Give it a host: it is led elsewhere by that.")
    return Place(host.group(1).strip("'"), int(port.group(1).strip("'")) if port else DEFAULT_PORT)


def led(text: str, entry: str, to: Place) -> str:
    """``text`` with ``entry`` leading to ``to``, and everything else as it was. Pure. Raises RefusedError."""
    if _NAME.fullmatch(to.host) is None:
        raise RefusedError(f"{to.host!r} is no host that PgBouncer could be led to.")
    number, lines = _line(text, entry), text.splitlines(keepends=True)
    line = _HOST.sub(f"host={to.host}", lines[number])
    if _PORT.search(line):
        line = _PORT.sub(f"port={to.port}", line)
    else:
        line = line.replace(f"host={to.host}", f"host={to.host} port={to.port}", 1)
    lines[number] = line
    return "".join(lines)


def _line(text: str, entry: str) -> int:
    section, own = "", re.compile(rf"\s*\"?{re.escape(entry)}\"?\s*=\s*\S")
    for number, line in enumerate(text.splitlines()):
        if line.strip().startswith("["):
            section = line.strip()
        elif section == "[databases]" and own.match(line):
            return number
    raise RefusedError(f"PgBouncer's file has no entry {entry}.", "Correct the target's pooler.entry.")
