"""A kubeconfig, as a target names it with its context: where that leads, and a client of it.

Nothing ambient is looked at. The client's library wants certificates and keys as files: they are files in memory, so
that a process that is killed leaves none behind.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dr.domain.errors import RefusedError
from dr.host.decode import read_yaml

FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""What of a cluster or a user is the path of a file, by the directory of the kubeconfig."""
HINT = "Correct the target's kubeconfig and context."


def servers(file: str, context: str) -> tuple[str, ...]:
    """The URL of the context's API server, and of the proxy before it where there is one. Raises RefusedError."""
    cluster = _parts(_read(file), file, context)["cluster"]
    return tuple(str(url) for url in (cluster["server"], cluster.get("proxy-url")) if url)


def connected(file: str, context: str = "") -> Any:
    """An ``ApiClient`` of the Kubernetes library; ``context`` "": the file's current one. Raises RefusedError where the
    library or the context is not there."""
    held = _read(file)
    context = context or str(held.get("current-context"))
    parts = _parts(held, file, context)
    try:
        from kubernetes import client, config
    except ImportError:
        raise RefusedError(
            "The cluster cannot be asked: the Kubernetes client is not installed.",
            "Install it: pip install 'dr[kubernetes]'.",
        ) from None
    beside = Path(file).expanduser().absolute().parent
    whole = {
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "it", "user": "it"}}],
        **{f"{kind}s": [{"name": "it", kind: _with_files(part, beside)}] for kind, part in parts.items()},
    }
    settings = client.Configuration()
    settings.proxy = None  # the library takes that of the environment
    try:
        config.load_kube_config_from_dict(whole, context, settings, persist_config=False)
    except config.ConfigException as error:
        raise _unusable(file, f"has no usable context {context!r}: {str(error).rstrip('.')}") from None
    settings.retries = False  # a request is repeated by whoever knows what it did
    return client.ApiClient(settings)


def _read(file: str) -> dict[str, Any]:
    return read_yaml(Path(file).expanduser(), dict[str, Any], RefusedError, HINT)


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


def _with_files(part: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """The same with each path absolute, and what stands in it as data in a file in memory."""
    found = dict(part)
    for name in FILES:
        if found.get(name):
            found[name] = str(beside / str(found[name]))
        if found.get(f"{name}-data") and hasattr(os, "memfd_create"):  # Linux; elsewhere the library's own file
            found[name] = _in_memory(str(found.pop(f"{name}-data")), name)
    return found


def _in_memory(encoded: str, name: str) -> str:
    """The path of a file that is in no directory, and gone with this process. Raises RefusedError."""
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise RefusedError(f"The kubeconfig's {name}-data is no base64.", HINT) from None
    descriptor = os.memfd_create(name)
    with os.fdopen(os.dup(descriptor), "wb") as written:
        written.write(content)
    return f"/proc/self/fd/{descriptor}"


def _unusable(file: str, why: str) -> RefusedError:
    return RefusedError(f"{file} {why}.", HINT)
