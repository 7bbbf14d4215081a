"""A copy of a namespace beside production, on a stub of a cluster: what is refused, and the order of what is done."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dr.config.context import Context
from dr.config.model import Settings, Target
from dr.domain.errors import DrError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Purpose, Request, RunIdentity, Verb
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.provider import VeleroProvider
from dr.engine.guard import Consent, guard
from dr.engine.plan import plan
from dr.engine.references import fill
from dr.host.clock import SystemClock
from tests.platform_objects import KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.stub_velero import Velero, backup, stub_velero
from tests.targets import retargeted, target_of

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.RESTORE, "d")
INTO, SPACES = "drill", "/api/v1/namespaces"
URL = "postgresql://api:hush@db.readmission-database.svc:5432/app"


def made(kind: str, name: str, space: str = SYSTEM, **more: Any) -> dict[str, Any]:
    version = "apps/v1" if kind == "Deployment" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": space}, **more}


SECRET = made("Secret", "database", data={"url": base64.b64encode(URL.encode()).decode()})
DEPLOYMENT = made("Deployment", "api", spec={"replicas": 3, "template": {"spec": {}}})
DATABASE = made("Service", "db", "readmission-database", spec={"clusterIP": "10.96.0.9"})
HELD = (("secrets", SECRET), ("deployments.apps", DEPLOYMENT), ("services", DATABASE))
OWN_DATABASE = {"database": "copy.example:5433"}


class Place:
    def __init__(self, velero: Velero, at: Path) -> None:
        spaces = (SYSTEM, "readmission-database")
        cluster = KubernetesConfig(str(at / "kubeconfig"), "stub", KUBE_SYSTEM_UID, spaces)
        own = VeleroConfig(program=str(velero.program))
        self.velero, self._at = velero, at
        self.target: Target = retargeted(target_of(), kubernetes=cluster, velero=own)

    @property
    def provider(self) -> VeleroProvider:
        context = Context("lab", self.target, Settings(), self._at, self._at, SystemClock(), "")
        provider = VeleroProvider(context)
        provider._protected.endpoints = list  # type: ignore[assignment]  # there is no RDS here
        return provider

    def verb(self, **args: Any) -> Verb:
        return Verb("restore", {"to": {"backup": "nightly"}, "namespaces": [SYSTEM], "into": INTO, **args})

    def calls(self, **args: Any) -> tuple[Call, ...]:
        verb, provider = self.verb(**args), self.provider
        return provider.propose(verb, self.look(provider, verb), RUN)

    def look(self, provider: VeleroProvider, verb: Verb) -> Facts:
        return provider.look(Request("lab", (verb,), Purpose.RESTORE))

    def holds(self, path: str) -> Mapping[str, Any]:
        return self.velero.objects.found[path]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with stub_velero(tmp_path) as one:
        one.objects.hold(*PLATFORM[:2])
        one.keep(backup("nightly"), *HELD)
        yield Place(one, tmp_path)


def refused(place: Place, words: str, kind: type[DrError] = RefusedError, **args: Any) -> None:
    """It is, before anything is done, and with no secret told."""
    before = len(place.velero.objects.history)
    with pytest.raises(kind) as told:
        place.calls(**args)
    assert words in str(told.value)
    assert "hush" not in str(told.value)
    changed = [path for path, _ in place.velero.objects.history[before:] if "downloadrequests" not in path]
    assert changed == []


@pytest.mark.parametrize(
    ("args", "words", "kind"),
    [
        ({"into": SYSTEM}, "cannot be readmission-system itself", RefusedError),
        ({"into": "readmission-database"}, "is the target's own", RefusedError),
        ({"into": "kube-system"}, "The namespace kube-system exists already", RefusedError),
        ({"into": "Not_A_Name"}, "is no name of a namespace", UsageError),
        ({"namespaces": [SYSTEM, "other"]}, "2 namespaces cannot be restored into one", UsageError),
        ({"database": "nowhere"}, "is no place of a database", UsageError),
        ({}, f"secrets {SYSTEM}/database: data.url names db.readmission-database", RefusedError),
        ({**OWN_DATABASE, "namespaces": ["elsewhere"]}, "holds nothing of namespace elsewhere", RefusedError),
    ],
)
def test_what_cannot_stand_beside_production_is_refused(
    place: Place, args: dict[str, Any], words: str, kind: type[DrError]
) -> None:
    refused(place, words, kind, **args)


def test_a_copy_that_is_still_being_deleted_is_waited_for_by_a_person(place: Place) -> None:
    place.velero.objects.hold((SPACES, {"metadata": {"name": INTO, "deletionTimestamp": "t"}}))
    refused(place, "The namespace drill is still being deleted", **OWN_DATABASE)


def test_the_guard_lets_a_copy_pass_that_touches_nothing_of_production(place: Place) -> None:
    verb, provider = place.verb(**OWN_DATABASE), place.provider
    facts = place.look(provider, verb)
    request = Request("lab", (verb,), Purpose.DRILL)
    planned = plan(request, RUN, facts, provider.propose, ())
    assert all(call.effect in (Effect.MAKES, Effect.CHANGES) for call in planned.calls)
    from dr.app.terms import terms

    told = guard(planned, terms(place.target), facts, Consent(identifier="x"))
    assert not [one for one in told if "namespace" in one and "would" in one], told


def perform(place: Place, *, arrives: bool = True, **args: Any) -> dict[str, Any]:
    """Do all calls; at Velero's the backup's objects arrive as its modifiers leave them. Returns the results."""
    provider, verb, effects = place.provider, place.verb(**args), dict[str, Any]()
    for call in provider.propose(verb, place.look(provider, verb), RUN):
        result = provider.apply(call, fill(call.args, effects))
        if call.id == "restore-namespaces" and arrives:
            place.velero.objects.hold(
                (f"{SPACES}/{INTO}/secrets", {**SECRET, "metadata": {"name": "database", "namespace": INTO}}),
                (
                    f"/apis/apps/v1/namespaces/{INTO}/deployments",
                    {**DEPLOYMENT, "metadata": {"name": "api", "namespace": INTO}, "spec": {"replicas": 0}},
                ),
            )
        effects[call.id] = provider.poll(call, result).result
    return effects


def test_a_copy_is_made_led_and_only_then_started(place: Place) -> None:
    result = perform(place, **OWN_DATABASE)
    space = place.holds(f"{SPACES}/{INTO}")["metadata"]
    assert space["labels"] == {"dr/run": RUN.id, "dr/purpose": "restore"}
    led = base64.b64decode(place.holds(f"{SPACES}/{INTO}/secrets/database")["data"]["url"]).decode()
    assert led == "postgresql://api:hush@copy.example:5433/app"
    assert place.holds(f"/apis/apps/v1/namespaces/{INTO}/deployments/api")["spec"]["replicas"] == 3
    modifiers = place.holds(f"{SPACES}/velero/configmaps/dr-{RUN.id}")
    assert "hush" not in str(modifiers)
    assert modifiers["metadata"]["ownerReferences"][0]["name"] == f"dr-{RUN.id}"
    assert (result["restore-namespaces"]["namespaces"], result["restore-namespaces"]["places"]) == ([SYSTEM], [INTO])


def test_what_names_production_although_the_backup_does_not_keeps_the_copy_from_being_started(place: Place) -> None:
    strange = made("Secret", "injected", INTO, data={"to": base64.b64encode(b"db.readmission-database.svc").decode()})
    place.velero.objects.hold((f"{SPACES}/{INTO}/secrets", strange))
    with pytest.raises(RefusedError, match=r"secrets drill/injected: data\.to names db\.readmission-database"):
        perform(place, **OWN_DATABASE)
    assert place.holds(f"/apis/apps/v1/namespaces/{INTO}/deployments/api")["spec"]["replicas"] == 0


def test_a_copy_is_removed_by_its_label_and_another_s_namespace_is_left_alone(place: Place) -> None:
    perform(place, **OWN_DATABASE)
    provider = place.provider
    assert {str(one.ref) for one in provider.remains(RUN.id)} == {f"restore dr-{RUN.id}", f"namespace {INTO}"}
    (make, *_) = place.calls(into="other", **OWN_DATABASE)
    assert make.undo is not None
    args = {"namespace": INTO, "run": RUN.id}
    with pytest.raises(RefusedError, match="is not of run another, and is left alone"):
        provider.apply(make.undo, {**args, "run": "another"})
    provider.apply(make.undo, args)
    assert provider.poll(make.undo, args).done
    assert {str(one.ref) for one in provider.remains(RUN.id)} == {f"restore dr-{RUN.id}"}


def test_an_adopted_copy_is_no_run_s_any_more(place: Place) -> None:
    perform(place, **OWN_DATABASE)
    for name in (f"dr-{RUN.id}", INTO):
        place.provider.adopt(name, RUN.id)
    assert place.provider.remains(RUN.id) == ()


def test_what_another_machine_began_goes_on(place: Place) -> None:
    perform(place, **OWN_DATABASE)
    provider, verb = place.provider, place.verb(**OWN_DATABASE)
    from dr.drivers.kubernetes.provider import _seen

    there = _seen("namespace", place.holds(f"{SPACES}/{INTO}"))
    facts = place.look(provider, verb)
    seen = Facts(facts.at, resources=(*facts.resources, there), points=facts.points, extra=facts.extra)
    assert provider.propose(verb, seen, RUN)
