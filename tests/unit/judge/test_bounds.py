"""What few samples prove, against sums of the binomial distribution's terms."""

from __future__ import annotations

from math import comb

import pytest

from dr.judge.bounds import ENOUGH, at_most, more_than, needed, p95_ranks, share


def summed(k: int, n: int, p: float) -> float:
    """The chance of ``k`` or fewer among ``n``, term by term."""
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize("n", [1, 2, 7, 60])
@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.95])
def test_a_chance_is_the_sum_of_its_terms_on_either_tail(n: int, p: float) -> None:
    assert at_most(-1, n, p) == 0
    assert at_most(n, n, p) == at_most(n + 1, n, p) == 1
    for k in range(n):
        assert at_most(k, n, p) == pytest.approx(summed(k, n, p), rel=1e-9)


def test_no_chance_is_above_one_although_its_terms_round_to_more() -> None:
    assert max(at_most(k, 50, 0.01) for k in range(50)) == 1.0


def test_what_is_certain_is_no_matter_of_a_sum() -> None:
    assert (at_most(0, 5, 0.0), at_most(4, 5, 1.0), at_most(5, 5, 1.0)) == (1, 0, 1)


@pytest.mark.parametrize("n", [ENOUGH, 60, 92, 93, 123, 124, 250])
def test_a_p95_lies_between_the_closest_ranks_that_prove_it(n: int) -> None:
    ranks = p95_ranks(n)
    assert ranks == (
        max(rank for rank in range(1, n + 1) if summed(rank - 1, n, 0.95) <= 0.05),
        min(rank for rank in range(1, n + 1) if summed(rank - 1, n, 0.95) >= 0.95),
    )


def test_the_greatest_of_58_samples_bounds_no_p95() -> None:
    assert 1 - 0.95**ENOUGH >= 0.95 > 1 - 0.95 ** (ENOUGH - 1)
    assert p95_ranks(ENOUGH - 1) is None


@pytest.mark.parametrize(
    ("seen", "low", "high"),
    [((0, 10), 0.0, 0.258866), ((1, 10), 0.005116, 0.394163), ((5, 10), 0.222441, 0.777559), ((10, 10), 0.741134, 1.0)],
)
def test_a_share_lies_between_the_limits_of_clopper_and_pearson(seen: tuple[int, int], low: float, high: float) -> None:
    assert share(*seen) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("n", [2, 20, 59, 600])
def test_more_is_proven_where_the_lower_limit_lies_above(n: int, limit: float) -> None:
    seen = sorted({0, 1, 2, 5, n // 3, n - 1, n} & {*range(n + 1)})
    assert [more_than(limit, k, n) for k in seen] == [share(k, n)[0] > limit for k in seen]


@pytest.mark.parametrize(
    ("k", "limit", "n"), [(0, 0.01, 299), (1, 0.01, 473), (2, 0.01, 628), (3, 0.05, 153), (1, 0.5, 8), (0, 0.99, 1)]
)
def test_as_many_samples_are_needed_as_prove_a_share_below_its_limit(k: int, limit: float, n: int) -> None:
    assert needed(k, limit) == n
    assert share(k, n)[1] < limit
    assert n - 1 <= k or share(k, n - 1)[1] >= limit
