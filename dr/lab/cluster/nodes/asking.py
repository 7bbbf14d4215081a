"""A probe is asked once: over HTTP, by a connection, or by a command. For a thread of its own: it may take its time."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from urllib3 import HTTPConnectionPool, exceptions

from dr.lab.cluster.nodes.environment import Manifest
from dr.lab.cluster.nodes.processes import Launch, run_once
from dr.lab.cluster.nodes.volumes import at

AGENT = "kube-probe/1.37"


def port_of(container: Manifest, port: int | str) -> int:
    """A port's number, also where it is given by its name. Pure. Raises StopIteration where no port has it."""
    if isinstance(port, int):
        return port
    return next(int(one["containerPort"]) for one in container.get("ports", []) if one.get("name") == port)


def ask(container: Manifest, kind: str, address: str, launch: Launch, mounted: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the container's probe passes now, and why not."""
    probe = container[kind]
    seconds = float(probe.get("timeoutSeconds", 1))
    try:
        if "exec" in probe:
            return run_once([at(part, mounted) for part in probe["exec"]["command"]], launch, seconds)
        if "httpGet" in probe:
            return _get(probe["httpGet"], address, port_of(container, probe["httpGet"]["port"]), seconds)
        port = port_of(container, probe["tcpSocket"]["port"])
        with socket.create_connection((address, port), timeout=seconds):
            return True, ""
    except StopIteration:
        return False, "no port of the container has the name that the probe gives"
    except (OSError, exceptions.HTTPError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
        if isinstance(cause, TimeoutError):
            return False, f"no answer within {seconds:g} s"
        if isinstance(cause, OSError):
            return False, f"{cause.strerror or type(cause).__name__}"
        return False, f"the answer is no HTTP ({type(cause or error).__name__})"


def _get(asked: Mapping[str, Any], address: str, port: int, seconds: float) -> tuple[bool, str]:
    headers = {"User-Agent": AGENT, "Connection": "close"}
    headers |= {one["name"]: one["value"] for one in asked.get("httpHeaders", [])}
    with HTTPConnectionPool(address, port, timeout=seconds, retries=False) as pool:
        status = pool.urlopen(
            "GET", asked.get("path") or "/", headers=headers, redirect=False, preload_content=False
        ).status
    return 200 <= status < 400, f"HTTP probe failed with statuscode: {status}"
