"""The PostgreSQL driver through a drill on real servers: plant, take, vanish, restore (a copy), examine, undo."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.config.context import Context
from dr.config.model import Login, Settings
from dr.domain import comparing
from dr.domain.errors import EvidenceError, ProviderError, RefusedError
from dr.domain.looks import Baseline, Look, TableRows
from dr.domain.model import (
    Call,
    Effect,
    Facts,
    Grant,
    Observation,
    Progress,
    Purpose,
    Request,
    Resource,
    RunIdentity,
    Verb,
)
from dr.domain.refs import Endpoint, Ref
from dr.drivers.postgres import baseline as baseline_module
from dr.drivers.postgres import compare
from dr.drivers.postgres.provider import PostgresProvider
from dr.drivers.postgres.source import Source
from dr.drivers.rds.naming import instance
from dr.drivers.service.asking import predictions
from dr.drivers.service.config import ServiceConfig
from dr.evidence import profiles
from dr.evidence.baselines import BaselineStore, read_baseline
from dr.evidence.samples import markers_file
from dr.host.clock import SystemClock
from dr.lab.servers.site import free_port
from tests.servers import PASSWORD, LocalServer, local_server, physical_copy
from tests.targets import target_of

RUN = RunIdentity("20261123-070000-ab12", "clinic", Purpose.DRILL, "d")
LOCK_SECONDS = 25.0
"""Less than a statement waits for a lock."""
VICTIMS = "dr.victims_20261123_070000_ab12"
MODEL = b'{"intercept": 1}'
PLATFORM = """
    create table patients (patient_id text primary key, demographics jsonb not null);
    create table admissions (admission_id int primary key, patient_id text references patients, days int);
    create index admissions_patient on admissions (patient_id);
    create table model_versions (model_version text primary key, performance_metrics jsonb not null, active bool);
    insert into patients select 'P' || n, '{"age": 70}' from generate_series(1, 50) n;
    insert into admissions select n, 'P' || n, 3 from generate_series(1, 50) n;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        with running.superuser() as connection:
            connection.execute(PLATFORM)
            metrics = json.dumps({"artifact": "m.json", "sha256": hashlib.sha256(MODEL).hexdigest()})
            connection.execute(
                "insert into model_versions values ('2.3.0', %s, true), ('2.2.0', '{}', false)", (metrics,)
            )
            connection.execute(f"create role app login password '{PASSWORD}'")
        yield running


@dataclass
class Drill:
    """A provider on a target, and what the engine would keep for it."""

    context: Context
    provider: PostgresProvider
    facts: Facts

    def calls(self, name: str, **args: Any) -> tuple[Call, ...]:
        return self.provider.propose(Verb(name, args), self.facts, RUN)

    def perform(self, call: Call, args: Mapping[str, Any] | None = None) -> tuple[Progress, list[Observation]]:
        result = self.provider.apply(call, call.args if args is None else args)
        observed: list[Observation] = []
        for _ in range(200):
            progress = self.provider.poll(call, result)
            observed.extend(progress.observations)
            if progress.done:
                return progress, observed
            self.context.clock.sleep(0.05)
        raise AssertionError(f"{call.id} never ends")

    def run(self, name: str, **args: Any) -> dict[str, Mapping[str, Any]]:
        return {call.id: self.perform(call)[0].result for call in self.calls(name, **args)}


def drill(server: LocalServer, tmp_path: Path, *grants: Grant, known: bool = True) -> Drill:
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "m.json").write_bytes(MODEL)
    database = server.database(roles=(Login("app", server.database().harness.secret),))
    target = target_of(
        account="1",
        region="eu-west-1",
        instance="clinic-db",
        database=database,
        service=ServiceConfig("http://127.0.0.1:1", ("serve",), "app", ({"patient_id": "P1"},), str(artifacts)),
        grants=grants,
    )
    context = Context("clinic", target, Settings(), tmp_path, tmp_path / "runs" / RUN.id, SystemClock(), "")
    at = Endpoint("localhost", server.port)
    resource = Resource(instance("clinic-db"), "available", endpoint=at, uid="db-1")
    facts = Facts(0.0, resources=(resource,) if known else ())
    provider = PostgresProvider(context, lambda *_: {"P1": "answer"})
    return Drill(context, provider, facts)


@pytest.fixture
def granted(server: LocalServer, tmp_path: Path) -> Iterator[Drill]:
    made = drill(server, tmp_path, Grant.MARKERS)
    yield made
    with server.superuser() as connection:
        connection.execute(f"drop table if exists {VICTIMS}")


