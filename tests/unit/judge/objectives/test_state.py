"""What is neither row nor definition, judged: what is behind or gone is missed, what is so on the source is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dr.domain.looks import DAMAGED, Look, Version
from dr.domain.model import Demand, Finding, Status
from dr.domain.state import CONTENTS, LARGE_OBJECTS, Sequence, State
from dr.judge import findings
from tests.unit.judge.objectives.test_content import AFTER, BASELINE, COPY, compared
from tests.unit.judge.objectives.test_equality import KNOWN, holding, judged, seen

IDS = Sequence(500, True, column="public.a.id", utmost=500, xid=5)
STATE = State(
    {"public.ids": IDS},
    {"424242": Version("aa", 7), "9": Version("bb", 7)},
    contents=True,
    settings={"fsync": "on", "port": "5432", "work_mem": "4096", "max_connections": "100"},
)


def judge(
    copy: State | None = STATE,
    before: State | None = STATE,
    after: State | None = STATE,
    limit: float | None = 0.05,
    excluded: str = "",
) -> Finding:
    return compared(
        "state",
        replace(COPY, state=copy, left_out={excluded: "dr.yaml excludes it"} if excluded else {}),
        replace(BASELINE, look=replace(BASELINE.look, state=before)),
        replace(AFTER, state=after),
        limit=limit,
    )


def standing(state: State = STATE, **how: Any) -> State:
    return replace(state, sequences={"public.ids": replace(IDS, **how)})


def test_an_equal_copy_is_met_and_says_what_it_is_about() -> None:
    found = judge()
    assert found.status is Status.MET
    assert found.because == "1 sequence, 2 large objects and 0 unlogged tables are as they should be."


@pytest.mark.parametrize(
    ("copy", "source", "where"), [(None, STATE, "on the copy"), (STATE, None, "at the source")], ids=["copy", "source"]
)
def test_what_was_not_looked_at_is_inconclusive(copy: State | None, source: State | None, where: str) -> None:
    found = judge(copy, source, source)
    assert found.status is Status.INCONCLUSIVE
    assert found.because == (
        "Sequences, large objects and unlogged tables cannot be compared: "
        f"{where}, nothing but rows and definitions was looked at."
    )


def test_one_look_at_the_source_is_enough() -> None:
    assert judge(before=None).status is judge(after=None).status is Status.MET


def test_a_sequence_behind_its_columns_greatest_number_is_missed() -> None:
    for found in (judge(standing(last=1, called=False)), judge(standing(last=499), after=None)):
        assert found.status is Status.MISSED
        assert "public.ids: is behind public.a.id by" in found.because
    assert judge(standing(last=499), after=None).because == "public.ids: is behind public.a.id by 1."
    by_sevens = judge(standing(last=485, step=7), standing(last=499, step=7), after=None)
    assert by_sevens.because == "public.ids: is behind public.a.id by 2."


def test_a_number_of_somebodys_own_that_the_source_has_not_come_to_since_is_said_of_the_source() -> None:
    """It came after the look before, and went after the recovery point. How great it is, is told to nobody."""
    copy, source = standing(last=50, utmost=999_999), standing(last=50, utmost=50)
    for before, after in ((source, source), (source, standing(last=60, utmost=60)), (None, standing(last=60))):
        found = judge(copy, before, after)
        assert found.status is Status.MET
        assert found.because.endswith("As on the source, public.ids is behind public.a.id by 999949.")
        assert "999999" not in found.because
    set_back = judge(standing(last=10, utmost=999_999), source, source)
    assert set_back.because == "public.ids: gives out 11 next, on the source it is 51 before and afterwards."


def test_a_sequence_that_is_behind_on_the_source_too_is_said_of_the_source() -> None:
    found = judge(standing(last=10), standing(last=10), standing(last=10))
    assert found.status is Status.MET
    assert "As on the source, public.ids is behind public.a.id by 490." in found.because
    assert judge(standing(last=5), standing(last=10), standing(last=10)).status is Status.MISSED


@pytest.mark.parametrize(
    ("last", "called", "status"),
    [(500, True, Status.MET), (501, False, Status.MET), (532, True, Status.MET), (500, False, Status.MISSED)],
)
def test_a_sequence_stands_where_it_was_or_a_few_numbers_ahead(last: int, called: bool, status: Status) -> None:
    assert judge(standing(last=last, called=called, utmost=None)).status is status


def test_a_sequence_that_nobody_used_may_be_no_further_ahead_than_a_crash_leaves_it() -> None:
    assert judge(standing(last=533)).status is Status.MISSED
    assert judge(standing(last=533), after=standing(last=600)).status is Status.MET
    assert judge(standing(last=533), after=None).status is Status.MET
    told = "public.ids: gives out 534 next, on the source it is 501 before and afterwards."
    assert judge(standing(last=533)).because == told


def test_a_sequence_that_stands_where_it_did_is_met_where_the_source_went_on() -> None:
    assert judge(after=standing(last=600)).status is Status.MET


def test_a_sequence_behind_the_look_before_is_missed_where_the_source_did_not_go_on() -> None:
    found = judge(standing(last=400, utmost=400), after=standing(last=900))
    assert found.status is Status.INCONCLUSIVE
    told = "public.ids: gives out 401 next, behind 501 on the source before"
    assert found.because == f"{told}, where it may have been set back and used since."
    alone = judge(standing(last=400, utmost=400), after=None)
    assert (alone.status, alone.because) == (Status.MISSED, f"{told}.")


def test_a_sequence_that_went_on_by_less_than_a_step_was_not_set_back() -> None:
    source = standing(last=500, step=7, utmost=400)
    on = standing(last=503, step=7, utmost=400)
    assert judge(standing(last=480, step=7, utmost=400), source, on).status is Status.INCONCLUSIVE


def test_a_sequence_that_was_set_after_its_numbers_were_loaded_is_not_missed() -> None:
    """Numbers of somebody's own up to 500 before the recovery point, the sequence set afterwards."""
    before, set_after = standing(last=50, utmost=50), standing(last=500)
    for found in (judge(standing(last=50), before, set_after), judge(standing(last=50), None, set_after)):
        assert found.status is Status.INCONCLUSIVE
        told = "public.ids: is behind public.a.id by 450"
        assert found.because == f"{told}; the source may have been set right after the recovery point."
    assert judge(standing(last=50), before, after=None).status is Status.MISSED
    assert judge(standing(last=50), standing(last=600), standing(last=700)).status is Status.MISSED


