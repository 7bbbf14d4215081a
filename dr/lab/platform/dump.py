"""Load somebody's own pg_dump, plain or custom, so that a rehearsal works on data of their own.

Called by: the lab's daemon (``dr lab up --load FILE``). Owners and grants of the dump are left out, as RDS's own advice
has it: the roles of its origin are not here. ``dr.lab.platform.install.complete`` adds what the service needs.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from dr.domain.errors import DrError, ProviderError, UsageError
from dr.lab.access import Access
from dr.lab.binaries import Binaries
from dr.lab.postgres import last_line

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

_LEFT_OUT = re.compile(
    r"(ALTER .* OWNER TO .*|GRANT .*|REVOKE .*|ALTER DEFAULT PRIVILEGES .*|COMMENT ON EXTENSION .*"
    r"|(?:RE)?SET SESSION AUTHORIZATION.*"
    # Settings of a newer pg_dump that an older server does not know.
    r"|SET transaction_timeout = .*);\s*$"
)
_COPY = re.compile(r"COPY .* FROM stdin;\s*$", re.IGNORECASE)
_QUOTE = re.compile(r"\$[A-Za-z_]*\$|'")
_NOT_ITS_FAULT = re.compile("No space left|out of memory|terminating connection|connection to server|server closed the")
"""In the reasons for which a dump cannot be loaded that lie with the server."""
_ERROR = re.compile(r"(?:ERROR|FATAL|error|fatal): +(.*)")


def load(access: Access, binaries: Binaries, file: Path) -> None:
    """Load ``file`` into an empty database. All of it, or nothing.

    ``access``: the master user's, by the server's socket where ``binaries`` cannot speak TLS.
    Raises UsageError where it is no dump, or a broken one; RefusedError where psql or pg_restore is missing;
    ProviderError where the server fails.
    """
    archive = is_archive(file)
    tool = binaries.tool("pg_restore" if archive else "psql").name
    with tempfile.TemporaryFile() as plain, file.open("rb") as stored:
        source: IO[bytes] = stored if archive else plain
        if archive:
            arguments = ["--no-owner", "--no-acl", "--no-comments", "--single-transaction", "--exit-on-error"]
            arguments += ["--dbname", access.database]
        else:
            text = (line.decode("utf-8", "surrogateescape") for line in stored)
            plain.writelines(line.encode("utf-8", "surrogateescape") for line in loadable(text))
            plain.seek(0)
            arguments = ["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1"]
            arguments += ["--output", "/dev/null", "--file", "-"]
        answer = binaries.run(tool, arguments, access.environment(), LOAD_LIMIT, source)
    if answer.returncode:
        raise failure(file, reason(answer.stderr), binaries.major)


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


def loadable(lines: Iterable[str]) -> Iterator[str]:
    """A plain dump without owners and grants: what psql's side of ``--no-owner --no-acl`` would be. Pure.

    Rows, and the bodies of functions and literals, pass as they are.
    """
    in_rows, quote = False, ""
    for line in lines:
        if in_rows:
            in_rows = line.rstrip("\r\n") != r"\."
        elif not quote and _LEFT_OUT.match(line):
            continue
        elif not quote and _COPY.match(line):
            in_rows = True
        elif quote or not line.startswith("--"):
            quote = open_quote(line, quote)
        yield line


def open_quote(line: str, quote: str) -> str:
    """The quote that is open after ``line``, if ``quote`` was before it; empty: none."""
    for mark in _QUOTE.findall(line):
        if not quote:
            quote = mark
        elif mark == quote:
            quote = ""
    return quote


def reason(said: str) -> str:
    """Why psql or pg_restore gave up: its first error, without the row it stumbled over."""
    match = _ERROR.search(said)
    return match[1].strip().rstrip(".") if match else last_line(said) or "it ended without a reason"
