"""What a lab's servers share: PostgreSQL's programs, a certificate authority, the superuser's password, a clock."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dr.config.place import let_through
from dr.domain.errors import ProviderError, RefusedError
from dr.lab.servers.binaries import Binaries, blocked, find, unreachable
from dr.ports import Clock

IN_CLUSTER = "pgbouncer.readmission-database.svc.cluster.local"
"""The name by which the lab's cluster reaches them."""
NAMES = ("localhost", "127.0.0.1", IN_CLUSTER)
"""Those that clients of the servers check a certificate for."""


@dataclass(frozen=True)
class Site:
    """A directory of the lab's. Made by ``open_site``; everything in it is made once."""

    directory: Path
    binaries: Binaries
    clock: Clock

    @property
    def ca(self) -> Path:
        """The authority's certificate, for clients (sslrootcert)."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The servers' certificate, for ``NAMES``."""
        return self.directory / "server.pem"

    @property
    def key(self) -> Path:
        return self.directory / "server.key"

    @property
    def _password(self) -> Path:
        return self.directory / "rdsadmin.password"

    def admin_password(self) -> str:
        """The superuser's. One for the whole lab, since a restored server comes with its source's."""
        return self._password.read_text()

    def own(self, path: Path) -> None:
        """Give a file or directory to the account that servers run under."""
        account = self.binaries.account
        if account is not None:
            os.chown(path, account.uid, account.gid)

    def make_directory(self, path: Path) -> Path:
        """A directory of the servers' account, closed to others. Raises RefusedError."""
        try:
            let_through(path.parent)
            obstacle = blocked(path.parent, self.binaries.account)
            if obstacle is not None:
                raise unreachable(obstacle, self.binaries.account)
            path.mkdir(mode=0o700, exist_ok=True)
            self.own(path)
        except OSError as error:
            raise RefusedError(f"{path} cannot be made: {error.strerror}.", "See to space and access.") from None
        return path

    def write(self, path: Path, text: str) -> None:
        """A file that only the servers' account (and root) reads. Raises ProviderError."""
        try:
            write_closed(path, text)
            self.own(path)
        except OSError as error:
            raise ProviderError(f"{path} cannot be written: {error.strerror}.") from None


def open_site(directory: Path, clock: Clock, choice: str | None = None) -> Site:
    """The lab's site under ``directory``, made where it is not there. ``choice``: as DR_LAB_POSTGRES.

    Raises RefusedError where no PostgreSQL is found, or the directory cannot be used by it.
    """
    binaries = find(directory, choice)
    obstacle = blocked(directory, binaries.account)
    if obstacle is not None:
        raise unreachable(obstacle, binaries.account)
    site = Site(directory, binaries, clock)
    try:
        let_through(directory)
        if not site.ca.exists():
            make_certificates(site)
        if not site._password.exists():
            write_closed(site._password, secrets.token_urlsafe(32))
    except OSError as error:
        raise RefusedError(
            f"{directory} cannot be written: {error.strerror}.", "Set DR_HOME to another place."
        ) from None
    return site


def make_certificates(site: Site) -> None:
    """An authority and one certificate for ``NAMES``; the authority's own key is not kept."""
    import trustme  # slow to import, and of no use to whoever puts a fault in

    authority = trustme.CA(organization_name="dr lab")
    issued = authority.issue_cert(*NAMES)
    site.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    write_closed(site.key, issued.private_key_pem.bytes().decode())
    authority.cert_pem.write_to_path(str(site.ca))
    site.ca.chmod(0o644)


def kept_secret(path: Path) -> str:
    """A secret: made once, kept in a file that only its owner reads."""
    if not path.exists():
        write_closed(path, f"{secrets.token_urlsafe(24)}\n")
    return path.read_text().strip()


def write_closed(path: Path, text: str) -> None:
    """Write a file that nobody else can read, at no moment, and that is whole or not there."""
    half = path.with_name(f".{path.name}.half")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    half.rename(path)


LISTENING = range(10_000, 32_000)
"""Below the ports that Linux gives to whoever connects: a server that is started again finds its own still free."""


_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """A loopback port nobody listens on at this moment, and that this process was not given before: whoever was need
    not listen on it yet. Of half of all ports, those that were given first may be given again."""
    while True:
        with _giving, socket.socket() as probe, suppress(OSError):
            port = secrets.choice(LISTENING)
            if port in _given:
                continue
            probe.bind(("127.0.0.1", port))
            if len(_given) > len(LISTENING) // 2:
                _given.clear()
            _given.add(port)
            return port
