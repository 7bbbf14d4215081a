"""The guard against a second statement of its rule: a table, and sets of names that are walked call by call.

Plans, targets, facts, grants and what was begun are random. The generator is tried on broken guards, too: each of
them must be told apart from the rule, or else the agreement of the whole one would prove little.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Call, Effect, Facts, Grant, Own, Plan, Purpose, Request, Resource, RunIdentity
from dr.domain.refs import Ref
from dr.engine import guard as guarding
from dr.engine.guard import Consent, Terms
from tests.support import many

Guard = Callable[..., tuple[str, ...]]
WORD = "readmission-db"
DRIVER = "db"


def server(name: str) -> Ref:
    return Ref(DRIVER, "instance", name)


SOURCE, REPLICA = server(WORD), server("replica-1")
HOST = Ref("pooler", "host", "h")
LEADS = (Ref("pooler", "entry", "readmission", HOST), Ref("cluster", "secret", "readmission/database"))
SERVERS = (SOURCE, REPLICA, *(server(name) for name in ("billing-db", "billing-replica", "copy", "new")))
HELD = Ref("pooler", "entry", "billing", HOST)
OTHERS = (HOST, HOST, HOST, HELD, Ref("host", "process", "serve"), Ref("", "result", "${x.identifier}"))
MACHINES = (Ref(DRIVER, "node", "n-1"), Ref("cluster", "node", "n-1"))
ALIKE = (Ref("other", "instance", WORD), Ref(DRIVER, "cluster", WORD), Ref(DRIVER, "instance", WORD.upper()))
"""What is called as the source is, and is another thing; whether the last is one, its provider may not even tell."""
REFS = (*SERVERS, *SERVERS, *LEADS, *OTHERS, *ALIKE)
ABOUT = (REFS, REFS, REFS, (*MACHINES, *MACHINES, SOURCE))
SEEN = {DRIVER: {"account": "123456789012", "region": "eu-central-1"}}
RUN = "run-1"
CASES = 9000


ANOTHERS = {"dr:run": "another", "dr:purpose": "restore", "dr:request": "digest"}
TAGS: tuple[dict[str, str], ...] = (
    {},
    {"dr:run": RUN},
    ANOTHERS,
    {**ANOTHERS, "dr:sealed": "met"},
    {**ANOTHERS, "dr:purpose": "drill"},
)


@dataclass(frozen=True)
class Case:
    """What a guard is asked."""

    plan: Plan
    terms: Terms
    facts: Facts
    begun: frozenset[str]

    def refused(self, by: Guard) -> set[str]:
        """The calls that are refused: a sentence begins with the call that it is about."""
        return {why.split()[0] for why in by(self.plan, self.terms, self.facts, Consent(WORD), self.begun)}


# -- anything that may be asked


class Anything:
    """Draws cases. Most calls are shaped as they should be, so that few are refused for that alone, and those of a
    case are about few things, so that they meet."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def case(self) -> Case:
        pick, purpose = self._random.choice, self._random.choice(list(Purpose))
        about = pick(ABOUT)
        self._refs_drawn = [pick(about) for _ in range(6)]
        calls = tuple(replace(self._call(), id=f"c{n}") for n in range(self._random.randint(1, 5)))
        run = RunIdentity(RUN, "t", purpose, pick(["", "digest"]))
        grants = frozenset(grant for grant in Grant if self._once_in(2))
        terms = Terms(grants, SEEN, ("http://127.0.0.1:9",), WORD)
        present = tuple(self._resource(ref) for ref in (*SERVERS, HOST, HELD) if self._once_in(2))
        leads = {ref: Own.LEADS for ref in LEADS if self._once_in(2)}
        replicas = {} if self._once_in(4) else {REPLICA: Own.REPLICA}
        machines = {ref: Own.MACHINE for ref in MACHINES if self._once_in(2)}
        facts = Facts(0.0, SEEN, present, own={SOURCE: Own.SOURCE, **replicas, **leads, **machines})
        begun = frozenset(call.id for call in calls if self._once_in(5))
        return Case(Plan(Request("t", (), purpose), run, calls, ()), terms, facts, begun)

    def _call(self) -> Call:
        effect = self._random.choice([*Effect, Effect.MAKES, Effect.MAKES, Effect.TAKES_OVER])
        makes = self._refs() if (effect is Effect.MAKES) != self._once_in(12) else ()
        touching = effect not in (Effect.READS, Effect.MAKES)
        building = effect is Effect.MAKES and self._once_in(2)
        touches = self._refs() if building or touching != self._once_in(12) else ()
        stated = (*makes, *touches)
        named = self._random.choice([None, None, *stated, *stated, server("billing-db"), *ALIKE])
        args = {} if named is None else {"of": [{"identifier": named.name}]}
        undo = self._undo(effect, stated) if self._once_in(3) else None
        return Call("", "v", "p", DRIVER, "o", args, effect=effect, touches=touches, makes=makes, undo=undo)

    def _undo(self, of: Effect, stated: tuple[Ref, ...]) -> Call:
        effect = self._random.choice([Effect.CHANGES, Effect.CHANGES, of, Effect.FAULT])
        touches = self._refs() if self._once_in(4) else stated[:1]
        makes = self._refs() if self._once_in(8) else ()
        args = {"identifier": "billing-db"} if self._once_in(4) else {}
        return Call("undo", "v", "p", DRIVER, "o", args, effect=effect, touches=touches, makes=makes)

    def _refs(self) -> tuple[Ref, ...]:
        return tuple(self._ref() for _ in range(self._random.choice([1, 1, 2])))

    def _ref(self) -> Ref:
        within = self._random.choice(self._refs_drawn)
        for _ in range(self._random.choice([0, 0, 0, 1, 1, 2])):
            within = Ref(self._random.choice(["tables", DRIVER]), "table", self._random.choice(["t", WORD]), within)
        return within

    def _resource(self, ref: Ref) -> Resource:
        return Resource(ref, "available", self._random.choice(TAGS), replica_of=self._random.choice([None, *SERVERS]))

    def _once_in(self, times: int) -> bool:
        return self._random.randrange(times) == 0