def test_a_sequence_that_was_altered_or_set_back_on_the_source_is_none_of_the_copys_doing() -> None:
    altered = judge(standing(last=40, utmost=40, xid=15), after=standing(last=900, xid=15))
    assert altered.status is Status.MET
    assert altered.because == "1 sequence, 2 large objects and 0 unlogged tables are as they should be."
    assert judge(standing(last=40, utmost=40), after=standing(last=90, utmost=90)).status is Status.MET
    assert judge(standing(last=40, utmost=40, step=2), after=standing(last=900)).status is Status.MET


INT = 2_147_483_647


def test_a_busy_sequence_may_be_no_further_ahead_than_its_source_is_afterwards() -> None:
    busy = standing(last=600, limit=INT)
    assert judge(standing(last=632, limit=INT), after=busy).status is Status.MET
    found = judge(standing(last=633, limit=INT), after=busy)
    assert found.status is Status.INCONCLUSIVE
    told = "public.ids: gives out 634 next, far beyond 601 on the source afterwards"
    assert found.because == f"{told}, where it may have been set and set back."
    altered = standing(last=600, xid=15)
    assert judge(standing(last=900, xid=15), after=altered).status is Status.INCONCLUSIVE
    for set_anew in (standing(last=400), standing(last=600, xid=25), standing(last=600, step=2)):
        assert judge(standing(last=900), after=set_anew).status is Status.MET
    assert judge(standing(last=900, cycles=True), after=standing(last=600, cycles=True)).status is Status.MET


