"""The servers behind the API: ``dr.lab.postgres`` and ``dr.lab.backup``, by instance.

Called by: ``dr.lab.daemon`` (makes it), ``dr.lab.rds.work``. Under the lab's directory: instances/KEY, archives/KEY (it
outlives its instance), backups/NAME.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from dr.domain.errors import ProviderError, RefusedError
from dr.lab import backup as backups
from dr.lab.archive import Coverage, trim
from dr.lab.postgres import Heartbeat, Server
from dr.lab.rds.servers import LogFile
from dr.lab.site import Site

LOG_NAME = "error/postgresql.log"
"""As RDS names PostgreSQL's logs: error/postgresql.log.DATE."""


class PostgresServers:
    """See ``dr.lab.rds.servers.Servers``. Thread-safe for different keys."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._servers: dict[str, Server] = {}
        self._hearts: dict[str, Heartbeat] = {}
        self._coverage: dict[str, Coverage] = {}
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        return self._site.binaries.version

    def server(self, key: str) -> Server:
        """The server of an instance. Raises RefusedError."""
        if key not in self._servers:
            raise RefusedError(f"There is no server for {key}.")
        return self._servers[key]

    def create(self, key: str, port: int, master: str, password: str, database: str | None) -> None:
        server = Server(self._site, self._directory(key), port, self.archive(key))
        server.create(master, password, database or "")
        self._enter(key, server)

    def restore(self, key: str, port: int, backup: str) -> None:
        taken = backups.load(self._backup(backup))
        self._enter(key, backups.restore(self._site, taken, self._directory(key), port, self.archive(key)))

    def restore_to(self, key: str, port: int, backup: str, source: str, at: float) -> None:
        taken = backups.load(self._backup(backup))
        server = backups.restore_to_time(
            self._site, taken, self.archive(source), self._directory(key), port, int(at), self.archive(key)
        )
        self._enter(key, server)

    def start(self, key: str) -> None:
        self.server(key).start()
        self._beat(key)

    def stop(self, key: str) -> None:
        self._hush(key)
        self.server(key).stop()

    def running(self, key: str) -> bool:
        return key in self._servers and self._servers[key].is_running()

    def delete(self, key: str) -> None:
        self._hush(key)
        server = self._servers.pop(key, None)
        if server is not None:
            server.remove()

    def delete_archive(self, key: str) -> None:
        with self._lock:
            self._coverage.pop(key, None)
        shutil.rmtree(self.archive(key), ignore_errors=True)

    def trim_archive(self, key: str, backup: str | None) -> None:
        trim(self.archive(key), backups.load(self._backup(backup)).first if backup else None)

    def set_password(self, key: str, user: str, password: str) -> None:
        self.server(key).set_password(user, password)

    def backup(self, key: str, name: str) -> float:
        return backups.take(self.server(key), self._backup(name)).covers

    def delete_backup(self, name: str) -> None:
        shutil.rmtree(self._backup(name), ignore_errors=True)

    def restorable(self, key: str, backup: str) -> float | None:
        with self._lock:
            coverage = self._coverage.setdefault(key, Coverage(self._site.binaries, self.archive(key)))
        until = coverage.until(backups.load(self._backup(backup)).first)
        # PostgreSQL reaches a target only where a later commit follows it.
        return None if until is None else float(math.ceil(until) - 1)

    def logs(self, key: str) -> Sequence[LogFile]:
        path = self._log(key)
        if not path.exists():
            return ()
        status = path.stat()
        return (LogFile(LOG_NAME, status.st_size, status.st_mtime),)

    def read_log(self, key: str, name: str, offset: int) -> bytes:
        if name != LOG_NAME:
            raise FileNotFoundError(name)
        with self._log(key).open("rb") as file:
            file.seek(offset)
            return file.read()

    def close(self) -> None:
        """Stop every server and remove what they hold outside the lab's directory."""
        for key in list(self._servers):
            self.delete(key)

    def archive(self, key: str) -> Path:
        return self._site.directory / "archives" / key

    def _directory(self, key: str) -> Path:
        return self._site.directory / "instances" / key

    def _backup(self, name: str) -> Path:
        return self._site.directory / "backups" / name

    def _log(self, key: str) -> Path:
        return self._servers[key].log if key in self._servers else self._directory(key) / "log" / "postgresql.log"

    def _enter(self, key: str, server: Server) -> None:
        self._servers[key] = server
        self._beat(key)

    def _beat(self, key: str) -> None:
        if key not in self._hearts:
            self._hearts[key] = Heartbeat(self._servers[key])
            self._hearts[key].start()

    def _hush(self, key: str) -> None:
        heart = self._hearts.pop(key, None)
        if heart is not None:
            heart.stop()


def remove_strays(site: Site) -> None:
    """End what an earlier daemon of this lab left running. Raises ProviderError where something holds out."""
    directory = site.directory / "instances"
    for path in directory.iterdir() if directory.is_dir() else ():
        server = Server(site, path, 0)
        server.kill()
        if server.is_running():
            raise ProviderError(f"The server in {path} does not end.", "End it by hand, then repeat.")
        server.remove()
