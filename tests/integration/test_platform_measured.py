"""The platform's own service on a restored database, measured and judged: a whole recovery's end without the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.config.context import Context
from dr.config.model import Login, Meter, Settings, Target
from dr.domain.model import Call, Demand, Facts, Observation, Plan, Purpose, Request, RunIdentity, Status, Verb
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.service.asking import name_of
from dr.drivers.service.config import ServiceConfig
from dr.drivers.service.provider import ServingProvider
from dr.evidence.model import Entry, Evidence, RunRecord
from dr.evidence.samples import load_samples, samples_file
from dr.host import children
from dr.host.clock import SystemClock
from dr.judge.findings import judged
from dr.lab.platform.install import install
from dr.lab.platform.population import PROBE_REQUESTS
from dr.lab.platform.roles import API, HARNESS, secret_file
from dr.lab.servers.access import Access
from dr.wiring import objectives
from tests.integration.meters import drive
from tests.integration.meters import record as run_record
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, make_server
from tests.targets import target_of

FACTS = Facts(0.0)
RUN = RunIdentity("r1", "lab", Purpose.DRILL, "")
KNOWN = objectives()
DEMANDS = (
    Demand("latency", "restored", 1.0, "s"),
    Demand("errors", "restored", 0.01, "share"),
    Demand("model-latency", "restored", 2.0, "s"),
    Demand("database-latency", "restored", 0.5, "s"),
    Demand("answers", "restored"),
)


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, int]]:
    """A database of the platform, and the target whose restoration it is."""
    with lab_site() as site:
        server = make_server(site, "restored")
        server.start()
        folder = site.directory / "platform"
        folder.mkdir()
        access = Access("localhost", server.port, MASTER, PASSWORD, DATABASE, str(site.ca))
        install(access, 50, folder / "models", folder / "secrets")

        def login(role: str) -> Login:
            return Login(role, f"file:{secret_file(folder / 'secrets', role)}")

        service = ServiceConfig(
            "http://127.0.0.1:9",
            (sys.executable, "-m", "dr.lab.service"),
            API,
            tuple({**request} for request in PROBE_REQUESTS),
            str(folder / "models"),
            expected=("prediction_id", "readmission_risk"),
        )
        database = PostgresConfig(DATABASE, login(HARNESS), (login(API),), ca=str(site.ca))
        yield (
            target_of(
                account="000000000000",
                region="eu-central-1",
                instance="readmission-db",
                database=database,
                service=service,
            ),
            server.port,
        )
        server.stop()


def serve_and_measure(run: Path, target: Target, port: int, seconds: float) -> tuple[Evidence, tuple[Observation, ...]]:
    """Serve, ask, measure and settle as the engine does; the evidence that this leaves."""
    context = Context(
        "lab",
        target,
        Settings(meter=Meter(rate=50.0, settle=seconds)),
        run,
        run,
        SystemClock(),
        children.identity(os.getpid()),
    )
    serving, measuring = ServingProvider(context), MeasuringProvider(context)
    planned: dict[str, Call] = {c.id: c for c in serving.propose(Verb("serve"), FACTS, RUN)}
    for verb in (Verb("measure", {"path": "restored"}), Verb("settle", {"paths": ["restored"]})):
        planned |= {c.id: c for c in measuring.propose(verb, FACTS, RUN)}
    run_record(run)
    try:
        served = drive(serving, planned["serve"], host="localhost", port=port).result
        golden = drive(serving, planned["golden"], url=served["url"])
        drive(measuring, planned["measure-restored"], url=served["url"], golden=golden.result["answers"])
        settled = drive(measuring, planned["settle-restored"], seconds + 20, paths={"restored": served["url"]})
    finally:
        for name in ("measure-restored", "serve"):
            undo = planned[name].undo
            assert undo is not None
            drive(serving if name == "serve" else measuring, undo)
    measured = load_samples(samples_file(run, "restored"))
    assert measured is not None
    now = SystemClock().now()
    record = RunRecord(Plan(Request("lab", (), Purpose.DRILL), RUN, (), DEMANDS), now, "", {}, 1.0)
    entries = (Entry(0, now, "effect", "settle-restored", settled.result, "", ""),)
    seen = (*golden.observations, *settled.observations)
    return Evidence(record, entries, seen, {"restored": measured}), seen


def test_the_platforms_service_answers_every_golden_request_and_keeps_its_objectives(
    tmp_path: Path, restored: tuple[Target, int]
) -> None:
    evidence, seen = serve_and_measure(tmp_path, *restored, seconds=7.0)
    answers = next(o.value for o in seen if o.what == "golden")
    assert set(answers) == {name_of(request) for request in PROBE_REQUESTS}
    assert all(len(digest) == 64 for digest in answers.values())
    good = [s for s in evidence.samples["restored"].samples if s.status == 200 and not s.error]
    assert len(good) == len(evidence.samples["restored"].samples)
    for demand in DEMANDS[2:]:
        finding = judged(KNOWN[demand.objective].judge, evidence, demand)
        assert finding.status is Status.MET, finding.because
    for demand in DEMANDS[:2]:  # on a busy machine the prober may be late, which is inconclusive and never missed
        finding = judged(KNOWN[demand.objective].judge, evidence, demand)
        assert finding.status is not Status.MISSED, finding.because


def test_a_service_that_is_too_slow_is_missed(
    tmp_path: Path, restored: tuple[Target, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_SERVICE_DELAY_MS", "1300")
    evidence, _ = serve_and_measure(tmp_path, *restored, seconds=5.0)
    finding = judged(KNOWN["latency"].judge, evidence, DEMANDS[0])
    assert finding.status is not Status.MET, finding.because
    assert finding.measured is None or finding.measured > 1.3