def test_a_busy_sequence_that_has_no_number_left_is_missed_where_the_source_has_some() -> None:
    spent, busy = standing(last=INT, limit=INT), standing(last=600, limit=INT)
    found = judge(spent, after=busy)
    assert (found.status, found.because) == (
        Status.MISSED,
        "public.ids: is exhausted, and on the source it is not.",
    )
    one_left = standing(last=INT, called=False, limit=INT)
    assert judge(one_left, after=busy).status is judge(spent, after=None).status is Status.INCONCLUSIVE
    assert judge(spent, after=standing(last=600, limit=1 << 40, xid=25)).status is Status.INCONCLUSIVE
    assert judge(spent, spent, spent).status is judge(spent, after=spent).status is Status.MET
    down = {"step": -1, "utmost": None, "limit": -INT}
    falling = [standing(last=last, **down) for last in (-INT, -500, -600)]
    assert judge(*falling).status is Status.MISSED


def test_a_sequence_that_was_altered_on_the_copy_itself_is_missed_wherever_it_stands() -> None:
    for last in (40, 500, 900):
        found = judge(standing(last=last, utmost=None, xid=20), after=standing(last=900))
        assert found.status is Status.MISSED
        told = f"public.ids: gives out {last + 1} next, and was altered on the copy itself, after its recovery."
        assert found.because == told
    by_the_log = standing(last=40, utmost=40, xid=19)
    assert judge(by_the_log, after=standing(last=40, utmost=40, xid=19)).status is Status.MET


def test_a_sequence_that_descends_is_held_to_the_smallest_number() -> None:
    down = {"step": -1, "utmost": -500}
    source = standing(last=-500, **down)
    assert judge(standing(last=-500, **down), source, source).status is Status.MET
    assert judge(standing(last=-510, **down), source, source).status is Status.MET
    assert judge(standing(last=-400, **down), source, source).status is Status.MISSED


def test_a_sequence_that_cycles_may_come_round_where_the_source_used_it() -> None:
    source = standing(last=1063, cycles=True, step=7, utmost=4000)
    assert judge(source, source, source).status is Status.MET
    assert judge(standing(last=1000, called=False, cycles=True, step=7), source, source).status is Status.MISSED
    used = standing(last=1500, cycles=True, step=7)
    assert judge(standing(last=1000, called=False, cycles=True, step=7), source, used).status is Status.MET


def objects(state: State = STATE, **changed: Version | None) -> State:
    named = {**state.large_objects, **{oid.removeprefix("o"): one for oid, one in changed.items()}}
    return replace(state, large_objects={oid: one for oid, one in named.items() if one is not None})


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        (objects(o424242=None), "large object 424242: missing"),
        (objects(o424242=Version("cc", 99)), "large object 424242: written differently"),
        (objects(o77=Version("cc", 99)), "large object 77: written on the copy itself"),
    ],
)
def test_a_large_object_that_is_gone_or_altered_or_forged_is_named(copy: State, said: str) -> None:
    found = judge(copy)
    assert (found.status, found.measured) == (Status.MISSED, 0.0)
    assert said in found.because


def test_a_large_object_that_the_source_wrote_or_unlinked_afterwards_is_no_miss() -> None:
    assert judge(after=objects(o424242=Version("cc", 30), o77=Version("dd", 31), o9=None)).status is Status.MET


def test_a_large_object_that_is_gone_on_the_source_too_is_counted_and_no_miss() -> None:
    found = judge(objects(o424242=None), after=objects(o424242=None))
    assert (found.status, found.measured) == (Status.MET, 0.0)
    assert found.because.endswith(
        "as they should be. 1 large object of before, gone on the source, too, may have gone at any time."
    )
    assert judge(objects(o424242=None), after=None).status is Status.INCONCLUSIVE


def test_large_objects_that_changed_on_both_sides_are_counted_and_beyond_the_limit_inconclusive() -> None:
    found = judge(objects(o424242=Version("cc", 15)), after=objects(o424242=Version("dd", 30)))
    assert found.status is Status.INCONCLUSIVE
    told = "Nobody can know 1 large object, changed on both sides of the recovery point."
    assert (found.because, found.measured) == (f"Too much is unknown. {told}", 0.5)
    copy, after = objects(o424242=Version("cc", 15)), objects(o424242=Version("dd", 30))
    assert judge(copy, after=after, limit=None).status is Status.INCONCLUSIVE
    within = judge(copy, after=after, limit=0.5)
    assert within.status is Status.MET
    assert within.because.endswith(f"and 0 unlogged tables are as they should be. {told}")
    alone = objects(copy, o9=None)
    assert judge(alone, objects(o9=None), objects(after, o9=None)).measured == 1.0


