"""How a namespace of a backup stands beside production: what is left out, held back, and led elsewhere. Pure.

Velero does on arrival what its resource modifiers can do without a secret in them; the rest is done before anything is
started. What should stand then is told here, too, so that it can be compared.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dr.drivers.velero.archive import Archive, Key
from dr.drivers.velero.manifests import LAST_APPLIED, Object, merged
from dr.drivers.velero.production import pattern, plain

LEFT_OUT = (
    *("pods", "replicasets.apps", "endpoints", "endpointslices.discovery.k8s.io"),
    *("ingresses.networking.k8s.io", "leases.coordination.k8s.io"),
)
"""What no copy gets, beside whatever a custom resource definition makes: an operator, a DNS or a certificate's issuer
acts on such an object as soon as it is there."""
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
SCALED = ("deployments.apps", "statefulsets.apps", "replicationcontrollers")
HELD = {"dr/held": "until-checked"}
"""A node's label that none has: a DaemonSet knows no number of replicas."""
_PODS = {"template": {"spec": {"priorityClassName": None, "priority": None, "preemptionPolicy": None}}}
"""A copy's pods have no priority, by which they could drive others from their nodes."""
_HELD_PODS = {"template": {"spec": {**_PODS["template"]["spec"], "nodeSelector": HELD}}}
_BOUND = dict.fromkeys(("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"))
ARRIVING: Mapping[str, Mapping[str, Any]] = {
    **{kind: {"spec": {"replicas": 0, **_PODS}} for kind in SCALED},
    "daemonsets.apps": {"spec": _HELD_PODS},
    "jobs.batch": {"spec": {"suspend": True, **_PODS}},
    "cronjobs.batch": {"spec": {"suspend": True, "jobTemplate": {"spec": _PODS}}},
    "persistentvolumeclaims": {"spec": {"volumeName": None}, "metadata": {"annotations": _BOUND}},
}
"""The merge patch by which objects of a kind arrive: nothing of them runs, and nothing is production's."""
BALANCING = (
    *("loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"),
    *("externalTrafficPolicy", "healthCheckNodePort", "externalIPs"),
)
"""What of a Service leads to it from outside the cluster."""
_DATABASE = re.compile(
    r"(?P<scheme>\b(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://(?:[^\s@/?#\"']*@)?)(?P<place>[^\s/?#\"'@]+)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Copy:
    """``namespace`` of the backup is to stand as ``into``. ``database``: the drill's own, HOST:PORT, which takes the
    place of every PostgreSQL URL's and of ``databases``, production's addresses; "": there is none. ``instead``: texts
    of production, each with what stands in their place."""

    namespace: str
    into: str
    database: str = ""
    databases: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)

    def led(self, text: str) -> str:
        """The same text, which leads to the copy."""
        if self.instead:
            known = "|".join(re.escape(old) for old in sorted(self.instead, key=len, reverse=True))
            text = re.sub(known, lambda found: self.instead[found[0]], text)
        text = re.sub(rf"(?<=[A-Za-z0-9]\.){re.escape(self.namespace)}(?=\.svc\b|[:/,\s\"']|$)", self.into, text)
        if self.database:
            text = _DATABASE.sub(lambda found: found["scheme"] + self.database, text)
            host = self.database.rpartition(":")[0]
            for one in self.databases:
                text = re.sub(rf"{pattern(one)}:[0-9]+", self.database, text, flags=re.IGNORECASE)
                text = re.sub(pattern(one), self.database if ":" in one else host, text, flags=re.IGNORECASE)
        return text

    def rewritten(self, one: Object) -> dict[str, Any]:
        """An object, as it is to be before anything is started."""
        found = {key: value if key in NAMING else self._anywhere(value) for key, value in one.items()}
        if one.get("kind") == "Secret":
            found["data"] = {key: self._secret(value) for key, value in (one.get("data") or {}).items()}
        annotations = self._anywhere(one["metadata"].get("annotations") or {})
        return {**found, "metadata": {**one["metadata"], "annotations": _without(annotations, LAST_APPLIED)}}

    def _secret(self, encoded: str) -> str:
        text = plain(encoded)
        led = self.led(text)
        return encoded if led == text else base64.b64encode(led.encode()).decode()

    def _anywhere(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._anywhere(held) for key, held in value.items()}
        if isinstance(value, list):
            return [self._anywhere(held) for held in value]
        return self.led(value) if isinstance(value, str) else value

    def standing(self, resource: str, one: Object) -> dict[str, Any]:
        """What is to stand of an object of the backup once the copy is started."""
        arrived = merged(self.rewritten(one), _arriving(resource, one))
        if resource == "rolebindings.rbac.authorization.k8s.io":  # which Velero sees to
            own = {"namespace": self.namespace}.items()
            subjects = [{**to, "namespace": self.into} if own <= to.items() else to for to in one.get("subjects") or ()]
            arrived = {**arrived, "subjects": subjects}
        return dict(merged(arrived, started(resource, one)))


def _without(held: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in held.items() if key not in names}


NAMING = ("apiVersion", "kind", "metadata", "status")
"""What of an object says what it is, and is not led elsewhere."""


def is_balanced(one: Object) -> bool:
    """Whether it is a Service to which something outside the cluster would lead at once."""
    spec = one.get("spec") or {}
    return spec.get("type") == "LoadBalancer" or bool(spec.get("externalIPs"))


def _arriving(resource: str, one: Object) -> Mapping[str, Any]:
    """The merge patch by which an object arrives."""
    if resource == "services" and is_balanced(one):
        ports = [_without(port, "nodePort") for port in one["spec"].get("ports") or ()]
        return {"spec": {**dict.fromkeys(BALANCING), "type": "ClusterIP", "ports": ports}}
    return ARRIVING.get(resource, {})


def modifiers(objects: Mapping[Key, Object]) -> str:
    """The resource modifiers of a restore (v1) by which ``objects`` arrive: no secret is in them."""
    rules = [_rule("**", {"metadata": {"annotations": {LAST_APPLIED: None}}})]
    rules += [_rule(kind, patch) for kind, patch in ARRIVING.items()]
    rules += [
        _rule(resource, _arriving(resource, one), name)
        for (resource, _, name), one in objects.items()
        if resource == "services" and is_balanced(one)
    ]
    return json.dumps({"version": "v1", "resourceModifierRules": rules})


def _rule(kind: str, patch: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    of = {"groupResource": kind, **({"resourceNameRegex": f"^{re.escape(name)}$"} if name else {})}
    return {"conditions": of, "mergePatches": [{"patchData": json.dumps(patch)}]}


def started(resource: str, one: Object) -> Mapping[str, Any]:
    """The merge patch that starts a workload of the backup in its copy; empty: it is not to be started."""
    if resource in SCALED:
        asked = one["spec"].get("replicas")
        return {"spec": {"replicas": 1 if asked is None else asked}}
    if resource == "daemonsets.apps":
        return {"spec": {"template": {"spec": {"nodeSelector": dict.fromkeys(HELD)}}}}
    return {}


def without(held: Archive, definitions: Iterable[str]) -> tuple[str, ...]:
    """The kinds that a copy does not get. ``definitions``: the names of the cluster's custom resource definitions."""
    backed_up = (name for resource, _, name in held.objects if resource == DEFINITIONS)
    return (*LEFT_OUT, *sorted({*definitions, *backed_up}))
