"""The platform is put into a cluster, as anybody would: by ``kubectl apply`` of its files, in their order."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dr.domain.errors import ProviderError
from dr.lab.cluster.platform import DEFINITIONS, FILES, MONITORING

ESTABLISHED = 30
"""Seconds that definitions may take."""
LIMIT = 120.0
"""Seconds for one command."""


class Kubectl:
    """kubectl, against one cluster. What it raises is ProviderError with the command's own last line."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._command = [str(program), "--kubeconfig", str(kubeconfig)]

    def run(self, *arguments: str, said: str = "") -> str:
        """What it prints. ``said``: its standard input, of which it is told nothing in an argument."""
        try:
            ran = subprocess.run(
                [*self._command, *arguments],
                input=said,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise ProviderError(f"kubectl {arguments[0]} did not end within {LIMIT:.0f} s.") from None
        if ran.returncode:
            last = ran.stderr.strip().rpartition("\n")[2]
            raise ProviderError(f"kubectl {arguments[0]} failed: {last.rstrip('.') or 'it said nothing'}.")
        return ran.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects; a Secret's values go by standard input alone."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "--filename", "-", said=json.dumps(items))


def furnish(kubectl: Kubectl, known_here: Iterable[Mapping[str, Any]]) -> None:
    """Put the platform into a cluster: definitions, namespaces, what only the lab knows (``known_here``), and the rest.

    It may be done again, and changes nothing then. Raises ProviderError.
    """
    kubectl.run("apply", "--filename", str(DEFINITIONS))
    kubectl.run("wait", "--for=condition=Established", f"--timeout={ESTABLISHED}s", "--filename", str(DEFINITIONS))
    _, namespaces, *rest = FILES
    kubectl.run("apply", "--filename", str(namespaces))
    kubectl.apply(known_here)
    # One process for all of them: each asks anew for all that the API server knows.
    kubectl.run("apply", *(f"--filename={path}" for path in rest))


def await_ready(kubectl: Kubectl) -> None:
    """Return when every workload of the platform has all of its pods ready. Raises ProviderError."""
    patience = f"--timeout={LIMIT - 10:.0f}s"
    kubectl.run("wait", "--for=condition=Available", "deployments", "--all", "--all-namespaces", patience)
    kubectl.run("rollout", "status", "daemonset", "fluent-bit", "--namespace", MONITORING, patience)