def test_contents_that_were_not_read_are_inconclusive_unless_dr_yaml_excludes_them() -> None:
    assert judge(replace(STATE, contents=False)).status is Status.INCONCLUSIVE
    nowhere = replace(STATE, contents=False)
    found = judge(nowhere, nowhere, nowhere)
    assert found.status is Status.INCONCLUSIVE
    assert found.because.startswith(
        f"{LARGE_OBJECTS}: what is in them was not read: let the harness's role read it, or exclude it in"
    )
    excluded = judge(nowhere, nowhere, nowhere, excluded=CONTENTS)
    assert excluded.status is Status.MET
    assert excluded.because.endswith("What is in the large objects was not compared, as dr.yaml says.")
    lost = replace(nowhere, large_objects={"9": Version("bb", 7)})
    assert judge(lost, nowhere, nowhere).because.startswith("large object 424242: missing.")
    unread = replace(nowhere, unread={LARGE_OBJECTS: "there are 50001"})
    assert judge(unread, nowhere, nowhere).because == f"{LARGE_OBJECTS}: there are 50001."
    none = replace(nowhere, large_objects={})
    assert judge(none, none, none).because.endswith("are as they should be.")


@pytest.mark.parametrize("side", ["copy", "before", "after"])
def test_large_objects_that_were_not_read_alike_everywhere_are_not_compared(side: str) -> None:
    """Their digests differ, or their names are missing, for that alone."""
    named = {"424242": Version("of no content", 7)}
    unread = {LARGE_OBJECTS: "there are 50001, more than 50000"}
    for other in (
        replace(STATE, contents=False, large_objects=named),
        replace(STATE, contents=False, large_objects={}, unread=unread),
        replace(STATE, large_objects={}, unread={f"billing: {LARGE_OBJECTS}": "there are 50001"}),
    ):
        found = judge(**{side: other})
        assert found.status is Status.INCONCLUSIVE, found.because
        why = next(iter(other.unread.values()), "what is in them could not be read everywhere")
        assert f"{LARGE_OBJECTS}: {why}." in found.because


def test_what_is_damaged_on_the_copy_alone_is_missed() -> None:
    torn = replace(STATE, contents=False, large_objects={}, unread={LARGE_OBJECTS: f"{DAMAGED}invalid page in block 3"})
    found = judge(torn)
    assert found.status is Status.MISSED
    assert found.because == f"{LARGE_OBJECTS}: cannot be read on the copy: damaged: invalid page in block 3."
    assert judge(torn, torn, STATE).status is judge(torn, STATE, torn).status is Status.MISSED
    assert judge(torn, torn, torn).because == f"{LARGE_OBJECTS}: damaged: invalid page in block 3."
    assert judge(torn, torn, torn).status is Status.INCONCLUSIVE


def test_what_was_not_read_on_the_copy_is_told_with_the_copys_reason() -> None:
    mine, theirs = (replace(STATE, large_objects={}, unread={LARGE_OBJECTS: why}) for why in ("no time", "no right"))
    assert judge(mine, theirs, theirs).because == f"{LARGE_OBJECTS}: no time."


def unlogged(rows: int, **more: Any) -> State:
    return replace(STATE, unlogged={"public.cache": rows}, **more)


def test_an_unlogged_table_that_held_rows_is_missed_where_it_is_empty_unless_it_is_expendable() -> None:
    found = judge(unlogged(0), unlogged(100), unlogged(90))
    assert found.status is Status.MISSED
    empty = "empty, since it is unlogged: 100 rows on the source"
    assert found.because == f"public.cache: {empty}; what nobody misses may be called expendable in dr.yaml."
    expendable = judge(unlogged(0, expendable=("public.cache",)), unlogged(100), unlogged(90))
    assert expendable.status is Status.MET
    assert expendable.because.endswith(
        f"and 1 unlogged table are as they should be. Public.cache is expendable and {empty}."
    )
    assert judge(unlogged(0), unlogged(0), unlogged(0)).status is Status.MET