def restored(copy: LocalServer, point: float | None, source: Drill) -> dict[str, Any]:
    """The examine call's arguments as the engine fills them from the restore's effect."""
    (call,) = source.calls("examine")
    results = {"host": "localhost", "port": copy.port, "identifier": "copy", "kind": "time", "point_id": "clinic-db"}
    return {**call.args, **results, "recovery_point": point, "resolution": 1.0, "point": None}


def examine(source: Drill, copy: LocalServer, point: float | None) -> tuple[Progress, dict[str, Any]]:
    (call,) = source.calls("examine")
    progress, observed = source.perform(call, restored(copy, point, source))
    json.dumps(msgspec.to_builtins(observed))
    assert len({(o.what, o.path) for o in observed}) == len(observed)
    at = dict.fromkeys(("look", "rows", "foreign-keys", "indexes"), "restored")
    return progress, {o.what if o.path == at.get(o.what, o.path) else f"{o.what} after": o.value for o in observed}


def differences(seen: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """What the looks say is wrong with each table of the copy."""
    before = msgspec.convert(seen["baseline"], Baseline).look.tables if seen["baseline"] else {}
    copy, after = (msgspec.convert(seen[what], Look) for what in ("look", "look after"))
    rows = [msgspec.convert(seen[what], dict[str, TableRows]) for what in ("rows", "rows after")]
    found = {}
    for name, here in copy.tables.items():
        read = (rows[0][name], rows[1][name]) if name in rows[0] else None
        found[name] = comparing.table(before.get(name), here, after.tables.get(name), read).wrong
    return {name: dict(wrong) for name, wrong in found.items() if wrong}


# -- planning


@pytest.mark.parametrize("verb", ["baseline", "disaster"])
def test_a_verb_that_writes_is_refused_without_the_grant(server: LocalServer, tmp_path: Path, verb: str) -> None:
    with pytest.raises(RefusedError, match="Add markers"):
        drill(server, tmp_path).calls(verb)


@pytest.mark.parametrize("verb", ["baseline", "disaster"])
def test_a_source_that_is_gone_cannot_be_the_source_of_a_baseline(
    server: LocalServer, tmp_path: Path, verb: str
) -> None:
    with pytest.raises(RefusedError, match="clinic-db has no endpoint"):
        drill(server, tmp_path, Grant.MARKERS, known=False).calls(verb)


def test_a_fault_touches_only_what_the_run_made_and_has_its_undo(granted: Drill) -> None:
    planted, taken = granted.calls("baseline")
    (vanish,) = granted.calls("disaster", kind="rows")
    assert vanish.effect is Effect.FAULT
    assert vanish.undo is not None
    assert vanish.touches == planted.makes == (Ref("postgres", "table", VICTIMS, instance("clinic-db")),)
    assert (taken.touches, taken.makes) == ((), (predictions(instance("clinic-db")),))
    assert granted.calls("baseline") == (planted, taken)


def test_a_declaration_only_stamps_the_time(granted: Drill) -> None:
    assert set(granted.run("declare")["declare"]) == {"at"}


# -- looking


def seen_last(source: Drill, port: int, **pins: str) -> None:
    """What RDS's driver keeps of the source whenever it looks."""
    attributes = {"Endpoint": {"Address": "localhost", "Port": port}}
    stored = {"account": "1", "region": "eu-west-1", "instance": "clinic-db", **pins, "source": attributes}
    profiles.store(source.context.home, source.context.name, stored)


def look(source: Drill) -> Mapping[str, Any]:
    return source.provider.look(Request("clinic", (), Purpose.RESTORE)).extra


def test_a_look_says_what_the_source_has(granted: Drill, server: LocalServer) -> None:
    seen_last(granted, server.port)
    extra = look(granted)
    assert extra["database"]["reachable"]
    assert abs(extra["database"]["offset"]) <= extra["database"]["uncertainty"] < 0.1


def test_a_look_at_a_source_that_is_lost_is_no_error(granted: Drill, server: LocalServer) -> None:
    assert not look(granted)["database"]["reachable"]
    seen_last(granted, free_port())
    assert "cannot be reached" in look(granted)["database"]["because"]
    seen_last(granted, server.port, account="2")
    assert not look(granted)["database"]["reachable"]


# -- the drill


def test_a_drill_takes_repeats_deletes_and_finds_everything_in_the_copy(granted: Drill, server: LocalServer) -> None:
    done = granted.run("baseline")
    assert done["plant-victims"] == {"table": VICTIMS, "rows": 200}
    assert done["take-baseline"]["golden"] == 1
    with physical_copy(server) as copy:
        vanished = granted.run("disaster")["vanish"]
        assert vanished["rows"] == 200
        assert vanished["recovery_point"] == int(vanished["recovery_point"])
        assert vanished["database_at"] > vanished["recovery_point"] + 1
        assert count(server, VICTIMS) == 0
        result, seen = examine(granted, copy, vanished["recovery_point"])
        assert result.milestones["correct"] <= result.milestones["examined"]
        assert result.result["notes"] == []
        parts = {"look", "look after", "rows", "rows after", "foreign-keys", "indexes", "model", "victims"}
        assert set(seen) == {"baseline", "clock", "logins", *parts}
        assert seen["victims"] == {"expected": 200, "present": 200}
        assert seen["baseline"]["golden"] == {"P1": "answer"}
        assert (
            seen["look"]["tables"].keys()
            == seen["look after"]["tables"].keys()
            == seen["baseline"]["look"]["tables"].keys()
        )
        assert differences(seen) == {}
        assert seen["look"]["objects"].items() >= seen["baseline"]["look"]["objects"].items()
        assert seen["logins"] == [{"user": "app", "ok": True, "because": ""}]
        assert seen["foreign-keys"] == [
            {"name": "admissions_patient_id_fkey", "table": "public.admissions", "orphans": 0}
        ]
        assert seen["indexes"]["available"] is False
        digest = hashlib.sha256(MODEL).hexdigest()
        expected = {"active": 1, "version": "2.3.0", "digest": digest, "artifact_digest": digest}
        expected["xid"] = seen["model"]["xid"]
        assert seen["model"] == {**expected, "source": expected, "after": expected}
    (planted, _) = granted.calls("baseline")
    assert planted.undo is not None
    granted.perform(planted.undo)
    granted.perform(planted.undo)
    with server.superuser() as connection:
        assert connection.execute("select to_regclass(%s)", (VICTIMS,)).fetchone() == (None,)


def count(server: LocalServer, table: str) -> int:
    with server.superuser() as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else -1


def test_a_disaster_repeated_after_a_crash_finds_what_it_did(granted: Drill) -> None:
    granted.run("baseline")
    first = granted.run("disaster")["vanish"]
    assert granted.run("disaster")["vanish"] == first


def test_a_disaster_killed_before_its_delete_starts_over(granted: Drill, server: LocalServer) -> None:
    granted.run("baseline")
    (call,) = granted.calls("disaster")
    assert not granted.provider.poll(call, granted.provider.apply(call, call.args)).done
    del granted.provider._steps[call.id]  # what a killed process forgets
    assert count(server, VICTIMS) == 200
    assert granted.run("disaster")["vanish"]["rows"] == 200


def test_planting_again_after_a_crash_finds_the_rows(granted: Drill, server: LocalServer) -> None:
    planted, _ = granted.calls("baseline")
    assert granted.perform(planted)[0].result == granted.perform(planted)[0].result
    assert count(server, VICTIMS) == 200


def test_a_disaster_without_a_baseline_of_this_run_deletes_nothing(granted: Drill, server: LocalServer) -> None:
    granted.perform(granted.calls("baseline")[0])
    with pytest.raises(EvidenceError, match=r"baseline\.json cannot be read"):
        granted.run("disaster")
    assert count(server, VICTIMS) == 200


def test_a_schema_that_the_run_made_goes_with_its_last_table(tmp_path: Path) -> None:
    with local_server() as server:
        source = drill(server, tmp_path, Grant.MARKERS)
        (planted, _) = source.calls("baseline")
        with server.superuser() as connection:
            connection.execute("drop schema dr")
            with pytest.raises(RefusedError, match="schema dr"):
                source.perform(planted)
            connection.execute("grant create on database clinic to dr_harness")
            source.perform(planted)
            assert planted.undo is not None
            source.perform(planted.undo)
            assert connection.execute("select to_regnamespace('dr')").fetchone() == (None,)


# -- what the examination is compared with


def nightly_on(source: Drill, monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> str:
    monkeypatch.setattr(baseline_module, "locate", lambda _: Source("clinic-db", "db-1", server.address))
    return baseline_module.nightly(source.context, lambda *_: {"P1": "answer"})


def test_nightly_baselines_cover_what_lies_between_two_of_them(
    granted: Drill, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = nightly_on(granted, monkeypatch, server)
    assert "looked again for 0" in said
    with physical_copy(server) as copy:
        point = granted.context.clock.now().at
        granted.context.clock.sleep(1.1)
        assert "looked again for 1" in nightly_on(granted, monkeypatch, server)
        taken, problems = BaselineStore(granted.context.home, "clinic").load("clinic-db")
        assert [len(b.later) for b in taken] == [1, 0]
        assert problems == ()
        _, seen = examine(granted, copy, point)
    assert seen["baseline"]["id"] == taken[0].id
    assert "victims" not in seen


def test_nightly_looks_again_for_the_newest_baseline_alone_and_for_none_of_the_former_form(
    granted: Drill, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly_on(granted, monkeypatch, server)
    store = BaselineStore(granted.context.home, "clinic")
    ((taken,), _) = store.load("clinic-db")
    store.save(replace(taken, id=f"{taken.id}z"))
    assert "looked again for 1" in nightly_on(granted, monkeypatch, server)
    assert sorted(len(one.later) for one in store.load("clinic-db")[0]) == [0, 0, 1]
    *_, newest = store.load("clinic-db")[0]
    store.save(replace(newest, look=replace(newest.look, recipe=0)))
    assert "looked again for 0" in nightly_on(granted, monkeypatch, server)


def test_nightly_takes_its_baseline_though_the_look_again_fails(
    granted: Drill, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly_on(granted, monkeypatch, server)

    def lost(*_: object) -> None:
        raise ProviderError("The database failed reading a table.")

    monkeypatch.setattr(baseline_module, "looked_again", lost)
    said = nightly_on(granted, monkeypatch, server)
    assert "was not looked at again" in said
    assert "looked again for 0" in said
    assert len(BaselineStore(granted.context.home, "clinic").load("clinic-db")[0]) == 2


def test_a_source_that_is_still_up_repeats_its_baseline_for_the_examination(
    granted: Drill, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly_on(granted, monkeypatch, server)
    with physical_copy(server) as copy:
        point = granted.context.clock.now().at
        granted.context.clock.sleep(1.1)
        with server.superuser() as connection:
            connection.execute("delete from admissions where admission_id = 7")
        try:
            _, seen = examine(granted, copy, point)
        finally:
            with server.superuser() as connection:
                connection.execute("insert into admissions values (7, 'P7', 3)")
    assert differences(seen) == {}


def test_a_copy_on_another_major_version_is_compared_by_md5(
    granted: Drill, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted.run("baseline")
    with physical_copy(server) as copy:
        point = granted.run("disaster")["vanish"]["recovery_point"]
        with copy.superuser() as saboteur:
            saboteur.execute("update admissions set days = 4 where admission_id = 1")
        monkeypatch.setattr(compare, "major_version", lambda _: 99)
        _, seen = examine(granted, copy, point)
    there, here = seen["look after"]["tables"], seen["look"]["tables"]
    assert {table["method"].split(":")[0] for table in [*there.values(), *here.values()]} == {"md5/1"}
    assert differences(seen).keys() == {"public.admissions"}


def test_no_baseline_is_an_observed_null_and_the_rest_is_examined(granted: Drill, server: LocalServer) -> None:
    for point in (None, granted.context.clock.now().at):
        result, seen = examine(granted, server, point)
        assert seen["baseline"] is None
        assert seen["foreign-keys"]
        assert result.milestones["correct"] <= result.milestones["examined"]


def test_nightly_without_the_grant_asks_nothing_that_writes(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = drill(server, tmp_path)
    said = nightly_on(source, monkeypatch, server)
    assert "does not grant markers" in said
    assert BaselineStore(tmp_path, "clinic").load("clinic-db")[0][0].golden == {}


def test_a_service_that_does_not_answer_leaves_a_baseline_without_golden_answers(
    granted: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> dict[str, str]:
        raise ProviderError("The service does not answer.")

    granted.provider = PostgresProvider(granted.context, silent)
    done = granted.run("baseline")["take-baseline"]
    assert done["golden"] == 0
    assert "does not answer" in done["no_golden"]
    assert read_baseline(granted.context.run / "baseline.json").golden == {}


# -- sabotage


def test_sabotage_of_the_copy_is_seen_and_nothing_is_left_unexamined(granted: Drill, server: LocalServer) -> None:
    granted.run("baseline")
    with physical_copy(server) as copy:
        point = granted.run("disaster")["vanish"]["recovery_point"]
        with copy.superuser() as saboteur:
            saboteur.execute("alter role app password 'another'")
            saboteur.execute("set session_replication_role = replica")
            saboteur.execute("delete from patients where patient_id in ('P1', 'P2')")
            saboteur.execute("drop table model_versions")
            saboteur.execute(f"delete from {VICTIMS} where n > 150")
            saboteur.execute("drop index admissions_patient")
        _, seen = examine(granted, copy, point)
    assert seen["foreign-keys"][0]["orphans"] == 2
    assert seen["model"]["active"] is None
    assert "no table model_versions" in seen["model"]["because"]
    assert seen["victims"] == {"expected": 200, "present": 150}
    assert seen["logins"][0]["ok"] is False
    assert "password authentication failed" in seen["logins"][0]["because"]
    assert PASSWORD not in json.dumps(seen)
    assert "index public.admissions_patient" not in seen["look"]["objects"]
    assert "public.model_versions" not in seen["look"]["tables"]


def test_an_examination_that_was_halted_at_the_source_keeps_nobody_from_undoing(
    granted: Drill, server: LocalServer
) -> None:
    planted, _ = granted.calls("baseline")
    granted.run("baseline")
    (call,) = granted.calls("examine")
    result = granted.provider.apply(call, restored(server, granted.context.clock.now().at, granted))
    while granted.provider.poll(call, result).note != "summing public.patients of the source":
        pass
    halted, began = granted.provider._steps[call.id], time.monotonic()
    assert planted.undo is not None
    try:
        granted.perform(planted.undo)  # the victims were read in a transaction that is still open
    finally:
        halted.close()
    assert time.monotonic() - began < LOCK_SECONDS
    with server.superuser() as connection:
        assert connection.execute("select to_regclass(%s)", (VICTIMS,)).fetchone() == (None,)


def test_an_examination_that_was_halted_ends_also_once_its_copy_is_gone(granted: Drill, server: LocalServer) -> None:
    (call,) = granted.calls("examine")
    with physical_copy(server) as copy:
        result = granted.provider.apply(call, restored(copy, None, granted))
        while not granted.provider.poll(call, result).note.startswith("summing"):
            pass
    granted.run("declare")


def test_a_copy_that_does_not_answer_yet_is_asked_again(granted: Drill, server: LocalServer) -> None:
    (call,) = granted.calls("examine")
    args = {**restored(server, None, granted), "port": free_port()}
    result = granted.provider.apply(call, args)
    for _ in range(2):
        progress = granted.provider.poll(call, result)
        assert not progress.done
        assert "cannot be reached" in progress.note


def test_a_source_that_is_lost_does_not_keep_its_copy_from_being_examined(granted: Drill, server: LocalServer) -> None:
    (call,) = granted.calls("examine")
    lost = {**call.args["source"], "port": free_port()}
    progress, observed = granted.perform(call, {**restored(server, 1.0, granted), "source": lost})
    assert "clock" not in {o.what for o in observed}
    assert "the source's clock could not be read" in progress.result["notes"][-1]
    gone, observed = granted.perform(call, {**restored(server, 1.0, granted), "source": None})
    assert gone.result["notes"] == []
    assert {"look", "foreign-keys"} <= {o.what for o in observed}


def test_markers_are_ranges_of_what_the_copy_holds(granted: Drill, server: LocalServer) -> None:
    granted.context.run.mkdir(parents=True, exist_ok=True)
    markers_file(granted.context.run, "source").write_text("")
    _, without = examine(granted, server, None)
    assert without["markers"] == {"table": False, "present": []}
    with server.superuser() as connection:
        connection.execute("create table dr.markers_20261123_070000_ab12 (n bigint, attempt smallint)")
        connection.execute(
            "insert into dr.markers_20261123_070000_ab12"
            " values (1, 0), (2, 0), (3, 0), (3, 1), (7, 0), (7, 1), (9, 0), (10, 0)"
        )
        try:
            _, seen = examine(granted, server, None)
        finally:
            connection.execute("drop table dr.markers_20261123_070000_ab12")
    assert seen["markers"] == {"table": True, "present": [[1, 3], [7, 7], [9, 10]], "twice": []}
