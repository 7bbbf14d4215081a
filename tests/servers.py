"""A real PostgreSQL server for tests and benches: TLS, passwords, a free loopback port, gone afterwards.

The binaries are those the lab would use, under the account it would use; the wheel's, which lack TLS, get the lab's
front.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import trustme

from dr.config.model import Login
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.lab.servers.backup import copy
from dr.lab.servers.binaries import Binaries, find
from dr.lab.servers.front import Front
from dr.lab.servers.site import free_port
from tests.support import open_directory

SUPERUSER = "postgres"
HARNESS = "dr_harness"
DATABASE = "clinic"
PASSWORD = "correct horse"


@cache
def binaries() -> Binaries:
    """The system's PostgreSQL where there is one, else the wheel's, copied where its account cannot reach it."""
    copies = Path(tempfile.mkdtemp(dir="/tmp", prefix="data-pg-binaries-"))
    copies.chmod(0o755)
    atexit.register(shutil.rmtree, copies)
    return find(copies, "")


@dataclass
class LocalServer:
    """One server in ``directory`` (data, socket, certificates)."""

    directory: Path
    port: int

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def address(self) -> Endpoint:
        return Endpoint("localhost", self.port)

    @property
    def log_file(self) -> Path:
        return self.directory / "log" / "postgresql.log"

    @property
    def front(self) -> Front | None:
        """What speaks TLS where the server itself cannot."""
        if binaries().tls:
            return None
        certificate, key = self.directory / "server.crt", self.directory / "server.key"
        return Front(self.directory, self.port, self.directory / f".s.PGSQL.{self.port}", certificate, key)

    def run(self, program: str, *arguments: str | Path) -> None:
        """A PostgreSQL program as the account that owns the server."""
        done = binaries().run(program, [str(argument) for argument in arguments])
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}{self.log()}"

    def log(self) -> str:
        return self.log_file.read_text()[-2000:] if self.log_file.exists() else ""

    def start(self) -> None:
        self.run("pg_ctl", "-D", self.data, "-l", self.log_file, "-w", "-t", "30", "start")
        if self.front:
            self.front.start()

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")
        if self.front:
            self.front.stop()

    def superuser(self, database: str = DATABASE) -> psycopg.Connection:
        """An autocommitting connection over the socket, past passwords."""
        return psycopg.connect(
            host=str(self.directory), port=self.port, user=SUPERUSER, dbname=database, autocommit=True
        )

    def database(self, password: str = PASSWORD, roles: tuple[Login, ...] = (), user: str = HARNESS) -> PostgresConfig:
        """The target's database section for this server; ``password`` is written to a file and referred to."""
        path = self.directory / f"secret-{abs(hash(password))}"
        path.write_text(password + "\n")
        return PostgresConfig(
            name=DATABASE, harness=Login(user, f"file:{path}"), roles=roles, ca=str(self.directory / "ca.pem")
        )


def _own(path: Path) -> None:
    account = binaries().account
    if account is not None:
        os.chown(path, account.uid, account.gid)


@contextmanager
def _directory() -> Iterator[Path]:
    """A new one, with its log's, of the account that owns servers; gone afterwards."""
    with open_directory("data-pg-") as directory:
        (directory / "log").mkdir()
        for path in (directory, directory / "log"):
            _own(path)
        yield directory


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
    certificate, key = server.directory / "server.crt", server.directory / "server.key"
    encrypted = {"listen_addresses": "localhost", "ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key}
    values = {
        "port": server.port,
        "unix_socket_directories": server.directory,
        "fsync": "off",
        "jit": "off",  # as in the lab's: to compile a question of the whole catalog takes a hundred times as long as it
        **(encrypted if binaries().tls else {"listen_addresses": ""}),
        **settings,
    }
    return "".join(f"{name} = '{value}'\n" for name, value in values.items())


@contextmanager
def local_server(*also: str, **settings: str) -> Iterator[LocalServer]:
    """A running server with database ``clinic``, the harness's role, and what the statements ``also`` make there;
    stopped and removed at the end.
    """
    with _directory() as directory:
        server = LocalServer(directory, free_port())
        copy(_made(), server.data)
        _certify(directory)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(_settings(server, settings))
        server.start()
        try:
            with server.superuser() as connection:
                for statement in also:
                    connection.execute(statement)
            yield server
        finally:
            server.stop("immediate")


@cache
def _made() -> Path:
    """The data of a server that was furnished and stopped, which all others of this process begin with."""
    kept = ExitStack()
    atexit.register(kept.close)
    directory = kept.enter_context(_directory())
    server = LocalServer(directory, free_port())
    server.run("initdb", "-D", server.data, "-U", SUPERUSER, "-A", "trust", "--no-sync", "--encoding", "UTF8")
    (server.data / "pg_hba.conf").write_text(
        f"local all {SUPERUSER} trust\nlocal replication {SUPERUSER} trust\n"
        "local all all scram-sha-256\nhostssl all all all scram-sha-256\n"
    )
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c port={server.port} -c fsync=off"
    server.run("pg_ctl", "-D", server.data, "-o", options, "-l", server.log_file, "-w", "start")
    try:
        with server.superuser("postgres") as connection:
            connection.execute(f"create database {DATABASE}")
            connection.execute(f"create role {HARNESS} login password '{PASSWORD}' in role pg_read_all_data")
        with server.superuser() as connection:
            connection.execute(f"create schema dr authorization {HARNESS}")
    finally:
        server.run("pg_ctl", "-D", server.data, "-m", "fast", "-w", "stop")
    return server.data


@contextmanager
def physical_copy(source: LocalServer) -> Iterator[LocalServer]:
    """A running server over a physical copy of ``source``, taken now while it runs."""
    with _directory() as directory:
        server = LocalServer(directory, free_port())
        server.run(
            "pg_basebackup", "-D", server.data, "-h", source.directory, "-p", str(source.port), "-U", SUPERUSER,
            "-X", "stream", "-c", "fast", "--no-sync",
        )  # fmt: skip
        for name in ("ca.pem", "server.key", "server.crt"):
            shutil.copy2(source.directory / name, directory / name)
            if name != "ca.pem":
                _own(directory / name)
        with (server.data / "postgresql.conf").open("a") as file:
            file.write(_settings(server, {}))
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
