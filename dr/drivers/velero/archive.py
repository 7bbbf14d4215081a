"""What a backup holds: its archive, as Velero writes it (format 1.1.0), read from where it is stored."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dr.domain.errors import ProviderError

Key = tuple[str, str, str]
"""An object's resource, as Velero calls it ("deployments.apps"), its namespace, "" of the cluster, and its name."""
CLUSTER = "cluster"
MADE_ANEW = frozenset({"ControllerRevision", "EndpointSlice", "Endpoints", "Event", "Lease", "Pod", "ReplicaSet"})
"""Kinds that controllers make, and may have made before Velero does."""
LARGEST = 1 << 30
"""Bytes of an archive, unpacked, that are read: what is larger is no backup of objects."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup's objects. ``namespaces``: those that it holds anything of."""

    objects: Mapping[Key, Mapping[str, Any]]
    namespaces: frozenset[str] = field(default_factory=frozenset)

    def of(self, namespaces: Collection[str]) -> dict[Key, Mapping[str, Any]]:
        """What it holds of these namespaces."""
        return {key: one for key, one in self.objects.items() if key[1] in namespaces}

    def resources(self) -> frozenset[str]:
        return frozenset(resource for resource, _, _ in self.objects)


def read(packed: bytes, name: str) -> Archive:
    """Raises ProviderError where it is none that can be read."""
    found: dict[Key, Mapping[str, Any]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
            for key, text in _files(tar):
                found[key] = json.loads(text)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise ProviderError(
            f"The archive of backup {name} cannot be read ({type(error).__name__}).", "Restore from another backup."
        ) from None
    spaces = {space for _, space, _ in found if space}
    spaces |= {one for resource, _, one in found if resource == "namespaces"}
    return Archive(found, frozenset(spaces))


def torn(archive: Archive, packed: bytes, namespaces: Collection[str]) -> list[str]:
    """What Velero's own list of a backup names of these namespaces and its archive does not hold, but for what
    controllers make anew. Raises ProviderError where the list cannot be read."""
    try:
        named = json.loads(gzip.decompress(packed))
        told = {(kind.rpartition("/")[2], *one.partition("/")[::2]) for kind, each in named.items() for one in each}
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError, OSError, AttributeError, TypeError):
        raise ProviderError("Velero's list of the backup cannot be read.") from None
    held = {(one.get("kind"), space, name) for (_, space, name), one in archive.objects.items()}
    gone = (one for one in told - held if one[1] in namespaces and one[2] and one[0] not in MADE_ANEW)
    return sorted(f"{kind} {space}/{name}" for kind, space, name in gone)


def _files(tar: tarfile.TarFile) -> Iterator[tuple[Key, bytes]]:
    """Each object once: a second copy of it lies under its API's version."""
    left = LARGEST
    for member in tar:
        parts = member.name.lstrip("./").split("/")
        if parts[0] != "resources" or not member.isfile() or not parts[-1].endswith(".json"):
            continue
        left -= member.size
        if left < 0:
            raise ValueError("too large")
        name = parts[-1].removesuffix(".json")
        opened = tar.extractfile(member)
        if opened is None:
            continue
        if len(parts) == 5 and parts[2] == "namespaces":
            yield (parts[1], parts[3], name), opened.read()
        elif len(parts) == 4 and parts[2] == CLUSTER:
            yield (parts[1], "", name), opened.read()
