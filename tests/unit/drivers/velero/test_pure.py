"""What Velero's objects, archives and results tell, and what may be restored from them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from dr.domain.errors import FailedError, ProviderError, RefusedError
from dr.domain.model import Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.tags import packed, tags_in
from dr.drivers.velero import archive, comparing, examining, look, phases, restoring
from dr.drivers.velero.command import last_words
from dr.drivers.velero.naming import DRIVER, tags_of
from dr.drivers.velero.scope import Scope
from dr.engine.references import fill
from tests.stub_velero import archived, backup

SYSTEM = "readmission-system"
RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.RESTORE, "d", since=1.0, request="x")
CONFIG = KubernetesConfig("/k", "c", "u", (SYSTEM,))
THERE = {"there": True, "terminating": ""}
GONE = {"there": False, "terminating": ""}


def facts(*backups: dict[str, Any], holds: int = 3, refused: str = "", **state: Any) -> Facts:
    seen = {"namespaces": {SYSTEM: {**GONE, **state}}, "holds": {"namespaces": {SYSTEM: holds}, "lacking": {}}}
    return Facts(1.0, points=look.points(backups, "velero"), extra={DRIVER: {**seen, "refused": refused}})


def propose(seen: Facts, run: RunIdentity = RUN, **args: Any) -> list[str]:
    verb = Verb("restore", {"to": {"backup": "latest"}, **args})
    return [call.operation for call in restoring.propose(verb, seen, run, CONFIG)]


@pytest.mark.parametrize(
    "phase", [*sorted(phases.UNDER_WAY), "Failed", "PartiallyFailed", "FailedValidation", "Unheard", "Deleting"]
)
def test_a_backup_in_any_phase_but_completed_is_refused(phase: str) -> None:
    found = backup("b", phase)
    assert phases.unusable(found, "b")
    with pytest.raises(RefusedError):
        look.chosen("b", look.points([found], "velero"))


def test_a_backup_that_is_being_deleted_is_refused_although_it_is_completed() -> None:
    found = backup("b")
    found["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    assert phases.unusable(found, "b") == "The backup b is being deleted."
    assert phases.unusable(backup("b", "Completed (Deleting)"), "b") == ""


def test_a_phase_may_have_the_command_line_s_words_behind_it() -> None:
    assert phases.phase(backup("b", "Completed (Deleting)")) == "Completed"


def test_the_newest_complete_backup_is_the_latest() -> None:
    every = look.points([backup("old", day=10), backup("new", day=20), backup("torn", "Failed", day=25)], "velero")
    assert look.chosen("latest", every).identifier == "new"
    with pytest.raises(RefusedError, match="Velero has no backup 'none'"):
        look.chosen("none", every)
    with pytest.raises(RefusedError, match="no complete backup"):
        look.chosen("latest", every[2:])


def test_a_restore_takes_the_place_of_what_is_gone() -> None:
    assert propose(facts(backup("b"))) == ["await-absence", "restore"]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (facts(backup("b"), holds=0), "holds nothing of namespace readmission-system"),
        (facts(backup("b"), there=True), "exists, and a restore changes nothing"),
        (facts(backup("b"), there=True, terminating="finalizer x in 1 instance"), "still being deleted: finalizer x"),
        (facts(backup("b"), refused="No Velero there."), "No Velero there"),
        (facts(), "no complete backup"),
    ],
)
def test_what_keeps_a_restore_from_being_whole_is_refused_before_anything_is_done(seen: Facts, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        propose(seen)


def test_a_drill_may_find_there_what_it_loses_first() -> None:
    drill = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "d")
    assert propose(facts(backup("b"), there=True), drill)


def test_what_another_machine_began_goes_on_although_the_namespace_is_there_by_now() -> None:
    seen = facts(backup("b"), there=True)
    begun = look.made([{"metadata": {"name": f"dr-{RUN.id}", "labels": {"dr/run": RUN.id}}}], "restore")
    assert propose(replace(seen, resources=begun))


def test_a_drill_restores_what_it_has_backed_up_itself_by_what_that_tells() -> None:
    drill = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "d")
    verb = Verb("restore", {"to": {"backup": "own"}})
    _, restore = restoring.propose(verb, facts(backup("older"), holds=0, there=True), drill, CONFIG)
    assert restore.args["backup"] == f"dr-{drill.id}"
    effect = {"safeguard": {"covers": 7.0, "seconds": 3.0}}
    filled = fill(restore.args, effect)
    assert (filled["recovery_point"], filled["resolution"]) == (7.0, 3.0)


def test_what_a_run_does_not_back_up_before_it_does_not_restore() -> None:
    look.check_own(["safeguard", "disaster", "restore"])
    for steps in (["disaster", "restore"], ["restore", "safeguard"]):
        with pytest.raises(RefusedError, match="it takes none before"):
            look.check_own(steps)


def test_what_nobody_named_is_refused() -> None:
    with pytest.raises(RefusedError, match="No namespace is named"):
        restoring.propose(
            Verb("restore", {"to": {"backup": "b"}}), facts(backup("b")), RUN, KubernetesConfig("/k", "c", "u")
        )


WHERE = {"namespaces": [SYSTEM], "places": [SYSTEM], "database": "", "left_out": []}
ARGS = {"identifier": "r", "backup": "b", **WHERE, "recovery_point": 5.0, "resolution": 6.0}


@pytest.mark.parametrize("phase", [*sorted(phases.UNDER_WAY), "Unheard"])
def test_a_phase_that_is_not_known_is_no_end(phase: str) -> None:
    assert not restoring.polled(backup("r", phase), ARGS, 1.0, CONFIG).done


@pytest.mark.parametrize("phase", ["Failed", "FailedValidation"])
def test_a_restore_that_failed_leads_nowhere_and_says_why(phase: str) -> None:
    with pytest.raises(FailedError, match=r"r is .*: no such bucket"):
        restoring.polled(backup("r", phase, validationErrors=["no such bucket"]), ARGS, 1.0, CONFIG)


@pytest.mark.parametrize("phase", ["Completed", "PartiallyFailed"])
def test_a_restore_that_ended_tells_what_its_backup_covers(phase: str) -> None:
    found = restoring.polled(backup("r", phase, errors=2), ARGS, 1.0, CONFIG)
    assert found.done
    assert (found.result["phase"], found.result["errors"]) == (phase, 2)
    assert found.observations[0].value["covers"] == 5.0
    assert [one.ref.name for one in found.components] == [SYSTEM]


def test_an_archive_holds_each_object_once() -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "a"}, "data": {"x": "1"}}
    held = archive.read(archived(("configmaps", config), ("namespaces", {"metadata": {"name": "empty"}})), "b")
    assert set(held.objects) == {("configmaps", "a", "c"), ("namespaces", "", "empty")}
    assert held.namespaces == {"a", "empty"}
    assert look.holds(held)["namespaces"] == {"a": 1, "empty": 0}


@pytest.mark.parametrize(
    "packed",
    [b"", b"no archive", archived()[:20], archived(("x", {"metadata": {"name": "y"}}))[:-40]],
    ids=["empty", "none", "cut at its head", "cut at its end"],
)
def test_an_archive_that_is_torn_is_an_error_that_names_its_backup(packed: bytes) -> None:
    with pytest.raises(ProviderError, match="archive of backup b cannot be read"):
        archive.read(packed, "b")


def test_what_velero_listed_and_the_archive_lacks_is_named_but_for_what_controllers_make() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "a"}}
    held = archive.read(archived(("configmaps", config)), "b")
    told = {"v1/ConfigMap": ["a/c", "b/c"], "v1/Pod": ["a/p"], "networking.k8s.io/v1/NetworkPolicy": ["a/deny"]}
    packed = gzip.compress(json.dumps({**told, "v1/Namespace": ["a"]}).encode())
    assert archive.torn(held, packed, ["a"]) == ["NetworkPolicy a/deny"]
    assert archive.torn(held, packed, ["c"]) == []


@pytest.mark.parametrize("told", ["[]", "x", '{"a": 1}', ""])
def test_a_list_of_a_backup_that_is_none_is_an_error(told: str) -> None:
    for file in (told.encode(), gzip.compress(told.encode())):
        with pytest.raises(ProviderError, match="list of the backup cannot be read"):
            archive.torn(archive.Archive({}), file, ["a"])


def test_what_workloads_need_of_the_cluster_and_the_backup_lacks_is_named() -> None:
    pod = {"spec": {"template": {"spec": {"priorityClassName": "serving"}}}}
    deployment = {"kind": "Deployment", "metadata": {"name": "d", "namespace": "a"}, **pod}
    issued = {"kind": "Certificate", "metadata": {"name": "c", "namespace": "a"}}
    issued["spec"] = {"issuerRef": {"kind": "ClusterIssuer", "name": "letsencrypt"}}
    some = [("deployments.apps", deployment), ("certificates.cert-manager.io", issued)]
    lacking = ["clusterissuers.cert-manager.io letsencrypt", "priorityclasses.scheduling.k8s.io serving"]
    assert look.lacking(archive.read(archived(*some), "b"), "a") == lacking
    there = ("priorityclasses.scheduling.k8s.io", {"metadata": {"name": "serving"}})
    assert look.lacking(archive.read(archived(*some, there), "b"), "a") == lacking[:1]


EXISTS = "already exists. Warning: the in-cluster version is different than the backed-up version"


@pytest.mark.parametrize(
    ("text", "routine"),
    [
        (f'could not restore, ConfigMap "kube-root-ca.crt" {EXISTS}', True),
        (f"could not restore, ConfigMap:kube-root-ca.crt {EXISTS}", True),
        (f'could not restore, Endpoints "web" {EXISTS}', True),
        (f'could not restore, CustomResourceDefinition "certificates.cert-manager.io" {EXISTS}', True),
        (f'could not restore, ClusterRole "system:node" {EXISTS}', True),
        (f'could not restore, ConfigMap "settings" {EXISTS}', False),
        (f'could not restore, Secret "kube-root-ca.crt" {EXISTS}', False),
        (f'could not restore, PersistentVolume "data" {EXISTS}', False),
        ("zero items to be restored", False),
        ('additional item ConfigMap "kube-root-ca.crt" was not found', False),
    ],
)
def test_which_warnings_are_routine_is_told_by_the_kind_that_was_there(text: str, routine: bool) -> None:
    held = {"warnings": {"velero": [], "namespaces": {"a": [text]}}, "errors": {"cluster": [text]}}
    assert examining.told(held) == {"warnings": [] if routine else [text], "errors": [] if routine else [text]}


def test_a_service_that_selects_and_has_no_ready_pod_is_unserved() -> None:
    services = [
        {"metadata": {"name": name}, "spec": {"selector": {"app": name}} if name != "outside" else {}}
        for name in ("api", "ui", "gone", "outside")
    ]
    pods = [
        {
            "metadata": {"name": f"{name}-1", "labels": {"app": name, "hash": "1"}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
        for name, ready in (("api", "True"), ("ui", "False"))
    ]
    assert set(examining.unserved(services, pods)) == {"ui", "gone"}


def workload(replicas: int, ran: int, app: str = "web") -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": app, "tier": "x"}}}
    return {
        "metadata": {"name": app},
        "spec": {"replicas": replicas, "template": template},
        "status": {"replicas": ran},
    }


@pytest.mark.parametrize(
    ("workloads", "dormant"),
    [
        ([workload(0, 0)], ["a/web"]),
        ([workload(0, 1)], []),
        ([workload(1, 0)], []),
        ([workload(0, 0, "other")], []),
        ([workload(0, 0), workload(1, 1, "web")], []),
        ([], []),
    ],
    ids=["asleep", "was put to sleep in the archive", "did not start", "selects nothing", "one awake", "none there"],
)
def test_a_service_led_to_nobody_in_the_backup_where_all_that_it_selects_slept(
    workloads: list[dict[str, Any]], dormant: list[str]
) -> None:
    held: dict[tuple[str, str, str], Any] = {("services", "a", "web"): {"spec": {"selector": {"app": "web"}}}}
    held |= {("deployments.apps", "a", f"w{n}"): one for n, one in enumerate(workloads)}
    held["deployments.apps", "b", "web"] = workload(1, 1)
    assert examining.dormant(held) == dormant


def test_what_stands_and_is_asked_for_no_pod_is_told_beside_what_leads_nowhere() -> None:
    held = {("deployments.apps", "a", "web"): workload(0, 0), ("daemonsets.apps", "a", "d"): {"spec": {}}}
    told = {"unserved": {"a/web": "x"}, "workloads": ["daemonsets.apps a/d", "deployments.apps a/web"]}
    assert examining.served(held, {"a/web": "x"}) == {**told, "asleep": ["deployments.apps a/web"]}


def scope(**spec: Any) -> Scope:
    return Scope.of({**backup("b"), "spec": spec})


@pytest.mark.parametrize(
    ("of", "made", "labels", "holds"),
    [
        (scope(), "2026-11-29T01:59:59Z", {}, True),
        (scope(), "2026-11-29T02:00:00Z", {}, False),
        (scope(), "", {}, False),
        (scope(), "2026-11-01T00:00:00Z", {"velero.io/exclude-from-backup": "true"}, False),
        (scope(excludedResources=["networkpolicies"]), "2026-11-01T00:00:00Z", {}, False),
        (scope(includedResources=["secrets"]), "2026-11-01T00:00:00Z", {}, False),
        (scope(includedResources=["networkpolicies.networking.k8s.io"]), "2026-11-01T00:00:00Z", {}, True),
        (scope(includedResources=["*"]), "2026-11-01T00:00:00Z", {}, True),
        (scope(labelSelector={"matchLabels": {"a": "b"}}), "2026-11-01T00:00:00Z", {}, False),
        (Scope(), "2026-11-01T00:00:00Z", {}, False),
    ],
)
def test_a_backup_was_to_hold_what_stood_when_it_began_and_nobody_left_out(
    of: Scope,
    made: str,
    labels: dict[str, str],
    holds: bool,
) -> None:
    one = {"metadata": {"name": "deny", "creationTimestamp": made, "labels": labels}}
    assert of.should_hold("networkpolicies.networking.k8s.io", one) is holds


def test_tags_are_labels_and_an_annotation_that_may_have_been_altered() -> None:
    tags = tags_of(RUN, 5.0)
    labels = {"dr/run": RUN.id, "dr/purpose": "restore"}
    assert tags_in({"metadata": {"labels": labels, "annotations": {"dr/tags": packed(tags)}}}) == tags
    assert tags_in({"metadata": {"labels": labels, "annotations": {"dr/tags": "[1"}}}) == {
        "dr:run": RUN.id,
        "dr:purpose": "restore",
    }
    assert tags_in({"metadata": {"annotations": {"dr/tags": packed(tags)}}}) == {}


def test_a_namespace_that_ends_says_what_holds_it() -> None:
    told = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x.io/keep in 1 resource instances"}
    quiet = {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content deleted"}
    found = {"metadata": {"deletionTimestamp": "t"}, "status": {"conditions": [told, quiet]}}
    assert look.state_of(found) == {"there": True, "terminating": "x.io/keep in 1 resource instances"}
    assert look.state_of({"metadata": {}}) == THERE
    assert look.state_of(None) == GONE


def test_the_last_line_of_a_command_is_told() -> None:
    assert last_words("x\nAn error occurred: no backup.\n\n") == "no backup"
    assert last_words("") == "it said nothing"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "elsewhere",
            r"does not name the namespace elsewhere\. Where it is the target's own, add it to kubernetes\.nam",
        ),
        ("kube-system", "is the cluster's own: no restore takes its place"),
        ("default", "is the cluster's own"),
    ],
)
def test_a_namespace_that_is_not_the_targets_is_refused_with_what_to_do(name: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        propose(facts(backup("b"), there=True), namespaces=[name])


def test_a_restore_in_the_place_of_what_is_lost_is_called_a_restore() -> None:
    verb = Verb("restore", {"to": {"backup": "latest"}})
    calls = restoring.propose(verb, facts(backup("b")), RUN, CONFIG)
    plan = Plan(Request("lab", (verb,), Purpose.RESTORE), RUN, calls, ())
    assert (plan.takes_over, plan.what) == (False, "restore")
    assert calls[1].covers == look.points([backup("b")], "velero")[0].covers


class TwoAtOnce:
    """A cluster that answers an update once a second one is asked for, too."""

    def __init__(self, *there: dict[str, Any]) -> None:
        self._there, self._both = there, Barrier(2, timeout=20)

    def get(self, _path: str) -> dict[str, Any]:
        return {"items": [*self._there]}

    def patch(self, path: str, _body: object, _kind: str) -> dict[str, Any]:
        self._both.wait()
        return next({**one, "data": {"a": "b"}} for one in self._there if one["metadata"]["name"] in path)


def test_objects_that_differ_are_asked_about_side_by_side() -> None:
    def configs(value: str) -> list[dict[str, Any]]:
        named = ({"name": f"c{n}", "namespace": SYSTEM} for n in range(4))
        return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": one, "data": {"a": value}} for one in named]

    held = archive.read(archived(*(("configmaps", one) for one in configs("b"))), "b")
    found = comparing.compare(TwoAtOnce(*configs("other")), held, [SYSTEM])  # type: ignore[arg-type]
    assert {one.differs for one in found.objects.values()} == {("data.a",)}
    assert [*found.objects] == [f"configmaps {SYSTEM}/c{n}" for n in range(4)]
