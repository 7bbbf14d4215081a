"""Which columns of a table are summed, where copy and source of now have not the same."""

from __future__ import annotations

import pytest

from dr.drivers.postgres.fingerprint import BINARY, ENUM, Column, Table, copy_beside, source_beside, ways

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


def test_rows_that_are_told_apart_by_another_key_are_told_by_the_whole_of_them() -> None:
    copy, source = table(1, 2, 3), table(1, 2, key=(2,))
    assert summed(copy, source, "") == ([1, 2], [1, 2])
    here = copy_beside({NAME: source}, copy, "")
    assert here.key == source_beside({NAME: here}, source, "").key == ()
    assert table(1, 2).sharing(table(1, 2)).key == table(1, 2).key


@pytest.mark.parametrize("nullable", [(True, False), (False, True)])
def test_a_column_that_may_be_null_on_one_side_alone_is_summed_alike(nullable: tuple[bool, bool]) -> None:
    copy, source = (Table(NAME, (table(1).columns[0], Column("v", "text", of, 2)), ever=2) for of in nullable)
    here = copy_beside({NAME: source}, copy, "")
    there = source_beside({NAME: here}, source, method(here))
    assert here.columns == there.columns
    assert here.columns[1].nullable
    assert method(here) == method(there)
    assert copy_beside({NAME: source}, copy, method(copy)) == copy  # the look before has it as it is


def test_nothing_is_left_out_by_a_look_that_does_not_say_its_shape_or_where_there_is_no_other_table() -> None:
    assert summed(table(1, 2, 3), table(1, 2), "hash-15/1")[0] == [1, 2, 3]
    assert copy_beside({}, table(1, 2), "") == source_beside({}, table(1, 2), "") == table(1, 2)


def typed(base: str, definition: str = "") -> Table:
    return Table(NAME, (Column("a", "int4", False, 1), Column("v", base, True, 2, definition)))


def shapes(of: Table) -> list[str]:
    """As it is summed usually, and as text."""
    return [way.method.partition(":")[2] for way in ways(of, 15)]


@pytest.mark.parametrize(
    ("one", "other", "usual", "as_text"),
    [
        (typed("text"), typed("varchar"), True, True),
        (typed("timestamp"), typed("timestamptz"), True, False),
        (typed("date"), typed("timestamp"), False, False),
        (typed("regclass"), typed("oid"), False, False),
        (typed("", "made of a"), typed("", "made of b"), False, False),
        (typed(ENUM, "made of a"), typed(ENUM, "made of b"), True, False),
        (typed("", "made of a"), typed("text"), False, False),
    ],
)
def test_types_have_one_shape_where_the_same_bytes_have_the_same_hash(
    one: Table, other: Table, usual: bool, as_text: bool
) -> None:
    assert [mine == theirs for mine, theirs in zip(shapes(one), shapes(other), strict=True)] == [usual, as_text]


FORMER = "90b3493b"
"""The shape that earlier versions gave a table of a whole number and of any type that they took as text."""


@pytest.mark.parametrize("base", ["text", "timestamptz", "regclass", ENUM])
def test_a_stored_look_of_the_former_form_is_followed_in_it(base: str) -> None:
    here, by_text = typed(base, "x" if base == ENUM else ""), typed("text")
    for like in (f"hash-15/1:{FORMER}", "hash-15/1", f"{BINARY}:{FORMER}"):
        assert copy_beside({NAME: here._replace(columns=())}, here, like) == here
        found = {way.method: way.hashed for way in ways(here, 15, like)}
        assert like in found
        usual = next(method for method in found if method.startswith("hash"))
        assert found[usual] == {way.method: way.hashed for way in ways(by_text, 15, like)}[usual]
    assert ways(here, 15)[0].method.endswith(FORMER) is (base == "text")