# -- the rule, a second time

TABLE = """
    drill            mine    makes changes takes-over
    faulty-drill     mine    makes changes takes-over fault
    disposable-drill mine    makes changes takes-over fault
    disposable-drill target  makes changes takes-over fault
    on-call          mine    makes changes takes-over
    on-call          target  takes-over
    drill            taken   makes
    faulty-drill     taken   makes
    disposable-drill taken   makes
    on-call          taken   makes
    drill            machine changes fault
    faulty-drill     machine changes fault
"""
"""Who may do what to whose: of each call every name that it touches must be in a row. Nothing else may be done."""
ROWS = {(row.split()[0], row.split()[1], effect) for row in TABLE.strip().splitlines() for effect in row.split()[2:]}


def rule(case: Case) -> set[str]:
    """The calls that are refused."""
    mode, mine, taken, refused = _mode(case), set[Ref](), set[Ref](), set[str]()
    for call in case.plan.calls:
        fine = call.id in case.begun or _passes(call, case, mode, mine, taken)
        if not fine:
            refused.add(call.id)
        if call.effect == "makes":
            mine.update(call.makes)
        if call.effect == "takes-over" and fine:
            taken.update(call.touches)
    return refused


def _mode(case: Case) -> str:
    if case.plan.request.purpose is Purpose.RESTORE:
        return "on-call"
    if Grant.DISPOSABLE in case.terms.grants:
        return "disposable-drill"
    return "faulty-drill" if Grant.FAULTS in case.terms.grants else "drill"


def _passes(call: Call, case: Case, mode: str, mine: set[Ref], taken: set[Ref]) -> bool:
    shape = {"reads": (False, False), "makes": (bool(call.touches), True)}.get(call.effect, (True, False))
    if (bool(call.touches), bool(call.makes)) != shape:
        return False
    stated = set(call.touches + call.makes)
    if call.effect != "reads" and not _literal(call.args) <= _spelled(stated):
        return False
    if call.undo is not None and not _takes_back(call.undo, call.effect, stated):
        return False
    return all(_made(ref, case, mine) for ref in call.makes) and all(
        any((mode, whose, call.effect) in ROWS for whose in _whose(ref, case, mine, taken)) for ref in call.touches
    )


