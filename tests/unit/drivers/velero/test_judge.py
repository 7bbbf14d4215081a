"""Each objective of a restored namespace: kept, broken, and not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Component, Demand, Observation, Status
from dr.domain.refs import Ref
from dr.drivers.velero import judge
from dr.drivers.velero.plugin import PLUGIN
from dr.evidence.model import Evidence
from dr.judge.findings import judged
from tests.unit.recovery import WALL, evidence

MET, MISSED, INCONCLUSIVE = Status.MET, Status.MISSED, Status.INCONCLUSIVE
WHOLE = {
    "objects": 28,
    "whole": 28,
    "others": {},
    "derived": 17,
    "finished": 0,
    "bare": 1,
    "owned": 6,
    "beyond": [],
    "missed": [],
    "backup": "b",
    "torn": [],
    "unlisted": "",
    "lacking": [],
    "workloads": ["deployments.apps a/api"],
    "asleep": [],
    "dormant": [],
}
SERVED = {"unserved": {}, "workloads": ["deployments.apps a/api", "deployments.apps a/new"], "asleep": []}
NETWORK = "networkpolicies.networking.k8s.io a/deny"
SECRET = "secrets readmission-system/readmission-database"


def differing(version: str | None = "x", untold: str = "", *, doubtful: bool = False) -> dict[str, Any]:
    return {"version": version, "differs": ["data.url"], "untold": untold, "doubtful": doubtful}


def seen(before: Mapping[str, Any] | None = None, **changes: Any) -> Evidence:
    found = evidence(observed={"objects": {**WHOLE, **changes}, "services": SERVED})
    if before is None:
        return found
    recorded = Observation("objects", "source", {**WHOLE, **before}, WALL - 30)
    return replace(found, observations=(*found.observations, recorded))


def status(what: Any, of: Evidence, limit: float | None = None) -> tuple[Status, str]:
    found = judged(what, of, Demand("x", "restored", limit, "s"))
    return found.status, found.because


@pytest.mark.parametrize(
    ("of", "expected", "words"),
    [
        (seen(), MET, "All 28 objects stand"),
        (seen(others={SECRET: differing()}), MISSED, f"{SECRET}: differs in data.url"),
        (seen(others={SECRET: differing(None)}), MISSED, "is missing"),
        (seen(others={SECRET: differing("", "the webhook refused it")}), INCONCLUSIVE, "the webhook refused it"),
        (seen({"others": {SECRET: differing()}}, others={SECRET: differing()}), MET, "1 of them as they were before"),
        (seen({"others": {SECRET: differing("y")}}), MET, "All 28 objects stand"),
        (seen({"others": {SECRET: differing("y")}}, others={SECRET: differing()}), INCONCLUSIVE, "neither"),
        (seen({"beyond": ["configmaps a/new"]}), MET, "Not in the backup: configmaps a/new."),
        (seen({"missed": [NETWORK], "beyond": [NETWORK]}), MISSED, f"{NETWORK}: was there when the backup began"),
        (seen({"missed": [NETWORK], "beyond": [NETWORK]}, beyond=[NETWORK]), MET, f"Not in the backup: {NETWORK}."),
        (seen({"missed": [NETWORK], "backup": "another"}), MET, "Nobody looked before the loss."),
        (seen(), MET, "Nobody looked before the loss. What the backup lacks is known by Velero's own list alone."),
        (seen(unlisted="No list there."), MET, "What the backup lacks is not known: No list there."),
        (seen(torn=[NETWORK]), INCONCLUSIVE, f"{NETWORK}: is in Velero's list of the backup, and not in its archive"),
        (seen(others={SECRET: differing(doubtful=True)}), INCONCLUSIVE, "which a controller may have written"),
        (seen({"others": {SECRET: differing()}}, others={SECRET: differing(doubtful=True)}), MET, "as they were"),
        (seen(finished=2), MET, "2 finished Jobs and Pods are not restored."),
        (seen(objects=1), MISSED, "no object"),
        (evidence(), INCONCLUSIVE, "not compared"),
    ],
)
def test_objects(of: Evidence, expected: Status, words: str) -> None:
    found, because = status(judge.objects, of)
    assert (found, words in because) == (expected, True), because


def claim(digest: str | None = "d", phase: str = "Bound", used: bool = True, because: str = "") -> dict[str, Any]:
    return {"phase": phase, "digest": digest, "used": used, "because": because}


def laid(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None = None) -> Evidence:
    """With the claim a/data, as it was restored, and before."""
    found = evidence(observed={"volumes": {"claims": {} if now is None else {"a/data": now}}})
    if before is None:
        return found
    recorded = Observation("volumes", "source", {"claims": {"a/data": before}}, WALL - 30)
    return replace(found, observations=(*found.observations, recorded))


@pytest.mark.parametrize(
    ("of", "expected", "words"),
    [
        (laid(None), MET, "no claim"),
        (laid(claim(), claim()), MET, "before the loss: 1 claim"),
        (laid(claim(None, "Pending"), claim()), MISSED, "a/data: is Pending"),
        (laid(claim("e", used=False), claim()), MISSED, "holds something else than before"),
        (laid(claim("e"), claim()), INCONCLUSIVE, "may have written since"),
        (laid(claim(None, because="no command"), claim()), INCONCLUSIVE, "was not read (no command)"),
        (laid(claim(), claim(None, because="no command")), INCONCLUSIVE, "before is not known (no command)"),
        (laid(claim()), INCONCLUSIVE, "nobody looked"),
        (evidence(), INCONCLUSIVE, "Nobody looked at the volumes"),
    ],
)
def test_volumes(of: Evidence, expected: Status, words: str) -> None:
    found, because = status(judge.volumes, of)
    assert (found, words in because) == (expected, True), because


def results(**of: Any) -> Evidence:
    return evidence(observed={"restore-results": {"phase": "Completed", "errors": [], "warnings": [], **of}})


@pytest.mark.parametrize(
    ("of", "expected", "words"),
    [
        (results(), MET, "Completed"),
        (results(phase="PartiallyFailed", errors=["no room"]), MISSED, "PartiallyFailed: no room"),
        (results(phase="Unheard"), MISSED, "Unheard"),
        (results(warnings=["Secret s differs"]), MISSED, "Secret s differs"),
        (evidence(), INCONCLUSIVE, "not compared"),
    ],
)
def test_restore_phase(of: Evidence, expected: Status, words: str) -> None:
    found, because = status(judge.restore_phase, of)
    assert (found, words in because) == (expected, True), because


def served(of: Mapping[str, Any] | None = None, **services: Any) -> Evidence:
    return evidence(observed={"objects": {**WHOLE, **(of or {})}, "services": {**SERVED, **services}})


NOBODY = {"a/api": "no pod that it selects is ready"}


def unawaited() -> Evidence:
    found = seen()
    return replace(found, entries=tuple(one for one in found.entries if "available" not in one.milestones))


@pytest.mark.parametrize(
    ("of", "expected", "words"),
    [
        (seen(), MET, "every Service has a pod"),
        (seen(asleep=["deployment a/b"]), MET, "Asleep in the backup, too: deployment a/b"),
        (seen(lacking=["priorityclasses x"]), MISSED, "lacks what its workloads need: priorityclasses x"),
        (served(unserved=NOBODY), MISSED, "service a/api: no pod that it selects is ready"),
        (served({"dormant": ["a/api"]}, unserved=NOBODY), MET, "every Service has a pod"),
        (served(workloads=[]), MISSED, "deployments.apps a/api: is not there"),
        (served(asleep=["deployments.apps a/api"]), INCONCLUSIVE, "deployments.apps a/api had pods when it was backed"),
        (
            served({"asleep": ["deployments.apps a/api"]}, asleep=["deployments.apps a/api"]),
            MET,
            "Asleep in the backup",
        ),
        (unawaited(), INCONCLUSIVE, "Nobody waited"),
        (evidence(), INCONCLUSIVE, "not compared"),
    ],
)
def test_workloads(of: Evidence, expected: Status, words: str) -> None:
    found, because = status(judge.workloads, of)
    assert (found, words in because) == (expected, True), because


def another_namespace() -> Evidence:
    """One of two that were restored was not compared."""
    found = evidence()
    parts = [Component("namespace", Ref("kubernetes", "namespace", name)) for name in ("a", "b")]
    told = {"restore": tuple(parts), "examine": (parts[0],)}
    return replace(found, entries=tuple(replace(one, components=told.get(one.call, ())) for one in found.entries))


@pytest.mark.parametrize(
    ("of", "limit", "expected", "words"),
    [
        (evidence(), 19.0, MET, "available 10.0 s after the disaster"),
        (evidence(), 15.0, INCONCLUSIVE, "examined after 19.0 s"),
        (evidence(), 9.0, MISSED, "19.0 s"),
        (evidence(examined=None), 60.0, INCONCLUSIVE, "not examined"),
        (unawaited(), 60.0, INCONCLUSIVE, "not known to have become available"),
        (another_namespace(), 60.0, INCONCLUSIVE, "not examined"),
    ],
)
def test_time_to_namespace(of: Evidence, limit: float, expected: Status, words: str) -> None:
    (timed,) = (one.judge for one in PLUGIN.objectives if one.verified)
    found, because = status(timed, of, limit)
    assert (found, words in because) == (expected, True), because
