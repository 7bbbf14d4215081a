"""What few samples prove: exact bounds, each at 95% confidence on its side. Pure.

Ranks of order statistics and Clopper-Pearson limits come from the binomial distribution alone, so that nothing is
assumed of how latencies are distributed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

CONFIDENCE = 0.95
QUANTILE = 0.95
ENOUGH = 59
"""The fewest samples whose maximum bounds their p95: 0.95 ** 59 is below 0.05."""
MOST = 10_000_000
"""The most: an hour of 2,000 a second."""
NOTHING = 1e-18
"""The share of a chance that is nothing beside it."""


def at_most(k: int, n: int, p: float) -> float:
    """The chance of ``k`` or fewer among ``n``, each of chance ``p``."""
    if k >= n or p <= 0:
        return 1.0
    if k < 0 or p >= 1:
        return 0.0
    if k > n * p:  # below their mean, and nowhere else, each chance is less than that of one more
        return 1.0 - at_most(n - k - 1, n, 1 - p)
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    chance, whole, odds = math.exp(log), 0.0, (1 - p) / p
    for i in range(k, -1, -1):
        whole += chance
        if chance <= whole * NOTHING:
            break
        chance *= i * odds / (n - i + 1)
    return min(1.0, whole)


def first(least: int, most: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from ``least`` to ``most`` that ``holds``, which all after it do; ``most`` if none does."""
    while least < most:
        middle = (least + most) // 2
        if holds(middle):
            most = middle
        else:
            least = middle + 1
    return least


def p95_ranks(n: int) -> tuple[int, int] | None:
    """The ranks, from 1, between which the p95 lies: at or above the first, at or below the second. None of too few,
    and of more than anybody counts in a run, since that takes for ever."""
    if not ENOUGH <= n <= MOST:
        return None
    upper = first(1, n, lambda rank: at_most(rank - 1, n, QUANTILE) >= CONFIDENCE)
    lower = first(1, n, lambda rank: at_most(rank - 1, n, QUANTILE) > 1 - CONFIDENCE) - 1
    return lower, upper


def doubt(look: int) -> float:
    """What a side's bound may be wrong by, as a chance, at each look of several that end with the first which decides:
    half of it goes to the first, half of the rest to the next, so that all of them together keep ``CONFIDENCE``. 0:
    there was to be but one."""
    return (1 - CONFIDENCE) * 0.5**look


def share(k: int, n: int, look: int = 0) -> tuple[float, float]:
    """Clopper-Pearson: the shares between which the true one lies when ``k`` of ``n`` were seen, at ``look``."""
    lower = 0.0 if k == 0 else _solve(lambda p: 1 - at_most(k - 1, n, p) >= doubt(look))
    upper = _solve(lambda p: at_most(k, n, p) <= doubt(look))
    return lower, upper


def more_than(limit: float, k: int, n: int) -> bool:
    """Whether the lower bound of ``share`` lies above ``limit``, which one of its fifty steps tells."""
    return k > 0 and 1 - at_most(k - 1, n, limit) < doubt(0)


def needed(k: int, limit: float, look: int = 0) -> int:
    """How many samples with ``k`` among them prove a share below ``limit``; 299 where none is and the limit is 1%."""
    most = math.ceil((k + 10) * 10 / limit)
    return first(k + 1, most, lambda n: at_most(k, n, limit) < doubt(look))


def _solve(holds: Callable[[float], bool]) -> float:
    """Where, between 0 and 1, ``holds`` begins to."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