def _spelled(refs: set[Ref]) -> set[str]:
    """What an argument may name: things of the driver's own that stand by themselves."""
    return {ref.name for ref in refs if _path(ref) == f"{DRIVER}:{ref.kind}:{ref.name}"}


def _literal(args: Any) -> set[str]:
    """What arguments name now: what is not filled yet is held against the plan once it is."""
    named = args["of"][0]["identifier"] if args else "${}"
    return set() if named.startswith("${") else {named}


def _takes_back(undo: Call, effect: str, stated: set[Ref]) -> bool:
    touched = set(undo.touches)
    named = {undo.args["identifier"]} if undo.args else set()
    if undo.makes:
        return False
    if undo.effect == "reads":
        return not touched
    change = undo.effect == "changes" or undo.effect == effect == "takes-over"
    return change and bool(touched) and touched <= stated and named <= _spelled(touched)


def _path(ref: Ref) -> str:
    """What a reference refers to, as text, from the outermost on."""
    outer = "" if ref.within is None else f"{_path(ref.within)} > "
    return f"{outer}{ref.provider}:{ref.kind}:{ref.name}"


def _inside(ref: Ref, some: Iterable[Ref]) -> bool:
    return any(_path(ref).startswith(f"{_path(one)} > ") for one in some)


def _whose(ref: Ref, case: Case, mine: set[Ref], taken: set[Ref]) -> Iterator[str]:
    yield from (["mine"] if ref in mine or _inside(ref, mine) else [])
    yield from (["taken"] if ref in taken else [])
    yield from (["target"] if ref in case.facts.own else [])
    replaced = case.facts.own.get(ref) is Own.MACHINE and Grant.MACHINES in case.terms.grants
    yield from (["machine"] if replaced else [])


def _made(ref: Ref, case: Case, mine: set[Ref]) -> bool:
    if ref.within is not None and not _inside(ref, mine):
        return _inside(ref, case.facts.own) and Grant.MARKERS in case.terms.grants
    of_run = [one.ref for one in case.facts.resources if _continued(one, case.plan.run)]
    others = [one.ref for one in case.facts.resources if not _continued(one, case.plan.run)]
    strange = [*case.facts.own, *(one for one in others if not _inside(one, of_run))]
    path = _path(ref).lower()
    return not any(f"{_path(one).lower()} > ".startswith(f"{path} > ") for one in strange)


def _continued(one: Resource, run: RunIdentity) -> bool:
    """Whether the run made it, or the on-call run that it goes on with."""
    if one.tags.get("dr:run") == run.id:
        return True
    same = (one.tags.get("dr:purpose"), one.tags.get("dr:request")) == ("restore", run.digest or None)
    return run.purpose is Purpose.RESTORE and same and "dr:sealed" not in one.tags


# -- the two, held against each other


@settings(deadline=None, max_examples=many(300))
@given(st.randoms(use_true_random=False))
def test_the_guard_refuses_the_calls_that_the_rule_refuses_and_no_others(random: Random) -> None:
    case = Anything(random).case()
    assert case.refused(guarding.guard) == rule(case)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Case, set[str]]]:
    """Always the same cases, and what the rule says of each."""
    source = Anything(Random(8))  # noqa: S311 - no secret comes of it
    return [(case, rule(case)) for case in (source.case() for _ in range(CASES))]


def test_so_it_does_of_many(drawn: list[tuple[Case, set[str]]]) -> None:
    assert [case for case, refused in drawn if case.refused(guarding.guard) != refused] == []
    whole = [case for case, refused in drawn if not refused]
    assert len(whole) > CASES / 50, "enough of them pass"
    assert {effect for case in whole for call in case.plan.calls for effect in [call.effect]} == set(Effect)


