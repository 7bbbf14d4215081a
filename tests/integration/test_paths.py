"""The database's own paths: writes through a real PgBouncer and past it, a host that is lost, and reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr.config.context import Context
from dr.config.model import Login, Meter
from dr.domain.model import Call, Facts, Purpose, Resource, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.pgbouncer_console import held
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.meter.mark import marker_table
from dr.drivers.rds.naming import instance
from dr.evidence.model import Marker
from dr.evidence.samples import load_markers, load_samples, markers_file, samples_file
from dr.host import children
from dr.lab.beside import pgbouncer
from dr.lab.beside.pgbouncer import Entry, PgBouncer
from dr.lab.platform.roles import secret_file
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site, free_port
from tests.integration.meters import context, drive, wait_for
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site, log_in, make_server
from tests.relay import Relay
from tests.targets import retargeted

RUN = RunIdentity("drill-1", "lab", Purpose.DRILL, "")
ENTRY, READS = "readmission", ("readmission_ro_1", "readmission_ro_2")
METER = Meter(rate=50.0, timeout=0.5, markers=50.0)


@dataclass
class Topology:
    """A server, and a pooler before it."""

    site: Site
    server: Server
    pooler: PgBouncer

    def rows(self, path: str) -> set[tuple[int, int]]:
        with log_in(self.server) as connection:
            found = connection.execute(f"select n, attempt from dr.{marker_table(RUN.id, path)}").fetchall()
        return {(n, attempt) for n, attempt in found}


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with lab_site() as site:
        server = make_server(site, "first")
        program = pgbouncer.find(site)
        assert program is not None, "PgBouncer is not installed: .ci/run installs it"
        pooler = PgBouncer(site, program, site.directory / "pgbouncer", free_port(), {MASTER: PASSWORD})
        pooler.start({name: Entry("127.0.0.1", server.port, DATABASE) for name in (ENTRY, *READS)})
        try:
            yield Topology(site, server, pooler)
        finally:
            pooler.stop()


@dataclass
class Way:
    """One path of a run: what ``measure`` plans for it, driven as the engine does."""

    made: Context
    path: str
    calls: dict[str, Call]

    @property
    def provider(self) -> MeasuringProvider:
        return MeasuringProvider(self.made)

    def start(self) -> None:
        for call in self.calls.values():
            drive(self.provider, call)

    def stop(self) -> None:
        for job in ("mark", "measure"):
            children.stop(self.made.run / f"meter-{job}-{self.path}.pid")

    def drop(self) -> None:
        for call in self.calls.values():
            if call.undo is not None and call.undo.operation == "drop":
                drive(self.provider, call.undo)

    def markers(self) -> tuple[Marker, ...]:
        found = load_markers(markers_file(self.made.run, self.path))
        return found.markers if found is not None else ()


@contextmanager
def measured(tmp_path: Path, topology: Topology, path: str, port: int = 0, **target: Any) -> Iterator[Way]:
    """A path that is measured meanwhile. ``port``: what leads to the server instead of its own."""
    secret = tmp_path / "master"
    secret.write_text(PASSWORD + "\n")
    login = Login(MASTER, f"file:{secret}")
    database = PostgresConfig(DATABASE, login, ca=str(topology.site.ca))
    made = context(tmp_path, database=database, meter=METER, service=False)
    admin = Login(pgbouncer.ADMIN, f"file:{secret_file(topology.pooler.directory, pgbouncer.ADMIN)}")
    pooler = PoolerConfig("localhost", topology.pooler.port, ENTRY, admin, "", reads=READS)
    whole = {"pooler": pooler, "replicas": ("one", "two"), **target}
    object.__setattr__(made, "target", retargeted(made.target, **whole))
    at = Endpoint("localhost", port or topology.server.port)
    names = ("source-db", *whole["replicas"])
    resources = tuple(Resource(instance(name), "available", endpoint=at) for name in names)
    facts = Facts(0.0, resources=resources)
    planned = MeasuringProvider(made).propose(Verb("measure", {"path": path}), facts, RUN)
    one = Way(made, path, {c.id: c for c in planned})
    one.start()
    try:
        yield one
    finally:
        one.stop()
        one.drop()


def shown(topology: Topology) -> dict[str, int]:
    """What PgBouncer shows of the writers' pool."""
    rows = topology.pooler.stats()["pools"]
    row = next(r for r in rows if (r["database"], r["user"]) == (ENTRY, MASTER))
    return {key: value for key, value in row.items() if isinstance(value, int)}


def outcomes(markers: tuple[Marker, ...]) -> set[tuple[str, str]]:
    return {(m.outcome, m.error) for m in markers}


@pytest.mark.parametrize("path", ["writes", "writes-direct"])
def test_what_is_acknowledged_is_there(tmp_path: Path, topology: Topology, path: str) -> None:
    with measured(tmp_path, topology, path) as one:
        time.sleep(1.0)
        one.stop()
        found = one.markers()
        assert outcomes(found) == {("acknowledged", "")}
        assert len(found) >= 40
        assert [(m.n, m.attempt) for m in found] == [(n, 0) for n in range(len(found))]
        assert {(m.n, 0) for m in found} == topology.rows(path)


