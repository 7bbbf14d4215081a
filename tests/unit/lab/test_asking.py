"""Questions to servers that may never answer, asked by the lab's daemon from several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from dr.domain.errors import RefusedError
from dr.lab.rds.nodes import Asking
from tests.support import eventually


def test_nobody_waits_for_a_second_answer_while_the_first_is_awaited() -> None:
    asking, over = Asking(), threading.Event()
    assert asking.ask(over.wait, 0.01) is None
    assert asking.ask(lambda: 7, 60.0) is None
    over.set()
    assert eventually(lambda: asking.ask(lambda: 7, 5.0)) == 7


def test_a_question_that_is_refused_has_no_answer() -> None:
    def refuse() -> int:
        raise RefusedError("It does not run.")

    assert Asking().ask(refuse, 5.0) is None


def test_those_who_ask_at_the_same_moment_get_their_own_answer_or_none() -> None:
    def ask(number: int) -> int | None:
        together.wait(5)
        return asking.ask(lambda: number, 5.0)

    with ThreadPoolExecutor(8) as several:
        for _ in range(300):
            asking, together = Asking(), threading.Barrier(8)
            answers = list(several.map(ask, range(8)))
            assert all(answer in (number, None) for number, answer in enumerate(answers))
            assert any(answer is not None for answer in answers)
