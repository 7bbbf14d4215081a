"""Markers against a real server: what is acknowledged is there, and doubt is called doubt."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr.config.context import Context
from dr.config.model import Meter
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Facts, Purpose, Resource, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.postgres.meter.login import Login
from dr.drivers.postgres.meter.mark import Writer, clock_offset, create_table, drop_table, marker_table
from dr.drivers.postgres.meter.query import Task
from dr.drivers.rds.naming import instance
from dr.evidence.model import Markers
from dr.evidence.samples import load_markers, markers_file
from dr.host import children
from tests.integration.meters import context, drive, wait_for
from tests.servers import LocalServer, local_server
from tests.support import BUSY

RUN = RunIdentity("drill-1", "lab", Purpose.DRILL, "")
TABLE = f"dr.{marker_table(RUN.id)}"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server() as one:
        yield one


@pytest.fixture
def made(tmp_path: Path, server: LocalServer) -> Iterator[Context]:
    yield context(tmp_path, database=server.database(), meter=Meter(rate=100.0, timeout=0.5, markers=50.0))
    children.stop(tmp_path / "meter-mark-source.pid")
    with server.superuser() as connection:
        connection.execute(f"drop table if exists {TABLE}")


def calls(made: Context, server: LocalServer) -> dict[str, Call]:
    at = Endpoint(server.address.host, server.port)
    facts = Facts(0.0, resources=(Resource(instance("source-db"), "available", endpoint=at),))
    planned = MeasuringProvider(made).propose(Verb("measure", {"path": "source", "markers": True}), facts, RUN)
    return {c.id: c for c in planned}


def start(made: Context, server: LocalServer) -> int:
    provider, planned = MeasuringProvider(made), calls(made, server)
    drive(provider, planned["marker-table"])
    return int(drive(provider, planned["mark-source"]).result["pid"])


def stop(made: Context, server: LocalServer) -> Markers:
    undo = calls(made, server)["mark-source"].undo
    assert undo is not None
    drive(MeasuringProvider(made), undo)
    return written(made)


def written(made: Context) -> Markers:
    found = load_markers(markers_file(made.run, "source"))
    assert found is not None
    return found


def login(made: Context, server: LocalServer) -> Login:
    return Login(**calls(made, server)["mark-source"].args["login"])


def present(server: LocalServer, attempt: int = 0) -> dict[int, float]:
    with server.superuser() as connection:
        query = f"select n, extract(epoch from sent_at)::float8 from {TABLE} where attempt = %s"
        return dict(connection.execute(query, (attempt,)).fetchall())


class Hand:
    """A writer whose markers are due when the test says so."""

    def __init__(self, made: Context, server: LocalServer, timeout: float = 5.0) -> None:
        self.writer = Writer(login(made, server), marker_table(RUN.id), timeout, self.note)
        self.noted: list[dict[str, Any]] = []
        self.timeout = round(timeout * 1e9)
        self.writer.warm()

    def note(self, lines: bytes) -> None:
        self.noted.extend(json.loads(line) for line in lines.splitlines())

    def submit(self, n: int) -> None:
        now = time.monotonic_ns()
        self.writer.submit(Task(n, now, now, self.timeout))

    def over(self) -> dict[tuple[int, int], tuple[str, str]]:
        """Outcome and word of what is over, by number and attempt."""
        self.writer.turn(time.monotonic_ns() + 10_000_000)
        self.writer.lines.flush()
        return {(m["n"], m["attempt"]): (m["outcome"], m["error"]) for m in self.noted if m["done"]}

    def write(self, n: int) -> tuple[str, str]:
        """What comes of number ``n`` this time."""
        self.noted.clear()
        self.submit(n)
        over = wait_for(self.over)
        return over[n, 0]


@pytest.fixture
def hand(made: Context, server: LocalServer) -> Iterator[Hand]:
    create_table(login(made, server), RUN.id)
    one = Hand(made, server)
    yield one
    one.writer.finish()


def test_what_is_acknowledged_is_there(made: Context, server: LocalServer) -> None:
    start(made, server)
    time.sleep(1.0)
    found = stop(made, server)
    assert {m.outcome for m in found.markers} == {"acknowledged"}
    assert [m.n for m in found.markers] == list(range(len(found.markers)))
    assert len(found.markers) >= 40
    rows = present(server)
    assert set(rows) == {m.n for m in found.markers}
    assert all(m.due <= m.sent < m.done for m in found.markers)
    assert max(abs(rows[m.n] - found.wall(m.sent)) for m in found.markers) < 0.05
    assert abs(found.offset) <= found.uncertainty + 0.001
    assert 0 < found.uncertainty < 0.05


def test_the_clock_is_observed(made: Context, server: LocalServer) -> None:
    provider, planned = MeasuringProvider(made), calls(made, server)
    drive(provider, planned["marker-table"])
    (seen,) = drive(provider, planned["mark-source"]).observations
    assert (seen.what, seen.path) == ("clock", "source")
    assert set(seen.value) == {"offset", "uncertainty"}


def test_a_restarted_server_leaves_no_acknowledged_write_unheld_and_none_unaccounted(
    made: Context, server: LocalServer
) -> None:
    start(made, server)
    time.sleep(0.4)
    server.stop("immediate")
    time.sleep(0.5)
    server.start()
    before = len(written(made).markers)
    wait_for(lambda: [m.outcome for m in written(made).markers[before:]].count("acknowledged") > 10)
    found = stop(made, server)
    firsts = [m for m in found.markers if not m.attempt]
    assert [m.n for m in firsts] == list(range(len(firsts)))
    # What was under way when the server ended is doubtful, and written once more.
    doubtful = {m.n for m in firsts if m.outcome == "indeterminate"}
    assert {m.n for m in found.markers if m.attempt} <= doubtful
    acknowledged, failed = ({m.n for m in found.markers if m.outcome == word} for word in ("acknowledged", "failed"))
    assert failed
    rows = set(present(server))
    assert acknowledged <= rows
    assert not failed & rows


def postmaster_children(server: LocalServer) -> list[int]:
    with server.superuser() as connection:
        query = "select pid from pg_stat_activity where application_name = 'dr-markers'"
        return [row[0] for row in connection.execute(query).fetchall()]


def test_a_server_that_does_not_answer_leaves_writes_indeterminate_and_each_is_repeated_once(
    made: Context, server: LocalServer
) -> None:
    start(made, server)
    wait_for(lambda: len(postmaster_children(server)) >= 4)
    stopped = postmaster_children(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: any(m.attempt for m in written(made).markers))
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    time.sleep(0.3)
    found = stop(made, server)
    doubtful = [m for m in found.markers if m.outcome == "indeterminate"]
    assert doubtful
    assert all(m.done - m.sent >= 0.4e9 and m.error == "timeout" and not m.attempt for m in doubtful)
    repeated = [m for m in found.markers if m.attempt]
    assert {m.n for m in repeated} == {m.n for m in doubtful}
    assert {m.outcome for m in repeated} == {"acknowledged"}
    for attempt in (0, 1):
        acknowledged = {m.n for m in found.markers if (m.outcome, m.attempt) == ("acknowledged", attempt)}
        assert acknowledged <= set(present(server, attempt))


SYNC = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"


@contextmanager
def without_its_standby(server: LocalServer) -> Iterator[psycopg.Connection[Any]]:
    """Commits wait for a synchronous standby that is not there."""
    with server.superuser() as superuser:
        superuser.execute("alter system set synchronous_standby_names = 'nobody'")
        superuser.execute("select pg_reload_conf()")
        time.sleep(0.3)
        try:
            yield superuser
        finally:
            superuser.execute("alter system reset synchronous_standby_names")
            superuser.execute("select pg_reload_conf()")


def test_a_commit_whose_wait_for_the_standby_was_cancelled_is_indeterminate(hand: Hand, server: LocalServer) -> None:
    with without_its_standby(server) as superuser:
        hand.submit(1)
        wait_for(lambda: not hand.over() and superuser.execute(SYNC).fetchone() == (1,))
        superuser.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
        found = wait_for(hand.over)
    assert found[1, 0] == ("indeterminate", "sync-cancelled")
    assert 1 in present(server), "it was committed all the same, which is why it counts as neither"


def test_a_write_that_is_given_up_leaves_no_session_waiting(made: Context, server: LocalServer) -> None:
    create_table(login(made, server), RUN.id)
    hand = Hand(made, server, timeout=0.5)
    with without_its_standby(server) as superuser:
        hand.submit(1)
        found = wait_for(hand.over)
        wait_for(lambda: hand.over() and superuser.execute(SYNC).fetchone() == (0,), 3.0)
    assert found[1, 0] == ("indeterminate", "timeout")
    hand.writer.finish()


def test_a_rejected_write_has_failed_and_its_connection_goes_on(hand: Hand, server: LocalServer) -> None:
    before = postmaster_children(server)
    assert hand.write(1) == ("acknowledged", "")
    assert hand.write(1) == ("failed", "rejected")
    assert hand.write(2) == ("acknowledged", "")
    assert set(before) <= set(postmaster_children(server))
    assert abs(present(server)[2] - time.time()) < 5 * BUSY


def test_a_read_only_server_has_written_nothing(made: Context, server: LocalServer) -> None:
    with server.superuser() as superuser:
        create_table(login(made, server), RUN.id)
        superuser.execute("alter role dr_harness set default_transaction_read_only = on")
        try:
            hand = Hand(made, server)
            assert hand.write(1) == ("failed", "read-only")
            hand.writer.finish()
        finally:
            superuser.execute("alter role dr_harness reset default_transaction_read_only")
    assert not present(server)


def terminate(server: LocalServer) -> None:
    with server.superuser() as superuser:
        superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dr-markers'"
        )
    time.sleep(0.1)


def test_a_write_to_a_connection_that_is_gone_is_indeterminate(hand: Hand, server: LocalServer) -> None:
    terminate(server)
    assert hand.write(1) == ("indeterminate", "terminated")
    again = wait_for(lambda: (1, 1) in (found := hand.over()) and found)
    assert again[1, 1][0] in ("acknowledged", "indeterminate")


def test_a_connection_that_ended_while_it_was_idle_is_replaced(hand: Hand, server: LocalServer) -> None:
    terminate(server)
    hand.over()
    assert hand.write(1) == ("acknowledged", "")


def test_a_killed_writer_leaves_every_attempt_on_disk_and_the_next_goes_on(made: Context, server: LocalServer) -> None:
    pid = start(made, server)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not children.started(pid))
    before = written(made)
    assert set(present(server)) <= {m.n for m in before.markers}, "nothing is there that was not attempted"
    assert start(made, server) != pid
    wait_for(lambda: len(written(made).markers) > len(before.markers) + 5)
    found = stop(made, server)
    assert [m.n for m in found.markers] == list(range(len(found.markers)))
    assert {m.n for m in found.markers if m.outcome == "acknowledged"} <= set(present(server))
    assert not [m for m in found.markers if m.outcome == "failed"]


def test_the_table_is_dropped_by_its_undo_and_again_does_no_harm(made: Context, server: LocalServer) -> None:
    provider, table = MeasuringProvider(made), calls(made, server)["marker-table"]
    for _ in range(2):
        drive(provider, table)
    assert present(server) == {}
    assert table.undo is not None
    for _ in range(2):
        drive(provider, table.undo)
    with pytest.raises(psycopg.errors.UndefinedTable):
        present(server)


def test_schema_dr_is_made_where_it_is_missing(server: LocalServer, tmp_path: Path) -> None:
    with server.superuser("postgres") as superuser:
        superuser.execute("create database bare")
        superuser.execute("grant create on database bare to dr_harness")
    harness, ca = server.database().harness, server.database().ca
    here = Login(server.address.host, server.port, "bare", harness.user, harness.secret, ca)
    for path in ("source", "writes-direct"):
        create_table(here, "x", path)
        drop_table(here, "x", path)
    connection = here.connect(2.0)
    assert clock_offset(connection)[1] > 0
    connection.close()


def test_a_stale_secret_is_one_sentence_without_it(made: Context, server: LocalServer, tmp_path: Path) -> None:
    secret = tmp_path / "stale"
    secret.write_text("stale word\n")
    here = login(made, server)
    stale = Login(here.host, here.port, here.database, here.user, f"file:{secret}", here.ca)
    with pytest.raises(ProviderError, match="password authentication failed") as caught:
        create_table(stale, "x")
    assert "stale word" not in str(caught.value)
    absent = Login(here.host, here.port, here.database, here.user, "file:/nowhere", here.ca)
    with pytest.raises(RefusedError, match="file:/nowhere"):
        create_table(absent, "x")


def test_a_writer_that_cannot_connect_says_why(made: Context, server: LocalServer) -> None:
    provider, planned = MeasuringProvider(made), calls(made, server)
    login = {**planned["mark-source"].args["login"], "port": 9}
    with pytest.raises(ProviderError, match="cannot be reached"):
        drive(provider, planned["mark-source"], login=login)
