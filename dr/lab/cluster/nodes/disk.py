"""Where the files of a node's pods lie: volumes, tokens and logs. What a volume holds is replaced all at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from dr.domain.errors import ProviderError
from dr.lab.cluster.nodes.environment import Manifest
from dr.lab.cluster.nodes.volumes import File, Laid, named, outside

CLOSED = 0o700
FAULTS, DISKS = "gpu-faults", "disks"


def digest_of(directory: Path) -> str:
    """One of the names and contents of all files that lie there. Raises ProviderError where they cannot be read."""
    found = hashlib.sha256()
    try:
        for path in sorted(one for one in directory.rglob("*") if one.is_file()):
            with path.open("rb") as file:
                found.update(
                    f"{path.relative_to(directory)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode()
                )
    except OSError as error:
        raise ProviderError(f"The volume {directory.name} cannot be read: {error.strerror}.") from None
    return found.hexdigest()


class Disk:
    """A node's, in ``directory``; ``disks`` are the lab's persistent volumes, which all nodes share."""

    def __init__(self, directory: Path, disks: Path) -> None:
        self.directory, self._disks = directory, disks
        self.logs = directory / "logs"
        self.faults = directory / FAULTS
        """A file of the GPU's id for each GPU that is broken."""
        for path in (directory, self.logs, self.faults, disks):
            path.mkdir(mode=CLOSED, parents=True, exist_ok=True)

    def pod(self, uid: str) -> Path:
        return self.directory / "pods" / uid

    def lay(self, uid: str, laid: Laid, tokens: Mapping[str, str]) -> Path:
        """Make or renew one volume of a pod; where it lies. ``tokens``: by path, as they were asked for.

        Raises ProviderError where it cannot be written.
        """
        place = named(laid, self.pod(uid), self._disks, self.logs)
        files = (*laid.files, *(File(path, token.encode(), 0o600) for path, token in tokens.items()))
        if odd := [file.path for file in files if outside(file)]:
            raise ProviderError(f"{odd[0]} lies outside the volume {laid.name}.")
        try:
            if laid.kept:
                place.mkdir(mode=CLOSED, parents=True, exist_ok=True)
            else:
                _renew(place, files)
        except OSError as error:
            raise ProviderError(f"The volume {laid.name} cannot be written: {error.strerror}.") from None
        return place

    def log(self, pod: Manifest, container: str, attempt: int) -> Path:
        """The file that a container's process writes to."""
        metadata = pod["metadata"]
        place = self.logs / "pods" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}" / container
        place.mkdir(mode=CLOSED, parents=True, exist_ok=True)
        return place / f"{attempt}.log"

    def forget(self, uid: str) -> None:
        """Remove a pod's own files; its logs stay, as its persistent volumes do."""
        shutil.rmtree(self.pod(uid), ignore_errors=True)

    def broken(self) -> tuple[str, ...]:
        """The GPUs that are."""
        return tuple(sorted(path.name for path in self.faults.iterdir()))

    def known(self) -> list[str]:
        """The uids of pods that have files here."""
        pods = self.directory / "pods"
        return sorted(path.name for path in pods.iterdir()) if pods.is_dir() else []


def _renew(place: Path, files: tuple[File, ...]) -> None:
    """``place`` leads to a directory that is whole at every moment, as a kubelet's ..data does."""
    place.parent.mkdir(mode=CLOSED, parents=True, exist_ok=True)
    before = place.resolve() if place.is_symlink() else None
    if before is not None and _holds(before, files):
        return
    number = int(before.name.rpartition("-")[2]) + 1 if before is not None else 0
    fresh = place.with_name(f".{place.name}-{number}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for file in files:
        path = fresh / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(file.data)
        path.chmod(file.mode)
    link = place.with_name(f".{place.name}-link")
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(place)
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)


def _holds(place: Path, files: tuple[File, ...]) -> bool:
    here = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    return here == {file.path: file.data for file in files}
