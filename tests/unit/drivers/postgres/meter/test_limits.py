"""What a meter takes of a server or a pooler at once: reckoned, and kept by the statements' connections."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from psycopg import pq

from dr.drivers.postgres.meter import query
from dr.drivers.postgres.meter.limits import DIRECT, PATHS, SHARE, Limits, Sizes, limits, through_pooler
from dr.drivers.postgres.meter.login import Login
from dr.drivers.postgres.meter.query import Settings, Task
from dr.meter.loop import SECOND

LOGIN = Login("/nowhere", 6432, "clinic", "app", "env:HUSH", "", pooled=True)
TIMEOUT = 2.0


@pytest.mark.parametrize("endpoints", [1, 2, 3])
@pytest.mark.parametrize("clients", [60, 100, 200, 1000, 10_000])
@pytest.mark.parametrize("pool", [1, 12, 20, 100, 2000])
def test_all_paths_together_take_no_more_than_a_tenth(pool: int, clients: int, endpoints: int) -> None:
    of = through_pooler(Sizes(pool, clients, 5.0), endpoints)
    assert of.sessions + of.lingering <= max(2, clients / SHARE / PATHS / endpoints)
    assert of.cancels == 0
    assert 1 <= of.openings <= max(1, pool / SHARE)
    assert min(of.sessions, of.lingering) >= 1


def test_a_pooler_that_lets_clients_wait_for_ever_keeps_each_that_was_closed() -> None:
    assert through_pooler(Sizes(wait=0.0), 1).patience > 3600


def test_a_meter_that_is_told_nothing_goes_past_a_pooler() -> None:
    assert limits({}) == DIRECT
    assert limits({"limits": {**_fields(DIRECT), "sessions": 3}}).sessions == 3


def _fields(of: Limits) -> dict[str, Any]:
    return {name: getattr(of, name) for name in Limits.__slots__}


class Silence:
    """libpq, towards a pooler that takes every statement and gives no answer."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.cancels: set[Cancel] = set()
        self.refuses = b""
        self.opened = 0

    def connect_start(self, _conninfo: bytes) -> Connection:
        self.opened += 1
        return Connection(self)


class Connection:
    transaction_status = pq.TransactionStatus.IDLE
    numbers = count(100)

    def __init__(self, of: Silence) -> None:
        self.of, self.socket = of, next(self.numbers)
        self.status = pq.ConnStatus.BAD if of.refuses else pq.ConnStatus.OK
        of.open.add(self)

    def connect_poll(self) -> pq.PollingStatus:
        return pq.PollingStatus.OK

    def get_error_message(self) -> str:
        return self.of.refuses.decode()

    def send_query_params(self, *_: object) -> None: ...

    def flush(self) -> int:
        return 0

    def cancel_conn(self) -> Cancel:
        return Cancel(self.of)

    def finish(self) -> None:
        self.of.open.discard(self)


class Cancel:
    def __init__(self, of: Silence) -> None:
        self.of, self.socket = of, next(Connection.numbers)

    def start(self) -> None:
        self.of.cancels.add(self)

    def finish(self) -> None:
        self.of.cancels.discard(self)


class Heard:
    """Who is told what becomes of statements."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def sending(self, task: Task) -> None: ...

    def over(self, task: Task, now: int, outcome: str, word: str) -> None:
        self.words.append(word)


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    monkeypatch.setenv("HUSH", "hush")
    made = Silence()
    monkeypatch.setattr(query.pq, "PGconn", made)
    return made


def statements(allowed: Limits, seconds: float, silence: Silence, login: Login = LOGIN) -> tuple[list[str], list[int]]:
    """What became of 50 statements a second in virtual time, and how many connections there were in each turn."""
    heard, seen = Heard(), []
    endpoint = query._Endpoint(Settings([login], b"", lambda _: (), TIMEOUT, allowed), login, heard)
    for turn in range(round(seconds * 50)):
        now = SECOND + turn * SECOND // 50
        endpoint.submit(Task(turn, now, now, round(TIMEOUT * SECOND)))
        for _, _, handle in list(endpoint.watched()):
            if getattr(handle, "func", None) == endpoint._advance:
                handle(now)
        endpoint.tend(now)
        assert endpoint.next_event(now) > now - SECOND // 50
        seen.append(len(silence.open) + len(silence.cancels))
    return heard.words, seen


def test_a_pooler_that_stays_silent_gets_no_more_connections_than_allowed_and_no_cancel(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Cancel] = []
    monkeypatch.setattr(Cancel, "start", asked.append)
    allowed = through_pooler(Sizes(pool=12, clients=200, wait=5.0), 1)
    words, seen = statements(allowed, 60.0, silence)
    assert max(seen) <= allowed.sessions
    assert silence.opened - allowed.sessions <= allowed.lingering * 60 / 5.0  # each of which may linger for 5 s
    assert not asked, "PgBouncer keeps one for as long as its server is silent"
    assert set(words) == {"timeout"}
    assert len(words) >= 55 * 50


def test_a_server_that_stays_silent_is_asked_to_cancel_a_few_at_once_each_with_an_end(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Cancel] = []
    start = Cancel.start
    monkeypatch.setattr(Cancel, "start", lambda self: (asked.append(self), start(self)))
    past = Login("/nowhere", 5432, "clinic", "app", "env:HUSH", "")
    _, seen = statements(DIRECT, 60.0, silence, past)
    assert max(seen) <= DIRECT.sessions + DIRECT.cancels
    assert 10 < len(asked) <= 60 / TIMEOUT * DIRECT.cancels


@pytest.mark.parametrize(("known", "word"), [(True, "pooler-full"), (False, "pooler-full-own")])
def test_a_full_pooler_is_asked_seldom_and_is_not_blamed_where_the_meter_may_have_filled_it(
    silence: Silence, known: bool, word: str
) -> None:
    silence.refuses = b"FATAL:  no more connections allowed (max_client_conn)"
    allowed = through_pooler(Sizes(pool=12, clients=200, wait=5.0), 1, known)
    words, _ = statements(allowed, 10.0, silence)
    assert set(words) == {word}
    assert silence.opened <= 10 / TIMEOUT * allowed.sessions + 1


def test_a_connection_whose_statement_was_cancelled_is_not_used_again(silence: Silence) -> None:
    endpoint = query._Endpoint(Settings([LOGIN], b"", lambda _: (), TIMEOUT, DIRECT), LOGIN, Heard())
    session = query.Session(silence.connect_start(b""), 0, SECOND)  # type: ignore[arg-type]
    endpoint._busy.append(session)
    session.cancelled = True
    endpoint._conclude(session, 0, usable=True)
    assert not silence.open
    assert not endpoint._idle
