"""When probes are due, and how late they were taken up. Pure.

Called by: ``dr.meter.probe``, ``dr.meter.mark`` and ``bench.prober``. Open loop: a due time depends on the start and
the rate alone, never on how the target answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
