"""One table's sums and rows, and one object's versions, against the looks at the source: each rule at its edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from dr.domain import comparing
from dr.domain.comparing import ALTERED, BY_HAND, BY_SUMS, MISSING, NEVER_HAD, Compared, Cuts
from dr.domain.errors import EvidenceError
from dr.domain.looks import (
    BEFORE,
    LATER,
    POINT,
    Part,
    Row,
    Snapshot,
    Sum,
    TableLook,
    TableRows,
    Version,
    packed_rows,
    packed_sums,
)

METHOD, BUCKETS = "hash-15/1", 4
ONE, TWO, THREE = Row(0, 100), Row(1, 200), Row(2, 300)
SAME_BUCKET = Row(4, 400)
"""Of the bucket of ONE."""


def summed(*rows: Row) -> Part:
    sums = [Sum(0, 0)] * BUCKETS
    for row in rows:
        n = row.identity % BUCKETS
        sums[n] = Sum(sums[n].rows + 1, (sums[n].hashes + row.content) % 2**64)
    return Part(len(rows), packed_sums(sums))


def look(touched: int | None = None, **parts: Sequence[Row]) -> TableLook:
    return TableLook(METHOD, BUCKETS, {name: summed(*rows) for name, rows in parts.items()}, touched)


def read(*buckets: int, **parts: Iterable[Row]) -> TableRows:
    return TableRows(buckets, {name: packed_rows(rows) for name, rows in parts.items()})


def first(*rows: Row) -> TableLook:
    """A look before, which has no other part."""
    return look(before=rows, later=())


def copied(before: Sequence[Row] = (), point: Sequence[Row] = (), later: Sequence[Row] = ()) -> TableLook:
    return look(0, before=before, point=point, later=later)


afterwards = copied


def test_sums_compare_that_were_made_alike() -> None:
    copy = copied([ONE])
    for other in (first(ONE), copied([TWO])):
        assert comparing.comparable(copy, other) is other
    for other in (None, replace(first(ONE), method="md5/1"), replace(first(ONE), buckets=8)):
        assert comparing.comparable(copy, other) is None


def test_the_buckets_that_differ_in_any_part_are_unsettled() -> None:
    source = afterwards([ONE, TWO], [THREE])
    assert comparing.unsettled(first(ONE, TWO), copied([ONE, TWO], [THREE]), source) == ()
    assert comparing.unsettled(first(ONE, TWO), copied([ONE], [Row(2, 301)]), source) == (1, 2)
    assert comparing.unsettled(None, copied([Row(0, 101)], [SAME_BUCKET, THREE]), source) == (0, 1)
    other = replace(source, method="md5/1")
    assert comparing.unsettled(replace(first(ONE), method="md5/1"), copied([ONE], [THREE]), other) == (0, 2)


def test_a_stored_look_proves_what_agrees_of_the_newer_rows_and_makes_nothing_of_them_wrong() -> None:
    """It was taken before the copy's snapshot was known: whatever is newer than the look before is in one part."""
    stored = look(before=[ONE], later=[TWO])
    assert comparing.table(first(ONE), copied([ONE], [TWO]), stored) == Compared(2)
    assert comparing.table(first(ONE), copied([ONE], [Row(1, 201)]), stored) == Compared(1, unknown=1)
    assert comparing.table(first(ONE), copied([ONE], []), stored) == Compared(1)
    assert comparing.table(None, copied([TWO], []), look(before=[], later=[TWO])).unknown == 1
    newest = look(later=[ONE])
    assert comparing.table(None, copied([ONE], []), newest) == Compared(unknown=1)


def test_a_part_that_the_copy_does_not_have_is_not_compared() -> None:
    point = look(point=[ONE], later=[])
    assert comparing.table(None, point, look(point=[ONE], later=[TWO])) == Compared(1)
    assert comparing.table(None, look(point=[ONE]), look(point=[ONE], later=[])) == Compared(1)


