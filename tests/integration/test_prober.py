"""The prober as a process: what it sees, what it survives, and what it says of itself."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dr.config.model import Meter
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Facts, Purpose, RunIdentity, Verb
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.service.asking import ask_golden
from dr.evidence.model import Sample
from dr.evidence.samples import last_line, load_samples, samples_file
from dr.host import children
from dr.judge.windows import Slo, latency, windows
from dr.meter.process import probe, run
from tests.integration.meters import Server, context, drive, record, serving, somebody, wait_for

FACTS = Facts(0.0)
RUN = RunIdentity("r1", "lab", Purpose.DRILL, "")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def provider(tmp_path: Path, server: Server) -> Iterator[MeasuringProvider]:
    yield MeasuringProvider(context(tmp_path, server.url))
    children.stop(tmp_path / "meter-measure-source.pid")


def calls(provider: MeasuringProvider, **args: object) -> dict[str, Call]:
    return {c.id: c for c in provider.propose(Verb("measure", {"path": "source", **args}), FACTS, RUN)}


def measure(provider: MeasuringProvider) -> int:
    return int(drive(provider, calls(provider)["measure-source"]).result["pid"])


def settle(provider: MeasuringProvider, run: Path, seconds: float) -> Call:
    record(run)
    (call,) = provider.propose(Verb("settle", {"paths": ["source"]}), FACTS, RUN)
    return replace(call, args={**call.args, "seconds": seconds})


def stop(provider: MeasuringProvider) -> None:
    undo = calls(provider)["measure-source"].undo
    assert undo is not None
    drive(provider, undo)


def seen(run: Path) -> tuple[Sample, ...]:
    found = load_samples(samples_file(run, "source"))
    assert found is not None
    return found.samples


def test_every_probe_is_written_with_due_sent_and_done(tmp_path: Path, provider: MeasuringProvider) -> None:
    measure(provider)
    time.sleep(1.0)
    stop(provider)
    found = seen(tmp_path)
    assert 80 <= len(found) <= 200
    assert [s.n for s in found] == list(range(len(found)))
    assert all(s.due <= s.sent <= s.done and s.status == 200 and not s.error for s in found)
    assert {round((b.due - a.due) / 1e6) for a, b in itertools.pairwise(found)} == {10}
    assert b'"end": "stopped"' in samples_file(tmp_path, "source").read_bytes().splitlines()[-1]


def test_the_prober_shows_the_token_and_leaves_it_nowhere(tmp_path: Path, server: Server) -> None:
    (tmp_path / "token").write_text("t0ken-of-the-service\n")
    provider = MeasuringProvider(context(tmp_path, server.url, token=f"file:{tmp_path / 'token'}"))
    pid = measure(provider)
    wait_for(lambda: server.heard)
    told = " ".join((*psutil.Process(pid).cmdline(), *psutil.Process(pid).environ().values()))
    stop(provider)
    assert b"\r\nAuthorization: Bearer t0ken-of-the-service\r\n" in server.heard
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "token"]
    assert samples_file(tmp_path, "source") in left
    kept = told + str(calls(provider)) + "".join(path.read_text() for path in left)
    assert "t0ken" not in kept
    assert {s.error for s in seen(tmp_path)} == {""}


def answers(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_each_answer_of_a_copy_is_held_against_the_golden_one_of_its_request(tmp_path: Path, server: Server) -> None:
    made = context(tmp_path, server.url)
    provider = MeasuringProvider(made)
    server.says = answers(b'{"risk": 0.25, "prediction_id": 1}')
    golden = ask_golden(server.url, made.target.service.requests[:1], made.target.service.volatile)
    (call,) = provider.propose(Verb("measure", {"path": "restored"}), FACTS, RUN)
    drive(provider, call, url=server.url, golden=golden, planted=0)
    file = samples_file(tmp_path, "restored")
    try:
        wait_for(lambda: len(held(file)) > 20)
        server.says = answers(b'{"risk": 0.75, "prediction_id": 2}')
        wait_for(lambda: held(file)[-1:] == [False])
        server.says = answers(b'{"error": "gone"}').replace(b"200 OK", b"404 No")
        wait_for(lambda: (last_line(file) or {}).get("error") == "status")
    finally:
        children.stop(tmp_path / "meter-measure-restored.pid")
    found = load_samples(file)
    assert found is not None
    assert {s.golden for s in found.samples if s.n % 2 or s.status == 404} == {None}
    asked = held(file)
    assert asked == sorted(asked, reverse=True)
    assert set(asked) == {True, False}


def held(file: Path) -> list[bool]:
    """Whether the answers that were held against a golden one were that."""
    found = load_samples(file)
    return [s.golden for s in found.samples if s.golden is not None] if found else []


def test_without_a_token_none_is_shown(provider: MeasuringProvider, server: Server) -> None:
    measure(provider)
    wait_for(lambda: server.heard)
    stop(provider)
    assert b"Authorization" not in server.heard


def test_a_service_that_refuses_the_token_is_no_outage(
    tmp_path: Path, server: Server, provider: MeasuringProvider
) -> None:
    server.says = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(RefusedError, match="The service on path source asks for a token, and the target names none"):
        measure(provider)
    stop(provider)
    (tmp_path / "token").write_text("stale\n")
    shown = MeasuringProvider(context(tmp_path, server.url, token=f"file:{tmp_path / 'token'}"))
    with pytest.raises(RefusedError, match=r"refuses the token that service.token refers to, file:.*/token \(status"):
        measure(shown)


def test_a_token_that_is_not_there_is_one_sentence(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ProviderError, match="The secret 'file:/not/there' is not there"):
        measure(MeasuringProvider(context(tmp_path, server.url, token="file:/not/there")))


def test_a_second_start_finds_the_first(provider: MeasuringProvider) -> None:
    assert measure(provider) == measure(provider)


def test_a_prober_of_another_owner_is_replaced(tmp_path: Path, server: Server, provider: MeasuringProvider) -> None:
    with somebody() as owner:
        other = MeasuringProvider(context(tmp_path, server.url, owner=children.identity(owner.pid)))
        first = measure(other)
        assert measure(provider) != first


def test_a_kill_leaves_a_file_that_loads_and_a_further_start_goes_on(
    tmp_path: Path, provider: MeasuringProvider
) -> None:
    pid = measure(provider)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not children.started(pid))
    with samples_file(tmp_path, "source").open("ab") as file:
        file.write(b'{"n": 99, "du')
    before = seen(tmp_path)
    assert before
    assert measure(provider) != pid
    wait_for(lambda: len(seen(tmp_path)) > len(before) + 5)
    stop(provider)
    after = seen(tmp_path)
    assert [s.n for s in after] == list(range(len(after)))
    assert after[: len(before)] == before


def test_it_ends_when_its_owner_is_gone(tmp_path: Path, server: Server) -> None:
    with somebody() as owner:
        provider = MeasuringProvider(context(tmp_path, server.url, owner=children.identity(owner.pid)))
        pid = measure(provider)
        owner.kill()
        owner.wait()
        wait_for(lambda: not children.started(pid), 5.0)
    held = children.held(tmp_path / "meter-measure-source.pid")
    assert held is not None
    assert held.ended == "its owner is gone"


def test_a_stalled_target_shows_from_the_due_time_on(
    tmp_path: Path, server: Server, provider: MeasuringProvider
) -> None:
    measure(provider)
    server.pause = time.monotonic() + 0.4
    time.sleep(1.0)
    stop(provider)
    found = seen(tmp_path)
    slow = [s for s in found if s.done - s.due > 100e6]
    assert 25 <= len(slow) <= 45, "each probe due during the stall waits for its end"
    assert all(not s.error for s in found)
    assert [s.n for s in found] == list(range(len(found)))


def test_a_silent_target_is_an_error_and_a_latency_of_the_timeout(
    tmp_path: Path, server: Server, provider: MeasuringProvider
) -> None:
    server.mode = "silent"
    measure(provider)
    time.sleep(1.0)
    stop(provider)
    found = seen(tmp_path)
    assert {s.error for s in found} == {"timeout"}
    assert all(latency(s, 0.5) >= 0.5 for s in found)
    assert [s.n for s in found] == list(range(len(found)))


def test_probes_beyond_the_pool_wait_and_are_not_dropped(tmp_path: Path, server: Server) -> None:
    """400 a second against a target that answers none of them: more are under way than the pool holds."""
    provider = MeasuringProvider(context(tmp_path, server.url, meter=Meter(rate=400.0, timeout=1.0)))
    measure(provider)
    server.pause = time.monotonic() + 0.9
    time.sleep(1.2)
    stop(provider)
    found = seen(tmp_path)
    assert [s.n for s in found] == list(range(len(found)))
    waited = [s for s in found if s.sent - s.due > 200e6]
    assert waited
    assert sorted(s.late for s in waited)[len(waited) // 2] < 50e6, (
        "waiting for a connection is not the prober's lateness"
    )


def test_a_dead_target_is_refused_and_its_return_is_seen(
    tmp_path: Path, server: Server, provider: MeasuringProvider
) -> None:
    measure(provider)
    server.close()
    wait_for(lambda: (last_line(samples_file(tmp_path, "source")) or {}).get("error") == "refused")
    again = Server(server.port)
    wait_for(lambda: (last_line(samples_file(tmp_path, "source")) or {}).get("status") == 200)
    stop(provider)
    again.close()
    found = seen(tmp_path)
    assert {s.error for s in found} >= {"", "refused"}
    assert [s.n for s in found] == list(range(len(found)))


def test_a_connection_closed_while_idle_is_no_error(
    tmp_path: Path, server: Server, provider: MeasuringProvider
) -> None:
    server.mode = "closing"
    measure(provider)
    time.sleep(1.0)
    stop(provider)
    assert {s.error for s in seen(tmp_path)} == {""}


def test_a_stopped_prober_says_so_by_its_lateness(tmp_path: Path, provider: MeasuringProvider) -> None:
    pid = measure(provider)
    time.sleep(0.5)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)
    time.sleep(1.0)
    stop(provider)
    found = load_samples(samples_file(tmp_path, "source"))
    assert found is not None
    assert [s.n for s in found.samples] == list(range(len(found.samples)))
    assert max(s.late for s in found.samples) > 1.2e9
    assert any(window.void for window in windows(found, 0.5, Slo(1.0, 0.01)))


def test_a_full_disk_ends_it_with_the_reason_noted(tmp_path: Path, server: Server) -> None:
    pidfile, log = tmp_path / "meter-x.pid", tmp_path / "x.log"
    document = {
        "run": str(tmp_path), "path": "source", "url": server.url, "bodies": [{}], "fields": [], "rate": 200.0,
        "timeout": 0.5, "owner": children.identity(os.getpid()), "pidfile": str(pidfile),
    }  # fmt: skip

    def on_a_full_disk() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, 16 << 10))
        return run(probe, document)

    children.begin(on_a_full_disk, pidfile, log)
    wait_for(lambda: children.running(pidfile) is None)
    held = children.held(pidfile)
    assert held is not None
    assert held.code == ProviderError.exit_code
    assert "cannot be written" in held.ended
    assert seen(tmp_path)


def test_settling_waits_for_its_seconds_and_names_its_samples(tmp_path: Path, provider: MeasuringProvider) -> None:
    measure(provider)
    settled = drive(provider, settle(provider, tmp_path, 0.5)).result["settled"]["source"]
    first, last = settled["first"], settled["last"]
    assert last - first + 1 >= 50
    stop(provider)
    assert {s.n for s in seen(tmp_path)} >= set(range(first, last + 1))


def test_settling_goes_on_where_the_prober_itself_was_late(tmp_path: Path, provider: MeasuringProvider) -> None:
    pid = measure(provider)
    call = settle(provider, tmp_path, 3.0)
    result = provider.apply(call, call.args)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.8)
    os.kill(pid, signal.SIGCONT)
    progress = wait_for(lambda: (progress := provider.poll(call, result)).done and progress)
    settled = progress.result["settled"]["source"]
    stop(provider)
    measured = load_samples(samples_file(tmp_path, "source"))
    assert measured is not None
    kept = tuple(s for s in measured.samples if settled["first"] <= s.n <= settled["last"])
    assert 3.5 * measured.rate < len(kept) <= 6.5 * measured.rate
    assert {s.n for s in kept} == set(range(settled["first"], settled["last"] + 1)), "the late ones are kept, too"


def test_a_prober_that_died_fails_the_settling(tmp_path: Path, provider: MeasuringProvider) -> None:
    pid = measure(provider)
    call = settle(provider, tmp_path, 60.0)
    result = provider.apply(call, call.args)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not children.started(pid))
    with pytest.raises(ProviderError, match="ended early"):
        provider.poll(call, result)


def test_an_unknown_host_is_one_sentence(tmp_path: Path) -> None:
    provider = MeasuringProvider(context(tmp_path, "http://no-such-host.invalid"))
    with pytest.raises(ProviderError, match="cannot be resolved"):
        measure(provider)