def test_rows_that_were_written_to_an_emptied_table_on_the_copy_do_not_excuse_it() -> None:
    found = judge(unlogged(1), unlogged(100), unlogged(90))
    assert found.status is Status.MISSED
    told = "public.cache: empty but for 1 row of the copy's own, since it is unlogged: 100 rows on the source;"
    assert found.because.startswith(told)
    assert judge(unlogged(1), unlogged(0), unlogged(90)).status is Status.MET


def test_an_unlogged_table_that_held_rows_at_one_time_alone_is_named() -> None:
    found = judge(unlogged(0), unlogged(0), unlogged(90))
    assert found.status is Status.MET
    told = "Public.cache is empty, since it is unlogged: 90 rows on the source"
    assert found.because.endswith(f"as they should be. {told}, either before the recovery point or after it.")


def test_an_unlogged_sequence_that_was_restarted_is_missed_unless_its_table_or_it_is_expendable() -> None:
    def found(copy: Sequence, *source: Sequence, expendable: tuple[str, ...] = ()) -> Finding:
        made = [replace(STATE, sequences={"public.ids": one}) for one in (copy, *source)]
        return judge(replace(made[0], expendable=expendable), *made[1:])

    used = replace(IDS, unlogged=True)
    start = replace(used, last=1, called=False, utmost=None)
    told = "was set to its start, since it is unlogged: 601 is next on the source"
    wrong = found(start, used, replace(used, last=600))
    assert wrong.status is Status.MISSED
    assert wrong.because == f"public.ids: {told}; its table, or it, may be called expendable in dr.yaml."
    for let_go in ("public.a", "public.ids"):
        met = found(start, used, replace(used, last=600), expendable=(let_go,))
        assert (met.status, met.because.endswith(f" Public.ids is expendable and {told}.")) == (Status.MET, True)
    assert found(start, used, used, expendable=("public.b", "public.a.i")).status is Status.MISSED
    later = found(start, start, used)
    assert (later.status, "either before the recovery point or after it" in later.because) == (Status.MET, True)
    assert found(start, start, start).because.endswith("are as they should be.")
    assert found(replace(used, last=700), used, used).status is Status.MET
    falling = replace(used, step=-1, last=-500)
    assert found(replace(falling, last=-1, called=False), falling, falling).status is Status.MISSED
    round_ = replace(used, cycles=True)
    assert found(replace(round_, last=900, called=False), round_, round_).status is Status.MISSED


def test_an_unlogged_table_that_is_whole_hides_no_other() -> None:
    copy, source = (replace(STATE, unlogged={"public.a": 0, "public.b": rows}) for rows in (0, 7))
    found = judge(copy, source, source)
    assert found.status is Status.MISSED
    assert found.because.startswith("public.b: empty")


def test_what_could_not_be_read_on_the_copy_is_inconclusive_and_beside_a_miss_missed() -> None:
    unread = {"the sequence public.b": "permission denied"}
    assert judge(replace(STATE, unread=unread)).status is Status.INCONCLUSIVE
    assert judge(replace(standing(last=1), unread=unread)).status is Status.MISSED
    assert judge(after=replace(STATE, unread=unread)).status is Status.MET


def test_what_a_restore_never_brings_and_what_was_not_looked_at_is_named() -> None:
    source = replace(STATE, slots=("cdc", "kept"), subscriptions=("feed",))
    copy = replace(STATE, prepared=("erp-1",), databases=("billing",), slots=("kept",))
    told = (
        "Transactions are prepared on the copy, and hold locks until they are ended: erp-1.",
        "A restore brings no replication slot, so that their readers have a gap: cdc.",
        "A restore does not bring back where subscriptions were: feed.",
        "The server's other databases were not looked at: billing.",
    )
    for before, after in ((STATE, source), (source, None)):
        found = judge(copy, before, after)
        assert found.status is Status.MET
        assert found.because.endswith(f"are as they should be. {' '.join(told)}")


