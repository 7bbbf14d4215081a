from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dr.domain.model import Call, Effect, Facts, Grant, Own, Plan, Purpose, Request, Resource, RunIdentity
from dr.domain.refs import Ref, on_loopback
from dr.engine.guard import Consent, Terms, astray, guard
from dr.engine.references import fill
from tests.virtual import call, thing

SOURCE, REPLICA, ENTRY = thing("readmission-db"), thing("readmission-db-replica-1"), Ref("leading", "entry", "entry")
OWN = {SOURCE: Own.SOURCE, REPLICA: Own.REPLICA, ENTRY: Own.LEADS}
OTHERS = tuple(thing(name) for name in ("billing-db", "billing-replica"))
SEEN = {"scripted": {"account": "123456789012", "region": "eu-central-1"}}
FACTS = Facts(0.0, SEEN, tuple(Resource(ref, "available") for ref in (SOURCE, REPLICA, *OTHERS)), own=OWN)
PRODUCTION = Terms((), SEEN, ("https://scripted.example",), "readmission-db")
GRANTED = replace(PRODUCTION, grants=(Grant.FAULTS, Grant.MARKERS))
LAB = replace(PRODUCTION, endpoints=("http://127.0.0.1:1234", "//localhost:1"), grants=(Grant.DISPOSABLE,))
TYPED = Consent("readmission-db")


def plan(*calls: Call, purpose: Purpose = Purpose.DRILL) -> Plan:
    return Plan(Request("production", (), purpose), RunIdentity("run", "production", purpose, ""), calls, ())


def changing(what: str | Ref, effect: Effect = Effect.CHANGES) -> Call:
    return call("it", effect=effect, touches=(what if isinstance(what, Ref) else thing(what),), makes=(), undo=None)


def making(what: str | Ref) -> Call:
    return call("it", makes=(what if isinstance(what, Ref) else thing(what),), undo=None)


def refused(
    *calls: Call, on: Terms = PRODUCTION, purpose: Purpose = Purpose.DRILL, seen: Facts = FACTS
) -> tuple[str, ...]:
    return guard(plan(*calls, purpose=purpose), on, seen, TYPED)


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


def test_consent_is_heard_in_whatever_case_it_is_typed_and_nothing_typed_is_none() -> None:
    assert guard(plan(call("copy")), replace(PRODUCTION, word="READMISSION-DB"), FACTS, TYPED) == ()
    (refusal,) = guard(plan(call("copy")), replace(PRODUCTION, word=""), FACTS, Consent())
    assert "write 'consent' in dr.yaml" in refusal


def test_yes_is_enough_on_a_disposable_target() -> None:
    assert guard(plan(call("copy")), LAB, FACTS, Consent(yes=True)) == ()


def test_another_account_and_another_region_are_refused() -> None:
    elsewhere = replace(FACTS, identity={"scripted": {"account": "999999999999", "region": "us-east-1"}})
    refusals = guard(plan(call("copy")), PRODUCTION, elsewhere, TYPED)
    assert [("999999999999" in r, "us-east-1" in r) for r in refusals] == [(True, False), (False, True)]


def test_an_identity_that_nobody_has_seen_is_refused() -> None:
    for seen in ({}, {"scripted": {"account": "", "region": ""}}, {"another": {}}):
        refusals = guard(plan(call("copy")), PRODUCTION, replace(FACTS, identity=seen), TYPED)
        assert [r.split(",")[0] for r in refusals] == [
            "Nothing shows that the account of scripted is 123456789012",
            "Nothing shows that the region of scripted is eu-central-1",
        ]


@pytest.mark.parametrize("pins", [{}, {"scripted": {}}])
def test_a_target_that_pins_nothing_could_be_any(pins: dict[str, Any]) -> None:
    for seen in (SEEN, {}):
        refusals = guard(plan(call("copy")), replace(PRODUCTION, pins=pins), replace(FACTS, identity=seen), TYPED)
        assert refusals[0] == "The target pins nothing by which it is known, so that it could be any."


