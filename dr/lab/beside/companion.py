"""A program of somebody else's that stands beside the lab's servers: found, started under their account, ended.

Where it is not installed the lab does without it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from dr.domain.errors import ProviderError
from dr.lab.servers import process
from dr.lab.servers.binaries import Account, blocked, environment
from dr.lab.servers.site import Site

log = logging.getLogger(__name__)
READY_LIMIT, STOP_LIMIT = 30.0, 5.0
PAUSE = 1.0
"""Seconds between two starts of one that keeps dying."""
PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
"""Looked through after PATH, which of an ordinary account often lacks sbin."""


@dataclass(frozen=True, slots=True)
class Program:
    path: Path
    version: str


def find(name: str, account: Account | None) -> Program | None:
    """The program ``name`` that ``account`` can run; None where there is none."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *PLACES))
    found = shutil.which(name, path=places)
    if found is None or blocked(Path(found), account) is not None:
        return None
    try:
        answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\d+\.\d+(\.\d+)?", answer.stdout + answer.stderr)
    return Program(Path(found), match[0]) if match else None


class Companion:
    """One such process: a subclass says how it is started and when it answers.

    Two objects for one directory are the same process: it is found again by its pid file, whoever started it.
    """

    title = ""
    """What sentences call it."""
    extra: Mapping[str, str] = {}
    """Its environment, beside what all get."""
    ready_limit = READY_LIMIT
    """Seconds that it may take until it answers."""

    def __init__(self, site: Site, program: Program, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.log = directory / f"{program.path.name}.log"
        self._site = site
        self._program = program
        self._pid = directory / f"{program.path.name}.pid"
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._again = 0.0

    @property
    def configuration(self) -> Path:
        """Its configuration file, which stands in its command line and in no other process's."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it does its work now."""
        raise NotImplementedError

    @property
    def account(self) -> Account | None:
        """Who it runs as; None: whoever runs the lab."""
        return self._site.binaries.account

    def launch(self) -> None:
        """Start it, in place of one that runs already, and return when it answers. Raises ProviderError."""
        self.begin()
        self.await_answer()

    def begin(self) -> None:
        """Start it, in place of one that runs already. Raises ProviderError."""
        with self._lock:
            self.stop()
            self._spawn()
            self._wanted = True

    def await_answer(self) -> None:
        """Return when it answers. Raises ProviderError where it ended, or does not in time; then it is stopped."""
        limit = time.monotonic() + self.ready_limit
        while not (self._listens() and self.answers()):
            if self.pid() is None or time.monotonic() > limit:
                self.stop()
                raise ProviderError(f"{self.title} on port {self.port} did not start: {self._last_words()}.")
            time.sleep(0.05)

    def keep(self) -> None:
        """Start it again if it died; one that was stopped stays so."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._wanted and self.pid() is None and time.monotonic() >= self._again:
                log.warning("%s ended; it is started again", self.title)
                self._again = time.monotonic() + PAUSE
                self._spawn()
        except ProviderError as error:
            log.error("%s", error)
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Ask it to end, and end it where it does not. Harmless where it does not run."""
        with self._lock:
            self._wanted = False
            found = self._process()
            if found is not None:
                with suppress(psutil.Error):
                    found.terminate()
                if not process.ended(found, STOP_LIMIT):
                    process.kill_tree(found)
            self._living_child()
            self._pid.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """Its process id, if it lives."""
        found = self._process()
        return found.pid if found else None

    def _spawn(self) -> None:
        account = self.account
        try:
            with self.log.open("ab") as output:
                self._child = subprocess.Popen(
                    self.command(),
                    env=environment(self.extra),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            self._pid.write_text(f"{self._child.pid}\n")
        except OSError as error:
            raise ProviderError(f"{self.title} could not be started: {error.strerror}.") from None

    def _listens(self) -> bool:
        """Whether the port is its own: an answer may be that of somebody who had the port before."""
        found = self._process()
        with suppress(psutil.Error):
            return found is not None and any(
                one.status == psutil.CONN_LISTEN and one.laddr.port == self.port for one in found.net_connections("tcp")
            )
        return False

    def _process(self) -> process.Process | None:
        number, child = process.recorded(self._pid), self._living_child()
        if child is not None and number in (None, child):
            # No file: somebody removed or moved the lab's directory. Its command line tells nothing yet right after it
            # was started, and the pid of a child that lives is not given anew.
            with suppress(psutil.Error):
                found = process.Process(child)
                # A zombie cannot be waited for as long as a thread of it is still ending.
                return found if found.status() != psutil.STATUS_ZOMBIE else None
        return process.alive(number, str(self.configuration)) if number is not None else None

    def _living_child(self) -> int | None:
        """The pid of what this object started, while it lives. Takes its exit code, so that it stays no zombie."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def _last_words(self) -> str:
        """The end of its log: the last line is often only what follows from the one before."""
        lines = [line.strip().rstrip(".") for line in self.log.read_text(errors="replace").splitlines()[-2:]]
        return "; ".join(lines) or "it said nothing"


def end_strays(place: Path) -> None:
    """End those that an earlier daemon left running in the directory ``place``. Before its pid files are removed."""
    for path in place.glob("*.pid"):
        number = process.recorded(path)
        found = process.alive(number, f"{place}/") if number is not None else None
        if found is not None:
            process.kill_tree(found)
