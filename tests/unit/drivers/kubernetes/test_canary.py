"""What a namespace's canary comes down to, and which writes a restored one stands for."""

from __future__ import annotations

from typing import Any

import pytest

from dr.domain.errors import UsageError
from dr.domain.model import Facts, Grant, Own, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.kubernetes import canary
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.refs import namespace
from dr.engine.guard import Consent, Terms, guard
from dr.evidence.model import Marker
from tests.platform_objects import SYSTEM

CONFIG = KubernetesConfig("/none", "none", "uid", (SYSTEM,))
RUN = RunIdentity("20261130-033333-cf4e", "t", Purpose.DRILL, "d")
VERB = Verb("mark_namespace", {"namespace": SYSTEM})


def restored(*numbers: str) -> list[dict[str, Any]]:
    return [{"metadata": {"labels": {canary.LABEL: RUN.id}}, "data": {"n": one}} for one in numbers]


def writes(*outcomes: str) -> list[Marker]:
    return [Marker(n, n, n, n, outcome) for n, outcome in enumerate(outcomes)]


ACKNOWLEDGED, FAILED, UNKNOWN = "acknowledged", "failed", "indeterminate"


@pytest.mark.parametrize(
    ("found", "written", "numbers"),
    [
        (restored("2"), writes(*[ACKNOWLEDGED] * 4), [0, 1, 2]),
        (restored("2"), writes(ACKNOWLEDGED, FAILED, UNKNOWN, ACKNOWLEDGED), [0, 2]),
        (restored("1"), writes(ACKNOWLEDGED, FAILED), [0, 1]),  # it failed, and is there: the judge has to know
        (restored("7"), writes(ACKNOWLEDGED), [0, 7]),
        ([{"metadata": {}}], writes(ACKNOWLEDGED), []),  # backed up before its first write
        ([], writes(ACKNOWLEDGED), []),
    ],
)
def test_a_restored_canary_stands_for_each_write_up_to_its_number_that_may_have_been_done(
    found: list[dict[str, Any]], written: list[Marker], numbers: list[int]
) -> None:
    assert canary.present(found, written) == [[n, n] for n in numbers]


def test_a_canary_is_made_with_the_grant_markers_alone_in_what_is_the_target_s_own() -> None:
    calls = canary.propose(VERB, RUN, CONFIG, 2.0)
    pins = {"kubernetes": {"cluster_uid": "uid"}}
    plan = Plan(Request("t", (VERB,), Purpose.DRILL), RUN, calls, ())
    facts = Facts(0.0, pins, own={namespace(SYSTEM): Own.PART})

    def refused(*grants: Grant) -> tuple[str, ...]:
        return guard(plan, Terms(grants, pins, (), "word"), facts, Consent("word"))

    assert refused(Grant.MARKERS) == ()
    (why,) = refused()
    assert "the target does not grant markers" in why


def test_a_namespace_that_is_not_the_target_s_gets_none() -> None:
    with pytest.raises(UsageError, match="none of the target's"):
        canary.propose(Verb("mark_namespace", {"namespace": "default"}), RUN, CONFIG, 2.0)


def test_what_bears_the_label_is_nobody_s_to_restore() -> None:
    assert canary.is_one(restored("1")[0])
    assert not canary.is_one({"metadata": {"labels": None}})