def test_what_the_pooler_refused_has_failed_and_is_not_there(tmp_path: Path, topology: Topology) -> None:
    with measured(tmp_path, topology, "writes") as one:
        topology.server.stop(mode="immediate")
        wait_for(lambda: ("failed", "pooler-login") in outcomes(one.markers()))
        topology.server.start()
        again = len(one.markers())
        wait_for(lambda: any(m.outcome == "acknowledged" for m in one.markers()[again:]))
        time.sleep(0.5)
        one.stop()
        found, rows = one.markers(), topology.rows("writes")
    assert {(m.n, m.attempt) for m in found if m.outcome == "acknowledged"} <= rows
    assert not {(m.n, m.attempt) for m in found if m.outcome == "failed"} & rows
    assert {m.n for m in found} == set(range(found[-1].n + 1))
    assert all(m.outcome == "acknowledged" or m.error for m in found)


def test_a_host_that_is_lost_keeps_no_marker_from_being_due_and_its_successor_is_found_at_once(
    tmp_path: Path, topology: Topology
) -> None:
    relay = Relay(topology.server.port)
    with measured(tmp_path, topology, "writes-direct", port=relay.port) as one:
        time.sleep(0.5)
        relay.silent = True
        relay.freeze()
        time.sleep(1.7)
        relay.silent, back = False, time.monotonic_ns()
        time.sleep(1.0)
        one.stop()
        found = one.markers()
    relay.close()
    out = [m for m in found if m.outcome != "acknowledged"]
    assert {m.error for m in out} == {"timeout"}
    assert {m.outcome for m in out} == {"failed", "indeterminate"}
    first = min(m.done for m in found if m.done > back and m.outcome == "acknowledged")
    assert (first - back) / 1e9 < METER.timeout / 2, "nobody waited for what hangs"
    assert {m.n for m in found} == set(range(found[-1].n + 1))
    late = sorted(m.late for m in found if not m.attempt)
    assert late[len(late) * 95 // 100] < 2.5e8, "the writer waited for no dead host"


def test_a_silent_host_leaves_no_cancel_and_few_clients_in_the_pool_and_the_path_comes_back(
    tmp_path: Path, topology: Topology
) -> None:
    """PgBouncer keeps a cancel that a silent server does not answer, and whoever closed while waiting for a server."""
    relay = Relay(topology.server.port)
    topology.pooler.point(ENTRY, "127.0.0.1", relay.port)
    clients = int(pgbouncer.LIMITS["max_client_conn"])
    seen = []
    try:
        with measured(tmp_path, topology, "writes") as one:
            with log_in(topology.server) as holder, holder.transaction():
                holder.execute(f"LOCK TABLE dr.{marker_table(RUN.id, 'writes')}")
                wait_for(lambda: shown(topology)["sv_active"] >= 3)  # each of which is given up
                relay.silent = True
                relay.freeze()
                for _ in range(40):
                    time.sleep(0.05)
                    seen.append(shown(topology))
            relay.silent, back = False, time.monotonic_ns()  # what was frozen stays silent
            wait_for(lambda: any(m.done > back and m.outcome == "acknowledged" for m in one.markers()))
            time.sleep(1.0)
            seen.append(shown(topology))
            one.stop()
    finally:
        relay.close()
        topology.pooler.point(ENTRY, "127.0.0.1", topology.server.port)
    assert not any(s[kind] for s in seen for kind in s if "cancel" in kind)
    assert max(s["cl_active"] + s["cl_waiting"] for s in seen) <= clients // 10


def test_a_cancel_that_a_silent_host_was_given_stays_in_the_pool_and_is_seen_there(
    tmp_path: Path, topology: Topology
) -> None:
    relay = Relay(topology.server.port)
    topology.pooler.point(ENTRY, "127.0.0.1", relay.port)
    with measured(tmp_path, topology, "writes") as one:
        target = one.made.target

    def mine() -> dict[str, Any]:
        return next(p for p in held(target) if (p["database"], p["user"]) == (ENTRY, MASTER))

    try:
        client = psycopg.connect(
            host="localhost",
            port=topology.pooler.port,
            user=MASTER,
            password=PASSWORD,
            dbname=ENTRY,
            sslrootcert=str(topology.site.ca),
            autocommit=True,
        )
        client.pgconn.send_query(b"select pg_sleep(60)")
        wait_for(lambda: mine()["busy"] == 1)
        relay.silent = True
        relay.freeze()
        cancel = client.pgconn.cancel_conn()
        cancel.start()
        wait_for(lambda: cancel.poll() and mine()["cancels"])
        client.close()
        time.sleep(1.0)
        assert mine()["cancels"], "whose statement it was is gone"
    finally:
        relay.close()
        topology.pooler.point(ENTRY, "127.0.0.1", topology.server.port)
    wait_for(lambda: not mine()["cancels"])  # a host that resets its connections frees the place


@pytest.mark.parametrize("through", [True, False])
def test_replicas_are_read_through_the_pooler_or_directly(tmp_path: Path, topology: Topology, through: bool) -> None:
    with measured(tmp_path, topology, "reads", **({} if through else {"pooler": None})) as one:
        time.sleep(0.7)
        topology.server.stop(mode="immediate")
        time.sleep(0.7)
        topology.server.start()
        time.sleep(0.7)
        one.stop()
        found = load_samples(samples_file(one.made.run, "reads"))
    assert found is not None
    assert [s.n for s in found.samples] == list(range(len(found.samples)))
    bad = [s for s in found.samples if s.status != 200]
    assert bad
    assert all(s.status == 0 and s.error for s in bad)
    assert all(s.status == 200 and not s.error for s in found.samples[: bad[0].n])
    if not through:
        assert "refused" in {s.error for s in bad}
