"""A backup against what stands in a cluster: what is compared, what is missing of it, and what it misses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dr.drivers.kubernetes import kinds
from dr.drivers.kubernetes.api import Body
from dr.drivers.kubernetes.cluster import Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero import archive, comparing
from dr.drivers.velero.comparing import Seen, Standing
from dr.drivers.velero.scope import Scope
from tests.stub_cluster import stepped
from tests.stub_velero import archived, backup

CORE, NETWORK = "/api/v1/namespaces/small", "/apis/networking.k8s.io/v1/namespaces/small"
OLD, YOUNG = "2026-11-01T00:00:00Z", "2026-11-29T03:00:00Z"
FLUX = "kustomize-controller"


class Played(Cluster):
    """A cluster in which so much stands, by the paths of its lists."""

    def __init__(self, **of: list[dict[str, Any]]) -> None:
        super().__init__(KubernetesConfig("/none", "none", "uid"))
        self.lists = {f"{CORE}/{plural}": items for plural, items in of.items()}
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any] | None:
        self.asked.append(path)
        found = {
            "/api/v1": {"resources": [kind("configmaps"), kind("secrets"), kind("pods/log"), kind("events")]},
            "/apis": {"groups": [{"preferredVersion": {"groupVersion": "networking.k8s.io/v1"}}, METRICS]},
            "/apis/networking.k8s.io/v1": {"resources": [kind("networkpolicies"), kind("classes", namespaced=False)]},
            "/apis/metrics.k8s.io/v1beta1": {"resources": [kind("pods", verbs=["get", "list"])]},
        }.get(path)
        return found or ({"items": copy.deepcopy(self.lists[path])} if path in self.lists else None)

    def patch(self, path: str, body: Body, kind: str = "") -> dict[str, Any]:
        where, _, name = path.partition("?")[0].rpartition("/")
        one = next(one for one in self.lists[where] if one["metadata"]["name"] == name)
        return stepped(one, list(body)) or {}  # type: ignore[arg-type]


METRICS = {"preferredVersion": {"groupVersion": "metrics.k8s.io/v1beta1"}}


def kind(name: str, *, namespaced: bool = True, verbs: list[str] | None = None) -> dict[str, Any]:
    return {"name": name, "kind": name.title(), "namespaced": namespaced, "verbs": verbs or ["create", "list"]}


def one(name: str, made: str = OLD, manager: str = "kubectl-create", how: str = "Update", **parts: Any) -> Any:
    entries = [{"manager": manager, "operation": how, "time": OLD, "fieldsV1": {"f:data": {}}}]
    metadata = {"name": name, "namespace": "small", "creationTimestamp": made, "managedFields": entries}
    return {"apiVersion": "v1", "kind": "X", "metadata": metadata, **parts}


def compared(cluster: Cluster, *held: tuple[str, Any], known: Mapping[str, Any] = comparing.NONE) -> Standing:
    found = archive.read(archived(*held), "b")
    return comparing.compare(cluster, found, ["small"], skip=["events"], scope=Scope.of(backup("b")), kinds=known)


LOGIN = ("secrets", one("login", data={"password": "new"}))


def test_a_kind_of_which_the_backup_holds_nothing_is_looked_for_and_named() -> None:
    cluster = Played(secrets=[LOGIN[1]], configmaps=[one("young", YOUNG)], events=[one("event")])
    cluster.lists[f"{NETWORK}/networkpolicies"] = [one("deny"), one("new", YOUNG)]
    found = compared(cluster, LOGIN, known=kinds.listable(cluster))
    deny, new = (f"networkpolicies.networking.k8s.io small/{name}" for name in ("deny", "new"))
    assert found.beyond == ("configmaps small/young", deny, new)
    assert found.missed == (deny,)


def test_a_missing_object_of_a_kind_that_the_backup_holds_is_missed_too() -> None:
    found = compared(Played(secrets=[LOGIN[1], one("other"), one("new", YOUNG)]), LOGIN)
    assert (found.beyond, found.missed) == (("secrets small/new", "secrets small/other"), ("secrets small/other",))


def test_only_what_may_be_made_and_listed_in_a_namespace_is_a_kind_that_may_be_missing() -> None:
    found = kinds.listable(Played())
    assert set(found) == {"configmaps", "secrets", "events", "networkpolicies.networking.k8s.io"}
    assert found["networkpolicies.networking.k8s.io"]["apiVersion"] == "networking.k8s.io/v1"


def test_an_old_password_is_a_difference_whoever_wrote_it() -> None:
    old = one("login", data={"password": "old"})
    for manager in ("kubectl-patch", "OpenAPI-Generator", "kustomize-controller", "kubectl-create"):
        old["metadata"]["managedFields"][0]["manager"] = manager
        reported = {"manager": manager, "subresource": "status", "fieldsV1": {"f:status": {}}}
        service = one("web", spec={})
        service["metadata"]["managedFields"].append(reported)
        found = compared(Played(secrets=[old], services=[service]), LOGIN, ("services", service))
        seen = found.objects["secrets small/login"]
        assert (seen.differs, seen.untold, seen.doubtful) == (("data.password",), "", False), manager


def test_what_flux_applied_is_compared_and_its_loss_seen() -> None:
    reported = {"manager": FLUX, "subresource": "status", "operation": "Update", "fieldsV1": {"f:status": {}}}
    applied = [one(name, manager=FLUX, how="Apply", data={"a": "1"}) for name in ("login", "kept")]
    applied[1]["metadata"]["managedFields"].append(reported)
    found = compared(Played(secrets=applied[1:]), *(("secrets", each) for each in applied))
    assert found.objects == {"secrets small/login": Seen(None), "secrets small/kept": Seen("")}
    assert (found.derived, found.bare) == (0, 0)


def test_what_has_run_to_its_end_is_not_missing() -> None:
    over = (
        ("jobs.batch", one("migrate", status={"completionTime": "t"})),
        ("pods", one("p", status={"phase": "Failed"})),
    )
    owned = one("migrate-1", status={"phase": "Succeeded"})
    owned["metadata"]["ownerReferences"] = [{"controller": True}]
    found = compared(Played(secrets=[LOGIN[1]]), LOGIN, *over, ("pods", owned))
    assert (set(found.objects), found.finished) == ({"secrets small/login"}, 2)


def test_a_difference_that_may_be_a_controller_s_is_doubtful_and_beside_another_one_it_is_not() -> None:
    then = one("login", manager="helm", data={"password": "a", "mine": "1"})
    then["metadata"]["managedFields"][0]["fieldsV1"] = {"f:data": {"f:mine": {}}}
    rotating = {"manager": "rotator", "time": YOUNG, "fieldsV1": {"f:data": {"f:password": {}}}}
    then["metadata"]["managedFields"].append(rotating)
    now = copy.deepcopy(then)
    now["data"]["password"] = "b"
    assert compared(Played(secrets=[now]), ("secrets", then)).objects["secrets small/login"].doubtful
    now["data"]["mine"] = "2"
    seen = compared(Played(secrets=[now]), ("secrets", then)).objects["secrets small/login"]
    assert (seen.differs, seen.doubtful) == (("data.mine", "data.password"), False)
