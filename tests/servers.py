"""A real PostgreSQL server of the system for tests and benches: TLS, passwords, a free loopback port, gone afterwards.

Called by: tests/integration, bench. Needs root (then the server runs as user postgres) or any other account.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import trustme

from dr.config.model import DatabaseConfig, Login
from dr.drivers.postgres_connection import Server

SUPERUSER = "postgres"
HARNESS = "dr_harness"
DATABASE = "clinic"
PASSWORD = "correct horse"


def binaries() -> Path:
    """The directory of the system's newest PostgreSQL binaries. Fails where there is none: nothing is skipped."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    assert found, "These tests need a PostgreSQL server: install Debian's postgresql."
    return found[-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class LocalServer:
    """One server in ``directory`` (data, socket, certificates)."""

    directory: Path
    port: int

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def address(self) -> Server:
        return Server("localhost", self.port)

    def run(self, *command: str | Path) -> None:
        """A PostgreSQL program as the account that owns the server."""
        before: Sequence[str] = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        line = [*before, str(binaries() / command[0]), *(str(c) for c in command[1:])]
        done = subprocess.run(line, cwd="/", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}{self.log()}"

    def log(self) -> str:
        path = self.directory / "log"
        return path.read_text()[-2000:] if path.exists() else ""

    def start(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-l", self.directory / "log", "-w", "-t", "30", "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def superuser(self, database: str = DATABASE) -> psycopg.Connection:
        """An autocommitting connection over the socket, past passwords."""
        return psycopg.connect(
            host=str(self.directory), port=self.port, user=SUPERUSER, dbname=database, autocommit=True
        )

    def database(self, password: str = PASSWORD, roles: tuple[Login, ...] = (), user: str = HARNESS) -> DatabaseConfig:
        """The target's database section for this server; ``password`` is written to a file and referred to."""
        path = self.directory / f"secret-{abs(hash(password))}"
        path.write_text(password + "\n")
        return DatabaseConfig(
            name=DATABASE, harness=Login(user, f"file:{path}"), roles=roles, ca=str(self.directory / "ca.pem")
        )


def _own(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def _certify(directory: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(directory / "server.key")
    certificate.cert_chain_pems[0].write_to_path(directory / "server.crt")
    for name in ("server.key", "server.crt"):
        (directory / name).chmod(0o600)
        _own(directory / name)


def _settings(server: LocalServer, settings: dict[str, str]) -> str:
    values = {
        "port": str(server.port),
        "listen_addresses": "localhost",
        "unix_socket_directories": str(server.directory),
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": str(server.directory / "server.crt"),
        "ssl_key_file": str(server.directory / "server.key"),
        **settings,
    }
    return "".join(f"{name} = '{value}'\n" for name, value in values.items())


@contextmanager
def local_server(**settings: str) -> Iterator[LocalServer]:
    """A running server with database ``clinic`` and the harness's role; stopped and removed at the end."""
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="data-pg-"))
    directory.chmod(0o755)
    _own(directory)
    server = LocalServer(directory, free_port())
    try:
        server.run("initdb", "-D", server.data, "-U", SUPERUSER, "-A", "trust", "--no-sync", "--encoding", "UTF8")
        _certify(directory)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(_settings(server, settings))
        (server.data / "pg_hba.conf").write_text(
            "local all all trust\nlocal replication all trust\nhostssl all all all scram-sha-256\n"
        )
        server.start()
        try:
            _furnish(server)
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(directory)


def _furnish(server: LocalServer) -> None:
    with server.superuser("postgres") as connection:
        connection.execute(f"create database {DATABASE}")
        connection.execute(f"create role {HARNESS} login password '{PASSWORD}' in role pg_read_all_data")
    with server.superuser() as connection:
        connection.execute(f"create schema dr authorization {HARNESS}")


@contextmanager
def physical_copy(source: LocalServer) -> Iterator[LocalServer]:
    """A running server over a physical copy of ``source``, taken now while it runs."""
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="data-pg-"))
    directory.chmod(0o755)
    _own(directory)
    copy = LocalServer(directory, free_port())
    try:
        copy.run(
            "pg_basebackup", "-D", copy.data, "-h", source.directory, "-p", str(source.port), "-U", SUPERUSER,
            "-X", "stream", "-c", "fast", "--no-sync",
        )  # fmt: skip
        for name in ("ca.pem", "server.key", "server.crt"):
            shutil.copy2(source.directory / name, directory / name)
            if name != "ca.pem":
                _own(directory / name)
        with (copy.data / "postgresql.conf").open("a") as file:
            file.write(_settings(copy, {}))
        copy.start()
        try:
            yield copy
        finally:
            copy.stop("immediate")
    finally:
        shutil.rmtree(directory)
