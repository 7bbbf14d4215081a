"""The pooler's pools before a drill and after it: looked at in virtual time, and judged."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dr.app import pools
from dr.domain.errors import ProviderError
from dr.domain.model import Observation, Purpose, Status
from dr.judge import course as judging
from dr.judge.verdict import judge
from dr.report.formats import text
from dr.wiring import objectives
from tests.unit.outages import Out, Script, of
from tests.virtual import VirtualClock

STUCK = 12


def pool(**held: int) -> dict[str, Any]:
    return {"database": "clinic", "user": "dr", "waiting": 0, "cancels": 0, "busy": 0, **held}


class Directory:
    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def observe(self, seen: list[Observation], _at: float) -> None:
        self.seen += seen

    def observations(self) -> tuple[Observation, ...]:
        return tuple(self.seen)


class Looked:
    """A drill whose looks at the pools see one of ``seen`` after the other, and then the last one again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: Any) -> None:
        self.clock, self.directory, self._seen = VirtualClock(), Directory(), list(seen)
        self.session: Any = SimpleNamespace(
            plan=SimpleNamespace(request=SimpleNamespace(purpose=Purpose.DRILL)),
            context=SimpleNamespace(clock=self.clock),
            directory=self.directory,
        )
        monkeypatch.setattr(pools, "_held", lambda _session: self._look())

    def _look(self) -> Any:
        now = self._seen.pop(0) if len(self._seen) > 1 else self._seen[0]
        if isinstance(now, Exception):
            raise now
        return now

    def drill(self) -> list[Any]:
        pools.look_before(self.session)
        pools.look_after(self.session)
        return [o.value for o in self.directory.seen]

    def judged(self) -> tuple[list[Any], str]:
        """The findings of that name, and the report."""
        found = of(Script([Out(1.0, 2.0)], after=8))
        found = replace(found, observations=tuple(self.directory.seen))
        verdict = judge(found, objectives())
        return [f for f in verdict.findings if f.objective == "pools"], text(found, verdict)


def test_what_goes_by_itself_is_waited_for_and_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, [pool()], [pool(busy=3, waiting=2)], [pool(busy=1)], [pool()])
    before, after = looked.drill()
    assert (before["pools"], after["pools"]) == ([pool()], [pool()])
    assert looked.clock.slept == [pools.GLANCE] * 2
    findings, report = looked.judged()
    assert not findings
    assert "pools hold no more than before" in report


@pytest.mark.parametrize(
    ("kind", "words"), [("cancels", "12 cancels"), ("waiting", "12 clients"), ("busy", "12 server")]
)
def test_what_stays_is_missed_by_name(monkeypatch: pytest.MonkeyPatch, kind: str, words: str) -> None:
    looked = Looked(monkeypatch, [pool(**{kind: 1})], [pool(**{kind: STUCK})])
    looked.drill()
    assert sum(looked.clock.slept) >= pools.PATIENCE
    (finding,), _ = looked.judged()
    assert finding.status is Status.MISSED
    assert words in finding.because
    assert "(1 before) in pool clinic of dr" in finding.because


def test_a_pool_that_others_use_is_full_at_one_moment_and_not_at_another(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, [pool()], [pool(waiting=4, cancels=1)], [pool(cancels=1)])
    looked.drill()
    findings, _ = looked.judged()
    (finding,) = findings
    assert "1 cancels" in finding.because
    assert "wait" not in finding.because


@pytest.mark.parametrize("looks", [([pool()], ProviderError("Gone.")), (ProviderError("Gone."), [pool()])])
def test_a_console_that_does_not_answer_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch, looks: Any) -> None:
    looked = Looked(monkeypatch, *looks)
    looked.drill()
    (finding,), _ = looked.judged()
    assert finding.status is Status.INCONCLUSIVE
    assert "Gone." in finding.because


def test_a_drill_that_never_looked_again_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, [pool()])
    pools.look_before(looked.session)
    (finding,), _ = looked.judged()
    assert finding.status is Status.INCONCLUSIVE


def test_a_target_without_a_console_says_that_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch, None)
    assert len(looked.drill()) == 1
    findings, report = looked.judged()
    assert not findings
    assert "pools were not looked at: the target names no pooler." in " ".join(report.split())


def test_a_run_of_an_earlier_release_says_nothing_of_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    findings, report = Looked(monkeypatch, [pool()]).judged()
    assert not findings
    assert "pools" not in report


def test_what_a_look_does_not_count_is_none() -> None:
    named = {"database": "clinic", "user": "dr"}
    assert judging.left([named], [named]) == []
    assert judging.left([named], [pool(waiting=1)]) == ["1 clients that wait (0 before) in pool clinic of dr"]
    assert judging.left([], [pool(cancels=1)]) == ["1 cancels (0 before) in pool clinic of dr"]
    assert judging.left([pool(busy=2)], [pool(busy=2)]) == []
    assert judging.left([pool(busy=1)], [named]) == []
