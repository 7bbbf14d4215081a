"""A service put on a restored database: started, ready, asked, and gone with whoever started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dr.config.context import Context
from dr.config.model import Meter
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Facts, Observation, Purpose, RunIdentity, Verb
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.postgres.servers import Look
from dr.drivers.service.asking import ask_golden, get, name_of
from dr.drivers.service.guardian import keep
from dr.drivers.service.provider import NOT_SAID, ServingProvider
from dr.host import children
from tests.integration.meters import context, drive, record, somebody, wait_for, watched
from tests.targets import retargeted

FACTS = Facts(0.0)
RUN = RunIdentity("r1", "lab", Purpose.DRILL, "")
RESTORED = {"host": "localhost", "port": 5432}


@contextmanager
def nobody(*_: object) -> Iterator[Look]:
    """A copy on which no session ever shows."""
    yield frozenset


def serving(made: Context) -> ServingProvider:
    return ServingProvider(made, watched)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ServingProvider]:
    yield serving(context(tmp_path))
    children.stop(tmp_path / "serve.pid")


def call(provider: ServingProvider, name: str) -> Call:
    return next(c for c in provider.propose(Verb("serve"), FACTS, RUN) if c.id == name)


def serve(provider: ServingProvider) -> dict[str, Any]:
    return dict(drive(provider, call(provider, "serve"), **RESTORED).result)


def the_service(run: Path) -> psutil.Process:
    held = children.held(run / "serve.pid")
    assert held is not None
    return psutil.Process(held.pid).children()[0]


def test_the_service_gets_the_copys_address_and_its_password_in_the_environment_alone(
    tmp_path: Path, provider: ServingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_READY_AFTER", "0.5")
    result = serve(provider)
    assert result["started_at"] + 0.5 <= result["ready_at"]
    service = the_service(tmp_path)
    environment = service.environ()
    assert environment["DATABASE_URL"] == "postgresql://app@localhost:5432/clinic"
    assert (environment["PGPASSWORD"], environment["PGSSLMODE"]) == ("hush hush", "verify-full")
    assert "hush" not in " ".join(service.cmdline() + psutil.Process(result["pid"]).cmdline())
    assert "hush" not in str(result)
    assert get(result["url"], "/healthz")[0] == 200


def test_stopping_it_leaves_no_process(tmp_path: Path, provider: ServingProvider) -> None:
    serve(provider)
    service = the_service(tmp_path)
    undo = call(provider, "serve").undo
    assert undo is not None
    drive(provider, undo)
    drive(provider, undo)
    assert not service.is_running()
    assert children.running(tmp_path / "serve.pid") is None


def test_a_repeated_start_leaves_one_service(tmp_path: Path, provider: ServingProvider) -> None:
    serve(provider)
    first = the_service(tmp_path)
    serve(provider)
    assert not first.is_running()
    assert the_service(tmp_path).is_running()


def test_it_ends_when_its_owner_was_killed(tmp_path: Path) -> None:
    with somebody() as owner:
        provider = serving(context(tmp_path, owner=children.identity(owner.pid)))
        serve(provider)
        service = the_service(tmp_path)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_for(lambda: not service.is_running(), 5.0)


def test_it_ends_when_its_guardian_was_killed(tmp_path: Path, provider: ServingProvider) -> None:
    result = serve(provider)
    service = the_service(tmp_path)
    os.kill(result["pid"], signal.SIGKILL)
    wait_for(lambda: not service.is_running(), 5.0)


def test_a_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignoring = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    )
    pidfile, log = tmp_path / "deaf.pid", tmp_path / "deaf.log"
    argv, owner = [sys.executable, "-c", ignoring], children.identity(os.getpid())
    held = children.begin(partial(keep, argv, {}, pidfile, owner), pidfile, log)
    wait_for(lambda: "deaf" in log.read_text())
    service = psutil.Process(held.pid).children()[0]
    children.stop(pidfile)
    wait_for(lambda: not service.is_running(), 2.0)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_service_that_dies_early_says_why_without_its_secret(
    provider: ServingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_DIE", "1")
    with pytest.raises(ProviderError) as caught:
        serve(provider)
    assert "exit code 7" in str(caught.value)
    assert "the database schema is too old" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_command_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    pidfile, owner = tmp_path / "x.pid", context(tmp_path).owner
    children.begin(partial(keep, ["/nowhere/service"], {}, pidfile, owner), pidfile, tmp_path / "x.log")
    held = wait_for(lambda: children.running(pidfile) is None and children.held(pidfile))
    assert held.ended == "/nowhere/service cannot be started: No such file or directory"


def test_golden_answers_differ_where_the_prediction_does_and_not_by_volatile_fields(provider: ServingProvider) -> None:
    url = serve(provider)["url"]
    requests = ({"patient": "a"}, {"patient": "b"})
    first = ask_golden(url, requests, ("prediction_id", "created_at"))
    assert first == ask_golden(url, requests, ("prediction_id", "created_at"))
    assert len(set(first.values())) == 2
    assert first != ask_golden(url, requests, ("created_at",))


def golden(provider: ServingProvider, url: str) -> Observation:
    seen, planted, asked = drive(provider, call(provider, "golden"), url=url).observations
    assert planted.value == {"answers": {}, "because": NOT_SAID}
    assert asked.value == {"stood": 0.0}
    return seen


def test_an_unanswered_golden_request_is_a_finding_and_no_failure(tmp_path: Path) -> None:
    provider = serving(context(tmp_path, requests=({"patient": "a"}, {"fail": True})))
    url = serve(provider)["url"]
    seen = golden(provider, url)
    assert (seen.what, seen.path) == ("golden", "restored")
    assert seen.value[name_of({"fail": True})].startswith("no answer")
    assert len(seen.value[name_of({"patient": "a"})]) == 64
    with pytest.raises(ProviderError, match="status 500"):
        ask_golden(url, [{"fail": True}], ())
    children.stop(tmp_path / "serve.pid")


def test_a_service_that_stood_still_is_asked_again_and_that_is_told(
    tmp_path: Path, provider: ServingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr.drivers.service.asking.get", partial(get, patience=0.5))
    url, stopped = serve(provider)["url"], the_service(tmp_path)
    stopped.suspend()
    threading.Timer(2.0, stopped.resume).start()
    seen, _, asked = drive(provider, call(provider, "golden"), url=url).observations
    assert {len(answer) for answer in seen.value.values()} == {64}
    assert 1.0 < asked.value["stood"] < 10.0


def test_the_service_gets_the_token_that_it_is_asked_with(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    provider = serving(context(tmp_path, token=f"file:{tmp_path / 'token'}"))
    try:
        result = serve(provider)
        service = the_service(tmp_path)
        assert service.environ()["API_TOKEN"] == "t0ken"
        assert "t0ken" not in " ".join(service.cmdline()) + str(result)
        seen = golden(provider, result["url"])
        assert {len(answer) for answer in seen.value.values()} == {64}
    finally:
        children.stop(tmp_path / "serve.pid")
    assert "t0ken" not in "".join(p.read_text() for p in tmp_path.iterdir() if p.is_file() and p.name != "token")


def test_a_service_that_refuses_the_token_is_no_finding(
    tmp_path: Path, provider: ServingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_TOKEN", "another")
    url = serve(provider)["url"]
    with pytest.raises(RefusedError, match=f"The service at {url} asks for a token, and the target names none"):
        golden(provider, url)
    unseen = ServingProvider(context(tmp_path), nobody)
    with pytest.raises(RefusedError, match="asks for a token"):
        serve(unseen)


def test_the_services_own_counts_are_observed_while_it_settles(tmp_path: Path, provider: ServingProvider) -> None:
    url = serve(provider)["url"]
    ask_golden(url, ({"patient": "a"},), ())
    record(tmp_path)
    measuring = MeasuringProvider(context(tmp_path, url, meter=Meter(rate=100.0, timeout=0.5, settle=0.5)))
    (measure,) = measuring.propose(Verb("measure", {"path": "restored"}), FACTS, RUN)
    (settle,) = measuring.propose(Verb("settle", {"paths": ["restored"]}), FACTS, RUN)
    drive(measuring, measure, url=url, golden={})
    time.sleep(0.3)
    settled = drive(measuring, settle, paths={"restored": url})
    children.stop(tmp_path / "meter-measure-restored.pid")
    (seen,) = settled.observations
    counted = seen.value["readmission_model_prediction_duration_seconds"]
    assert (seen.what, seen.path) == ("metrics", "restored")
    assert 40 <= counted["count"] <= 120
    assert counted["buckets"]["0.1"] == counted["count"]


def test_without_a_service_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        serving(context(tmp_path, service=False)).propose(Verb("serve"), FACTS, RUN)


def test_an_unknown_role_of_the_service_is_a_usage_error(tmp_path: Path) -> None:
    made = context(tmp_path)
    assert made.target.service is not None
    import msgspec

    service = msgspec.structs.replace(made.target.service, login="nobody")
    other = context(tmp_path)
    object.__setattr__(other, "target", retargeted(made.target, service=service))
    with pytest.raises(UsageError):
        serving(other).propose(Verb("serve"), FACTS, RUN)
