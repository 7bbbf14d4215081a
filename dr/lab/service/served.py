"""The prediction service, on the pooler or on the source: started with the lab, and again when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psutil

import dr
from dr.domain.errors import ProviderError
from dr.lab import presence
from dr.lab.asked import is_ready
from dr.lab.platform.roles import API, password
from dr.lab.servers.site import kept_secret
from dr.lab.target import DATABASE, token_file

log = logging.getLogger(__name__)
READY_LIMIT = 30.0
"""Seconds a first start may take."""
PAUSE = 1.0
"""Seconds between two starts of a service that keeps dying."""


class Served:
    """The service's process. ``url`` stays the same over restarts. ``database_port``: PgBouncer's, or the source's.
    ``tell``: is told each process's pid and ``presence.start`` as soon as there is one."""

    def __init__(self, directory: Path, database_port: int, port: int, tell: Callable[[int, float], object]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._port = port
        self._database_port = database_port
        self._child: subprocess.Popen[bytes] | None = None
        self._again = 0.0
        self._stubborn = False
        self._lock = threading.RLock()
        self._tell = tell

    def start(self) -> None:
        """Start it, in place of one that runs, and wait until it is ready. Raises ProviderError; it is kept even so."""
        with self._lock:
            self.stop()
            self._spawn()
        limit = time.monotonic() + READY_LIMIT
        while not is_ready(f"{self.url}/readyz", 1):
            if self._child is None or self._child.poll() is not None or time.monotonic() > limit:
                raise ProviderError(
                    "The prediction service did not become ready.", f"See {self._directory / 'service.log'}."
                )
            time.sleep(0.05)

    def set_stubborn(self, stubborn: bool = True) -> None:
        """Sabotage: start it anew, so that it keeps the first connection that breaks or falls silent. False: heal it.

        Raises ProviderError.
        """
        self._stubborn = stubborn
        self.start()

    def keep(self) -> None:
        """Start it again if it died."""
        if not self._lock.acquire(blocking=False):
            return  # it is being started anew
        try:
            if self._child is not None and self._child.poll() is not None and time.monotonic() >= self._again:
                log.warning("the prediction service ended with %s; it is started again", self._child.returncode)
                self._again = time.monotonic() + PAUSE
                self._spawn()
        finally:
            self._lock.release()

    def stop(self) -> None:
        with self._lock:
            if self._child is None:
                return
            self._child.terminate()
            try:
                self._child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            self._child = None

    def _spawn(self) -> None:
        secret = quote(password(self._directory / "secrets", API), safe="")
        ca = quote(str(self._directory / "ca.pem"), safe="")
        url = f"postgresql://{API}:{secret}@127.0.0.1:{self._database_port}/{DATABASE}"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PG")},
            "DATABASE_URL": f"{url}?sslmode=verify-full&sslrootcert={ca}",
            "HOST": "127.0.0.1",
            "PORT": str(self._port),
            "MODEL_DIR": str(self._directory / "models"),
            "API_TOKEN": kept_secret(token_file(self._directory)),
            "DR_SERVICE_STUBBORN": str(int(self._stubborn)),
            "PYTHONPATH": str(Path(dr.__file__).parent.parent),
        }
        with (self._directory / "service.log").open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "dr.lab.service"],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._tell(self._child.pid, presence.start(psutil.Process(self._child.pid)))