def test_rows_that_went_on_the_source_afterwards_are_proven_by_the_look_before() -> None:
    assert comparing.table(first(ONE, SAME_BUCKET), copied([ONE, SAME_BUCKET]), afterwards([ONE])) == Compared(2, 1)
    assert comparing.table(first(ONE, TWO), copied([ONE, TWO]), afterwards([])) == Compared(2, 2)
    assert comparing.table(first(ONE), copied([ONE]), afterwards([Row(0, 101)])) == Compared(1)


def unsure(*rows: Row) -> TableLook:
    return look(point=[], unsure=rows, later=[])


def test_what_is_unsure_proves_where_copy_and_source_agree_and_is_never_wrong_by_its_sums() -> None:
    assert comparing.table(None, unsure(ONE, TWO), unsure(ONE)) == Compared(1, unknown=1)
    assert comparing.table(None, unsure(), unsure(ONE, TWO)) == Compared(unknown=2)
    assert comparing.table(None, unsure(Row(0, 101)), unsure(ONE, SAME_BUCKET)) == Compared(unknown=2)
    assert comparing.unsettled(None, unsure(ONE), unsure(ONE, TWO)) == (1,)
    assert comparing.table(None, unsure(ONE), look(later=[ONE])) == Compared(unknown=1)
    both = replace(unsure(SAME_BUCKET), parts={**unsure(SAME_BUCKET).parts, "before": summed(ONE)})
    assert comparing.table(first(ONE, Row(8, 800)), both, None) == Compared(unknown=2)


def test_rows_that_are_unsure_are_unknown_where_they_are_on_one_side_alone() -> None:
    altered = Row(0, 101)

    def by_rows(here: Sequence[Row], there: Sequence[Row]) -> Compared:
        rows = (read(0, 1, unsure=here), read(0, 1, unsure=there))
        return comparing.table(None, unsure(*here), unsure(*there), rows)

    assert by_rows([ONE, SAME_BUCKET], [ONE]) == Compared(1, unknown=1)
    assert by_rows([ONE], [ONE, SAME_BUCKET, TWO]) == Compared(1, unknown=2)
    assert by_rows([altered], [ONE]) == Compared(unknown=1)


def test_a_bucket_that_no_history_of_the_source_leads_to_is_wrong_by_its_sums() -> None:
    altered, fewer = Row(0, 101), copied([SAME_BUCKET])
    wrong = {BY_SUMS: 1}
    assert comparing.table(first(ONE), copied([altered]), None) == Compared(unknown=1, wrong=wrong)
    assert comparing.table(None, copied([altered]), afterwards([ONE])) == Compared(unknown=1, wrong=wrong)
    assert comparing.table(None, copied([altered], [TWO]), afterwards([ONE], [TWO])).wrong == wrong
    assert comparing.table(first(ONE), copied([ONE, SAME_BUCKET]), None).wrong == {BY_SUMS: 2}
    assert comparing.table(first(ONE, TWO), copied([altered, Row(1, 201)]), None).wrong == {BY_SUMS: 2}
    assert comparing.table(None, fewer, afterwards([ONE, SAME_BUCKET])).wrong == {BY_SUMS: 2}
    assert comparing.table(None, copied(), afterwards([ONE, SAME_BUCKET])) == Compared(wrong={BY_SUMS: 2})
    assert comparing.table(None, copied([ONE, altered]), afterwards([SAME_BUCKET])) == Compared(unknown=2)
    assert comparing.table(first(ONE, SAME_BUCKET, Row(8, 1)), copied([ONE, altered]), None) == Compared(unknown=3)


def test_rows_of_the_look_before_for_which_none_of_the_copy_can_stand_are_not_known() -> None:
    three = first(ONE, SAME_BUCKET, Row(8, 800))
    assert comparing.table(three, copied(), None) == Compared(unknown=3)
    assert comparing.table(three, copied([ONE]), None) == Compared(unknown=3)
    assert comparing.table(three, copied([ONE], [SAME_BUCKET, TWO]), None) == Compared(unknown=4)
    assert comparing.table(three, copied([], [Row(4 * n, 1) for n in range(5)]), None) == Compared(unknown=5)
    assert comparing.table(three, look(before=[ONE]), None) == Compared(unknown=3)
    assert comparing.table(three, copied([ONE]), afterwards([ONE])) == Compared(1)