def test_each_provider_is_compared_with_its_own_pins() -> None:
    cluster = {"uid": "5f0"}
    both = replace(PRODUCTION, pins={**SEEN, "cluster": cluster})
    assert refused(call("copy"), on=both, seen=replace(FACTS, identity={**SEEN, "cluster": cluster})) == ()
    for told in ({}, {"cluster": {"uid": "other"}}, {"scripted": {**SEEN["scripted"], **cluster}}):
        (refusal,) = refused(call("copy"), on=both, seen=replace(FACTS, identity={**SEEN, **told}))
        assert "uid of cluster" in refusal
    (refusal,) = refused(call("copy"), seen=replace(FACTS, identity={**SEEN, "cluster": cluster}))
    assert refusal == "The target does not pin cluster, which shows uid 5f0."
    named = {**cluster, "name": "blue"}
    assert refused(call("copy"), seen=replace(FACTS, identity={**SEEN, "cluster": named})) == (
        "The target does not pin cluster, which shows uid 5f0, name blue.",
    )


def test_the_source_itself_is_never_touched_unless_it_is_disposable() -> None:
    reboot = changing("readmission-db")
    assert refused(reboot) == ("it would change instance readmission-db, the source itself, which is not disposable.",)
    assert refused(reboot, on=LAB) == ()


@pytest.mark.parametrize("effect", [Effect.CHANGES, Effect.FAULT, Effect.TAKES_OVER, Effect.MAKES])
@pytest.mark.parametrize("on", [PRODUCTION, GRANTED])
@pytest.mark.parametrize("what", [thing("billing-db"), REPLICA, ENTRY], ids=str)
def test_a_drill_touches_nothing_that_it_did_not_make(what: Ref, on: Terms, effect: Effect) -> None:
    made = (thing("new"),) if effect is Effect.MAKES else ()
    refusals = refused(call("it", effect=effect, touches=(what,), makes=made, undo=None), on=on)
    assert str(what) in refusals[0], refusals


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize(
    "what",
    [
        *OTHERS,
        replace(SOURCE, provider="another"),
        replace(SOURCE, kind="cluster"),
        replace(ENTRY, name="billing"),
        thing("public.patients", SOURCE),
    ],
    ids=str,
)
def test_what_is_not_the_targets_is_touched_by_nobody(what: Ref, purpose: Purpose) -> None:
    for effect in (Effect.CHANGES, Effect.FAULT, Effect.TAKES_OVER):
        (refusal, *_) = refused(changing(what, effect), on=LAB, purpose=purpose)
        assert f"{what}, which this run did not make and the target does not name" in refusal


def test_what_was_merely_touched_before_is_not_the_runs_own() -> None:
    touch = call("touch", effect=Effect.CHANGES, touches=(thing("billing-db"),), makes=(), undo=None)
    fault = changing("billing-db", Effect.FAULT)
    assert [r.split()[0] for r in refused(touch, fault, on=GRANTED)] == ["touch", "it"]


def test_what_exists_is_not_made_and_what_is_the_targets_is_not_made_anew() -> None:
    assert "it would make instance billing-db, which exists already" in refused(making("billing-db"))[0]
    assert "that name is the target's own" in refused(making("readmission-db"), seen=replace(FACTS, resources=()))[0]
    own = Resource(thing("copy"), "available", {"dr:run": "run"})
    assert refused(making("copy"), seen=replace(FACTS, resources=(own,))) == ()


@pytest.mark.parametrize("name", ["Billing-DB", "READMISSION-DB", "Readmission-db-replica-1"])
def test_what_only_the_case_tells_from_what_exists_is_not_made(name: str) -> None:
    """A provider that does not heed the case would act on what exists, as RDS would."""
    for on in (PRODUCTION, GRANTED, LAB):
        (refusal,) = refused(making(name), changing(name), on=on)
        assert f"it would make instance {name}, " in refusal


def test_what_holds_what_exists_is_not_made() -> None:
    """Else all that stands inside of it would count as made by the run."""
    host = Ref("leading", "host", "h")
    inside = Resource(Ref("leading", "entry", "billing", host), "available")
    for seen in (
        replace(FACTS, own={Ref("leading", "entry", "entry", host): Own.LEADS}),
        replace(FACTS, resources=(inside,)),
    ):
        for made in (host, Ref("leading", "host", "H")):
            assert "it would make host" in refused(making(made), seen=seen)[0], seen
            assert "which holds entry" in refused(making(made), seen=seen)[0], seen
    own = Resource(host, "available", {"dr:run": "run"})
    assert refused(making(host), seen=replace(FACTS, resources=(own, inside))) == (), "it is the run's, with all in it"


