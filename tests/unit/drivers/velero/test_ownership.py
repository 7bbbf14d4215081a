"""Whose a field is: decided by the object's own managedFields, and never by what a name does elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from dr.drivers.velero.archive import Key
from dr.drivers.velero.manifests import Path
from dr.drivers.velero.ownership import APPLIED, Ownership, Whose, owners

MADE, LATER = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
OWN = "kube-controller-manager"
DATA: dict[str, Any] = {"f:data": {"f:password": {}}}
PASSWORD: Path = ("data", "password")
SECRET: Key = ("secrets", "small", "login")
PORTS: dict[str, Any] = {"f:spec": {"f:ports": {}}}


def wrote(manager: str, fields: dict[str, Any], through: str = "", at: str = LATER, how: str = "Update") -> Any:
    return {"manager": manager, "operation": how, "subresource": through, "time": at, "fieldsV1": fields}


def one(*entries: dict[str, Any], kind: str = "Secret", name: str = "login", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "small", "creationTimestamp": MADE, "managedFields": list(entries)}
    return {"kind": kind, "metadata": metadata, **parts}


def at(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in reversed(path):
        found = {f"f:{part}": found}
    return found


ROOT = one(wrote(OWN, {"f:data": {"f:ca.crt": {}}}), kind="ConfigMap", name="kube-root-ca.crt", data={"ca.crt": "x"})
CLUSTER: dict[Key, Any] = {("configmaps", "small", "kube-root-ca.crt"): ROOT}


def whose(
    then: list[Any], now: list[Any], path: Path = PASSWORD, key: Key = SECRET, others: dict[Key, Any] = CLUSTER
) -> Whose:
    return Ownership({**others, key: one(*then)}).whose(key, one(*then), one(*now), path)


def test_a_writer_of_every_python_client_s_name_is_no_controller_by_what_it_reports_elsewhere() -> None:
    node = one(wrote("OpenAPI-Generator", {"f:status": {}}, "status"), kind="Node")
    made = [wrote("kubectl-create", DATA, at=MADE)]
    raced = [wrote("OpenAPI-Generator", DATA)]
    assert whose(made, raced, others={**CLUSTER, ("nodes", "", "n"): node}) is Whose.DECLARED


def test_a_person_who_once_patched_a_status_is_no_controller_of_this_or_any_object() -> None:
    status = wrote("kubectl-patch", {"f:status": {}}, "status")
    service = one(wrote("kubectl-create", PORTS, at=MADE), status, kind="Service", name="web")
    others = {**CLUSTER, ("services", "small", "web"): service}
    raced = [wrote("kubectl-patch", DATA)]
    assert whose([wrote("kubectl-create", DATA, at=MADE)], raced, others=others) is Whose.DECLARED
    mine = [wrote("kubectl-create", {}, at=MADE), status, wrote("kubectl-patch", DATA)]
    assert whose(mine, mine) is Whose.DECLARED


@pytest.mark.parametrize("manager", ["kustomize-controller", "argocd-controller", "helm"])
def test_what_was_applied_is_declared_although_its_tool_reports_a_status(manager: str) -> None:
    applied = [wrote(manager, DATA, how="Apply"), wrote(manager, {"f:status": {}}, "status")]
    assert whose(applied, applied) is Whose.DECLARED
    assert not Ownership(CLUSTER).derived(one(*applied))
    from_client = [wrote(manager, {**DATA, **at(APPLIED)}), wrote(manager, {"f:status": {}}, "status")]
    assert whose(from_client, from_client) is Whose.DECLARED
    made = [wrote(manager, DATA, at=MADE), wrote(manager, {"f:status": {}}, "status")]
    assert whose(made, made) is Whose.DECLARED


def test_what_is_written_along_with_a_status_is_its_reporter_s() -> None:
    path: Path = ("metadata", "annotations", "deployment.kubernetes.io/revision")
    reported = [wrote("helm", {"f:spec": {}}, at=MADE), wrote("any", {**at(path), "f:status": {}}, "status")]
    assert whose(reported, reported, path) is Whose.CONTROLLERS
    assert whose(reported, [wrote("kubectl-annotate", at(path))], path) is Whose.DECLARED


def test_whoever_reports_an_object_s_status_and_did_not_make_it_owns_what_it_wrote_there_and_still_writes() -> None:
    path: Path = ("metadata", "finalizers")
    then = [wrote("helm", PORTS, at=MADE), wrote("lb", at(path)), wrote("lb", {"f:status": {}}, "status")]
    assert whose(then, then, path) is Whose.CONTROLLERS
    assert whose(then, [wrote("other", at(path))], path) is Whose.DECLARED


def test_the_cluster_s_own_controllers_are_known_by_what_they_keep_in_each_namespace() -> None:
    path: Path = ("spec", "volumeName")
    then = [wrote("kubectl-create", {"f:spec": {"f:resources": {}}}), wrote(OWN, at(path), at=MADE)]
    assert whose(then, then, path) is Whose.CONTROLLERS
    assert whose(then, then, path, others={}) is not Whose.CONTROLLERS, "nothing tells that it is one"
    assert whose([wrote("kubectl-create", DATA)], [wrote(OWN, DATA)]) is Whose.DECLARED, "it did not write it then"
    endpoints = one(wrote(OWN, {"f:subsets": {}}), kind="Endpoints", name="web")
    assert Ownership(CLUSTER).derived(endpoints)
    assert not Ownership({}).derived(endpoints)


def test_an_annotation_that_only_kubernetes_gives_a_meaning_is_no_tool_s() -> None:
    then_by = [wrote("helm", PORTS, at=MADE)]
    for name, expected in (
        ("volume.kubernetes.io/selected-node", Whose.CONTROLLERS),
        ("example.org/node", Whose.PERHAPS),
        ("fakekubernetes.io/node", Whose.PERHAPS),
    ):
        path: Path = ("metadata", "annotations", name)
        both = [*then_by, wrote("kube-scheduler", at(path))]
        assert whose(both, both, path) is expected


def autoscaler(low: int | None, high: int) -> dict[Key, Any]:
    target = {"kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "minReplicas": low, "maxReplicas": high}
    return {
        ("horizontalpodautoscalers.autoscaling", "small", "web"): one(
            kind="HorizontalPodAutoscaler", name="web", spec=spec
        )
    }


@pytest.mark.parametrize(
    ("replicas", "low", "expected"),
    [(3, 1, Whose.CONTROLLERS), (4, 1, Whose.DECLARED), (0, None, Whose.DECLARED), (1, None, Whose.CONTROLLERS)],
)
def test_replicas_are_an_autoscaler_s_within_its_bounds(replicas: int, low: int | None, expected: Whose) -> None:
    key: Key = ("deployments.apps", "small", "web")
    backup = one(wrote("kubectl-create", at(("spec", "replicas"))), kind="Deployment", name="web", spec={"replicas": 2})
    live = one(wrote(OWN, at(("spec", "replicas")), "scale"), kind="Deployment", name="web")
    live["spec"] = {"replicas": replicas}
    held = autoscaler(low, 3)
    assert Ownership({**held, key: backup}).whose(key, backup, live, ("spec", "replicas")) is expected
    assert Ownership({key: backup}).whose(key, backup, live, ("spec", "replicas")) is Whose.DECLARED


def test_replicas_that_something_else_scaled_then_and_now_are_perhaps_its_own_and_a_person_s_never() -> None:
    path: Path = ("spec", "replicas")
    for manager, expected in (("keda-operator", Whose.PERHAPS), ("kubectl", Whose.DECLARED)):
        scaled = [wrote("helm", PORTS, at=MADE), wrote(manager, at(path), "scale")]
        assert whose(scaled, scaled, path) is expected


def test_a_secret_that_a_certificate_names_is_perhaps_written_anew_by_whoever_keeps_that() -> None:
    issuing = "cert-manager-certificates-issuing"
    status = wrote(issuing, {"f:status": {}}, "status")
    certificate = one(status, kind="Certificate", name="web", spec={"secretName": "login", "dnsNames": ["x"]})
    others = {**CLUSTER, ("certificates.cert-manager.io", "small", "web"): certificate}
    secret = [wrote(issuing, DATA, how="Apply")]
    assert whose(secret, secret, others=others) is Whose.PERHAPS
    assert whose(secret, [wrote("kubectl-patch", DATA)], others=others) is Whose.DECLARED
    elsewhere = {**CLUSTER, ("certificates.cert-manager.io", "other", "web"): certificate}
    assert whose(secret, secret, others=elsewhere) is Whose.DECLARED


def test_what_nobody_wrote_then_is_a_difference() -> None:
    assert whose([wrote("helm", PORTS)], [wrote("helm", PORTS), wrote("any", DATA)]) is Whose.DECLARED
    assert whose([], []) is Whose.DECLARED


def test_what_another_object_controls_is_derived() -> None:
    owned = {"metadata": {"ownerReferences": [{"controller": True}], "managedFields": [wrote("helm", {})]}}
    assert Ownership({}).derived(owned)
    owned["metadata"]["ownerReferences"] = [{"controller": False}]
    assert not Ownership({}).derived(owned)
    assert not Ownership({}).derived({"metadata": {}}), "nobody is known to have written it"


DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "annotations": {"deployment.kubernetes.io/revision": "3"},
        "managedFields": [
            wrote("velero-server", {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"a"}': {}}}}}}),
            wrote("controller", {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}),
        ],
    },
    "spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}]}}},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("metadata", "annotations", "deployment.kubernetes.io/revision"), ["controller"]),
        (("spec", "template", "spec", "containers", 0, "image"), ["velero-server"]),
        (("spec", "paused"), []),
    ],
)
def test_a_field_is_its_managers(path: Path, expected: list[str]) -> None:
    assert [entry.manager for entry in owners(DEPLOYMENT, path)] == expected