def test_what_was_written_on_the_copy_is_a_hands_by_its_transaction_or_by_the_statistics() -> None:
    assert comparing.table(first(ONE), copied([ONE], later=[TWO, THREE]), None) == Compared(1, wrong={BY_HAND: 2})
    touched = replace(copied([ONE], later=[TWO]), touched=3)
    assert comparing.table(first(ONE), touched, None) == Compared(1, wrong={BY_HAND: 3})
    assert comparing.table(first(ONE), replace(touched, touched=0), None) == Compared(1, wrong={BY_HAND: 1})


LARGE = Row(0, 2**64 - 1)


def test_frozen_rows_are_no_hands_where_with_them_a_bucket_is_the_sources() -> None:
    assert comparing.table(first(LARGE, SAME_BUCKET), copied([LARGE], later=[SAME_BUCKET]), None) == Compared(2)
    known = afterwards([TWO], [LARGE, SAME_BUCKET])
    assert comparing.table(None, copied([TWO], [LARGE], [SAME_BUCKET]), known) == Compared(3)
    other = comparing.table(first(ONE, TWO), copied([ONE], later=[TWO, THREE]), None)
    assert other == Compared(2, wrong={BY_HAND: 1})
    assert comparing.unsettled(first(ONE, TWO), copied([ONE], later=[TWO]), None) == ()
    assert comparing.unsettled(None, copied([TWO], [LARGE], [SAME_BUCKET]), known) == ()


def test_a_row_that_went_on_the_source_and_is_back_on_the_copy_is_a_hands() -> None:
    """The bucket is the source's without it."""
    found = comparing.table(first(ONE, SAME_BUCKET), copied([ONE], later=[SAME_BUCKET]), afterwards([ONE]))
    assert found == Compared(1, wrong={BY_HAND: 1})


# -- by their rows


def by_rows(
    before: TableLook | None,
    copy: Mapping[str, Sequence[Row]],
    after: Mapping[str, Sequence[Row]],
    buckets: Sequence[int] = range(BUCKETS),
) -> Compared:
    """What is found where the rows of ``buckets`` were read on both sides."""
    sides = (look(0, **{BEFORE: (), POINT: (), LATER: (), **side}) for side in (copy, after))
    rows = (read(*buckets, **copy), read(*buckets, **after))
    return comparing.table(before, next(sides), next(sides), rows)


def test_rows_tell_what_became_of_each() -> None:
    altered = Row(0, 101)
    assert by_rows(None, {BEFORE: [altered, SAME_BUCKET]}, {BEFORE: [ONE, SAME_BUCKET]}) == Compared(
        1, wrong={ALTERED: 1}
    )
    assert by_rows(None, {BEFORE: [ONE, TWO]}, {BEFORE: [ONE, SAME_BUCKET, Row(8, 8), TWO]}) == Compared(
        2, wrong={MISSING: 2}
    )
    assert by_rows(None, {BEFORE: [ONE]}, {BEFORE: [ONE, SAME_BUCKET, SAME_BUCKET]}) == Compared(1, wrong={MISSING: 2})
    assert by_rows(None, {POINT: [altered]}, {POINT: [ONE]}) == Compared(wrong={ALTERED: 1})
    moved = by_rows(None, {POINT: [altered]}, {BEFORE: [ONE]})
    assert moved == Compared(unknown=1, wrong={ALTERED: 1})


def test_rows_that_went_are_not_known_where_nothing_tells_that_they_did_not_go_on_the_copy() -> None:
    """The source has changed or lost them all since; of THREE, which stands in the copy anew, nothing is lacking."""
    before, after = first(ONE, TWO, THREE), afterwards(later=[Row(0, 101), Row(2, 301)])
    copy = copied(point=[Row(2, 301)])
    assert comparing.table(before, copy, after) == Compared(unknown=2)
    assert comparing.table(before, copy, after, told=False) == Compared(unknown=3)
    stands = afterwards([ONE, TWO, THREE])
    whole = copied([ONE, TWO, THREE])
    assert comparing.table(before, whole, stands, told=False) == Compared(3)
    assert comparing.table(before, whole, after, told=False) == Compared(3, either=3)
    on_call = look(before=[], point=[Row(2, 301)])  # clients write to it, so that nobody asks what is later
    assert comparing.table(before, on_call, after, told=False) == Compared(unknown=2)


