"""What a container finds in its environment, and the command it is started with. Pure.

What a pod refers to comes as ``Objects``: what the API server answered, None for what is not there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dr.lab.cluster.nodes.pools import Place

Key: TypeAlias = tuple[str, str]
"""A kind ("configmaps", "secrets", ...) and a name, in the pod's namespace; "persistentvolumes" are in none."""
Objects: TypeAlias = Mapping[Key, "Mapping[str, Any] | None"]
Manifest: TypeAlias = Mapping[str, Any]

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_WORD = re.compile(r"[^A-Za-z0-9_]")
NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")
"""What may be a variable's name."""


class Missing(Exception):  # noqa: N818 - why a container waits, not a failure of ours
    """A container cannot be started yet. The text says what is not there; no value of a Secret is in it."""


@dataclass(frozen=True, slots=True)
class Image:
    """What stands for a container's image: a program of this machine.

    ``entry``: its command line, whose parts may name ``{address}``, where the pod's ports are to be opened.
    ``environment``: as an image's own. ``account``: the program refuses to run as root.
    """

    entry: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    account: bool = False


def references(pod: Manifest) -> list[Key]:
    """What a pod's containers read of ConfigMaps and Secrets for their environment."""
    found: dict[Key, None] = {}
    for container in all_containers(pod):
        for source in container.get("envFrom", []):
            found.update(dict.fromkeys(_named(source, "configMapRef", "secretRef")))
        for variable in container.get("env", []):
            found.update(dict.fromkeys(_named(variable.get("valueFrom", {}), "configMapKeyRef", "secretKeyRef")))
    return list(found)


def all_containers(pod: Manifest) -> list[Manifest]:
    """Those that come first, and then the others."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _named(source: Manifest, *kinds: str) -> Iterator[Key]:
    for kind in kinds:
        if kind in source:
            yield ("configmaps" if kind.startswith("configMap") else "secrets", source[kind]["name"])


def variables(pod: Manifest, container: Manifest, objects: Objects, given: Mapping[str, str]) -> dict[str, str]:
    """The container's environment: what is ``given``, then envFrom, then env, each of which may refer to those before.

    Raises Missing.
    """
    found = dict(given)
    for source in container.get("envFrom", []):
        for kind, part in (("configmaps", source.get("configMapRef")), ("secrets", source.get("secretRef"))):
            if part is not None:
                values = content(objects, (kind, part["name"]), bool(part.get("optional")))
                named = {f"{source.get('prefix', '')}{key}": text(value) for key, value in values.items()}
                found.update({name: value for name, value in named.items() if NAME.fullmatch(name)})
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            value = _from(pod, variable["valueFrom"], objects)
        else:
            value = expanded(variable.get("value", ""), found)
        if value is not None:
            found[variable["name"]] = value
    return found


def text(value: bytes) -> str:
    """A value as a variable takes it."""
    return value.decode("utf-8", "surrogateescape")


def content(objects: Objects, key: Key, optional: bool = False) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, by its keys. Raises Missing where it is not there and not ``optional``."""
    found = objects.get(key)
    if found is None:
        if optional:
            return {}
        raise Missing(f'{key[0][:-1]} "{key[1]}" not found')
    binary = found.get("data") if key[0] == "secrets" else found.get("binaryData")
    plain = {} if key[0] == "secrets" else found.get("data") or {}
    return {
        **{name: value.encode() for name, value in plain.items()},
        **{name: base64.b64decode(value) for name, value in (binary or {}).items()},
    }


def _from(pod: Manifest, source: Manifest, objects: Objects) -> str | None:
    if "fieldRef" in source:
        return value_at(pod, source["fieldRef"]["fieldPath"])
    kind, part = next(
        (kind, source[name])
        for name, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets"))
        if name in source
    )
    values = content(objects, (kind, part["name"]), bool(part.get("optional")))
    if part["key"] in values:
        return text(values[part["key"]])
    if part.get("optional"):
        return None
    raise Missing(f"couldn't find key {part['key']} in {kind[:-1]} {pod['metadata']['namespace']}/{part['name']}")


def value_at(pod: Manifest, path: str) -> str:
    """A pod's field, as the downward API names it. Raises Missing for one that the agent does not know."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if keyed := _KEYED.fullmatch(path):
        return str(metadata.get(keyed[1], {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = metadata.get(path.partition(".")[2], {})
        return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
    }
    if path not in known:
        raise Missing(f"fieldPath {path} is not honoured by the lab's agent")
    return str(known[path])


def expanded(value: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced; ``$$`` is a dollar, and what is not known stays as it stands."""

    def of(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else variables.get(match[2], match[0])

    return _REFERENCE.sub(of, value)


def links(services: Sequence[Manifest]) -> dict[str, str]:
    """READMISSION_MODEL_SERVICE_HOST, ..._SERVICE_PORT and ..._SERVICE_PORT_NAME of the namespace's Services."""
    found: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP", ""), service["spec"].get("ports", [])
        if address in ("", "None") or not ports:
            continue
        name = _WORD.sub("_", service["metadata"]["name"]).upper()
        found[f"{name}_SERVICE_HOST"] = address
        found[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{name}_SERVICE_PORT_{_WORD.sub('_', port['name']).upper()}"] = str(port["port"])
    return found


def command(container: Manifest, image: Image, variables: Mapping[str, str], address: str) -> list[str]:
    """The command line. Raises Missing where there is none."""
    entry = [expanded(part, variables) for part in container.get("command", [])]
    own = [part.replace("{address}", address) for part in image.entry]
    line = [*(entry or own), *(expanded(part, variables) for part in container.get("args", []))]
    if not line:
        raise Missing(f"no command specified for image {container['image']}")
    return line


def image_of(container: Manifest, images: Mapping[str, Image]) -> Image:
    """What stands for its image. Raises Missing, as where a registry does not have it."""
    found = images.get(container["image"])
    if found is None:
        raise Missing(f"the lab has nothing that stands for image {container['image']}")
    return found


def gpus(pod: Manifest, name: str) -> int:
    """How many of the resource ``name`` a pod's containers are to have."""
    limits = (part.get("resources", {}).get("limits", {}) for part in pod["spec"]["containers"])
    return sum(int(limit.get(name, 0)) for limit in limits)


def free_gpus(place: Place, broken: Sequence[str], given: Sequence[str]) -> list[str]:
    """GPUs of a node that are healthy and nobody has."""
    return [gpu for gpu in place.gpus if gpu not in broken and gpu not in given]
