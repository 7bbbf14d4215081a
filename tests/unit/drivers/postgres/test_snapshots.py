"""Which transactions had ended at a moment, asked of servers that forge them: millions, of which not all are asked."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dr.domain.errors import EvidenceError
from dr.domain.looks import Snapshot
from dr.drivers.postgres import snapshots
from dr.drivers.postgres.connection import Connection
from dr.drivers.postgres.fingerprint import REACH
from dr.drivers.postgres.snapshots import ASKED, ASKED_SINCE, Recovered, Unfinished, finished, less, unfinished
from dr.host.hearing import at_once

MANY = 3 << 32


class Server:
    """``now``: its snapshot. ``open_then``: transactions under way; ``asked``: the ranges that were asked for."""

    def __init__(self, now: str = "", open_then: Sequence[int] = ()) -> None:
        self.now, self.open_then, self.asked = now, open_then, list[tuple[int, int]]()

    def execute(self, query: str, parameters: Any = ()) -> SimpleNamespace:
        if "array_agg" not in query:
            answer: Any = self.now
        elif query == snapshots._NOT_ABORTED:
            answer = [xid for xid in parameters[0] if xid in self.open_then]
        else:
            self.asked.append(parameters)
            answer = [xid for xid in self.open_then if parameters[0] <= xid < parameters[1]]
        return SimpleNamespace(fetchone=lambda: (answer,))


def connected(server: Server) -> Connection:
    return cast(Connection, server)


@pytest.mark.parametrize(
    ("xmax", "since", "unsure"),
    [
        (1000, 0, (0, 0)),
        (ASKED + 3, 0, (0, 0)),
        (ASKED + 4, 0, (3, 4)),
        (MANY, 0, (MANY - REACH, MANY - ASKED)),
        (MANY, MANY - ASKED_SINCE, (0, 0)),
        (MANY, MANY - ASKED_SINCE - 1, (MANY - ASKED_SINCE - 1, MANY - ASKED_SINCE)),
    ],
)
def test_what_is_not_looked_at_before_the_point_is_given_back_as_unsure(
    xmax: int, since: int, unsure: tuple[int, int]
) -> None:
    server = Server(open_then=[xmax - 2])
    found = at_once(unfinished(connected(server), Snapshot(xmax, xmax, ()), since))
    assert found == Unfinished((xmax - 2,), unsure)
    oldest = unsure[1] or max(since, 3)
    assert (server.asked[0][0], server.asked[-1][1]) == (oldest, xmax)
    assert [one[0] for one in server.asked[1:]] == [one[1] for one in server.asked[:-1]]


def test_the_point_is_less_by_what_was_committed_later_and_says_what_is_unsure() -> None:
    point = less(Snapshot(90, 100, (95,)), connected(Server(open_then=[97])), Unfinished((96, 97), (10, 50)))
    assert point == Snapshot(90, 100, (95, 97), (10, 50))
    assert [xid for xid in (9, 10, 49, 50, 94, 97) if point.proves(xid)] == [9, 50, 94]
    assert [xid for xid in (9, 10, 49, 50, 94, 97) if point.doubts(xid)] == [10, 49]
    assert [xid for xid in (9, 10, 49, 50, 94, 97) if point.shows(xid)] == [9, 10, 49, 50, 94]


@pytest.mark.parametrize(("used", "shown"), [(ASKED_SINCE, True), (ASKED_SINCE + 1, False)])
def test_a_look_beside_a_transaction_of_ages_shows_nothing_that_is_later_than_its_beginning(
    used: int, *, shown: bool
) -> None:
    """Its subtransactions are listed nowhere, and are too many to be asked for."""
    begun = 1000
    found = finished(connected(Server(f"{begun}:{begun + used}:{begun}", [begun + 5])))
    assert not found.shows(begun)
    assert not found.shows(begun + 5)
    assert found.shows(begun - 1)
    assert found.shows(begun + 6) is shown


@pytest.mark.parametrize("text", ["10:20:", "10:20:12,15", "10:20:12:3-7", "10:20::3-7"])
def test_a_snapshot_reads_back_what_it_was_written_as(text: str) -> None:
    assert str(Snapshot.parse(text)) == text


@pytest.mark.parametrize("text", ["", "10:20", "10:20::3", "10:20::3-7:1", "10:20::3-7-8", "10:20::a-b"])
def test_what_is_no_snapshot_is_named(text: str) -> None:
    with pytest.raises(EvidenceError, match="is not a snapshot"):
        Snapshot.parse(text)


@pytest.mark.parametrize(
    ("xid", "unsure"), [(100, (10, 50)), (50, (10, 50)), (30, (10, 30)), (10, (0, 0)), (5, (0, 0))]
)
def test_what_is_unsure_ends_where_a_snapshot_is_cut_off(xid: int, unsure: tuple[int, int]) -> None:
    assert Snapshot(90, 100, (), (10, 50)).below(xid).unsure == unsure


@pytest.mark.parametrize(
    ("held", "sure", "cut"),
    [
        (Snapshot(90, 100, (90,)), 100, Snapshot(90, 100, (90,))),
        (Snapshot(90, 100, (90,)), 80, Snapshot(90, 100, (90,), (80, 100))),
        (Snapshot(90, 100, (90,), (3, 50)), 80, Snapshot(80, 80, (), (3, 50))),
    ],
)
def test_what_the_provider_may_have_written_itself_is_unsure(held: Snapshot, sure: int, cut: Snapshot) -> None:
    assert Recovered(held, sure).cut() == cut