def test_rows_that_the_source_has_at_both_looks_are_not_known_where_the_copy_has_none_for_them() -> None:
    before, lost = first(ONE, TWO, THREE), copied([])
    assert comparing.table(before, lost, afterwards([])) == Compared()  # drained before the point, or after it
    assert comparing.table(before, lost, afterwards(later=[Row(0, 101), Row(1, 201)])) == Compared(unknown=2)
    more = afterwards(later=[Row(0, 101), Row(4, 5), Row(8, 6)])  # three in the bucket of one
    assert comparing.table(before, lost, more) == Compared(unknown=1)
    moved = copied([], point=[Row(0, 101)])
    assert comparing.table(before, moved, afterwards([], point=[Row(0, 101)], later=[Row(4, 5)])) == Compared(1)
    partly = first(ONE, SAME_BUCKET, TWO)
    rest = copied([SAME_BUCKET])
    assert comparing.table(partly, rest, afterwards([SAME_BUCKET], later=[Row(0, 101)])) == Compared(1, unknown=1)


def test_a_row_more_than_the_source_had_is_wrong_where_rows_can_only_have_gone_and_else_not_known() -> None:
    more = {BEFORE: [ONE, SAME_BUCKET, Row(8, 8)]}
    assert by_rows(first(ONE, TWO), more, {BEFORE: [ONE]}) == Compared(1, wrong={NEVER_HAD: 2})
    assert by_rows(None, more, {BEFORE: [ONE]}) == Compared(1, unknown=2)
    assert by_rows(first(ONE), {BEFORE: [ONE], POINT: [TWO, TWO, THREE]}, {BEFORE: [ONE]}) == Compared(1, unknown=3)
    whole = first(ONE, SAME_BUCKET, Row(8, 8), Row(12, 12))
    assert by_rows(whole, more, {BEFORE: [ONE]}) == Compared(1, unknown=2)


def test_the_other_version_of_an_altered_row_is_no_row_more() -> None:
    copy = {BEFORE: [Row(0, 101), SAME_BUCKET]}
    assert by_rows(first(ONE), copy, {BEFORE: [ONE]}) == Compared(wrong={ALTERED: 1, NEVER_HAD: 1})
    assert by_rows(None, copy, {BEFORE: [ONE]}) == Compared(unknown=1, wrong={ALTERED: 1})


def test_rows_of_a_bucket_that_its_sums_have_proven_are_not_counted_again() -> None:
    source = {BEFORE: [ONE, TWO], POINT: [THREE]}
    assert by_rows(first(ONE, TWO), source, source) == Compared(3)
    gone = by_rows(first(ONE, TWO), {BEFORE: [ONE, TWO], POINT: [Row(2, 301)]}, {BEFORE: [TWO], POINT: [THREE]})
    assert gone == Compared(2, 1, wrong={ALTERED: 1})


def test_a_bucket_whose_rows_were_read_on_one_side_alone_is_known_by_its_sums() -> None:
    copy, after = copied([Row(0, 101)]), afterwards([ONE])
    mine, theirs = read(0, before=[Row(0, 101)]), read(0, before=[ONE])
    by_sums = Compared(unknown=1, wrong={BY_SUMS: 1})
    for rows in ((mine, read()), (read(), theirs)):
        assert comparing.table(None, copy, after, rows) == by_sums
    assert comparing.table(None, copy, after, (mine, theirs)) == Compared(wrong={ALTERED: 1})


