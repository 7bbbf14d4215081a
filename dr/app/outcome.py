"""How a run ended, as an exit code."""

from __future__ import annotations

from dataclasses import dataclass

from dr.domain.errors import DrError
from dr.domain.model import Verdict
from dr.evidence.directory import RunDirectory
from dr.evidence.model import Evidence
from dr.judge.verdict import exit_code as verdict_code
from dr.ports import Clock

WORST_FIRST = (129, 130, 143, 1, 5, 4, 3, 2)
"""Interrupted before all; then a missed demand before a failure before inconclusive before refused."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: its verdict, what could not be undone, and the error that ended it early, if one did.

    ``saw``: what the provider showed of the run when it was asked last, in words; "" where it was not. ``stands``: the
    names of that.
    ``judged``: by its evidence, and written beside it.
    """

    run: RunDirectory
    verdict: Verdict
    leftovers: tuple[str, ...] = ()
    error: DrError | None = None
    saw: str = ""
    stands: tuple[str, ...] = ()
    judged: bool = True
    evidence: Evidence | None = None
    """What the verdict rests on, where this process judged it."""

    def load(self, clock: Clock) -> Evidence:
        """What the verdict rests on. Raises EvidenceError where that has to be read, and cannot."""
        return self.evidence or self.run.load(clock)


def worst(codes: set[int]) -> int:
    """The exit code of several at once."""
    return next((code for code in WORST_FIRST if code in codes), 0)


def exit_code(outcome: Outcome) -> int:
    """The exit code of one run."""
    codes = {verdict_code(outcome.verdict)}
    if outcome.leftovers:
        codes.add(5)
    if outcome.error is not None:
        codes.add(outcome.error.exit_code)
    return worst(codes)
