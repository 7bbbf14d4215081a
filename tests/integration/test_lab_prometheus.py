"""The lab's Prometheus over a real scrape, read by the harness's client: what it saw, and what it only seems to see."""

from __future__ import annotations

import http.server
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from dr.domain.errors import ProviderError
from dr.drivers.prometheus.client import Points, Prometheus, expression, scraped
from dr.drivers.prometheus.judge import stretches
from dr.lab.beside import companion, prometheus
from dr.lab.servers.process import suspend_tree
from dr.lab.servers.site import Site, free_port
from dr.lab.service.metrics import Metrics
from tests.lab_servers import lab_site
from tests.support import BUSY, eventually

pytestmark = pytest.mark.in_order

SELECTOR = f'job="{prometheus.JOB}"'


class Service:
    """The service's own metrics on a port of its own, which comes and goes."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.port = free_port()
        self._server: http.server.ThreadingHTTPServer | None = None
        self.rests = threading.Event()

    def start(self) -> None:
        metrics = self.metrics

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = metrics.render().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def work(self, seconds: float, errors: int = 0) -> None:
        """Answer 100 requests in ``seconds``, ``errors`` of them with a 503: 0.2 s each, 5 ms of them the model's. Ends
        at once where it ``rests``."""
        for n in range(100):
            self.metrics.requests.add("POST", "/predict", "503" if n < errors else "200")
            if n < errors:
                self.metrics.errors.add()
            self.metrics.request_seconds.observe(0.2)
            self.metrics.prediction_seconds.observe(0.004)
            self.metrics.query_seconds.observe(0.02)
            if self.rests.wait(seconds / 100):
                return


@dataclass
class Watched:
    """A service, the Prometheus that scrapes it, and the client that asks it."""

    site: Site
    service: Service
    server: prometheus.Prometheus
    began: float

    @property
    def client(self) -> Prometheus:
        return Prometheus(self.server.url, 3.0)

    def figure(self, objective: str, start: float, end: float) -> Points:
        return self.client.query_range(expression(objective, 10, SELECTOR), start, end, 1)

    def trusted(self, objective: str, start: float, end: float) -> Points:
        """The figure where the scrapes just before it succeeded."""
        scrapes = self.client.query_range(scraped(prometheus.INTERVAL, SELECTOR), start, end, 1)
        good = {round(at, 3) for at, value in scrapes if value == 1}
        return tuple((at, value) for at, value in self.figure(objective, start, end) if round(at, 3) in good)

    def sees(self, objective: str) -> Points:
        """The present moment and figure, where it has them."""
        now = time.time()
        return self.trusted(objective, now, now)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with lab_site() as site:
        yield site


def installed(site: Site) -> companion.Program:
    program = prometheus.find(site)
    assert program is not None, "Prometheus is not installed: .ci/run installs it"
    return program


def make(site: Site, port: int, service: str = "http://127.0.0.1:1") -> prometheus.Prometheus:
    return prometheus.Prometheus(site, installed(site), site.directory / f"prometheus-{port}", port, service)


@pytest.fixture(scope="module")
def watched(site: Site) -> Iterator[Watched]:
    """One for all tests that leave it as it was: it takes its first scrape six seconds after its start."""
    service = Service()
    service.start()
    server = make(site, free_port(), f"http://127.0.0.1:{service.port}")
    server.start()
    try:
        one = Watched(site, service, server, time.time())
        eventually(lambda: bool(one.client.query_range("up == 1", time.time(), time.time(), 1)))
        yield one
    finally:
        server.stop()
        service.stop()


@pytest.fixture
def server(site: Site) -> Iterator[prometheus.Prometheus]:
    """One that the test may ruin."""
    server = make(site, free_port())
    server.start()
    yield server
    server.stop()


def points(found: Points) -> list[float]:
    return [at for at, _ in found]


# ---- what it saw


def test_what_is_not_there_is_no_data(watched: Watched) -> None:
    now = time.time()
    assert watched.client.query_range("readmission_unheard_of", now - 5, now, 1) == ()
    # Nothing was asked of the service: 0 of 0 requests is no share at all.
    assert points(watched.figure("errors", now, now)) == []


def test_every_objectives_expression_gives_the_services_figure(watched: Watched) -> None:
    watched.service.work(4.0, errors=25)
    eventually(lambda: watched.sees("errors"), 5.0)
    now = time.time()
    found = {objective: watched.trusted(objective, now, now)[0][1] for objective in ("latency", "errors")}
    # A quantile is known to its bucket: 0.1 to 0.25 s.
    assert 0.1 < found["latency"] <= 0.25
    assert found["errors"] == pytest.approx(0.25, abs=0.15)


def test_an_expression_that_is_none_is_an_error(watched: Watched) -> None:
    with pytest.raises(ProviderError, match=r"did not answer a query: .*parse error") as caught:
        watched.client.query_range("sum(", time.time(), time.time(), 1)
    assert caught.value.code == "bad_data"


# ---- the platform's alerts


def test_the_platforms_rules_are_evaluated_as_they_stand(watched: Watched) -> None:
    rules = {rule.name: rule for rule in watched.client.alert_rules()}
    assert rules["HighErrorRate"].expression == (
        "sum(rate(readmission_api_request_errors_total[5m])) / sum(rate(readmission_api_requests_total[5m])) > 0.01"
    )
    # Prometheus writes "by (le)" before what is summed.
    assert rules["SlowAPIResponse"].expression == (
        "histogram_quantile(0.95, sum by (le) (rate(readmission_api_request_duration_seconds_bucket[5m]))) > 1"
    )
    assert {rule.held for rule in rules.values()} == {300.0}
    assert {rule.problem for rule in rules.values()} == {""}
    assert set(rules) >= {"SlowModelPrediction", "HighModelErrorRate", "SlowDatabaseQuery"}


def test_when_an_alert_would_have_fired_follows_from_its_own_expression(watched: Watched) -> None:
    watched.service.work(2.0)
    watched.service.work(2.0, errors=50)
    time.sleep(4.0)
    (rule,) = [one for one in watched.client.alert_rules() if one.name == "HighErrorRate"]
    start, end = watched.began, time.time()
    true_at = points(watched.client.query_range(rule.expression, start, end, 1))
    # Prometheus' own word for when it became pending, at its own evaluations.
    ((_, said),) = watched.client.query_range('ALERTS_FOR_STATE{alertname="HighErrorRate"}', end, end, 1)
    (one,) = stretches(true_at, start, end, 1.0, rule.held)
    assert one.since == pytest.approx(said, abs=2.1)
    assert (one.firing, one.until) == (None, None)
    (sooner,) = stretches(true_at, start, end, 1.0, 3.0)
    assert sooner.firing == pytest.approx(one.since + 3.0)


# ---- what it only seems to see


def test_a_service_that_died_is_not_taken_for_one_that_is_well(watched: Watched) -> None:
    watched.service.work(4.0)
    eventually(lambda: watched.sees("latency"), 5.0)
    died = time.time()
    watched.service.stop()
    time.sleep(4.0)
    # Its rate stands for as long as the window; nobody has seen the service since.
    assert max(points(watched.figure("latency", died, died + 4))) >= died + 3
    assert [at for at, _ in watched.trusted("latency", died, died + 4) if at > died + 1.5] == []
    watched.service.start()
    watched.service.work(3.0)
    eventually(lambda: watched.sees("latency"), 5.0)


def test_the_time_in_which_prometheus_was_down_is_no_data(watched: Watched) -> None:
    work = threading.Thread(target=watched.service.work, args=(25.0,))
    work.start()
    ((seen, _),) = eventually(lambda: watched.sees("latency"), 5.0)
    killed = time.time()
    psutil.Process(watched.server.pid() or 0).kill()
    eventually(lambda: watched.server.pid() is None)
    with pytest.raises(ProviderError, match=r"The Prometheus at .* does not answer: Connection re"):
        watched.sees("latency")
    time.sleep(7.0)
    watched.server.keep()
    eventually(watched.server.answers)
    back = time.time()
    eventually(lambda: watched.sees("latency"), 15.0)
    gap = (killed + 5.0, back - 1.0)
    # It looks back over the gap as if the target had been up throughout.
    assert min(points(watched.client.query_range(f"up{{{SELECTOR}}}", *gap, 1))) < killed + 6.5
    assert watched.trusted("latency", *gap) == ()
    # What it had scraped before is still there.
    assert watched.trusted("latency", seen, seen)
    watched.service.rests.set()
    work.join()
    watched.service.rests.clear()


def test_one_that_hangs_is_an_error_and_no_wait(watched: Watched) -> None:
    process = psutil.Process(watched.server.pid() or 0)
    suspend_tree(process)
    started = time.monotonic()
    try:
        # Whichever is sooner: the socket's limit, or the one for the whole answer.
        with pytest.raises(ProviderError, match=r"does not answer|was not answered within 3 s"):
            watched.client.query_range("up", time.time(), time.time(), 1)
    finally:
        process.resume()
    assert time.monotonic() - started < 6.0 * BUSY


# ---- its own life


def test_it_listens_on_loopback_alone_under_the_servers_account(watched: Watched) -> None:
    process = psutil.Process(watched.server.pid() or 0)
    account = watched.site.binaries.account
    assert process.uids().real == (account.uid if account else os.geteuid())
    assert {(c.laddr.ip, c.laddr.port) for c in listening(process)} == {("127.0.0.1", watched.server.port)}
    assert stat.S_IMODE(watched.server.directory.stat().st_mode) == 0o700
    assert process.memory_info().rss < 150e6


def listening(process: psutil.Process) -> list[Any]:
    return [one for one in process.net_connections() if one.status == psutil.CONN_LISTEN]


def test_one_that_a_killed_daemon_left_is_ended_by_the_next(site: Site, server: prometheus.Prometheus) -> None:
    left = psutil.Process(server.pid() or 0)
    make(site, server.port).stop()
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE


def test_one_that_does_not_end_when_asked_is_ended(
    server: prometheus.Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companion, "STOP_LIMIT", 0.5)
    os.kill(server.pid() or 0, signal.SIGSTOP)
    server.stop()
    assert server.pid() is None


def test_what_keeps_it_from_starting_is_told(site: Site, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    # What has the port answers all that Prometheus would be asked.
    with pytest.raises(ProviderError, match=r"Prometheus on port .* did not start: .*address already in use"):
        make(site, watched.service.port).start()
    monkeypatch.setattr(prometheus, "render", lambda *_: "scrape_configs: 7\n")
    with pytest.raises(ProviderError, match=r"configuration is not valid: .*cannot unmarshal"):
        make(site, free_port()).start()


def test_where_there_is_none_the_lab_does_without(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(companion, "PLACES", ())
    assert prometheus.find(site) is None
