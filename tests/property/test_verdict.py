"""Laws of the verdict: how statuses combine, and that less evidence never proves more."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Demand, Finding, Status
from dr.evidence.model import Evidence
from dr.judge.verdict import combine, judge
from dr.wiring import objectives
from tests.unit.recoveries import drill

some_statuses = st.lists(st.sampled_from(Status), min_size=1)


@settings(deadline=None)
@given(some_statuses, st.randoms())
def test_combining_does_not_depend_on_the_order(statuses: list[Status], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(statuses)
    random.shuffle(shuffled)
    assert combine(shuffled) is combine(statuses)


@settings(deadline=None)
@given(some_statuses, some_statuses, some_statuses)
def test_combining_does_not_depend_on_the_grouping(a: list[Status], b: list[Status], c: list[Status]) -> None:
    whole = combine([*a, *b, *c])
    assert combine([combine([combine(a), combine(b)]), combine(c)]) is whole
    assert combine([combine(a), combine([combine(b), combine(c)])]) is whole


@settings(deadline=None)
@given(some_statuses, some_statuses)
def test_a_further_finding_never_improves_a_verdict(statuses: list[Status], more: list[Status]) -> None:
    if combine(statuses) is not Status.MET:
        assert combine([*statuses, *more]) is not Status.MET


def met(_: Evidence, demand: Demand) -> Finding:
    return Finding(demand.objective, demand.path, Status.MET, "Told so.")


ALL_MET = {name: replace(one, judge=met) for name, one in objectives().items()}


@settings(deadline=None)
@given(st.integers(0, len(drill().entries) - 1), st.booleans())
def test_a_ledger_cut_at_any_entry_never_yields_met(length: int, journal: bool) -> None:
    """Neither where Chaos Toolkit's journal is there, nor where it never came to be."""
    whole = drill()
    assert judge(whole, ALL_MET).status is Status.MET
    cut = replace(whole, entries=whole.entries[:length], journal=whole.journal if journal else None)
    assert judge(cut, ALL_MET).status is not Status.MET


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1))
def test_evidence_with_any_problem_never_yields_met(problems: list[str]) -> None:
    assert judge(replace(drill(), problems=tuple(problems)), ALL_MET).status is not Status.MET
