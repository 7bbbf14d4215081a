"""Load somebody's own pg_dump, plain or custom, so that a rehearsal works on data of their own.

An archive becomes the script that pg_restore makes of it; a script is loaded as ``dr.lab.platform.script`` has it.
``dr.lab.platform.install.complete`` adds what the service needs.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import IO

from psycopg import sql

from dr.domain.errors import DrError, ProviderError, UsageError
from dr.lab.platform.script import loadable
from dr.lab.servers.access import Access
from dr.lab.servers.binaries import Binaries
from dr.lab.servers.postgres import last_line

LOAD_LIMIT = 3600.0
"""Seconds a load may take."""
ARCHIVES = (b"PGDMP", b"toc.dat")
"""How pg_dump's custom and tar formats begin."""
NOT_DUMPS = {
    b"\x1f\x8b": "compressed with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"PK\x03\x04": "a zip archive",
}
CLUSTER = b"PostgreSQL database cluster dump"

_NOT_ITS_FAULT = re.compile("No space left|out of memory|terminating connection|connection to server|server closed the")
"""In the reasons for which a dump cannot be loaded that lie with the server."""
_ERROR = re.compile(r"(?:<stdin>:(\d+): )?(?:ERROR|FATAL|error|fatal): +(.*)")


def load(superuser: Access, master: str, binaries: Binaries, file: Path) -> None:
    """Load ``file`` into an empty database of ``master``'s, as that role. All of it, or nothing.

    ``superuser``: does what RDS lets its master do; by the server's socket where ``binaries`` cannot speak TLS.
    Raises UsageError where it is no dump, or a broken one, with the line; RefusedError where psql or pg_restore is
    missing; ProviderError where the server fails.
    """
    with tempfile.TemporaryFile() as made, tempfile.TemporaryFile() as script, file.open("rb") as stored:
        lines: IO[bytes] = stored
        of = ""
        if is_archive(file):
            arguments = ["--no-owner", "--no-acl", "--file=-"]
            answer = binaries.run("pg_restore", arguments, None, LOAD_LIMIT, stored, made)
            if answer.returncode:
                raise failure(file, reason(answer.stderr), binaries.major)
            made.seek(0)
            lines, of = made, f" of what 'pg_restore --file=- {' '.join(arguments[:2])}' makes of it"
        text = (line.decode("utf-8", "surrogateescape") for line in lines)
        script.writelines(line.encode("utf-8", "surrogateescape") for line in loadable(text, master))
        script.seek(0)
        become = sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(master)).as_string()
        arguments = ["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1"]
        arguments += ["--output", "/dev/null", "--command", become, "--file", "-"]
        answer = binaries.run("psql", arguments, superuser.environment(), LOAD_LIMIT, script)
    if answer.returncode:
        raise failure(file, reason(answer.stderr, of), binaries.major)


def failure(file: Path, why: str, major: int) -> DrError:
    """What ``why`` (see ``reason``) comes to: a wrong dump, or a server that could not load a right one. Pure."""
    said = f"The dump {file} could not be loaded: {why}."
    if _NOT_ITS_FAULT.search(why):
        return ProviderError(said, "Nothing of it was kept: see to the server, then repeat the command.")
    hint = f"It is loaded into PostgreSQL {major}, and nothing of it was kept: correct it, or dump anew with pg_dump."
    return UsageError(said, hint)


def is_archive(file: Path) -> bool:
    """Whether it is for pg_restore (else plain SQL, for psql). Raises UsageError where it is neither."""
    if file.is_dir():
        raise UsageError(f"{file} is a directory.", "Dump with 'pg_dump --format=custom --file=FILE' instead.")
    try:
        with file.open("rb") as stored:
            head = stored.read(4096)
    except OSError as error:
        raise UsageError(f"The dump {file} cannot be read: {error.strerror}.") from None
    if head.startswith(ARCHIVES):
        return True
    for start, what in NOT_DUMPS.items():
        if head.startswith(start):
            raise UsageError(f"{file} is {what}, not a dump of pg_dump's.", "Unpack it first.")
    if CLUSTER in head:
        raise UsageError(f"{file} holds a whole cluster (pg_dumpall).", "Dump the one database with pg_dump.")
    if b"\0" in head or not head.strip():
        raise UsageError(f"{file} is not a dump of pg_dump's, neither plain SQL nor an archive.")
    return False


def reason(said: str, of: str = "") -> str:
    """Why psql or pg_restore gave up: its first error and its line, without the row it stumbled over.

    ``of``: of what it is a line, where that is not the dump itself.
    """
    match = _ERROR.search(said)
    if match is None:
        return last_line(said) or "it ended without a reason"
    why = match[2].strip().rstrip(".")
    return f"line {match[1]}{of}: {why}" if match[1] else why
