"""What lies in a pod's volumes, and where a container finds it. Pure.

A process sees the machine's own files, so that a volume cannot stand at its mountPath: whatever names the path, in the
command line, the environment or a probe, is given the directory's own instead (``at``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dr.lab.cluster.nodes.environment import Key, Manifest, Missing, Objects, content, value_at
from dr.lab.cluster.nodes.fields import LOGS

MODE = 0o644
TOKEN_SECONDS = 3607


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the pod's account that has to be asked for, for so many ``seconds``."""

    path: str
    seconds: int
    audience: str = ""


@dataclass(frozen=True, slots=True)
class File:
    path: str
    data: bytes
    mode: int = MODE


@dataclass(frozen=True, slots=True)
class Laid:
    """What a volume holds. ``shared``: it is that directory, beside the pods', and outlives the pod."""

    name: str
    files: tuple[File, ...] = ()
    tokens: tuple[Token, ...] = ()
    shared: str = ""
    kept: bool = True
    """Whether it is written once, and whatever is in it stays."""


def references(pod: Manifest) -> list[Key]:
    """What a pod's volumes are made of."""
    found: list[Key] = []
    for volume in pod["spec"].get("volumes", []):
        for source in (volume, *volume.get("projected", {}).get("sources", [])):
            if "configMap" in source:
                found.append(("configmaps", source["configMap"]["name"]))
            if "secret" in source:
                found.append(("secrets", _secret(source["secret"])))
        if "persistentVolumeClaim" in volume:
            found.append(("persistentvolumeclaims", volume["persistentVolumeClaim"]["claimName"]))
    return list(dict.fromkeys(found))


def _secret(part: Manifest) -> str:
    return str(part.get("secretName") or part["name"])


def laid(pod: Manifest, volume: Manifest, objects: Objects) -> Laid:
    """What is to lie in one volume. Raises Missing where it cannot be told yet."""
    name = volume["name"]
    if "emptyDir" in volume:
        return Laid(name)
    if "hostPath" in volume:
        return Laid(name, shared=volume["hostPath"]["path"])
    if "persistentVolumeClaim" in volume:
        return Laid(name, shared=_bound(volume["persistentVolumeClaim"]["claimName"], objects))
    projected = volume.get("projected")
    sources = projected.get("sources", []) if projected is not None else [volume]
    mode = next((volume[kind].get("defaultMode", MODE) for kind in volume if kind != "name"), MODE)
    files = [file for source in sources for file in _files(pod, source, objects, mode)]
    tokens = [
        Token(part["path"], int(part.get("expirationSeconds", TOKEN_SECONDS)), part.get("audience", ""))
        for part in (source.get("serviceAccountToken") for source in sources)
        if part is not None
    ]
    return Laid(name, tuple(files), tuple(tokens), kept=False)


def _bound(claim: str, objects: Objects) -> str:
    """The name of the volume that a claim is bound to: its directory's, too."""
    found = objects.get(("persistentvolumeclaims", claim))
    if found is None:
        raise Missing(f'persistentvolumeclaim "{claim}" not found')
    if found.get("status", {}).get("phase") != "Bound":
        raise Missing(f'persistentvolumeclaim "{claim}" is not bound')
    return str(found["spec"]["volumeName"])


def _files(pod: Manifest, source: Manifest, objects: Objects, mode: int) -> list[File]:
    if "downwardAPI" in source:
        items = source["downwardAPI"].get("items", [])
        return [
            File(item["path"], value_at(pod, item["fieldRef"]["fieldPath"]).encode(), item.get("mode", mode))
            for item in items
        ]
    for kind in ("configMap", "secret"):
        if kind in source:
            part = source[kind]
            key = (f"{kind.lower()}s", _secret(part) if kind == "secret" else part["name"])
            return _picked(part, content(objects, key, bool(part.get("optional"))), mode, key)
    return []


def _picked(part: Manifest, values: Mapping[str, bytes], mode: int, key: Key) -> list[File]:
    if not part.get("items"):
        return [File(name, value, mode) for name, value in values.items()]
    lacking = [item["key"] for item in part["items"] if item["key"] not in values and not part.get("optional")]
    if lacking:
        raise Missing(f"references non-existent key {lacking[0]} in {key[0][:-1]} {key[1]}")
    return [
        File(item["path"], values[item["key"]], item.get("mode", mode))
        for item in part["items"]
        if item["key"] in values
    ]


def outside(file: File | Token) -> bool:
    """Whether a file would lie outside its volume."""
    return file.path.startswith("/") or ".." in file.path.split("/") or not file.path


def mounts(container: Manifest, directories: Mapping[str, Path]) -> dict[str, str]:
    """Each mountPath of a container, the longest first, and the directory that stands for it."""
    wanted = container.get("volumeMounts", [])
    found = {mount["mountPath"].rstrip("/"): str(directories[mount["name"]]) for mount in wanted}
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def at(value: str, mounted: Mapping[str, str]) -> str:
    """``value`` with each path under a mountPath led to where it lies, wherever a path begins in it: at its begin, and
    after a blank, say, or a quote or = or >. The path of a URL is none."""
    if not mounted:
        return value
    paths = "|".join(map(re.escape, mounted))
    pattern = rf"(?<![\w./~$%+}}-])({paths})(?![\w.-])"
    return re.sub(pattern, lambda match: mounted[match[1]], value)


def named(laid: Laid, pod_directory: Path, disks: Path, logs: Path) -> Path:
    """A volume's directory: the pod's own, a disk of the lab's, or the node's logs."""
    if not laid.shared:
        return pod_directory / "volumes" / laid.name
    return logs if laid.shared == LOGS else disks / laid.shared