BROKEN = {
    "what was touched is its own": ("made.update(call.makes)", "made.update((*call.makes, *call.touches))"),
    "whatever names makes has made": (
        "if call.effect is Effect.MAKES:\n            made",
        "if True:\n            made",
    ),
    "all that is shown is the target's": (
        "Bounds(plan, terms, facts)",
        "Bounds(plan, terms, type(facts)(0, {}, facts.resources, own=dict.fromkeys([r.ref for r in facts.resources])))",
    ),
    "nothing is the target's": ("if ref not in bounds.facts.own", "if True"),
    "on call everything": ("return frozenset({Effect.TAKES_OVER})", "return frozenset(Effect)"),
    "on call nothing": ("return frozenset({Effect.TAKES_OVER})", "return frozenset()"),
    "every drill is disposable": ("        if self.disposable:", "        if True:"),
    "no drill is disposable": ("        if self.disposable:", "        if False:"),
    "faults on call": ("return self.drill and (granted", "return (granted"),
    "faults are granted by nothing": ("Grant.FAULTS in self.terms.grants", "True"),
    "machines are granted by nothing": (" and Grant.MACHINES in self.terms.grants", ""),
    "all of the target's is a machine": ("self.facts.own.get(ref) is Own.MACHINE and", "ref in self.facts.own and"),
    "a machine is nothing to break": ("Effect.FAULT, Effect.CHANGES} if", "Effect.CHANGES} if"),
    "what a machine's loss left is not changed": ("Effect.FAULT, Effect.CHANGES} if", "Effect.FAULT} if"),
    "a machine is taken over": ("{Effect.FAULT, Effect.CHANGES} if", "Effect if"),
    "a machine takes the grant faults": ("granted or all(self.replaced(ref) for ref in call.touches)", "granted"),
    "markers are granted by nothing": ("if Grant.MARKERS in bounds.terms.grants", "if True"),
    "what exists is made": ("for ref in others}", "for ref in ()}"),
    "what the run made before exists": ("if not of_run(one.tags, self.plan.run)]", "]"),
    "what is another's is the run's": ("if not of_run(one.tags, self.plan.run)]", "if not one.tags]"),
    "what the run's holds is another's": ("if mine.isdisjoint(ref.holders)]", "]"),
    "the source's name is made": ("in self.facts.own.items()}", "in ()}"),
    "what holds the target's own is made": ("(*others, *self.facts.own)", "others"),
    "what holds what exists is made": ("(*others, *self.facts.own)", "self.facts.own"),
    "a name in another case is made": (
        "in bounds.taken:",
        "in bounds.taken and ref in {*bounds.facts.own, *(one.ref for one in bounds.facts.resources)}:",
    ),
    "what is inside is somebody else's": (" or made.intersection(ref.holders)", ""),
    "what is inside is made in nothing": ("if not holders or holders & made", "if not holders"),
    "what is inside anything may be made": ("if holders.isdisjoint(bounds.facts.own)", "if False"),
    "what is far inside is not inside": (", set(ref.holders)", ", {*filter(None, [ref.within])}"),
    "a refused take-over counts": ("TAKES_OVER and not wrong:", "TAKES_OVER:"),
    "what was taken over is its own": ("(call.effect is Effect.MAKES and ref in taken)", "ref in taken"),
    "what was taken over is not built on": ("(call.effect is Effect.MAKES and ref in taken)", "False"),
    "what was begun is asked again": ("if call.id in begun", "if False"),
    "an undo touches anything": ("if ref not in (*call.makes, *call.touches)]", "if False]"),
    "an undo need not be clear": ("if _unclear(undo) or astray", "if astray"),
    "an undo does anything": ("undo.effect not in usual", "False"),
    "arguments name anything": ("is Effect.READS or not strange", "is not None"),
    "arguments name what others have": ("if ref.provider == call.driver and ref.within is None", "if not ref.within"),
    "arguments name what is inside": (" and ref.within is None}", "}"),
    "reading touches": ('return f"{call.id} is said to read only, and names {named}." if named else ""', 'return ""'),
    "a call need not say what it makes": ("if call.makes else f", "if True else f"),
    "a call need not say what it touches": ("if call.touches else f", "if True else f"),
}


@contextmanager
def changed(fragment: str, instead: str) -> Iterator[Guard]:
    """The guard with a fragment of its text replaced."""
    text = inspect.getsource(guarding)
    assert text.count(fragment) == 1, fragment
    module = ModuleType("tests.property.broken_guard")
    sys.modules[module.__name__] = module
    try:
        exec(compile(text.replace(fragment, instead), "broken_guard", "exec"), module.__dict__)  # noqa: S102 - our own text
        yield module.guard
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_guard_is_told_apart(how: str, drawn: list[tuple[Case, set[str]]]) -> None:
    with changed(*BROKEN[how]) as broken:
        assert any(case.refused(broken) != refused for case, refused in drawn)