@pytest.mark.parametrize(("major", "told"), [(15, False), (16, True), (17, True), (18, False)])
def test_statistics_that_an_upgrade_does_not_bring_are_named(major: int, told: bool) -> None:
    found = compared(
        "state",
        replace(COPY, state=STATE, major=major),
        replace(BASELINE, look=replace(BASELINE.look, state=STATE)),
        replace(AFTER, state=STATE),
    )
    assert ("An upgrade brings no statistics to plan queries by: run ANALYZE" in found.because) is told


def test_a_sequence_that_was_set_and_set_back_on_the_source_is_no_hands_where_nobody_wrote_to_the_copy() -> None:
    def found(taken: int | None) -> Finding:
        one = Sequence(1700, True)
        state = [replace(STATE, sequences={"public.ids": replace(one, last=last)}) for last in (1700, 5000, 1700)]
        first = replace(BASELINE, look=replace(BASELINE.look, state=state[0]))
        return judged(
            "state",
            seen("baseline", _plain(first), "source"),
            seen("look", _plain(replace(COPY, state=state[1], taken=taken))),
            seen("look", _plain(replace(AFTER, state=state[2])), "source"),
        )

    assert (found(0).status, found(3).status, found(None).status) == (
        Status.INCONCLUSIVE,
        Status.MISSED,
        Status.MISSED,
    )
    assert "5001 next" in found(0).because


# -- settings


def configured(copy: dict[str, str], *differences: dict[str, Any], looked: bool = True) -> Finding:
    state = replace(STATE, settings={**STATE.settings, **copy})
    looks = (
        seen("baseline", None, "source"),
        seen("look", {"because": "it is gone"} if not looked else _plain(replace(AFTER, state=STATE)), "source"),
        seen("look", _plain(replace(COPY, state=state))),
        seen("configuration", list(differences)),
    )
    return judged("configuration", *looks)


def _plain(look: Any) -> Any:
    return msgspec.to_builtins(look)


def test_settings_that_act_otherwise_are_missed_by_name() -> None:
    found = configured({"fsync": "off", "port": "6543"})
    assert (found.status, found.because) == (Status.MISSED, "fsync: off instead of on.")


def test_a_setting_that_the_source_changed_meanwhile_is_not_known_where_the_copy_has_neither() -> None:
    def found(here: str) -> Finding:
        state = [replace(STATE, settings={**STATE.settings, "work_mem": one}) for one in ("4096", here, "8192")]
        first = replace(BASELINE, look=replace(BASELINE.look, state=state[0]))
        return judged(
            "configuration",
            seen("baseline", _plain(first), "source"),
            seen("look", _plain(replace(COPY, state=state[1]))),
            seen("look", _plain(replace(AFTER, state=state[2])), "source"),
            seen("configuration", []),
        )

    told = "work_mem: 5000, where the source changed it meanwhile: 4096 and 8192."
    assert (found("5000").status, found("5000").because) == (Status.INCONCLUSIVE, told)
    assert found("4096").status is found("8192").status is Status.MET


SMALLER = {"name": "DBInstanceClass", "source": "db.l", "restored": "db.s", "expected": True, "because": "asked for"}


def test_settings_of_the_instances_size_are_named_where_that_differs_and_those_of_its_place_left_out() -> None:
    found = configured({"max_connections": "50", "port": "6543"}, SMALLER)
    assert found.status is Status.MET
    left = "2 settings act as on the source; those of its place and way there were left out."
    assert found.because == f"It differs only as expected: DBInstanceClass, max_connections. {left}"
    alike = configured({"max_connections": "50"})
    assert (alike.status, alike.because) == (Status.MISSED, "max_connections: 50 instead of 100.")
    assert (
        configured({}).because
        == "It is the source's. 3 settings act as on the source; those of its place and way there were left out."
    )


def test_settings_that_could_not_be_compared_are_inconclusive_and_beside_a_miss_missed() -> None:
    unknown = configured({}, looked=False)
    assert unknown.status is Status.INCONCLUSIVE
    before, after = "no baseline was taken before it", "it is gone"
    looks = f"No look before the recovery point: {before}. No look at the source afterwards: {after}"
    assert unknown.because == f"settings: The settings cannot be compared. {looks}."
    wrong = {"name": "MultiAZ", "source": True, "restored": False, "expected": False, "because": ""}
    assert configured({}, wrong, looked=False).status is Status.MISSED


