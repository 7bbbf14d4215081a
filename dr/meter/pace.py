"""When probes are due, and how late they were taken up. Pure.

Open loop: a due time depends on the start and the rate alone, never on how the target answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Number ``first`` is due at ``start`` (monotonic ns), and each further one ``1/rate`` seconds later."""

    start: int
    rate: float
    first: int = 0

    def due(self, n: int) -> int:
        """When number ``n`` is due; reckoned from the start, so that rounding does not add up."""
        return self.start + round((n - self.first) * SECOND / self.rate)


def percentile(ordered: Sequence[int], share: float) -> int:
    """The nearest-rank percentile of sorted values (0 of none): the smallest that ``share`` of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def spread(lateness: Iterable[int]) -> dict[str, float]:
    """A meter's own lateness as the footer of its file has it: percentiles, seconds of nanoseconds."""
    ordered = sorted(lateness)
    return {f"p{round(share * 100)}": percentile(ordered, share) / SECOND for share in (0.5, 0.95, 0.99)}
