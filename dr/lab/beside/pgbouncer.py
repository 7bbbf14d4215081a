"""The lab's PgBouncer, a real one: the service and the writers reach the database through it.

One process serves all of them in transaction mode, over TLS on a loopback port.

Clients log in with SCRAM, the administrator on the console, too. Passwords stand in a file that only the servers'
account reads, not behind auth_query, which needs pg_authid: RDS shows that to nobody. In transaction mode release 1.18
knows neither prepared statements nor the startup parameter ``options``: clients do without both. A replica has a
database of its own here: that release compares a server's certificate with a list of hosts as a whole, and refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside import companion
from dr.lab.beside.companion import Companion, Program
from dr.lab.platform.roles import password
from dr.lab.servers.postgres import translated
from dr.lab.servers.site import Site

NAME = "pgbouncer"
ADMIN = "pgbouncer_admin"
"""The console's only user. The console is the database named pgbouncer."""
WITHOUT = "There is no PgBouncer: the prediction service goes to the database directly."

TIMEOUTS = {
    # A lost or hung server takes connections that stay silent. The system's keepalives notice the lost one alone, and
    # not behind a proxy that answers for it, so an unanswered query is the sign: no query of the service takes seconds.
    "query_timeout": "5",
    # A client waits no longer for a place at a server than the service waits for an answer.
    "query_wait_timeout": "5",
    # A login takes 50 ms. Only one at a time is under way in a pool: a silent one holds up all that wait.
    "server_connect_timeout": "3",
    # A failed login turns clients away until the next try; that is to be soon after a failover.
    "server_login_retry": "1",
    # A check of an idle connection has no limit of its own but server_idle_timeout: on a silent server it would hold
    # up the client that waits for it, where the query itself is held to query_timeout.
    "server_check_query": "",
    # Connections to a server that went silent while they were idle: gone before the next burst of work finds them.
    "server_idle_timeout": "10",
    "server_lifetime": "600",
    "client_login_timeout": "10",
    # For a host that is gone: unanswered bytes, and idle connections, for 5 s and 11 s at most.
    "tcp_user_timeout": "5000",
    "tcp_keepalive": "1",
    "tcp_keepidle": "5",
    "tcp_keepintvl": "2",
    "tcp_keepcnt": "3",
}
"""Seconds, tcp_user_timeout milliseconds: as a hospital would set them, so that a pool comes back within seconds.

Measured with eight clients, and an endpoint that leads to another server 0.5 to 8 s after its connections fell silent:
all are served again 5.4 s after the silence, or 2.1 s after the endpoint's move where that is later (at worst 4.3 s: a
silent log-in, and the pause after it). With PgBouncer's defaults two of them after 15 s, and the other six never.
"""

LIMITS = {
    "max_client_conn": "200",
    # For each user and database: three roles stay well below the server's max_connections of 60.
    "default_pool_size": "12",
}

