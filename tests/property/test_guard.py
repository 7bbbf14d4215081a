"""The guard against a second statement of its rule: a table, and sets of names that are walked call by call.

Plans, targets, facts, grants and what was begun are random. The generator is tried on broken guards, too: each of
them must be told apart from the rule, or else the agreement of the whole one would prove little.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.config.model import DatabaseConfig, Login, PoolerConfig, SecretConfig, Target
from dr.domain.model import Call, Effect, Facts, Grant, Plan, Purpose, Request, Resource, RunIdentity
from dr.drivers.rds.naming import instance
from dr.engine import guard as guarding
from dr.engine.guard import Consent
from tests.support import many

Guard = Callable[..., tuple[str, ...]]
ACCOUNT, REGION, SOURCE = "123456789012", "eu-central-1", "readmission-db"
POOLER = PoolerConfig("p", 6432, "readmission", Login("admin", "env:P"), "/etc/pgbouncer.ini")
SECRET = SecretConfig("/kubeconfig", "prod", "readmission", "database")
WHOLE = Target(
    account=ACCOUNT,
    region=REGION,
    instance=SOURCE,
    database=DatabaseConfig("readmission", Login("dr", "env:H")),
    endpoint="http://127.0.0.1:9",
)
LEADS = ("PgBouncer's entry readmission", "Secret readmission/database")
INSTANCES = (SOURCE, "READMISSION-DB", "replica-1", "Replica-1", "billing-db", "billing-replica", "copy", "Copy", "new")
NAMES = (*INSTANCES, *LEADS, "PgBouncer's entry billing", "Secret other/database", "process serve", "${x.identifier}")
RUN = "run-1"
CASES = 4000


PRESENT = (SOURCE, "replica-1", "billing-db", "billing-replica", "copy", "new")
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
    target: Target
    facts: Facts
    begun: frozenset[str]

    def refused(self, by: Guard) -> set[str]:
        """The calls that are refused: a sentence begins with the call that it is about."""
        return {why.split()[0] for why in by(self.plan, self.target, self.facts, Consent(SOURCE), self.begun)}


# -- anything that may be asked


class Anything:
    """Draws cases. Most calls are shaped as they should be, so that few are refused for that alone."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def case(self) -> Case:
        pick, purpose = self._random.choice, self._random.choice(list(Purpose))
        calls = tuple(replace(self._call(), id=f"c{n}") for n in range(self._random.randint(1, 5)))
        run = RunIdentity(RUN, "t", purpose, pick(["", "digest"]))
        target = msgspec.structs.replace(
            WHOLE,
            instance=pick([SOURCE, SOURCE.upper()]),
            grants=tuple(grant for grant in Grant if self._once_in(2)),
            pooler=pick([POOLER, None]),
            secret=pick([SECRET, None]),
        )
        present = [name for name in PRESENT if self._once_in(2)]
        facts = Facts(0.0, ACCOUNT, REGION, tuple(self._resource(name) for name in present))
        begun = frozenset(call.id for call in calls if self._once_in(5))
        return Case(Plan(Request("t", (), purpose), run, calls, ()), target, facts, begun)

    def _call(self) -> Call:
        effect = self._random.choice([*Effect, Effect.MAKES, Effect.MAKES, Effect.TAKES_OVER])
        makes = self._names() if (effect is Effect.MAKES) != self._once_in(12) else ()
        touching = effect not in (Effect.READS, Effect.MAKES)
        building = effect is Effect.MAKES and self._once_in(2)
        touches = self._names() if building or touching != self._once_in(12) else ()
        stated = (*makes, *touches)
        named = self._random.choice([None, None, *stated, *stated, "billing-db"])
        args = {} if named is None else {"of": [{"identifier": named}]}
        undo = self._undo(effect, stated) if self._once_in(3) else None
        return Call("", "v", "p", "d", "o", args, effect=effect, touches=touches, makes=makes, undo=undo)

    def _undo(self, of: Effect, stated: tuple[str, ...]) -> Call:
        effect = self._random.choice([Effect.CHANGES, Effect.CHANGES, of, Effect.FAULT])
        touches = self._names() if self._once_in(4) else stated[:1]
        makes = self._names() if self._once_in(8) else ()
        args = {"identifier": "billing-db"} if self._once_in(4) else {}
        return Call("undo", "v", "p", "d", "o", args, effect=effect, touches=touches, makes=makes)

    def _names(self) -> tuple[str, ...]:
        return tuple(self._name() for _ in range(self._random.choice([1, 1, 2])))

    def _name(self) -> str:
        within = self._once_in(4)
        return f"{self._random.choice(INSTANCES)}/dr.victims" if within else self._random.choice(NAMES)

    def _resource(self, name: str) -> Resource:
        of = "" if self._once_in(4) else {"replica-1": SOURCE, "billing-replica": "billing-db"}.get(name, "")
        tags, replica_of = self._random.choice(TAGS), instance(of) if of else None
        return Resource(instance(name), "available", tags, replica_of=replica_of)

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
"""
"""Who may do what to whose: of each call every name that it touches must be in a row. Nothing else may be done."""
ROWS = {(row.split()[0], row.split()[1], effect) for row in TABLE.strip().splitlines() for effect in row.split()[2:]}


def rule(case: Case) -> set[str]:
    """The calls that are refused."""
    mode, mine, taken, refused = _mode(case), set[str](), set[str](), set[str]()
    for call in case.plan.calls:
        fine = call.id in case.begun or _passes(call, case, mode, mine, taken)
        if not fine:
            refused.add(call.id)
        if call.effect == "makes":
            mine.update(name.casefold() for name in call.makes)
        if call.effect == "takes-over" and fine:
            taken.update(name.casefold() for name in call.touches)
    return refused


def _mode(case: Case) -> str:
    if case.plan.request.purpose is Purpose.RESTORE:
        return "on-call"
    if Grant.DISPOSABLE in case.target.grants:
        return "disposable-drill"
    return "faulty-drill" if Grant.FAULTS in case.target.grants else "drill"


def _passes(call: Call, case: Case, mode: str, mine: set[str], taken: set[str]) -> bool:
    shape = {"reads": (False, False), "makes": (bool(call.touches), True)}.get(call.effect, (True, False))
    if (bool(call.touches), bool(call.makes)) != shape:
        return False
    stated = {name.casefold() for name in call.touches + call.makes}
    if call.effect != "reads" and not _literal(call.args) <= stated:
        return False
    if call.undo is not None and not _takes_back(call.undo, call.effect, stated):
        return False
    return all(_made(name, case, mine) for name in call.makes) and all(
        any((mode, whose, call.effect) in ROWS for whose in _whose(name, case, mine, taken)) for name in call.touches
    )


def _literal(args: Any) -> set[str]:
    return {args["of"][0]["identifier"].casefold()} if args else set()


def _takes_back(undo: Call, effect: str, stated: set[str]) -> bool:
    touched = {name.casefold() for name in undo.touches}
    named = {undo.args["identifier"].casefold()} if undo.args else set()
    if undo.makes:
        return False
    if undo.effect == "reads":
        return not touched
    change = undo.effect == "changes" or undo.effect == effect == "takes-over"
    return change and bool(touched) and touched <= stated and named <= touched


def _servers(case: Case) -> set[str]:
    shown = {one.ref.name for one in case.facts.resources if one.replica_of == instance(SOURCE)}
    return shown | {SOURCE}


def _targets(case: Case) -> set[str]:
    leads = {LEADS[0] if case.target.pooler else "", LEADS[1] if case.target.secret else ""}
    return _servers(case) | {lead.casefold() for lead in leads if lead}


def _whose(name: str, case: Case, mine: set[str], taken: set[str]) -> Iterator[str]:
    known = name.casefold()
    outer = known.split("/")[0] if "/" in known else known
    yield from (["mine"] if known in mine or outer in mine else [])
    yield from (["taken"] if known in taken else [])
    yield from (["target"] if known in _targets(case) else [])


def _made(name: str, case: Case, mine: set[str]) -> bool:
    outer, slash, _ = name.casefold().partition("/")
    if slash:
        return outer in mine or (outer in _servers(case) and Grant.MARKERS in case.target.grants)
    others = {one.ref.name for one in case.facts.resources if not _continued(one, case.plan.run)}
    return outer not in _targets(case) and outer not in others


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
def many() -> list[tuple[Case, set[str]]]:
    """Always the same cases, and what the rule says of each."""
    drawn = Anything(Random(8))  # noqa: S311 - no secret comes of it
    return [(case, rule(case)) for case in (drawn.case() for _ in range(CASES))]


def test_so_it_does_of_many(many: list[tuple[Case, set[str]]]) -> None:
    assert [case for case, refused in many if case.refused(guarding.guard) != refused] == []
    whole = [case for case, refused in many if not refused]
    assert len(whole) > CASES / 50, "enough of them pass"
    assert {effect for case in whole for call in case.plan.calls for effect in [call.effect]} == set(Effect)


BROKEN = {
    "what was touched is its own": ("made |= _folded(call.makes)", "made |= _folded((*call.makes, *call.touches))"),
    "whatever names makes has made": (
        "if call.effect is Effect.MAKES:\n            made",
        "if True:\n            made",
    ),
    "any replica is the target's": ("if one.replica_of and same(one.replica_of.name, source)", "if one.replica_of"),
    "no replica is the target's": ("if one.replica_of and same(one.replica_of.name, source)", "if False"),
    "on call everything": ("return frozenset({Effect.TAKES_OVER})", "return frozenset(Effect)"),
    "on call nothing": ("return frozenset({Effect.TAKES_OVER})", "return frozenset()"),
    "every drill is disposable": ("frozenset(Effect) if self.disposable else frozenset()", "frozenset(Effect)"),
    "no drill is disposable": ("frozenset(Effect) if self.disposable else frozenset()", "frozenset()"),
    "faults on call": ("return self.drill and (self.disposable", "return (self.disposable"),
    "faults are granted by nothing": ("Grant.FAULTS in self.target.grants)", "True)"),
    "markers are granted by nothing": (" and Grant.MARKERS in bounds.target.grants", ""),
    "what exists is made": ("if name.lower() in bounds.present", "if False"),
    "what the run made before exists": ("if not of_run(one.tags, self.plan.run)", ""),
    "what is another's is the run's": ("if not of_run(one.tags, self.plan.run)", "if not one.tags"),
    "the source's name is made": ("if name.lower() in bounds.own", "if False"),
    "what is inside is somebody else's": ("or holder(known) in made", ""),
    "what is inside anything may be made": ("if within in made or (within", "if within in made or True or (within"),
    "a refused take-over counts": ("TAKES_OVER and not wrong:", "TAKES_OVER:"),
    "what was taken over is its own": ("(call.effect is Effect.MAKES and known in taken)", "known in taken"),
    "what was taken over is not built on": ("(call.effect is Effect.MAKES and known in taken)", "False"),
    "what was begun is asked again": ("if call.id in begun", "if False"),
    "names are told apart by their case": ("known, would = name.lower()", "known, would = name"),
    "an undo touches anything": ("if name.lower() not in stated]", "if False]"),
    "an undo need not be clear": ("if _unclear(undo) or astray", "if astray"),
    "an undo does anything": ("undo.effect not in usual", "False"),
    "arguments name anything": ("is Effect.READS or not strange", "is not None"),
    "reading touches": ('return f"{call.id} is said to read only, and names {named}." if named else ""', 'return ""'),
    "a call need not say what it makes": ("if call.makes else f", "if True else f"),
    "a call need not say what it touches": ("if call.touches else f", "if True else f"),
    "the pooler is nobody's": ("if pooler is not None else []", "if False else []"),
    "the secret is nobody's": ("if secret is not None else []", "if False else []"),
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
def test_a_broken_guard_is_told_apart(how: str, many: list[tuple[Case, set[str]]]) -> None:
    with changed(*BROKEN[how]) as broken:
        assert any(case.refused(broken) != refused for case, refused in many)