def test_a_call_says_what_it_does() -> None:
    reading = replace(changing("x", Effect.READS), makes=(thing("y"),))
    assert refused(reading) == ("it is said to read only, and names instance x, instance y.",)
    assert refused(call("it", effect=Effect.READS, touches=(), makes=(), undo=None)) == ()
    assert "does not say what it would break" in refused(call("it", effect=Effect.FAULT, makes=(), undo=None))[0]
    assert "does not say what it would make" in refused(call("it", makes=(), undo=None))[0]
    both = call("it", effect=Effect.CHANGES, makes=(thing("x"),), undo=None)
    assert "says that it makes instance x" in refused(both)[0]


def test_rows_and_tables_in_the_source_take_the_grant_markers_and_are_touched_by_their_run_alone() -> None:
    victims = making(thing("dr.victims", SOURCE))
    granted = replace(PRODUCTION, grants=(Grant.MARKERS,))
    assert "the target does not grant markers" in refused(victims)[0]
    assert refused(victims, on=granted) == ()
    assert refused(replace(victims, id="a"), changing(thing("dr.victims", SOURCE)), on=granted) == ()
    assert "which this run did not make" in refused(changing(thing("public.patients", SOURCE)), on=granted)[0]
    strange = refused(making(thing("dr.victims", thing("billing-db"))), on=granted)[0]
    assert "it would make table dr.victims in instance billing-db, inside what this run did not make" in strange
    part = thing("part", thing("dr.victims", thing("copy")))
    assert refused(call("copy"), making(part), replace(changing(part), id="a")) == (), (
        "what the run made is its own, with all in it"
    )


def test_an_undo_takes_back_what_its_call_did_and_nothing_else() -> None:
    def undone(**changes: Any) -> tuple[str, ...]:
        made = call("it")
        assert made.undo is not None
        return refused(replace(made, undo=replace(made.undo, **changes)))

    assert undone() == ()
    assert (
        "undone by undo-it, which would change instance billing-db: it does not"
        in undone(touches=(thing("it"), thing("billing-db")))[0]
    )
    assert "would break something" in undone(effect=Effect.FAULT)[0]
    assert "would take over something" in undone(effect=Effect.TAKES_OVER)[0]
    assert undone(makes=(thing("x"),))
    assert undone(undo=call("again"))
    assert "it is undone wrongly: undo-it would change billing-db" in undone(args={"identifier": "billing-db"})[0]


def test_what_an_argument_names_is_what_the_call_states() -> None:
    lying = replace(changing("copy"), args={"identifier": "billing-db"})
    assert refused(call("copy"), lying) == ("it would change billing-db, which its plan does not name.",)
    worse = replace(lying, args={"all": [{"identifier": name} for name in ("billing-replica", "copy", "billing-db")]})
    assert refused(call("copy"), worse) == (
        "it would change billing-db, billing-replica, which its plan does not name.",
    )
    honest = replace(lying, args={"identifier": "copy", "of": ["x", "${copy.identifier}"]})
    assert refused(call("copy"), honest) == ()
    for alike in (thing("billing-db", thing("copy")), Ref("another", "instance", "billing-db")):
        both = replace(lying, touches=(thing("copy"), alike))
        made = call("a", makes=(alike,), undo=None)
        assert refused(call("copy"), made, both) == refused(call("copy"), lying), "it is another thing"


@pytest.mark.parametrize(
    "args",
    [
        {"identifier": "${choose.identifier}"},
        {"source": "${choose.identifier}"},
        {"all": [{"name": "${choose.identifier}"}]},
    ],
)
def test_no_result_puts_another_name_in_the_place_of_what_was_let_pass(args: dict[str, Any]) -> None:
    promote = replace(
        changing("replica-1", Effect.TAKES_OVER), touches=(thing("replica-1"), thing("replica-2")), args=args
    )
    for given, fine in [("replica-2", True), ("billing-db", False), (["replica-1"], False), ("${x.y}", False)]:
        assert (astray(promote, fill(args, {"choose": {"identifier": given}})) == "") is fine, given
    assert astray(promote, args) == "", "what is not filled yet names nothing"


def test_taking_over_touches_the_source_on_call_and_in_a_drill_only_what_the_run_made() -> None:
    for what in OWN:
        real = changing(what, Effect.TAKES_OVER)
        assert refused(real, purpose=Purpose.RESTORE) == ()
        assert refused(real, on=LAB) == ()
        assert f"it would take over {what}" in refused(real)[0]
        (refusal,) = refused(changing(what), on=LAB, purpose=Purpose.RESTORE)
        assert refusal == f"it would change {what}, {OWN[what]}, which on call is only taken over."
    own = changing("copy", Effect.TAKES_OVER)
    assert refused(call("copy"), own) == ()
    assert len(refused(own, own)) == 2, "taking over makes nothing the run's own"