_ENTRY = re.compile(r"^(\w+) = host=([\w.:-]+) port=(\d+) dbname=(\w+)$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a database of the pooler's leads: ``database`` of the server at ``host`` and ``port``."""

    host: str
    port: int
    database: str


def find(site: Site) -> Program | None:
    """The machine's PgBouncer; None where there is none, which is ``WITHOUT``."""
    return companion.find(NAME, site.binaries.account)


class PgBouncer(Companion):
    """The pooler in one directory. ``passwords``: of the users that may log in, for both its sides.

    ``port`` stays the same over restarts. The entries live in its configuration file alone, where whoever moves the
    service edits them.
    """

    title = "PgBouncer"

    def __init__(self, site: Site, program: Program, directory: Path, port: int, passwords: Mapping[str, str]) -> None:
        super().__init__(site, program, directory, port)
        self._passwords = dict(passwords)

    @property
    def configuration(self) -> Path:
        return self.directory / "pgbouncer.ini"

    def start(self, entries: Mapping[str, Entry]) -> None:
        """Write its files, start it, and return when it answers. Raises ProviderError with its own reason."""
        self._site.make_directory(self.directory)
        for ours in (self._site.key, self._site.certificate):
            self._site.write(self.directory / ours.name, ours.read_text())
        known = {**self._passwords, ADMIN: password(self.directory, ADMIN)}
        self._site.write(self.directory / "userlist.txt", userlist(known))
        self._site.write(self.configuration, render(entries, self._settings()))
        self.launch()

    def command(self) -> list[str]:
        return [str(self._program.path), str(self.configuration)]

    def answers(self) -> bool:
        with suppress(ProviderError), self._console():
            return True
        return False

    # ---- what leads where

    def entries(self) -> dict[str, Entry]:
        """The databases, as its file has them now."""
        return parse(self.configuration.read_text())

    def point(self, name: str, host: str, port: int) -> None:
        """Let database ``name`` lead elsewhere: for new connections at once, for old ones when their query has ended.

        Raises RefusedError where there is no such database, ProviderError where PgBouncer does not take it.
        """
        entries = self.entries()
        if name not in entries:
            raise RefusedError(f"PgBouncer has no database {name!r}.", f"It has {', '.join(sorted(entries))}.")
        entries[name] = Entry(host, port, entries[name].database)
        self._site.write(self.configuration, render(entries, self._settings()))
        self._command("RELOAD")

    def pause(self, name: str) -> None:
        """Let no more queries through to database ``name``, and wait for those under way. Raises ProviderError."""
        self._command("PAUSE", name)

    def resume(self, name: str) -> None:
        """End a ``pause``. Raises ProviderError."""
        self._command("RESUME", name)

    def stats(self) -> dict[str, list[dict[str, Any]]]:
        """What its console shows under ``pools``, ``databases``, ``servers`` and ``stats``. Raises ProviderError."""
        with self._console() as console:
            return {
                what.lower(): list(console.execute(f"SHOW {what}").fetchall())
                for what in ("POOLS", "DATABASES", "SERVERS", "STATS")
            }

    # ---- inside

    def _settings(self) -> dict[str, str]:
        def inside(name: str) -> str:
            return str(self.directory / name)

        return {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "auth_type": "scram-sha-256",
            "auth_file": inside("userlist.txt"),
            "admin_users": ADMIN,
            "client_tls_sslmode": "require",
            "client_tls_cert_file": inside(self._site.certificate.name),
            "client_tls_key_file": inside(self._site.key.name),
            "client_tls_protocols": "tlsv1.3",
            "server_tls_sslmode": "verify-full",
            "server_tls_ca_file": str(self._site.ca),
            "server_tls_protocols": "tlsv1.3",
            "log_connections": "0",
            "log_stats": "0",
            **LIMITS,
            **TIMEOUTS,
        }

    def _command(self, verb: str, *names: str) -> None:
        with self._console() as console:
            console.execute(sql.SQL(" ").join([sql.SQL(verb), *map(sql.Identifier, names)]))

    @contextmanager
    def _console(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """A session of the administrator's. The console knows simple queries only: no parameters."""
        with (
            translated(f"PgBouncer on port {self.port}"),
            psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user=ADMIN,
                password=password(self.directory, ADMIN),
                dbname="pgbouncer",
                sslmode="verify-full",
                sslrootcert=str(self._site.ca),
                connect_timeout=10,
                autocommit=True,
                row_factory=dict_row,
            ) as connection,
        ):
            yield connection


def render(entries: Mapping[str, Entry], settings: Mapping[str, str]) -> str:
    """pgbouncer.ini's text. Pure. Raises RefusedError for an entry that could not be read again."""
    lines = [f"{name} = host={to.host} port={to.port} dbname={to.database}" for name, to in entries.items()]
    for line in lines:
        if _ENTRY.fullmatch(line) is None:
            raise RefusedError(f"PgBouncer cannot be led there: {line!r}.", "Give one host, a port and a name.")
    options = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["[databases]", *lines, "", "[pgbouncer]", *options, ""])


def parse(text: str) -> dict[str, Entry]:
    """The entries of a pgbouncer.ini that ``render`` wrote. Pure."""
    return {name: Entry(host, int(port), database) for name, host, port, database in _ENTRY.findall(text)}


def userlist(passwords: Mapping[str, str]) -> str:
    """The authentication file's text. Pure."""

    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    return "".join(f"{quoted(user)} {quoted(secret)}\n" for user, secret in passwords.items())
