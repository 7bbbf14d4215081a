"""``python -m dr.drivers.kubernetes.gentle ACTIVITY ARGUMENTS``: one activity of chaostoolkit-kubernetes on nodes.

A process of its own, since its client is that of the environment alone (KUBECONFIG, KUBERNETES_CONTEXT), and a drain
sleeps for ten seconds at a time, in which it hears nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dr.drivers.faults.provider import run_command
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.kubeconfig import close, handed

ACTIVITIES = ("cordon_node", "uncordon_node", "drain_nodes")
DEFECT = "chaostoolkit-kubernetes itself failed"
DEFECTS = (TypeError, AttributeError, LookupError, ValueError)
"""What does not pass when it is tried again."""
AMBIENT = ("KUBECONFIG", "KUBERNETES_CONTEXT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def act(config: KubernetesConfig, activity: str, arguments: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Do one of ``ACTIVITIES`` in the target's cluster. Raises ProviderError with its own words where it fails."""
    command = (sys.executable, "-m", "dr.drivers.kubernetes.gentle")
    path, descriptors = handed(config.kubeconfig, config.context)
    kept = {name: value for name, value in os.environ.items() if name not in AMBIENT}
    told = {"KUBECONFIG": path, "KUBERNETES_CONTEXT": config.context, "KUBERNETES_VERIFY_SSL": "true"}
    try:
        return run_command(command, activity, arguments, seconds, env={**kept, **told}, pass_fds=descriptors)
    finally:
        close(descriptors)


def _with_lists(found: Any) -> Any:
    """Pods with lists where they have no volumes or no owner, of which a drain does not think (0.39)."""
    for pod in found.items:
        pod.spec.volumes = pod.spec.volumes or []
        pod.metadata.owner_references = pod.metadata.owner_references or []
    return found


def main(words: Sequence[str]) -> int:
    """Returns the exit code; why it failed stands on standard error."""
    activity, arguments = words
    if activity not in ACTIVITIES:
        sys.stderr.write(f"There is no activity {activity}.\n")
        return 2
    from chaosk8s.node import actions
    from chaoslib.exceptions import ActivityFailed
    from kubernetes.client import CoreV1Api

    listing = CoreV1Api.list_pod_for_all_namespaces
    CoreV1Api.list_pod_for_all_namespaces = lambda api, **named: _with_lists(listing(api, **named))
    try:
        done = getattr(actions, activity)(**json.loads(arguments))
    except ActivityFailed as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 1
    except Exception as error:  # a client's text may hold anything
        sys.stderr.write(f"{DEFECT if isinstance(error, DEFECTS) else 'It failed'} ({type(error).__name__})\n")
        return 1
    sys.stdout.write(json.dumps({"nodes": done}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
