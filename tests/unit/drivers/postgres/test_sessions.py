"""Whose sessions a service's are: those that came while it was asked, however short they last."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dr.domain.errors import ProviderError
from dr.drivers.postgres.servers import GLANCE, REST, seen_beside
from tests.support import BUSY
from tests.virtual import VirtualClock

NONE: frozenset[int] = frozenset()


class Server:
    """Whose sessions ``look`` shows. ``brief``: asking opens one that is gone with the answer, once it was seen."""

    def __init__(self, *sessions: int) -> None:
        self.sessions = frozenset(sessions)
        self.looks = 0
        self._looked = threading.Event()

    def look(self) -> frozenset[int]:
        self.looks += 1
        if self.sessions:
            self._looked.set()
        return self.sessions

    def brief(self) -> None:
        self.sessions = frozenset({7})
        assert self._looked.wait(10 * BUSY), "nobody looked while the request was under way"
        self.sessions = NONE


def nothing() -> None:
    """An ask that opens no session."""


def refused() -> None:
    raise ProviderError("It does not answer.")


def seen(server: Server, *asks: Callable[[], object], before: frozenset[int] = NONE) -> frozenset[int]:
    return seen_beside(server.look, asks, before, VirtualClock())


def test_a_session_that_is_there_is_seen_at_the_first_look() -> None:
    server = Server(7, 8)
    assert seen(server, nothing, nothing) == {7, 8}
    assert server.looks == 1


def test_a_session_that_lasts_as_long_as_its_request_is_seen() -> None:
    server = Server()
    assert seen(server, nothing, refused, server.brief) == {7}


def test_a_session_that_comes_after_the_answer_is_waited_for() -> None:
    server, clock = Server(), VirtualClock()
    clock.on_sleep = lambda: setattr(server, "sessions", frozenset({7} if clock.at > late else ()))
    late = clock.at + GLANCE * (REST - 1)
    assert seen_beside(server.look, [nothing], NONE, clock) == {7}


def test_sessions_from_before_are_nobodys() -> None:
    assert seen(Server(7), nothing, refused, before=frozenset({7})) == NONE
    assert seen(Server(7, 8), nothing, before=frozenset({7})) == {8}


def test_of_a_service_that_never_connects_none_is_seen() -> None:
    assert seen(Server(), nothing, refused, nothing) == NONE


def test_a_copy_that_cannot_be_looked_at_is_no_copy_without_sessions() -> None:
    with pytest.raises(ProviderError):
        seen_beside(lambda: refused() or NONE, [nothing], NONE, VirtualClock())


def test_a_defect_in_asking_is_not_taken_for_silence() -> None:
    with pytest.raises(ZeroDivisionError):
        seen(Server(), lambda: 1 / 0)
