"""Questions to servers that may never answer, asked by the lab's daemon from several threads over kept sessions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from dr.lab.rds.nodes import Asking
from tests.support import BUSY, eventually


class Kept:
    """A server that says how many sessions of it were opened, and how many are open."""

    def __init__(self) -> None:
        self.opened, self.open, self.runs = 0, 0, True

    def session(self) -> Any:
        if not self.runs:
            raise psycopg.OperationalError("refused")
        self.opened += 1
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1


def refuse(_: object) -> int:
    raise psycopg.OperationalError("It does not run.")


def test_nobody_waits_for_a_second_answer_while_the_first_is_awaited() -> None:
    asking, server, over = Asking(), Kept(), threading.Event()
    assert asking.ask(server, lambda _: over.wait(), 0.01) is None
    assert asking.ask(server, lambda _: 7, 60.0) is None
    over.set()
    assert eventually(lambda: asking.ask(server, lambda _: 7, 5.0)) == 7


def test_a_server_that_owes_an_answer_keeps_none_from_another() -> None:
    asking, silent, over = Asking(), Kept(), threading.Event()
    assert asking.ask(silent, lambda _: over.wait(), 0.01) is None
    assert asking.ask(Kept(), lambda _: 7, 5.0) == 7
    over.set()
    eventually(lambda: silent.open == 0)


def test_a_question_that_is_refused_has_no_answer() -> None:
    assert Asking().ask(Kept(), refuse, 5.0) is None


def test_a_session_is_kept_until_it_breaks_and_then_opened_anew() -> None:
    asking, server = Asking(), Kept()
    assert [asking.ask(server, lambda _: 7, 5.0) for _ in range(3)] == [7] * 3
    assert (server.opened, server.open) == (1, 1)
    broken = iter([True, False])
    assert asking.ask(server, lambda session: refuse(session) if next(broken) else 7, 5.0) == 7
    assert (server.opened, server.open) == (2, 1)
    server.runs = False
    assert asking.ask(server, refuse, 5.0) is None
    assert asking.ask(server, lambda _: 7, 5.0) is None
    server.runs = True
    assert asking.ask(server, lambda _: 7, 5.0) == 7
    asking.close()
    assert (server.opened, server.open) == (3, 0)


def test_those_who_ask_at_the_same_moment_get_their_own_answer_or_none() -> None:
    def ask(number: int) -> int | None:
        together.wait(5 * BUSY)
        return asking.ask(server, lambda _: number, 5.0)

    server = Kept()
    with ThreadPoolExecutor(8) as several:
        for _ in range(300):
            asking, together = Asking(), threading.Barrier(8)
            answers = list(several.map(ask, range(8)))
            assert all(answer in (number, None) for number, answer in enumerate(answers))
            assert any(answer is not None for answer in answers)
