"""Velero and its cluster as they may be found: each is told in a sentence before anything begins, or in its midst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.app.prepare import Prepared, accept, prepare
from dr.app.restore import earlier_runs
from dr.app.terms import needs
from dr.config.context import Context
from dr.config.model import Settings, Target
from dr.domain.errors import DrError, FailedError, ProviderError, RefusedError
from dr.domain.model import Call, Facts, Grant, Progress, Purpose, Request, RunIdentity, Verb
from dr.drivers.kubernetes import cluster as asking
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.provider import VeleroProvider, checked
from dr.engine.guard import Consent
from dr.engine.references import fill
from dr.host.clock import SystemClock
from tests.platform_objects import KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.stub_velero import KEY, OWN, Velero, archived, backup, stub_velero
from tests.targets import retargeted, target_of

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.RESTORE, "d")
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "known", "namespace": SYSTEM},
    "data": {"a": "b"},
}
COMPARED = {"backup": "nightly", "namespaces": [SYSTEM], "places": [SYSTEM], "left_out": []}
IN_SPACE = "Deployment velero in namespace velero"
SAFEGUARD = Verb("safeguard")
RESTORE, COMPARE = Verb("restore", {"to": {"backup": "nightly"}}), Verb("compare")


@dataclass
class Place:
    velero: Velero
    target: Target
    at: Path

    @property
    def context(self) -> Context:
        return Context("lab", self.target, Settings(), self.at, self.at, SystemClock(), "")

    @property
    def provider(self) -> VeleroProvider:
        return VeleroProvider(self.context)

    def plan(self, verb: Verb = RESTORE) -> tuple[Call, ...]:
        provider = self.provider
        return provider.propose(verb, self.look(), RUN)

    def look(self) -> Facts:
        return self.provider.look(Request("lab", (RESTORE,), Purpose.RESTORE))

    def restore(self) -> dict[str, Progress]:
        """Do all of a restore but for waiting. Returns how far each call is."""
        provider, effects, done = self.provider, dict[str, Any](), dict[str, Progress]()
        facts = provider.look(Request("lab", (RESTORE,), Purpose.RESTORE))
        for verb in (RESTORE, COMPARE):
            for call in provider.propose(verb, facts, RUN):
                done[call.id] = provider.poll(call, provider.apply(call, fill(call.args, effects)))
                effects[call.id] = done[call.id].result
        return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(asking, "LOST_SECONDS", 0.2)
    with stub_velero(tmp_path) as one:
        one.objects.hold(PLATFORM[0])
        one.keep(backup("nightly"), ("configmaps", CONFIG))
        cluster = KubernetesConfig(str(tmp_path / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,))
        own = VeleroConfig(program=str(one.program))
        target = retargeted(target_of(grants=(Grant.DISPOSABLE,)), kubernetes=cluster, velero=own)
        yield Place(one, target, tmp_path)


def refused(place: Place, words: str) -> None:
    """It is, in a sentence, with nothing done and no secret told."""
    with pytest.raises(DrError) as told:
        place.plan()
    assert words in str(told.value)
    assert str(told.value).rstrip().endswith(".")
    assert KEY not in str(told.value)
    assert place.velero.restores() == []


def test_what_is_there_is_restored_and_compared(place: Place) -> None:
    place.velero.objects.hold((f"/api/v1/namespaces/{SYSTEM}/configmaps", CONFIG))
    done = place.restore()
    seen = {one.what: one.value for of in done.values() for one in of.observations}
    assert (seen["objects"]["objects"], seen["objects"]["whole"], seen["objects"]["others"]) == (1, 1, {})
    assert seen["restore-results"] == {"phase": "Completed", "warnings": [], "errors": []}
    assert "examined" in done["compare"].milestones


def test_a_backup_that_is_not_there(place: Place) -> None:
    del place.velero.objects.found[f"{OWN}/backups/nightly"]
    refused(place, "Velero has no backup 'nightly'. 'dr backups' lists what there is.")


@pytest.mark.parametrize("phase", ["InProgress", "PartiallyFailed", "Failed", "FailedValidation", "Deleting", "Novel"])
def test_a_backup_in_another_phase(place: Place, phase: str) -> None:
    place.velero.keep(backup("nightly", phase), ("configmaps", CONFIG))
    refused(place, "The backup nightly is")


def test_a_namespace_that_the_backup_does_not_hold(place: Place) -> None:
    other = {**CONFIG, "metadata": {"name": "known", "namespace": "elsewhere"}}
    place.velero.keep(backup("nightly"), ("configmaps", other))
    refused(
        place, "holds nothing of namespace readmission-system; Velero would call that Completed. Its namespaces are"
    )


def test_a_namespace_that_exists(place: Place) -> None:
    place.velero.objects.hold(PLATFORM[1])
    refused(place, "The namespace readmission-system exists")


def test_a_namespace_that_ends_names_its_finalizers(place: Place) -> None:
    why = "Some content in the namespace has finalizers remaining: x.io/keep in 1 resource instances"
    conditions = [{"type": "NamespaceFinalizersRemaining", "status": "True", "message": why}]
    ending = {"metadata": {"name": SYSTEM, "deletionTimestamp": "t"}, "status": {"conditions": conditions}}
    place.velero.objects.hold(("/api/v1/namespaces", ending))
    refused(place, f"is still being deleted: {why}.")


@pytest.mark.parametrize("phase", ["Unavailable", "", "Novel"])
def test_a_storage_location_that_cannot_be_read(place: Place, phase: str) -> None:
    location = {"metadata": {"name": "default"}, "status": {"phase": phase, "message": "no such bucket"}}
    place.velero.objects.hold((f"{OWN}/backupstoragelocations", location))
    refused(place, "no such bucket")


def test_a_storage_location_that_may_only_be_read_is_enough(place: Place) -> None:
    location = {"metadata": {"name": "default"}, "spec": {"accessMode": "ReadOnly"}, "status": {"phase": "Available"}}
    place.velero.objects.hold((f"{OWN}/backupstoragelocations", location))
    assert place.plan()


def test_an_archive_that_is_gone_or_torn(place: Place) -> None:
    place.velero.files["BackupContents/nightly"] = b"torn"
    refused(place, "The archive of backup nightly cannot be read")
    del place.velero.files["BackupContents/nightly"]
    refused(place, "could not be read from Velero's storage location (HTTP 404)")


def test_velero_without_its_deployment(place: Place) -> None:
    del place.velero.objects.found["/apis/apps/v1/namespaces/velero/deployments/velero"]
    refused(place, "There is no Deployment velero in namespace velero, without which nothing is restored.")


def test_velero_that_is_not_installed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.stub_cluster.LISTS", ("namespaces",))
    with pytest.raises(RefusedError, match=r"There is no Velero in this cluster: it knows no backups\.velero\.io\."):
        place.look()


def test_velero_that_is_too_old_restores_nothing(place: Place) -> None:
    place.velero.says(version="v1.9.2")
    refused(place, "Velero's server is 1.9, which is too old. Install 1.12 or newer.")


def test_a_server_that_hangs_is_told_before_its_storage_is_asked_for(place: Place) -> None:
    place.velero.says(version="unknown")
    place.velero.files.clear()
    refused(place, "Velero's server does not tell its version. See whether its server runs")


def test_the_doctor_misses_the_deployment_and_a_place_for_backups(place: Place) -> None:
    checks = dict(checked(place.context, place.look()))
    there, place_for = (checks[f"velero: {what}"] for what in (IN_SPACE, "a place for backups of drills"))
    there()
    place_for()
    del place.velero.objects.found["/apis/apps/v1/namespaces/velero/deployments/velero"]
    with pytest.raises(RefusedError, match="There is no Deployment velero in namespace velero"):
        there()
    read_only(place)
    with pytest.raises(RefusedError, match="storage location default is read-only, so that no backup can be taken"):
        place_for()
    kept = Place(place.velero, retargeted(place.target, grants=()), place.at)  # which no drill loses a namespace of
    assert len(checked(kept.context, place.look())) == len(checks) - 1


def read_only(place: Place, mode: str = "ReadOnly") -> None:
    location = {"metadata": {"name": "default"}, "spec": {"accessMode": mode}, "status": {"phase": "Available"}}
    place.velero.objects.hold((f"{OWN}/backupstoragelocations", location))


@pytest.mark.parametrize(
    ("version", "kind", "words"),
    [("v1.9.2", RefusedError, "server is 1.9, which is too old"), ("unknown", ProviderError, "does not tell")],
)
def test_velero_that_is_too_old_or_silent(place: Place, version: str, kind: type[DrError], words: str) -> None:
    check = dict(checked(place.context, place.look()))["velero: command line and server"]
    place.velero.says(version=version)
    with pytest.raises(kind, match=words):
        check()


def test_a_command_line_that_is_not_there(place: Place) -> None:
    place.velero.program.unlink()
    with pytest.raises(RefusedError, match="There is no program"):
        place.restore()
    assert place.velero.restores() == []


def test_the_newest_backup_is_told_for_what_it_lacks(place: Place) -> None:
    pods = {"template": {"spec": {"priorityClassName": "serving"}}}
    deployment = {"kind": "Deployment", "metadata": {"name": "api", "namespace": SYSTEM}, "spec": pods}
    place.velero.keep(backup("nightly"), ("deployments.apps", deployment))
    check = dict(checked(place.context, place.look()))["velero: the newest backup"]
    with pytest.raises(RefusedError, match=r"lacks what its workloads need of the cluster: priorityclasses.*serving"):
        check()


def test_what_may_not_be_done_is_named_by_verb_and_resource_before_anything_begins(place: Place) -> None:
    place.velero.objects.denied = {("create", "restores")}
    wrong = [why for _, why in needs(place.target, [RESTORE]) if why]
    assert len(wrong) == 1
    assert "may not create restores.velero.io in namespace velero" in wrong[0]


@pytest.mark.parametrize("denied", [("patch", "configmaps"), ("list", "services"), ("list", "persistentvolumeclaims")])
def test_what_comparing_needs_is_asked_before_anything_is_restored(place: Place, denied: tuple[str, str]) -> None:
    place.velero.objects.denied = {denied}
    refused(place, f"may not {denied[0]} {denied[1]} in namespace readmission-system")
    with pytest.raises(RefusedError, match=f"may not {denied[0]} {denied[1]}"):
        dict(checked(place.context, place.provider.look(Request("lab", (), Purpose.RESTORE))))[
            "velero: the newest backup"
        ]()


def test_the_deployment_of_velero_may_be_looked_at(place: Place) -> None:
    place.velero.objects.denied = {("get", "deployments")}
    assert any("may not get deployments.apps in namespace velero" in why for _, why in needs(place.target, [RESTORE]))


# -- a drill's own backup


def safeguarding(place: Place) -> tuple[Call, Call]:
    """The call that takes it, and what undoes that, begun."""
    provider = place.provider
    facts = provider.look(Request("lab", (SAFEGUARD, RESTORE), Purpose.DRILL))
    (call,) = provider.propose(SAFEGUARD, facts, RUN)
    assert call.undo is not None
    provider.apply(call, call.args)
    return call, call.undo


def test_no_drill_begins_where_its_backup_has_no_place(place: Place) -> None:
    read_only(place)
    facts = place.provider.look(Request("lab", (SAFEGUARD, RESTORE), Purpose.DRILL))
    with pytest.raises(RefusedError, match="storage location default is read-only"):
        place.provider.propose(SAFEGUARD, facts, RUN)


@pytest.mark.parametrize("phase", ["FailedValidation", "Failed", "PartiallyFailed"])
def test_a_backup_of_a_drill_that_failed_leaves_no_record(place: Place, phase: str) -> None:
    place.velero.says(phase)
    call, undo = safeguarding(place)
    provider, path = place.provider, f"{OWN}/backups/dr-{RUN.id}"
    with pytest.raises(FailedError, match=f"own backup dr-{RUN.id} is {phase}"):
        provider.poll(call, call.args)
    assert not provider.poll(undo, undo.args).done
    assert path not in place.velero.objects.found
    assert provider.poll(undo, undo.args).done


def test_a_removal_that_velero_refuses_is_told_and_asked_for_again_by_the_next_clean_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.velero.says("Failed")
    _, undo = safeguarding(place)
    name, asked = f"dr-{RUN.id}", list[str]()

    def refuse(_: object, backup: str) -> None:
        asked.append(backup)
        status = {"phase": "Processed", "errors": ["the location default is in read-only mode."]}
        one = {"metadata": {"name": f"{name}-{len(asked)}"}, "spec": {"backupName": name}, "status": status}
        place.velero.objects.hold((f"{OWN}/deletebackuprequests", one))

    with monkeypatch.context() as patched:
        patched.setattr("dr.drivers.velero.command.Command.remove_backup", refuse)
        for count in (1, 2):
            provider = place.provider
            assert not provider.poll(undo, undo.args).done
            assert len(asked) == count
            words = f"could not remove the backup {name}: the location default is in read-only mode. See to its storage"
            with pytest.raises(FailedError, match=words):
                provider.poll(undo, undo.args)
    provider = place.provider
    assert not provider.poll(undo, undo.args).done
    assert provider.poll(undo, undo.args).done


def test_what_no_server_takes_up_is_told_in_a_minute(place: Place) -> None:
    (_, restore) = place.plan()
    place.velero.says("New")
    provider = place.provider
    provider.apply(restore, restore.args)
    (path,) = [one for one in place.velero.objects.found if one.startswith(f"{OWN}/restores/")]
    place.velero.says("New", version="unknown")
    one = place.velero.objects.found[path]
    one["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    assert not provider.poll(restore, restore.args).done
    one["metadata"]["creationTimestamp"] = (datetime.now(UTC) - timedelta(seconds=61)).isoformat()
    with pytest.raises(ProviderError, match=r"was not begun in 6\d s: Velero's server does not tell its version"):
        provider.poll(restore, restore.args)
    place.velero.says("New")  # another restore comes first
    assert not place.provider.poll(restore, restore.args).done


def test_a_url_that_nobody_signs_is_waited_for_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dr.drivers.velero.storage.SIGNED_SECONDS", 0.2)
    asked, create = list[str](), place.velero.objects.create

    def unsigned(path: str, body: dict[str, Any]) -> dict[str, Any]:
        made = create(path, body)
        if path.endswith("/downloadrequests"):
            asked.append(path)
            made["status"] = {}
        return made

    place.velero.objects.create = unsigned  # type: ignore[method-assign]
    refused(place, "Velero gave no URL for BackupContents of nightly within 0 s.")
    assert len(asked) == 1


def test_a_command_line_whose_api_server_was_away_for_a_moment_is_run_again(place: Place) -> None:
    (_, restore) = place.plan()
    text, mark = place.velero.program.read_text(), place.at / "away"
    away = 'if not os.path.exists(MARK):\n    open(MARK, "w")\n    sys.exit("dial tcp: connect: connection refused")\n'
    first, rest = text.split("flags =", 1)
    code = away.replace("MARK", repr(str(mark))).replace("\\n", "\n")
    place.velero.program.write_text(first.replace("import json", "import os, json") + code + "flags =" + rest)
    place.provider.apply(restore, restore.args)
    assert place.velero.restores() == [f"dr-{RUN.id}"]


def test_another_cluster_than_the_one_that_is_pinned(place: Place) -> None:
    found = place.velero.objects.found["/api/v1/namespaces/kube-system"]
    found["metadata"] = {**found["metadata"], "uid": "another"}
    with pytest.raises(RefusedError, match="leads to the cluster another, and the target is pinned to"):
        place.provider.confirm_identity()


def test_an_api_server_that_goes_away_in_the_middle(place: Place) -> None:
    calls = place.plan()
    place.velero.objects.gone = True
    with pytest.raises(ProviderError, match="does not answer"):
        place.provider.poll(calls[0], place.provider.apply(calls[0], calls[0].args))


@pytest.mark.parametrize("phase", ["Failed", "FailedValidation"])
def test_a_restore_that_fails(place: Place, phase: str) -> None:
    place.velero.says(phase)
    with pytest.raises(FailedError, match=f"is {phase}"):
        place.restore()


@pytest.mark.parametrize("kind", ["restores", "backups"])
def test_what_is_compared_rests_on_a_restore_and_a_backup_that_are_still_there(place: Place, kind: str) -> None:
    done = place.restore()
    result = done["restore-namespaces"].result
    (name,) = [path for path in place.velero.objects.found if path.startswith(f"{OWN}/{kind}/")]
    del place.velero.objects.found[name]
    with pytest.raises(FailedError, match=rf"The {kind[:-1]} {name.rpartition('/')[2]} is gone .* somebody deleted it"):
        place.provider.poll(place.plan(COMPARE)[0], result)


def test_a_run_whose_restore_and_namespace_were_deleted_ends_and_the_same_command_begins_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HOME", str(place.at))
    wanted, target = (
        Request("lab", (RESTORE, COMPARE), Purpose.RESTORE),
        retargeted(place.target, grants=(), consent="lab"),
    )
    settings, agreed = Settings(targets={"lab": target}), Consent("lab")

    def again() -> Prepared:
        return prepare(settings, wanted, {}, lambda _call, _note: None)

    first = accept(again(), agreed)
    first.do(0)
    (restored,) = place.velero.restores()
    assert again().session.directory.id == first.directory.id
    del place.velero.objects.found[f"{OWN}/restores/{restored}"]
    anew = again()
    assert anew.session.directory.id != first.directory.id
    assert earlier_runs(anew) == (
        f"{restored}, which run {first.directory.id} restored, is gone: somebody deleted, adopted or renamed it."
        " A new one begins.",
    )
    accept(anew, agreed)
    assert first.directory.sealed()


def test_a_restore_in_a_phase_that_is_not_known_is_waited_for(place: Place) -> None:
    place.velero.says("Novel")
    (_, restore) = place.plan()
    assert not place.provider.poll(restore, place.provider.apply(restore, restore.args)).done


def test_a_kind_that_the_cluster_does_not_know_is_an_object_that_is_missing(place: Place) -> None:
    strange = {"apiVersion": "x.io/v1", "kind": "Novel", "metadata": {"name": "n", "namespace": SYSTEM}}
    place.velero.keep(backup("nightly"), ("novels.x.io", strange), ("configmaps", CONFIG))
    place.velero.objects.hold((f"/api/v1/namespaces/{SYSTEM}/configmaps", CONFIG))
    (seen,) = (one.value for one in place.restore()["compare"].observations if one.what == "objects")
    missing = {"version": None, "differs": [], "untold": "", "doubtful": False}
    assert seen["others"] == {f"novels.x.io {SYSTEM}/n": missing}


def test_what_velero_listed_and_the_archive_lacks_is_named_where_nobody_looked_before(place: Place) -> None:
    gone = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": SYSTEM}}
    place.velero.keep(backup("nightly"), ("secrets", gone), ("configmaps", CONFIG))
    place.velero.files["BackupContents/nightly"] = archived(("configmaps", CONFIG))
    (seen,) = (one.value for one in place.restore()["compare"].observations if one.what == "objects")
    assert (seen["torn"], seen["unlisted"]) == ([f"Secret {SYSTEM}/login"], "")
    del place.velero.files["BackupResourceList/nightly"]
    (seen,) = (one.value for one in place.restore()["compare"].observations if one.what == "objects")
    assert (seen["torn"], "HTTP 404" in seen["unlisted"]) == ([], True)


def test_a_webhook_that_refuses_leaves_an_object_uncompared_with_its_reason(place: Place) -> None:
    altered = {**CONFIG, "data": {"a": "other"}}
    place.velero.objects.hold((f"/api/v1/namespaces/{SYSTEM}/configmaps", altered))
    provider = place.provider
    provider.look(Request("lab", (RESTORE,), Purpose.RESTORE))  # which reads the archive
    place.velero.objects.refuses = (422, 'admission webhook "deny.example.com" denied the request')
    standing = provider._compared(COMPARED)
    assert "deny.example.com" in standing["others"][f"configmaps {SYSTEM}/known"]["untold"]


def test_a_field_that_the_server_takes_is_a_difference(place: Place) -> None:
    altered = {**CONFIG, "data": {"a": "hush", "more": "x"}}
    place.velero.objects.hold((f"/api/v1/namespaces/{SYSTEM}/configmaps", altered))
    found = place.provider._compared(COMPARED)
    assert found["others"][f"configmaps {SYSTEM}/known"]["differs"] == ["data.a", "data.more"]
    assert "hush" not in str(found)


def test_five_thousand_objects_are_compared_by_one_list_of_each_kind(place: Place) -> None:
    many = [{**CONFIG, "metadata": {"name": f"c{n}", "namespace": SYSTEM}} for n in range(5000)]
    place.velero.keep(backup("nightly"), *(("configmaps", one) for one in many))
    place.velero.objects.hold(*((f"/api/v1/namespaces/{SYSTEM}/configmaps", one) for one in many))
    found = place.provider._compared(COMPARED)
    assert (found["objects"], found["whole"]) == (5000, 5000)