def test_on_call_nothing_is_broken_not_even_what_the_run_made() -> None:
    fault = changing("copy", Effect.FAULT)
    assert refused(call("copy"), fault, on=GRANTED) == ()
    on_call = refused(call("copy"), fault, on=LAB, purpose=Purpose.RESTORE)
    assert on_call == ("it is a fault, and on call nothing is broken.",)


def test_a_call_that_was_begun_is_not_asked_again_and_counts_as_done() -> None:
    promote, rest = changing("readmission-db-replica-1", Effect.TAKES_OVER), making("new")
    rest = replace(rest, id="rest", touches=(REPLICA,))
    promoted = replace(FACTS, resources=(), own={SOURCE: Own.SOURCE})
    asked = plan(promote, rest, purpose=Purpose.RESTORE)
    assert len(guard(asked, PRODUCTION, promoted, TYPED)) == 2
    assert guard(asked, PRODUCTION, promoted, TYPED, frozenset({"it"})) == ()


def test_what_was_taken_over_stays_so_when_more_is() -> None:
    replica, source = (changing(what, Effect.TAKES_OVER) for what in (REPLICA, SOURCE))
    rest = replace(making("new"), touches=(REPLICA,))
    assert refused(replica, source, rest, purpose=Purpose.RESTORE) == ()
    assert len(refused(source, rest, purpose=Purpose.RESTORE)) == 1


def test_a_fault_needs_its_grant_and_hits_only_what_the_run_made() -> None:
    copy, fault = call("copy"), replace(changing("copy", Effect.FAULT), id="fault")
    granted = replace(PRODUCTION, grants=(Grant.FAULTS,))
    assert refused(copy, fault) == ("fault is a fault, and the target does not grant faults.",)
    assert guard(plan(copy, fault), granted, FACTS, TYPED) == ()
    assert "which this run did not make" in guard(plan(fault), granted, FACTS, TYPED)[0]


NODE = Ref("cluster", "node", "gpu-1")


def test_a_machine_that_something_replaces_is_broken_in_a_drill_of_a_target_that_grants_it_alone() -> None:
    """And what it stands beside stays whole."""
    lost = Call("lost", "disaster", "disaster", "cluster", "end", effect=Effect.FAULT, touches=(NODE,))
    facts = replace(FACTS, own={**FACTS.own, NODE: Own.MACHINE})
    granted = replace(PRODUCTION, grants=(Grant.MACHINES,))
    assert guard(plan(lost), granted, facts, TYPED) == ()
    (why,) = guard(plan(lost), PRODUCTION, facts, TYPED)
    assert why == f"lost would break {NODE}, {Own.MACHINE}, and the target does not grant machines."
    faulty = replace(PRODUCTION, grants=(Grant.FAULTS,))
    assert len(guard(plan(lost), faulty, facts, TYPED)) == 1, "what is granted in copies is none in a machine"
    assert len(guard(plan(lost, purpose=Purpose.RESTORE), granted, facts, TYPED)) == 2
    both = replace(lost, touches=(NODE, SOURCE))
    assert "which is not disposable" in guard(plan(both), granted, facts, TYPED)[0]
    beside = replace(lost, touches=(NODE, thing("copy")))
    wanted = ("lost is a fault, and the target does not grant faults.",)
    assert guard(plan(call("copy"), beside), granted, facts, TYPED) == wanted
    assert guard(plan(replace(lost, effect=Effect.TAKES_OVER)), granted, facts, TYPED) != ()


def test_disposable_requires_loopback() -> None:
    for endpoints, why in (
        (PRODUCTION.endpoints, "https://scripted.example is not on loopback."),
        (("http://127.0.0.1:1", "https://scripted.example"), "https://scripted.example is not on loopback."),
        ((), "names no endpoint, so that it may be anywhere."),
    ):
        claimed = replace(PRODUCTION, grants=(Grant.DISPOSABLE,), endpoints=endpoints)
        (refusal,) = guard(plan(call("copy")), claimed, FACTS, TYPED)
        rule = " Only a lab on loopback can be disposable: take that grant out of the target's grants"
        assert why + rule in refusal


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:80", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://localhost:80", True),
        ("//127.0.0.1:6432", True),
        ("https://rds.eu-central-1.amazonaws.com", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_that_looks_like_it(endpoint: str, local: bool) -> None:
    assert on_loopback(endpoint) is local
