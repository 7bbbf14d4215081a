"""The prediction service as a process, over a real database: what it answers, and how it bears a database that goes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr.lab.platform import model, roles
from dr.lab.platform.install import install
from dr.lab.platform.population import PROBE_REQUESTS
from dr.lab.servers.access import Access
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, log_in, make_server
from tests.support import BUSY, ended, eventually

ROOT = Path(__file__).parents[2]


@dataclass
class Platform:
    """A filled database, and where its secrets and models lie."""

    server: Server
    directory: Path

    @property
    def models(self) -> Path:
        return self.directory / "models"

    @property
    def api_password(self) -> str:
        return roles.password(self.directory / "secrets", roles.API)

    def environment(self, **more: str) -> dict[str, str]:
        url = f"postgresql://{roles.API}@localhost:{self.server.port}/{DATABASE}?sslmode=verify-full"
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"{url}&sslrootcert={self.server.site.ca}",
            "PGPASSWORD": self.api_password,
            "MODEL_DIR": str(self.models),
            **more,
        }


@dataclass
class Running:
    """A service's process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(
        self, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        content = raw if raw is not None else json.dumps(body) if body is not None else None
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(text) if is_json else text
        finally:
            connection.close()

    def predict(self, admission: Any) -> tuple[int, Any]:
        return self.ask("POST", "/predict", {"admission_id": admission})

    def ready(self) -> int:
        try:
            return self.ask("GET", "/readyz")[0]
        except OSError:
            return 0

    def send(self, data: bytes) -> bytes:
        """Raw bytes, and all that comes back until the service closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def running(platform: Platform, **more: str) -> Iterator[Running]:
    port = free_port()
    path = platform.directory / f"service-{port}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dr.lab.service"],
            env=platform.environment(PORT=str(port), **more),
            stdout=log,
            stderr=log,
        )
    service = Running(process, port, path)
    try:
        eventually(lambda: service.ready() != 0, why=path.read_text)
        yield service
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with lab_site() as site:
        server = make_server(site, "primary")
        directory = site.directory / "platform"
        access = Access("localhost", server.port, MASTER, PASSWORD, DATABASE, str(site.ca))
        install(access, 50, directory / "models", directory / "secrets")
        yield Platform(server, directory)


@pytest.fixture(scope="module")
def service(platform: Platform) -> Iterator[Running]:
    with running(platform) as started:
        yield started


def test_a_page_in_a_browser_is_answered_nothing(service: Running) -> None:
    for wrong in ("Host: rebound.example", f"Host: 127.0.0.1:{service.port}\r\nOrigin: http://evil.example"):
        request = f"GET /metrics HTTP/1.1\r\n{wrong}\r\nConnection: close\r\n\r\n"
        assert service.send(request.encode()).startswith(b"HTTP/1.1 403 ")


def test_what_writes_asks_for_the_token_and_what_reads_does_not(platform: Platform) -> None:
    def stored() -> Any:
        with log_in(platform.server) as session:
            return session.execute("SELECT count(*) FROM predictions").fetchone()

    asked, before = {"admission_id": "SYN-0001-1"}, stored()
    with running(platform, API_TOKEN="t0ken-of-this-test") as closed:
        for shown in ({}, {"Authorization": "Bearer t0ken"}, {"Authorization": "Basic t0ken-of-this-test"}):
            status, said = closed.ask("POST", "/predict", asked, **shown)
            assert (status, set(said)) == (401, {"error"})
        assert b"\r\nWWW-Authenticate: Bearer\r\n" in closed.send(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stored() == before
        assert closed.ask("POST", "/predict", asked, Authorization="Bearer t0ken-of-this-test")[0] == 200
        assert [closed.ask("GET", path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
        open_to_all = closed.ask("GET", "/metrics")[1]
        assert "SYN-" not in open_to_all
        assert 'status="401"} 4' in open_to_all
        assert "t0ken" not in open_to_all + closed.log.read_text()


def test_a_prediction_is_answered_and_stored(platform: Platform, service: Running) -> None:
    status, said = service.predict("SYN-0001-1")
    assert status == 200
    assert set(said) == {
        *("prediction_id", "patient_id", "admission_id", "readmission_risk", "confidence_interval", "risk_factors"),
        "model_version",
    }
    assert said["patient_id"] == "SYN-0001"
    assert 0 < said["confidence_interval"][0] < said["readmission_risk"] < said["confidence_interval"][1] < 1
    with log_in(platform.server) as session:
        stored = session.execute(
            "SELECT patient_id, admission_id, readmission_risk, model_version FROM predictions"
            " WHERE prediction_id = %s",
            (said["prediction_id"],),
        ).fetchone()
    assert stored == ("SYN-0001", "SYN-0001-1", said["readmission_risk"], model.VERSION)


def test_the_same_admission_has_the_same_risk_after_a_restart_too(platform: Platform, service: Running) -> None:
    def answers(of: Running) -> list[Any]:
        said = [of.ask("POST", "/predict", body)[1] for body in PROBE_REQUESTS]
        return [{name: value for name, value in one.items() if name != "prediction_id"} for one in said]

    first = answers(service)
    with running(platform) as another:
        assert answers(another) == first
    assert len({one["readmission_risk"] for one in first}) == len(first)


def test_an_unknown_admission_is_not_found_and_its_id_is_in_no_log(service: Running) -> None:
    assert service.predict("A9999999-1")[0] == 404
    assert "A9999999" not in service.log.read_text()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"admission_id": 7}',
        b'{"admission_id": ""}',
        b'{"admission_id": "' + b"x" * 51 + b'"}',
        b'{"admission_id": "a\\u0000b"}',
        b'{"admission_id": "\\ud800"}',
        b"[" * 60_000,
        b"\xff\xfe",
    ],
)
def test_a_malformed_body_is_a_bad_request(service: Running, body: bytes) -> None:
    status, said = service.ask("POST", "/predict", raw=body)
    assert status == 400
    assert said["error"]


def test_wrong_methods_and_paths_are_answered_in_json(service: Running) -> None:
    assert service.ask("GET", "/predict") == (405, {"error": "Use POST."})
    assert service.ask("POST", "/healthz", {}) == (405, {"error": "Use GET."})
    assert service.ask("GET", "/nowhere")[0] == 404


def test_a_body_that_is_too_large_is_refused(service: Running) -> None:
    assert service.send(b"POST /predict HTTP/1.1\r\nContent-Length: 70000\r\n\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nbroken header\r\n\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_malformed_http_is_answered_and_ends_the_connection(service: Running, data: bytes, status: bytes) -> None:
    said = service.send(data)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in said


def test_two_requests_sent_at_once_are_answered_in_order(service: Running) -> None:
    body = b'{"admission_id":"SYN-0003-1"}'
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    one = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    said = service.send(one + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert said.index(b"SYN-0003") < said.index(b'"alive"')


def test_it_says_what_the_platforms_dashboards_ask_for(service: Running) -> None:
    service.predict("SYN-0002-1")
    status, text = service.ask("GET", "/metrics")
    assert status == 200
    for name in (
        'readmission_api_requests_total{method="POST",path="/predict",status="200"}',
        "readmission_api_request_errors_total",
        'readmission_api_request_duration_seconds_bucket{le="1.0"}',
        'readmission_model_prediction_duration_seconds_bucket{le="2.0"}',
        "readmission_model_prediction_errors_total",
        'readmission_database_query_duration_seconds_bucket{le="0.5"}',
    ):
        assert f"\n{name} " in text, name


def test_log_lines_have_the_platforms_format_and_mask_who_is_not_synthetic(service: Running) -> None:
    service.predict("SYN-0004-1")
    service.predict("A0000001-1")
    text = service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    fields = ["timestamp", "level", "service", "trace_id", "span_id", "user_id", "patient_id", "message", "details"]
    assert all(list(line) == fields for line in lines)
    done = [line for line in lines if line["message"] == "Prediction request processed successfully"]
    assert {"prediction", "model_version", "duration_ms"} <= set(done[-1]["details"])
    assert done[-2]["patient_id"] == "SYN-0004"
    assert done[-1]["patient_id"] == "masked"
    assert "P0000001" not in text
    assert "A0000001" not in text


def test_it_answers_503_while_the_database_is_gone_and_serves_again_by_itself(
    platform: Platform, service: Running
) -> None:
    assert service.predict("SYN-0001-1")[0] == 200
    platform.server.kill()
    try:
        status, said = service.predict("SYN-0001-1")
        assert status == 503
        assert "database" in said["error"]
        assert service.ready() == 503
        assert service.ask("GET", "/healthz")[0] == 200
    finally:
        platform.server.start()
    assert service.predict("SYN-0001-1")[0] == 200


def test_a_database_that_hangs_ends_in_503_and_leaves_it_serving(platform: Platform, service: Running) -> None:
    with log_in(platform.server) as session:
        session.autocommit = False
        session.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        outcomes: list[int] = []
        askers = [threading.Thread(target=lambda: outcomes.append(service.predict("SYN-0001-1")[0])) for _ in range(6)]
        started = time.monotonic()
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        session.rollback()
    assert outcomes == [503] * 6
    assert time.monotonic() - started < 8 * BUSY
    assert service.predict("SYN-0001-1")[0] == 200


def test_it_starts_without_a_database_and_is_not_ready(platform: Platform) -> None:
    url = f"postgresql://nobody@localhost:{free_port()}/nothing"
    with running(platform, DATABASE_URL=url) as service:
        assert service.ready() == 503
        assert service.predict("SYN-0001-1")[0] == 503


def test_a_stale_password_makes_it_unready_and_stands_nowhere(platform: Platform) -> None:
    with running(platform, PGPASSWORD="last-years-secret") as service:
        assert service.ready() == 503
        assert "last-years-secret" not in service.log.read_text()


@contextmanager
def changed(platform: Platform, change: str, back: str) -> Iterator[None]:
    with log_in(platform.server) as session:
        session.execute(change)
        try:
            yield
        finally:
            session.execute(back)


def test_no_active_model_version_and_two_of_them_make_it_unready(platform: Platform, service: Running) -> None:
    with changed(platform, "UPDATE model_versions SET active = false", "UPDATE model_versions SET active = true"):
        status, said = service.predict("SYN-0001-1")
        assert (status, said["error"].split(";")[0]) == (503, "0 model versions are active")
        assert service.ready() == 503
    second = (
        "INSERT INTO model_versions (model_version, model_type, training_date, performance_metrics, active)"
        " VALUES ('9.9.9', 'x', now(), '{}', true)"
    )
    with changed(platform, second, "DELETE FROM model_versions WHERE model_version = '9.9.9'"):
        assert service.ready() == 503
    assert service.predict("SYN-0001-1")[0] == 200


def test_an_artifact_that_differs_from_its_digest_is_not_served(platform: Platform) -> None:
    artifact = platform.models / model.ARTIFACT.name
    whole = artifact.read_bytes()
    artifact.write_bytes(whole.replace(b"-3.1", b"-1.3"))
    try:
        with running(platform) as service:
            status, said = service.ask("GET", "/readyz")
            assert status == 503
            assert "differs from the digest" in said["error"]
            assert service.predict("SYN-0001-1")[0] == 503
            artifact.write_bytes(whole)
            assert service.predict("SYN-0001-1")[0] == 200
    finally:
        artifact.write_bytes(whole)


def test_the_fault_knob_makes_predictions_slower(platform: Platform) -> None:
    with running(platform, DR_SERVICE_DELAY_MS="300") as service:
        started = time.monotonic()
        assert service.predict("SYN-0001-1")[0] == 200
        assert time.monotonic() - started > 0.3
        assert 'readmission_model_prediction_duration_seconds_bucket{le="0.25"} 0' in service.ask("GET", "/metrics")[1]


def test_a_stubborn_service_fails_until_it_is_restarted_once_a_connection_broke(platform: Platform) -> None:
    with running(platform, DR_SERVICE_STUBBORN="1") as service:
        assert service.predict("SYN-0001-1")[0] == 200
        platform.server.kill()
        platform.server.start()
        assert [service.predict("SYN-0001-1")[0] for _ in range(5)] == [503] * 5
        assert service.ask("GET", "/healthz")[0] == 200
    with running(platform, DR_SERVICE_STUBBORN="1") as service:
        assert service.predict("SYN-0001-1")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_under_way_finish(platform: Platform, number: int) -> None:
    with running(platform, DR_SERVICE_DELAY_MS="500") as service:
        idle = socket.create_connection(("127.0.0.1", service.port))
        outcome: list[int] = []
        asker = threading.Thread(target=lambda: outcome.append(service.predict("SYN-0001-1")[0]))
        asker.start()
        time.sleep(0.2)
        service.process.send_signal(number)
        asker.join()
        idle.close()
        assert outcome == [200]
        assert ended(service.process) == 0
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize(
    ("wrong", "code", "named"),
    [
        ({"DATABASE_URL": ""}, 2, "DATABASE_URL"),
        ({"MODEL_DIR": ""}, 2, "MODEL_DIR"),
        ({"PORT": "http"}, 2, "PORT"),
        ({"PORT": "70000"}, 2, "PORT"),
        ({"DR_SERVICE_DELAY_MS": "-1"}, 2, "DR_SERVICE_DELAY_MS"),
        ({"DR_SERVICE_DELAY_MS": "nan"}, 2, "DR_SERVICE_DELAY_MS"),
        ({"DR_SERVICE_STUBBORN": "yes"}, 2, "DR_SERVICE_STUBBORN"),
    ],
)
def test_a_wrong_environment_ends_in_one_sentence(
    platform: Platform, wrong: dict[str, str], code: int, named: str
) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "dr.lab.service"], env=platform.environment(**wrong), capture_output=True, text=True
    )
    assert answer.returncode == code
    assert named in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_port_in_use_ends_in_one_sentence(platform: Platform, service: Running) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "dr.lab.service"],
        env=platform.environment(PORT=str(service.port)),
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 3
    assert answer.stderr.startswith("Nothing can listen on 127.0.0.1")


def test_the_service_does_no_more_than_its_role_allows(platform: Platform) -> None:
    with log_in(platform.server, roles.API, platform.api_password) as session:
        session.execute("SELECT count(*) FROM patients")
        for forbidden in (
            "DELETE FROM predictions",
            "UPDATE patients SET demographics = '{}'",
            "INSERT INTO model_versions VALUES ('1', 'x', now(), '{}')",
            "CREATE TABLE public.mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE TEMP TABLE mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(forbidden)
