"""A kubeconfig, as a target names it with its context: where that leads, and a client of it.

Nothing ambient is looked at. The client's library wants certificates and keys as files: they are files in memory, so
that a process that is killed leaves none behind.
"""

from __future__ import annotations

import base64
import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dr.domain.errors import RefusedError
from dr.host.decode import read_yaml

FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""What of a cluster or a user is the path of a file, by the directory of the kubeconfig."""
HINT = "Correct the target's kubeconfig and context."


def servers(file: str, context: str) -> tuple[str, ...]:
    """The URL of the context's API server, and of the proxy before it where there is one. Raises RefusedError."""
    held = read_yaml(Path(file).expanduser(), dict[str, Any], RefusedError, HINT)
    cluster = _parts(held, file, context)["cluster"]
    return tuple(str(url) for url in (cluster["server"], cluster.get("proxy-url")) if url)


def connected(file: str, context: str = "", manager: str = "dr") -> Any:
    """An ``ApiClient`` of the Kubernetes library; ``context`` "": the file's current one; ``manager``: as whom it
    writes, which objects keep in their managedFields. Raises RefusedError where the library or the context is not
    there."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise not_installed("The cluster") from None
    whole, descriptors = _of_context(file, context)
    settings = client.Configuration()
    settings.proxy = None  # the library takes that of the environment
    try:
        config.load_kube_config_from_dict(whole, client_configuration=settings, persist_config=False)
    except config.ConfigException as error:
        context = whole["current-context"]
        raise _unusable(file, f"has no usable context {context!r}: {str(error).rstrip('.')}") from None
    settings.retries = False  # a request is repeated by whoever knows what it did
    made = client.ApiClient(settings)
    made.user_agent = manager  # that of the library is every Python client's
    weakref.finalize(made, close, descriptors)  # each new connection reads them
    return made


def not_installed(what: str) -> RefusedError:
    """That ``what`` needs the Kubernetes library."""
    return RefusedError(
        f"{what} cannot be reached: the Kubernetes client is not installed.",
        "Install it: pip install 'dr[kubernetes]'.",
    )


def handed(file: str, context: str) -> tuple[str, tuple[int, ...]]:
    """The path of a kubeconfig of this context alone, for a process that is given these descriptors. Whoever asks
    closes them. Raises RefusedError."""
    import yaml

    whole, descriptors = _of_context(file, context)
    last = _in_memory(yaml.safe_dump(whole).encode(), "kubeconfig")
    return _path(last), (*descriptors, last)


def close(descriptors: Iterable[int]) -> None:
    """Let go of files in memory."""
    for descriptor in descriptors:
        os.close(descriptor)


def _of_context(file: str, context: str) -> tuple[dict[str, Any], tuple[int, ...]]:
    """A kubeconfig of the context alone, and the files in memory that it names."""
    held = read_yaml(Path(file).expanduser(), dict[str, Any], RefusedError, HINT)
    context = context or str(held.get("current-context"))
    beside = Path(file).expanduser().absolute().parent
    descriptors: list[int] = []
    parts = {
        f"{kind}s": [{"name": "it", kind: _with_files(part, beside, descriptors)}]
        for kind, part in _parts(held, file, context).items()
    }
    chosen = {"name": context, "context": {"cluster": "it", "user": "it"}}
    return {"current-context": context, "contexts": [chosen], **parts}, tuple(descriptors)


def _parts(held: Mapping[str, Any], file: str, context: str) -> dict[str, Mapping[str, Any]]:
    """The cluster and the user of a context; it may hold anything. Raises RefusedError."""
    try:
        chosen = _named(held, "context", context)
        cluster = _named(held, "cluster", chosen["cluster"])
        if not cluster["server"]:
            raise LookupError
    except (StopIteration, LookupError, TypeError, AttributeError):
        raise _unusable(file, f"names no cluster of context {context!r}") from None
    try:
        user = _named(held, "user", chosen["user"])
    except (StopIteration, LookupError, TypeError, AttributeError):
        user = {}  # one that lets everybody in
    return {"cluster": cluster, "user": user}


def _named(held: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found = next(one[kind] for one in held[f"{kind}s"] if one["name"] == name)
    if not isinstance(found, Mapping):
        raise TypeError
    return found


def _with_files(part: Mapping[str, Any], beside: Path, descriptors: list[int]) -> dict[str, Any]:
    """The same with each path absolute, and what stands in it as data in a file in memory. Raises RefusedError."""
    found = dict(part)
    for name in FILES:
        if found.get(name):
            found[name] = str(beside / str(found[name]))
        if found.get(f"{name}-data") and hasattr(os, "memfd_create"):  # Linux; elsewhere the library's own file
            encoded = "".join(str(found.pop(f"{name}-data")).split())
            try:
                content = base64.b64decode(encoded, validate=True)
            except ValueError:
                raise RefusedError(f"The kubeconfig's {name}-data is no base64.", HINT) from None
            descriptors.append(_in_memory(content, name))
            found[name] = _path(descriptors[-1])
    return found


def _in_memory(content: bytes, name: str) -> int:
    """A file that is in no directory, and gone with this process."""
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as written:
        written.write(content)
    return descriptor


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _unusable(file: str, why: str) -> RefusedError:
    return RefusedError(f"{file} {why}.", HINT)
