"""The prediction service's pure parts: HTTP's head, the request's body, metrics, masking."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from dr.drivers.service.asking import histograms, samples
from dr.lab.service.app import Rejected, shows, wanted
from dr.lab.service.http import Malformed, answer, parse_head, render
from dr.lab.service.log import masked
from dr.lab.service.metrics import BUCKETS, Counter, Histogram, Metrics
from dr.lab.service.store import Store, Unavailable


def test_a_head_is_read_and_its_query_dropped() -> None:
    head = b"POST /predict?x=1 HTTP/1.1\r\nContent-Length: 3\r\nX-Odd:  a:b \r\n\r\n"
    assert parse_head(head) == ("POST", "/predict", {"content-length": "3", "x-odd": "a:b"})


@pytest.mark.parametrize(
    ("shown", "enough"),
    [
        ("Bearer t0ken", True),
        ("bearer  t0ken", True),
        ("", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Bearer t0ke", False),
        ("Bearer t0ken2", False),
        ("Basic t0ken", False),
        ("t0ken", False),
        ("Bearer t\xf6ken", False),
    ],
)
def test_what_writes_has_to_show_the_token_that_there_is(shown: str, enough: bool) -> None:
    assert shows({"authorization": shown} if shown else {}, "t0ken") is enough
    assert shows({"authorization": shown} if shown else {}, "")


def test_http_1_0_closes_unless_it_says_otherwise() -> None:
    assert parse_head(b"GET / HTTP/1.0\r\n\r\n")[2] == {"connection": "close"}
    assert parse_head(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[2] == {"connection": "keep-alive"}


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : value\r\n\r\n",
        b"GET / HTTP/1.1\r\n: value\r\n\r\n",
    ],
)
def test_a_malformed_head_is_a_bad_request(head: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_head(head)
    assert caught.value.status == 400


def test_a_response_says_its_length_and_whether_it_closes() -> None:
    said = render(answer(405, {"error": "ä"}, ("Allow", "GET")), keep=False)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Allow: GET" in head
    assert b"Connection: close" in head
    assert b"Connection" not in render(answer(200, {}), keep=True)


@pytest.mark.parametrize("body", [b"{", b"null", b'{"admission_id": null}', b'{"admission_id": "a\\nb"}'])
def test_a_body_that_names_no_admission_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        wanted(body)
    assert caught.value.status == 400


def test_the_admission_is_taken_from_the_body() -> None:
    assert wanted(b'{"admission_id": "SYN-0001-1", "other": 1}') == "SYN-0001-1"


def test_a_histogram_counts_cumulatively_and_its_bounds_include_the_platforms_thresholds() -> None:
    histogram = Histogram("h", "about")
    for seconds in (0.0005, 0.5, 0.51, 100.0):
        histogram.observe(seconds)
    counted = histograms(samples("\n".join(histogram.render())), ["h"])["h"]
    assert [counted["buckets"][bound] for bound in ("0.001", "0.5", "1.0", "+Inf")] == [1, 2, 3, 4]
    assert counted["count"] == 4
    assert {0.5, 1.0, 2.0} <= set(BUCKETS)


def test_a_counter_without_labels_is_there_before_it_counts() -> None:
    assert Counter("c", "about").render()[-1] == "c 0"
    counter = Counter("c", "about", ("path",))
    counter.add("/x")
    counter.add("/x")
    assert counter.render()[-1] == 'c{path="/x"} 2'


def test_every_metric_of_the_platform_is_there_from_the_start() -> None:
    text = Metrics().render()
    for name in ("api_request_errors_total", "model_prediction_errors_total"):
        assert f"\nreadmission_{name} 0\n" in text


def test_the_metrics_say_when_the_process_started() -> None:
    (started,) = [one.value for one in samples(Metrics().render()) if one.name == "process_start_time_seconds"]
    assert started == pytest.approx(psutil.Process().create_time(), abs=0.01)


@pytest.mark.parametrize(("patient", "shown"), [("SYN-0001", "SYN-0001"), ("P0000001", "masked"), (None, None)])
def test_only_synthetic_patients_are_named_in_logs(patient: str | None, shown: str | None) -> None:
    assert masked(patient) == shown


# -- more requests than it can serve


class Selector(selectors.SelectSelector):
    """Time passes in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.at += timeout or 0.0
        return super().select(0)


class Session:
    """One of a database's that hangs until ``back``, and whose four then answer 60 queries a second."""

    back = 20.0
    pgconn = SimpleNamespace(socket=-1)

    async def execute(self, *_: object) -> Session:
        await asyncio.sleep(max(4 / 60, self.back - asyncio.get_running_loop().time()))
        return self

    async def fetchone(self) -> None:
        return None


class Short(Store):
    async def _connect(self) -> Any:
        return Session()


def answered(statements: int) -> list[float]:
    """Seconds that each of 50 requests a second took that was answered, of those asked once the database was back. Each
    makes so many statements, and its client leaves after two seconds."""
    selector = Selector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.at  # type: ignore[method-assign]
    told: list[tuple[float, float]] = []

    async def ask(store: Store) -> None:
        began = loop.time()
        with suppress(Unavailable):
            async with store.session(lambda: loop.time() > began + 2.0) as session:
                for _ in range(statements):
                    await store.look_up(session, "one")
            told.append((began, loop.time() - began))

    async def load() -> None:
        store, asked = Short("", Metrics().query_seconds), []
        for _ in range(30 * 50):
            asked.append(asyncio.create_task(ask(store)))
            await asyncio.sleep(1 / 50)
        await asyncio.gather(*asked)

    loop.run_until_complete(load())
    loop.close()
    return [took for began, took in told if began >= Session.back]


def test_after_an_outage_nobody_waits_behind_those_who_have_left() -> None:
    later = answered(statements=1)
    assert len(later) >= 10 * 50 - 1
    assert max(later) < 2.0


def test_a_database_that_does_not_keep_up_answers_as_many_as_it_can_before_they_leave() -> None:
    """Not all of them too late: 60 queries a second are 30 requests, or 300 in ten seconds."""
    in_time = [took for took in answered(statements=2) if took < 2.0]
    assert len(in_time) > 200
