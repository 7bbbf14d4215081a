"""Temporary lab sites for tests: real PostgreSQL under a directory every account may enter, gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from dr.host.clock import SystemClock
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site, free_port, open_site
from tests.support import open_directory

MASTER, PASSWORD, DATABASE = "clinic_admin", 'it\'s a "secret" \\ of 9%', "readmission"


@contextmanager
def lab_site(choice: str = "") -> Iterator[Site]:
    """A site of its own; every server made under its directory is removed at the end."""
    with open_directory("dr-test-") as directory:
        site = open_site(directory / "lab", SystemClock(), choice)
        try:
            yield site
        finally:
            for data in list(directory.rglob("PG_VERSION")):
                if data.parent.name == "data":
                    Server(site, data.parent.parent, 0).remove()


def make_server(site: Site, name: str, parameters: dict[str, str] | None = None) -> Server:
    server = Server(site, site.directory / name, free_port(), parameters=parameters)
    server.create(MASTER, PASSWORD, DATABASE)
    return server


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
