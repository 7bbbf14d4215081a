"""Which of a pod's fields the agent honours: what does not stand here is refused by its path, never ignored. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

LOGS = "/var/log"
"""The one host path that a pod may have: the node's logs."""


class _Any:
    """Whatever the value: it is honoured, here or by whom the comment beside it names."""


@dataclass(frozen=True, slots=True)
class _Only:
    """One of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Each:
    """A list, of each of whose parts the rule holds."""

    rule: Rule


Rule: TypeAlias = "_Any | _Only | _Each | Mapping[str, Rule]"

ANY = _Any()
_KEYS = {"name": ANY, "items": ANY, "optional": ANY}
_DOWNWARD = _Each({"path": ANY, "mode": ANY, "fieldRef": ANY})
_PROBE: Rule = {
    "httpGet": {"path": ANY, "port": ANY, "scheme": _Only(("HTTP",)), "httpHeaders": ANY},
    "tcpSocket": {"port": ANY},
    "exec": {"command": ANY},
    "initialDelaySeconds": ANY,
    "periodSeconds": ANY,
    "timeoutSeconds": ANY,
    "successThreshold": ANY,
    "failureThreshold": ANY,
}
_CONTAINER: Rule = {
    "name": ANY,
    "image": ANY,
    "imagePullPolicy": ANY,  # no image is pulled: it is there, or not
    "command": ANY,
    "args": ANY,
    "env": _Each(
        {
            "name": ANY,
            "value": ANY,
            "valueFrom": {
                "configMapKeyRef": ANY,
                "secretKeyRef": ANY,
                "fieldRef": ANY,
            },
        }
    ),
    "envFrom": _Each({"prefix": ANY, "configMapRef": ANY, "secretRef": ANY}),
    "ports": _Each({"name": ANY, "containerPort": ANY, "protocol": _Only(("TCP",))}),
    "resources": {"requests": ANY, "limits": ANY},  # by the scheduler; memory, too, by looking at it; CPU by nobody
    "volumeMounts": _Each({"name": ANY, "mountPath": ANY, "readOnly": ANY}),
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"preStop": {"sleep": {"seconds": ANY}}},
    "terminationMessagePath": _Only(("/dev/termination-log",)),
    "terminationMessagePolicy": ANY,
}
_VOLUME: Rule = {
    "name": ANY,
    "emptyDir": {},
    "configMap": {**_KEYS, "defaultMode": ANY},
    "secret": {"secretName": ANY, "items": ANY, "optional": ANY, "defaultMode": ANY},
    "downwardAPI": {"items": _DOWNWARD, "defaultMode": ANY},
    "projected": {
        "sources": _Each(
            {
                "serviceAccountToken": {"path": ANY, "expirationSeconds": ANY, "audience": ANY},
                "configMap": _KEYS,
                "secret": _KEYS,
                "downwardAPI": {"items": _DOWNWARD},
            }
        ),
        "defaultMode": ANY,
    },
    "persistentVolumeClaim": {"claimName": ANY, "readOnly": ANY},
    "hostPath": {"path": _Only((LOGS,)), "type": _Only(("", "Directory", "DirectoryOrCreate"))},
}
SPEC: Rule = {
    "containers": _Each(_CONTAINER),
    "initContainers": _Each(_CONTAINER),
    "volumes": _Each(_VOLUME),
    "restartPolicy": ANY,
    "terminationGracePeriodSeconds": ANY,
    "readinessGates": ANY,
    "enableServiceLinks": ANY,
    "imagePullSecrets": ANY,  # no image is pulled
    "dnsPolicy": _Only(("ClusterFirst", "Default")),
    "os": {"name": _Only(("linux",))},
    # The scheduler's, the controllers' and the API server's.
    **dict.fromkeys(
        (
            *("nodeName", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "schedulerName"),
            *("schedulingGates", "priority", "priorityClassName", "preemptionPolicy"),
            *("serviceAccountName", "serviceAccount", "automountServiceAccountToken"),
        ),
        ANY,
    ),
}


def refused(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of a pod's fields that are not honoured, as "spec.containers[api].lifecycle"."""
    return tuple(_refused(pod.get("spec", {}), SPEC, "spec"))


def _refused(value: Any, rule: Rule, path: str) -> Iterator[str]:
    if isinstance(rule, _Any) or value in (None, "", [], {}):
        return
    if isinstance(rule, _Only):
        if value not in rule.values:
            yield f"{path}={value}"
    elif isinstance(rule, _Each):
        for number, part in enumerate(value):
            named = part.get("name", number) if isinstance(part, dict) else number
            yield from _refused(part, rule.rule, f"{path}[{named}]")
    else:
        for key, part in value.items():
            if key in rule:
                yield from _refused(part, rule[key], f"{path}.{key}")
            elif part not in (None, "", [], {}):
                yield f"{path}.{key}"