@pytest.mark.parametrize("sides", [((0, 4), (0,)), ((0,), (0, 4)), ((-1,), ())])
def test_rows_of_a_bucket_that_is_not_there_are_damaged(sides: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    mine, theirs = sides
    with pytest.raises(EvidenceError) as raised:
        comparing.table(None, copied([Row(0, 101)]), afterwards([ONE]), (read(*mine), read(*theirs)))
    assert str(raised.value).startswith("The rows that were read are damaged: they are of none of 4 buckets.")


def test_a_frozen_row_that_stands_on_the_source_is_no_hands() -> None:
    """Its bucket has changed since, so that its sum alone tells nothing."""
    copy = {BEFORE: [SAME_BUCKET, Row(8, 8)], LATER: [ONE]}
    found = by_rows(None, copy, {BEFORE: [ONE, SAME_BUCKET]})
    assert found == Compared(2, unknown=1)
    forged = by_rows(None, {**copy, LATER: [ONE, ONE, TWO]}, {BEFORE: [ONE, SAME_BUCKET]})
    assert forged == Compared(2, unknown=1, wrong={BY_HAND: 2})
    doubled = by_rows(None, {BEFORE: [ONE, Row(8, 8)], LATER: [ONE]}, {BEFORE: [ONE]})
    assert doubled == Compared(1, unknown=1, wrong={BY_HAND: 1})
    newer = by_rows(None, {POINT: [SAME_BUCKET, Row(8, 8)], LATER: [ONE]}, {POINT: [ONE, SAME_BUCKET]})
    assert newer == Compared(2, unknown=1)


def test_a_frozen_row_stands_for_one_row_of_the_source() -> None:
    """With it, one part of its bucket is the source's by its sum: the other part still lacks such a row."""
    found = by_rows(None, {LATER: [ONE]}, {BEFORE: [ONE], POINT: [ONE]})
    assert found == Compared(1, wrong={MISSING: 1})
    newer = by_rows(None, {BEFORE: [Row(8, 8)], LATER: [ONE]}, {BEFORE: [ONE], POINT: [ONE]})
    assert newer == Compared(1, unknown=1, wrong={MISSING: 1})
    twice = by_rows(first(SAME_BUCKET), {BEFORE: [SAME_BUCKET], LATER: [ONE]}, {POINT: [ONE, ONE]})
    assert twice == Compared(2, 1, wrong={MISSING: 1})
    beside = {BEFORE: [Row(8, 8)], POINT: [Row(12, 12)], LATER: [ONE]}
    assert by_rows(None, beside, {BEFORE: [ONE], POINT: [ONE]}) == Compared(1, unknown=2, wrong={MISSING: 1})


def test_a_frozen_row_that_was_written_again_as_it_was_is_not_missing() -> None:
    """By its bucket's sum it is that of the look before."""
    before, copy = first(SAME_BUCKET, ONE), {BEFORE: [SAME_BUCKET], LATER: [ONE]}
    assert by_rows(before, copy, {POINT: [ONE]}) == Compared(2, 2)
    assert by_rows(before, copy, {POINT: [ONE, Row(8, 8)]}) == Compared(2, 2, wrong={MISSING: 1})


def test_rows_are_told_without_a_look_before() -> None:
    copy, after = look(point=[Row(0, 101)], later=[]), look(point=[ONE], later=[])
    rows = (read(0, point=[Row(0, 101)]), read(0, point=[ONE]))
    assert comparing.table(None, copy, after, rows) == Compared(wrong={ALTERED: 1})


# -- definitions

OLD, NEW = Version("old", 5), Version("new", 15)
CUTS = Cuts(Snapshot(10, 10, ()), Snapshot(20, 20, ()), Snapshot(20, 20, ()))


def version(digest: str, xid: int) -> Version:
    return Version(digest, xid)


@pytest.mark.parametrize(
    ("before", "copy", "after", "found"),
    [
        (OLD, OLD, OLD, Compared(1)),
        (OLD, NEW, NEW, Compared(1)),
        (None, NEW, NEW, Compared(1)),
        (None, None, None, Compared(1)),
        (None, None, version("newest", 25), Compared(1)),
        (OLD, None, OLD, Compared(wrong={MISSING: 1})),
        (OLD, None, NEW, Compared(wrong={MISSING: 1})),
        (None, None, NEW, Compared(wrong={MISSING: 1})),
        (OLD, None, None, Compared(unknown=1)),
        (OLD, None, version("newest", 25), Compared(unknown=1)),
        (OLD, version("other", 5), OLD, Compared(wrong={"defined differently": 1})),
        (OLD, version("other", 15), NEW, Compared(wrong={"defined differently": 1})),
        (OLD, OLD, NEW, Compared(wrong={"defined differently": 1})),
        (OLD, OLD, version("newest", 25), Compared(1, 1)),
        (OLD, OLD, None, Compared(1, 1)),
        (OLD, version("newest", 15), version("newest", 25), Compared(1, 1)),
        (OLD, version("other", 25), None, Compared(wrong={"defined on the copy itself, after its recovery": 1})),
        (None, version("other", 20), None, Compared(wrong={"defined on the copy itself, after its recovery": 1})),
        (OLD, version("other", 9), None, Compared(wrong={"defined differently": 1})),
        (None, version("other", 9), None, Compared(wrong={"not in the source": 1})),
        (OLD, version("other", 10), None, Compared(unknown=1)),
        (None, version("other", 15), version("newest", 25), Compared(unknown=1)),
        (OLD, version("other", 0), None, Compared(unknown=1)),
        (None, version("other", 0), None, Compared(unknown=1)),
        (version("old", 0), version("other", 0), version("old", 0), Compared(wrong={"defined differently": 1})),
        (version("old", 0), None, version("old", 0), Compared(unknown=1)),
        (version("old", 0), version("other", 0), version("new", 0), Compared(unknown=1)),
        (None, None, version("new", 0), Compared(1)),
    ],
)
def test_a_version_is_right_that_the_source_had_at_the_point(
    before: Version | None, copy: Version | None, after: Version | None, found: Compared
) -> None:
    assert comparing.definition((before, copy, after), CUTS) == found


def test_a_version_is_told_by_the_moments_that_are_known() -> None:
    other = version("other", 99)
    assert comparing.definition((OLD, other, None), CUTS._replace(point=None)) == Compared(unknown=1)
    assert comparing.definition((None, version("other", 5), None), CUTS._replace(earlier=None)) == Compared(unknown=1)
    by_earlier = CUTS._replace(kept=None)
    assert comparing.definition((OLD, other, OLD), by_earlier) == Compared(wrong={"defined differently": 1})
    by_kept = CUTS._replace(earlier=None)
    assert comparing.definition((None, other, NEW), by_kept) == Compared(wrong={"defined differently": 1})
    assert comparing.definition((None, None, NEW), Cuts(None, None, None)) == Compared(1)


def test_what_is_unsure_is_unknown_beside_whatever_else_is() -> None:
    """Of the point one row is known to nobody, and of what is unsure one that the copy alone has."""
    copy = look(before=(), point=(ONE,), unsure=(TWO,), later=())
    after = look(before=(), point=(), unsure=(), later=())
    rows = read(0, 1, point=(ONE,), unsure=(TWO,)), read(0, 1)
    found = comparing.table(None, copy, after, rows)
    assert (found.unknown, found.proven, found.wrong) == (2, 0, {})


def test_what_lasted_on_the_source_from_look_to_look_is_missing_wherever_it_was_altered_since() -> None:
    there, since = Version("old", 3, "oid 7"), Version("new", 99, "oid 7")
    missing, unknown = Compared(wrong={MISSING: 1}), Compared(unknown=1)
    assert comparing.definition((there, None, since), CUTS) == missing
    assert comparing.definition((there, None, since), CUTS, {"oid 8"}) == missing
    assert comparing.definition((there, None, since), CUTS, {"oid 7"}) == unknown  # it had another name by then
    assert comparing.definition((there, None, replace(since, identity="oid 9")), CUTS) == unknown
    assert comparing.definition((there, None, None), CUTS) == unknown
    assert comparing.definition((None, None, since), CUTS) == Compared(1)
    nameless = (replace(there, identity=""), None, replace(since, identity=""))
    assert comparing.definition(nameless, CUTS) == unknown
