"""Find the cluster's programs: in KUBEBUILDER_ASSETS, on PATH, or in the user's cache folder, in this order.

Of the first two, one is taken whose version fits. In the cache stand those that ``dr lab install`` built. Velero is
taken from there alone: the server of a stock one listens on port 8080 of every address.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dr.domain.errors import RefusedError
from dr.lab.cluster.modules import KUBERNETES, MODULES, VELERO, Module

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
"""Without each of them there is no cluster."""
INSTALL = "'dr lab install' builds it, once, in about a quarter of an hour."
WITHOUT = f"There is no Kubernetes here: {INSTALL}"
ASKED = {"kubectl": ("version", "--client")}
"""How a program is asked for its version; the others by --version."""
ANSWER_LIMIT = 10.0
ETCD = (3, 5)
"""The oldest that knows all flags that it is given."""

Version = tuple[int, int]
"""Major and minor."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Those that were found, by name."""

    paths: Mapping[str, Path]

    def lacking(self, *names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self.paths)

    def path(self, name: str) -> Path:
        """Raises RefusedError where it was not found."""
        if name not in self.paths:
            raise RefusedError(f"There is no {name} here whose version fits.", INSTALL)
        return self.paths[name]

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where kubectl and Velero stand, for a shell's PATH."""
        return tuple(dict.fromkeys(self.paths[name].parent for name in ("kubectl", *VELERO) if name in self.paths))


def cache() -> Path:
    """The user's folder for what was built, of whatever version."""
    return platformdirs.user_cache_path("dr") / "cluster"


def built(module: Module) -> Path:
    """The folder of what this version of dr builds of ``module``; it is there whole, or not at all."""
    return cache() / module.stamp


def find(environment: Mapping[str, str] | None = None) -> Programs:
    """Every program that is here. ``environment``: whose KUBEBUILDER_ASSETS and PATH count; None: this process's."""
    places = tuple(_places(os.environ if environment is None else environment))
    own = {name: built(module) / name for module in MODULES for name in module.names}
    found = ((name, _find(name, places, path)) for name, path in own.items())
    return Programs({name: path for name, path in found if path is not None})


def _places(environment: Mapping[str, str]) -> Iterator[Path]:
    listed = [environment.get("KUBEBUILDER_ASSETS", ""), *environment.get("PATH", os.defpath).split(os.pathsep)]
    yield from (Path(part) for part in listed if part)


def _find(name: str, places: tuple[Path, ...], own: Path) -> Path | None:
    for place in places if name not in VELERO else ():
        path = place / name
        if os.access(path, os.X_OK) and path.is_file() and (_is(path, own) or fits(name, version_of(name, path))):
            return path.absolute()
    return own if own.exists() else None


def _is(path: Path, own: Path) -> bool:
    """Whether it is the cache's: a shell under the lab's exports has that on its PATH."""
    return own.exists() and path.samefile(own)


def version_of(name: str, path: Path) -> Version | None:
    """What the program says of itself; None where it says nothing that is understood."""
    try:
        answer = subprocess.run(
            [str(path), *ASKED.get(name, ("--version",))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=ANSWER_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv?(\d+)\.(\d+)\.\d+", answer.stdout)
    return (int(match[1]), int(match[2])) if match else None


def fits(name: str, version: Version | None) -> bool:
    """Whether a program of this version works with the others. Pure but for what go.mod pins."""
    if version is None:
        return False
    major, minor = (int(part) for part in KUBERNETES.version.split(".")[:2])
    if name == "etcd":
        return ETCD <= version < (ETCD[0] + 1, 0)
    if name == "kubectl":
        return version[0] == major and abs(version[1] - minor) <= 1
    return version == (major, minor)
