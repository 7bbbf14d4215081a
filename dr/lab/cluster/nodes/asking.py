"""A probe is asked once: over HTTP, by a connection, or by a command. For a thread of its own: it may take its time."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any

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
    except TimeoutError:
        return False, f"no answer within {seconds:g} s"
    except OSError as error:
        return False, f"{error.strerror or type(error).__name__}"
    except http.client.HTTPException as error:
        return False, f"the answer is no HTTP ({type(error).__name__})"


def _get(asked: Mapping[str, Any], address: str, port: int, seconds: float) -> tuple[bool, str]:
    headers = {"User-Agent": AGENT, "Connection": "close"}
    headers |= {one["name"]: one["value"] for one in asked.get("httpHeaders", [])}
    with closing(http.client.HTTPConnection(address, port, timeout=seconds)) as connection:
        connection.request("GET", asked.get("path") or "/", headers=headers)
        status = connection.getresponse().status
    return 200 <= status < 400, f"HTTP probe failed with statuscode: {status}"