def test_what_the_provider_shows_and_settings_as_they_act_are_told_together() -> None:
    size = {"name": "MultiAZ", "source": True, "restored": False, "expected": True, "because": ""}
    storage = {"name": "StorageType", "source": "io1", "restored": "gp3", "expected": False, "because": ""}
    both = configured({"fsync": "off"}, size, storage)
    assert both.because == "StorageType: gp3 instead of io1, fsync: off instead of on."
    met = configured({"max_connections": "50"}, size, SMALLER).because
    assert met.startswith("It differs only as expected: MultiAZ, DBInstanceClass, max_connections. ")


def test_settings_are_compared_where_nothing_is_known_of_what_the_provider_shows() -> None:
    def found(**copy: str) -> Finding:
        looks = (
            seen("baseline", None, "source"),
            seen("look", _plain(replace(AFTER, state=STATE)), "source"),
            seen("look", _plain(replace(COPY, state=replace(STATE, settings={**STATE.settings, **copy})))),
        )
        return judged("configuration", *looks, seen("configuration", {"because": "the source is gone"}))

    wrong = found(fsync="off", max_connections="50")
    told = "fsync: off instead of on; 1 setting could not be judged."
    assert (wrong.status, wrong.because) == (Status.MISSED, told)
    alike = found()
    told = "what the provider shows: not compared, the source is gone."
    assert (alike.status, alike.because) == (Status.INCONCLUSIVE, told)


def test_a_former_run_that_looked_at_no_setting_is_judged_by_its_differences_alone() -> None:
    assert judged("configuration", seen("configuration", [])).because == "It is the source's."


def test_no_evidence_at_all_is_inconclusive() -> None:
    found = findings.judged(KNOWN["state"].judge, holding(), Demand("state", "restored", 0.05, "share"))
    assert found.status is Status.INCONCLUSIVE
    told = "Sequences, large objects and unlogged tables cannot be compared: the copy was not read."
    assert found.because == told


def test_what_a_database_held_that_is_closed_on_the_copy_is_not_missed() -> None:
    held = replace(STATE, large_objects={**STATE.large_objects, "db2: 7": Version("cc", 7)})
    looks = (replace(COPY, state=STATE, unlooked={"db2": "it is closed."}), replace(AFTER, state=held))
    found = compared("state", looks[0], replace(BASELINE, look=replace(BASELINE.look, state=held)), looks[1])
    assert found.status is Status.INCONCLUSIVE
    assert "database db2: could not be looked at on the copy: it is closed." in found.because
    assert judge(STATE, held, held).status is Status.MISSED


def test_large_objects_of_a_database_that_one_look_could_not_see_are_told_by_the_other() -> None:
    closed = {"db2": "it is closed."}
    held = replace(STATE, large_objects={**STATE.large_objects, "db2: 7": Version("cc", 7)})
    before, after = replace(BASELINE.look, state=held), replace(AFTER, state=held)
    blind = (replace(before, state=STATE, unlooked=closed), replace(after, state=STATE, unlooked=closed))
    copy, lacking = replace(COPY, state=held), replace(COPY, state=STATE)

    def told(copy: Look, before: Look, after: Look) -> Status:
        return compared("state", copy, replace(BASELINE, look=before), after, limit=0.3).status

    assert told(copy, blind[0], after) is told(copy, before, blind[1]) is Status.MET
    assert told(lacking, blind[0], after) is Status.MISSED
    assert told(lacking, before, blind[1]) is told(copy, *blind) is told(lacking, *blind) is Status.INCONCLUSIVE
    written = replace(after, state=replace(held, large_objects={**held.large_objects, "db2: 7": Version("dd", 35)}))
    assert told(copy, blind[0], written) is Status.INCONCLUSIVE


def test_a_large_object_that_the_copy_lacks_and_the_source_wrote_since_is_not_known() -> None:
    written = objects(**{"9": Version("dd", 35)})
    found = judge(objects(**{"9": None}), STATE, written)
    assert (found.status, "nobody can know 1 large object" in found.because.lower()) == (Status.INCONCLUSIVE, True)
