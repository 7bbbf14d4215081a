from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from dr.config.model import DatabaseConfig, Login, Target
from dr.domain.model import Call, Facts, Grant, Plan, Purpose, Request, RunIdentity
from dr.engine.guard import Consent, guard, on_loopback
from tests.virtual import call

FACTS = Facts(0.0, "123456789012", "eu-central-1")
PRODUCTION = Target(
    account="123456789012",
    region="eu-central-1",
    instance="readmission-db",
    database=DatabaseConfig("readmission", Login("dr_harness", "env:HARNESS")),
)
LAB = msgspec.structs.replace(PRODUCTION, endpoint="http://127.0.0.1:1234", grants=(Grant.DISPOSABLE,))
TYPED = Consent("readmission-db")


def plan(*calls: Call) -> Plan:
    return Plan(
        Request("production", (), Purpose.DRILL), RunIdentity("run", "production", Purpose.DRILL, ""), calls, ()
    )


def test_a_copy_is_allowed_when_the_source_was_typed() -> None:
    assert guard(plan(call("copy")), PRODUCTION, FACTS, TYPED) == ()


@pytest.mark.parametrize(
    ("consent", "words"),
    [
        (Consent(), "Nothing was confirmed: say --confirm readmission-db"),
        (Consent(yes=True), "--yes is for disposable targets"),
        (Consent("readmission-dev"), "'readmission-dev' is not readmission-db"),
    ],
)
def test_without_the_right_consent_production_is_refused(consent: Consent, words: str) -> None:
    (refusal,) = guard(plan(call("copy")), PRODUCTION, FACTS, consent)
    assert words in refusal


def test_the_source_is_the_source_in_whatever_case_it_is_written() -> None:
    shouting = msgspec.structs.replace(PRODUCTION, instance="READMISSION-DB")
    assert guard(plan(call("copy")), shouting, FACTS, TYPED) == ()
    reboot = call("reboot", touches=("readmission-db",))
    assert "the source itself" in guard(plan(reboot), shouting, FACTS, TYPED)[0]


def test_yes_is_enough_on_a_disposable_target() -> None:
    assert guard(plan(call("copy")), LAB, FACTS, Consent(yes=True)) == ()


def test_another_account_and_another_region_are_refused() -> None:
    elsewhere = replace(FACTS, account="999999999999", region="us-east-1")
    refusals = guard(plan(call("copy")), PRODUCTION, elsewhere, TYPED)
    assert [("999999999999" in r, "us-east-1" in r) for r in refusals] == [(True, False), (False, True)]


def test_the_source_itself_is_never_touched_unless_it_is_disposable() -> None:
    reboot = call("reboot", touches=("readmission-db",))
    assert "would change readmission-db" in guard(plan(reboot), PRODUCTION, FACTS, TYPED)[0]
    assert guard(plan(reboot), LAB, FACTS, TYPED) == ()


def test_taking_over_touches_the_source_on_call_and_in_a_drill_only_what_the_run_made() -> None:
    real = call("failover", touches=("readmission-db",), takes_over=True)
    moved = call("move", touches=("the pooler's entry",), takes_over=True)
    asked = replace(plan(real, moved), request=Request("production", (), Purpose.RESTORE))
    assert guard(asked, PRODUCTION, FACTS, TYPED) == ()
    assert "would change readmission-db" in guard(plan(real), PRODUCTION, FACTS, TYPED)[0]
    assert "which this run did not make" in guard(plan(moved), PRODUCTION, FACTS, TYPED)[0]
    own = call("failover", touches=("copy",), takes_over=True)
    assert guard(plan(call("copy"), own), PRODUCTION, FACTS, TYPED) == ()
    assert len(guard(plan(own, own), PRODUCTION, FACTS, TYPED)) == 2, "taking over makes nothing the run's own"
    assert guard(plan(real, moved), LAB, FACTS, TYPED) == ()
    only = call("reboot", touches=("readmission-db",))
    assert guard(replace(asked, calls=(only,)), PRODUCTION, FACTS, TYPED), "whatever else it is, on call neither"


def test_a_fault_needs_its_grant_and_hits_only_what_the_run_made() -> None:
    copy, fault = call("copy", touches=("copy",)), call("fault", touches=("copy",), fault=True)
    granted = msgspec.structs.replace(PRODUCTION, grants=(Grant.FAULTS,))
    assert "does not grant faults" in guard(plan(copy, fault), PRODUCTION, FACTS, TYPED)[0]
    assert guard(plan(copy, fault), granted, FACTS, TYPED) == ()
    assert "did not make" in guard(plan(fault), granted, FACTS, TYPED)[0]


def test_disposable_requires_loopback() -> None:
    claimed = msgspec.structs.replace(PRODUCTION, grants=(Grant.DISPOSABLE,))
    assert "only a lab can be disposable" in guard(plan(call("copy")), claimed, FACTS, TYPED)[0]


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://localhost:80", True),
        ("https://rds.eu-central-1.amazonaws.com", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_that_looks_like_it(endpoint: str, local: bool) -> None:
    assert on_loopback(endpoint) is local
