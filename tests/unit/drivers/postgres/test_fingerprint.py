"""The SQL that sums a table: what stored baselines were summed by must not change, however it is put together."""

from __future__ import annotations

import pytest

from dr.drivers.postgres.fingerprint import Column, binary_row_hash, row_hash


def test_a_row_is_hashed_as_stored_baselines_were() -> None:
    columns = (Column("a", "int8", False), Column("b", "int8", True), Column("c", "text", True), Column("d", "", False))
    assert row_hash(columns) == (
        'hashtextextended(t."d"::text collate "C", '
        'hashtextextended(coalesce(t."c"::text collate "C", \'\'), '
        'hashint8extended(coalesce(t."b", 0), coalesce(t."b", 0) # '
        'hashint8extended(t."a", t."a" # '
        '(case when t."b" is null then 1::int8 else 0 end + case when t."c" is null then 2::int8 else 0 end'
        " + 0::int8)))))"
    )


def test_the_nulls_of_many_columns_are_hashed_as_stored_baselines_were() -> None:
    text = row_hash([Column(f"c{n}", "bool", True) for n in range(100)])
    assert text.count("case when") == 200 - 48  # the first word once, each further one twice: it is mixed in
    assert text.startswith('hashint4extended(coalesce(t."c99"::int4, 0), hashint4extended(')
    assert text.count("(") == text.count(")")


@pytest.mark.parametrize("width", [0, 1, 329, 330, 331, 1600])
def test_the_hash_of_any_width_is_composed_and_no_chain_of_it_is_deeper_than_the_old_limit(width: int) -> None:
    columns = [Column(f"c{n}", "int8", True) for n in range(width)]
    text = row_hash(columns)
    assert _depth(text) < 420
    assert ("concat_ws" in text) == (width > 330)
    assert _depth(binary_row_hash(columns)) < 12


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, depth)
    return deepest
