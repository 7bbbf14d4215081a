"""Velero's command line, against one cluster. Of its exit codes only a failure is believed.

It ends with 0 for most of what can go wrong, so that what it was asked for is looked for in the cluster.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.drivers.kubernetes.cluster import of_webhook
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero.config import VeleroConfig

SECONDS = 60.0
"""The most that a command may take, none of which waits for Velero's work."""
LOST = ("connection refused", "connection reset", "i/o timeout", "TLS handshake timeout", "unexpected EOF")
"""What it says where the API server did not answer."""
OLDEST = (1, 12)
"""The oldest of which this was read; before, restores had fewer phases."""


class Command:
    """``velero``, told by flags where it works: nothing ambient is looked at."""

    def __init__(self, velero: VeleroConfig, kubernetes: KubernetesConfig) -> None:
        self._program = velero.program
        self._where = (
            f"--kubeconfig={Path(kubernetes.kubeconfig).expanduser()}",
            f"--kubecontext={kubernetes.context}",
            f"--namespace={velero.namespace}",
        )

    def restore(self, name: str, backup: str, flags: Mapping[str, str]) -> None:
        """Ask for a restore, and do not wait for it. Raises ProviderError."""
        self._run("restore", "create", name, "--from-backup", backup, *_flags(flags))

    def back_up(self, name: str, flags: Mapping[str, str]) -> None:
        """Ask for a backup, and do not wait for it. Raises ProviderError."""
        self._run("backup", "create", name, *_flags(flags))

    def remove_backup(self, name: str) -> None:
        """Ask for its removal, from the storage, too. Without --confirm nothing would be done, and the exit code 0."""
        self._run("backup", "delete", name, "--confirm")

    def check(self) -> None:
        """Raises RefusedError where the command or the server is too old, ProviderError where no server answers."""
        told = self._run("version")
        versions = dict(zip(("command line", "server"), _versions(told), strict=False))
        for who in ("command line", "server"):
            if who not in versions:
                raise ProviderError(
                    f"Velero's {who} does not tell its version.",
                    "See whether its server runs ('velero version', 'kubectl get pods' of its namespace).",
                )
            if versions[who] < OLDEST:
                raise RefusedError(
                    f"Velero's {who} is {'.'.join(map(str, versions[who]))}, which is too old.",
                    f"Install {'.'.join(map(str, OLDEST))} or newer.",
                )

    def _run(self, *arguments: str) -> str:
        what = f"velero {' '.join(arguments[:2])}"
        try:
            ran = subprocess.run(
                [self._program, *self._where, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=SECONDS,
            )
        except FileNotFoundError:
            raise RefusedError(
                f"There is no program {self._program!r} here.", "Install Velero's command line, or set velero.program."
            ) from None
        except OSError as error:
            raise RefusedError(f"{self._program} cannot be run: {error.strerror}.", "Set velero.program.") from None
        except subprocess.TimeoutExpired:
            raise ProviderError(f"{what} did not end within {SECONDS:.0f} s.", "Repeat it.", transient=True) from None
        if ran.returncode:
            raise told(what, last_words(ran.stderr or ran.stdout))
        return ran.stdout


def told(what: str, said: str) -> DrError:
    """A failure of the command ``what``, by its last words."""
    if advice := of_webhook(said):
        return RefusedError(f"{what} failed: {said}.", advice)
    return ProviderError(f"{what} failed: {said}.", transient=any(lost in said for lost in LOST))


def last_words(said: str) -> str:
    """The last line of what a command said, without the end of its sentence."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("An error occurred: ").rstrip(".") if lines else "it said nothing"


def _versions(told: str) -> list[tuple[int, int]]:
    return [(int(major), int(minor)) for major, minor in re.findall(r"Version:\s*v?(\d+)\.(\d+)", told)]


def _flags(given: Mapping[str, str]) -> Sequence[str]:
    return [f"--{name}={value}" for name, value in given.items()]
