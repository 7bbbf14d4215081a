"""Which columns of a table are summed, where copy and source of now have not the same."""

from __future__ import annotations

import pytest

from dr.drivers.postgres.fingerprint import Column, Table, copy_beside, source_beside

NAME = "public.t"


def table(*numbers: int, key: tuple[int, ...] = (1,), ever: int = 9, base: str = "int4") -> Table:
    columns = tuple(Column(f"c{n}", base if n > 1 else "int4", True, n) for n in numbers)
    return Table(NAME, columns, tuple(c for c in columns if c.number in key), 50, ever)


def method(of: Table) -> str:
    return f"hash-15/1:{of.shape}"


def summed(copy: Table, source: Table, like: str) -> tuple[list[int], list[int]]:
    """The numbers of the columns that are summed on the copy, and on the source."""
    here = copy_beside({NAME: source}, copy, like)
    there = source_beside({NAME: here}, source, method(here))
    return [c.number for c in here.columns], [c.number for c in there.columns]


@pytest.mark.parametrize(
    ("before", "copy", "source", "here", "there"),
    [
        ((1, 2), (1, 2, 3), (1, 2), [1, 2], [1, 2]),  # it came and went
        ((1, 2), (1, 2), (1, 2, 3), [1, 2], [1, 2]),  # it was added since
        ((1, 2, 3), (1, 2, 3), (1, 2), [1, 2, 3], [1, 2]),  # it was dropped since: the look before has the whole
        ((1, 2), (1, 2, 3), (1, 2, 4), [1, 2], [1, 2]),  # one went, another was added since
        ((1, 2), (1, 2, 3), (1, 2, 3), [1, 2, 3], [1, 2, 3]),
        ((1, 2, 3), (1, 3), (1, 2, 3), [1, 3], [1, 2, 3]),  # the copy alone lost it
    ],
)
def test_columns_that_both_have_are_summed_unless_the_copy_lost_one(
    before: tuple[int, ...], copy: tuple[int, ...], source: tuple[int, ...], here: list[int], there: list[int]
) -> None:
    assert summed(table(*copy, ever=max(copy)), table(*source), method(table(*before))) == (here, there)


def test_a_column_of_another_type_is_another_one() -> None:
    assert summed(table(1, 2, ever=2), table(1, 2, base="int8"), "") == ([1, 2], [1, 2])
    assert summed(table(1, 3, ever=3), table(1, 4, base="int8"), "") == ([1], [1])


def test_rows_that_are_told_apart_by_another_key_are_summed_whole() -> None:
    assert summed(table(1, 2, 3), table(1, 2, key=(2,)), "") == ([1, 2, 3], [1, 2])


def test_nothing_is_left_out_by_a_look_that_does_not_say_its_shape_or_where_there_is_no_other_table() -> None:
    assert summed(table(1, 2, 3), table(1, 2), "hash-15/1")[0] == [1, 2, 3]
    assert copy_beside({}, table(1, 2), "") == source_beside({}, table(1, 2), "") == table(1, 2)
