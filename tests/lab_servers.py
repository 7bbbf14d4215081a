"""Temporary lab sites for tests: real PostgreSQL under a directory every account may enter, gone afterwards."""

from __future__ import annotations

import atexit
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest

from dr.host.clock import SystemClock
from dr.lab.servers import backup
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site, free_port, open_site, write_closed
from tests.support import open_directory

MASTER, PASSWORD, DATABASE = "clinic_admin", 'it\'s a "secret" \\ of 9%', "readmission"
SUPERUSERS = secrets.token_urlsafe(32)
"""The superuser's password at every site of this process, whose servers are copies of one."""


@contextmanager
def lab_site(choice: str = "") -> Iterator[Site]:
    """A site of its own; every server made under its directory is removed at the end."""
    with open_directory("dr-test-") as directory:
        site = site_at(directory / "lab", choice)
        try:
            yield site
        finally:
            for data in list(directory.rglob("PG_VERSION")):
                if data.parent.name == "data":
                    Server(site, data.parent.parent, 0).remove()


def site_at(directory: Path, choice: str = "") -> Site:
    """A site in a directory that is not there yet."""
    directory.mkdir()
    write_closed(directory / "rdsadmin.password", SUPERUSERS)
    return open_site(directory, SystemClock(), choice)


def make_server(site: Site, name: str, parameters: dict[str, str] | None = None) -> Server:
    """A running server. What ``Server.create`` itself does is asked in test_lab_postgres.py."""
    server = Server(site, site.directory / name, free_port(), parameters=parameters)
    create(server, MASTER, PASSWORD, DATABASE)
    return server


@contextmanager
def copied() -> Iterator[None]:
    """Whoever makes a server meanwhile makes a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "create", create)
        yield


def create(server: Server, master: str, password: str, database: str = "") -> None:
    """As ``Server.create``, from a copy of what that made before."""
    server.prepare_directory()
    try:
        backup.copy(_made(server.site.binaries.origin, master, password, database), server.data)
        server.start()
        server.mark_ready()
    except BaseException:
        server.remove()
        raise


CREATE = Server.create


@cache
def _made(origin: str, master: str, password: str, database: str) -> Path:
    """The data of a server that was made and stopped."""
    kept = ExitStack()
    atexit.register(kept.close)
    site = site_at(kept.enter_context(open_directory("dr-made-")) / "lab", origin)
    server = Server(site, site.directory / "made", free_port())
    CREATE(server, master, password, database)
    server.stop()
    return server.data


def log_in(server: Server, user: str = MASTER, password: str = PASSWORD, **more: object) -> psycopg.Connection:
    """A session as a client has it: TCP, TLS, the certificate checked."""
    arguments = {"dbname": DATABASE, "sslmode": "verify-full", "sslrootcert": str(server.site.ca), **more}
    return psycopg.connect(
        host="localhost",
        port=server.port,
        user=user,
        password=password,
        connect_timeout=10,
        autocommit=True,
        **arguments,
    )
