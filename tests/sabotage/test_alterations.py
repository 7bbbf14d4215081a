"""Each alteration by itself, of whatever is no row: done to a copy it is missed by name, done to the source after the
recovery point it is no miss."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec
import psycopg
import pytest

from dr.domain.comparing import Cuts, definition
from dr.domain.looks import POINT, Baseline, Look, Snapshot, Version
from dr.domain.model import Demand, Finding, Status
from dr.domain.state import State
from dr.drivers.postgres.compare import Comparison, everywhere
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.looking import Question, looking
from dr.drivers.postgres.schema import objects
from dr.drivers.postgres.snapshots import recovered
from dr.drivers.postgres.state import looking as looking_at_state
from dr.host.hearing import at_once
from dr.judge import findings
from tests.integration.test_objects import CHANGES, MADE, SETTLED
from tests.servers import LocalServer, local_server, physical_copy
from tests.support import BUSY
from tests.unit.judge.objectives.test_equality import KNOWN, holding, seen

ALSO = """
    create table numbered (id serial primary key); insert into numbered select from generate_series(1, 500);
    create sequence tickets start 1000 increment 7 cycle maxvalue 5000; select nextval('tickets'), nextval('tickets');
    create unlogged table cache (id int); insert into cache select generate_series(1, 100);
    select lo_from_bytea(424242, 'x'), lo_from_bytea(7, 'y');
"""


@dataclass
class Night:
    """A source and a copy of it that nobody touched, with owners' sessions on both, and the looks at them."""

    source: psycopg.Connection
    copy: psycopg.Connection
    copied: LocalServer
    before: Look
    here: Look
    after: Look

    def judged(self, objective: str, here: Look | None = None, after: Look | None = None) -> Finding:
        evidence = holding(
            seen("baseline", msgspec.to_builtins(Baseline("b", "t", "db", "db-1", self.before)), "source"),
            seen("look", msgspec.to_builtins(here or self.here)),
            seen("look", msgspec.to_builtins(after or self.after), "source"),
            seen("configuration", []),
        )
        return findings.judged(KNOWN[objective].judge, evidence, Demand(objective, "restored", 0.05, "share"))

    def wrong(self, here: Mapping[str, Version]) -> set[str]:
        """All that a finding misses, of which it names the first few."""
        point = Snapshot.parse(self.here.cuts[POINT])
        cuts = Cuts(Snapshot.parse(self.before.snapshot), point, point)
        looks = (self.before.objects, here, self.after.objects)
        names = {name for look in looks for name in look}
        versions = {name: (looks[0].get(name), looks[1].get(name), looks[2].get(name)) for name in names}
        return {name for name in names if definition(versions[name], cuts).wrong}


@pytest.fixture(scope="module")
def night() -> Iterator[Night]:
    with local_server(allow_system_table_mods="on") as server, server.superuser() as source:
        source.execute(MADE.encode())
        source.execute(ALSO.encode())
        database = server.database()
        before = at_once(looking(server.address, database, Question()))
        with physical_copy(server) as copied, connect(copied.address, database) as asked:
            held = recovered(asked)
            comparison = Comparison(database, copied.address, server.address, "", before, None, held, False)
            found = {(one.what, one.path): one.value for one in at_once(comparison.steps(asked))}
            here, after = (msgspec.convert(found["look", path], Look) for path in ("restored", "source"))
            with copied.superuser() as copy:
                for owner in (source, copy):
                    owner.execute("set search_path = pg_catalog")
                # an owner sees more of user mappings than the harness does
                theirs, mine = objects(source), objects(copy)
                before, after = replace(before, objects=theirs), replace(after, objects=theirs)
                yield Night(source, copy, copied, before, replace(here, objects=mine), after)


def test_a_copy_that_nobody_touched_is_met(night: Night) -> None:
    found = {name: night.judged(name) for name in ("schema", "data", "state", "configuration")}
    missed = found.pop("state")
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(found, Status.MET), found
    assert missed.status is Status.MISSED
    assert missed.because.startswith("public.cache: empty, since it is unlogged")


def defined(owner: psycopg.Connection, statement: str) -> Mapping[str, Version]:
    with owner.transaction(force_rollback=True):
        owner.execute("set local search_path = public, pg_catalog")
        owner.execute(statement.encode())
        owner.execute("set local search_path = pg_catalog")
        return objects(owner)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_altered_in_the_copy_is_missed_by_name(night: Night, change: str) -> None:
    statement, name = CHANGES[change]
    altered = defined(night.copy, statement)
    assert name in night.wrong(altered)
    assert night.judged("schema", here=replace(night.here, objects=altered)).status is Status.MISSED


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_altered_on_the_source_afterwards_is_no_miss(night: Night, change: str) -> None:
    statement, _ = CHANGES[change]
    found = night.judged("schema", after=replace(night.after, objects=defined(night.source, statement)))
    assert found.status is Status.MET, found.because


@pytest.mark.parametrize("statement", SETTLED)
def test_what_is_kept_in_order_on_either_side_is_met(night: Night, statement: str) -> None:
    copy = replace(night.here, objects=defined(night.copy, statement))
    source = replace(night.after, objects=defined(night.source, statement))
    assert night.judged("schema", here=copy).status is night.judged("schema", after=source).status is Status.MET


# -- what is neither row nor definition


def standing(owner: psycopg.Connection) -> State:
    return at_once(looking_at_state(owner, expendable=("public.cache",)))


def altered(owner: psycopg.Connection, statement: str, undo: str = "") -> State:
    """As it is after ``statement``; a sequence is set back by ``undo``, since no rollback does that."""
    try:
        with owner.transaction(force_rollback=True):
            owner.execute(statement.encode())
            return standing(owner)
    finally:
        if undo:
            owner.execute(undo.encode())


STATES: dict[str, tuple[str, str, str]] = {
    "a sequence behind its column": (
        "select setval('public.numbered_id_seq', 1, false)",
        "select setval('public.numbered_id_seq', 500)",
        "public.numbered_id_seq: is behind public.numbered.id by 500",
    ),
    "a sequence that cycles set back": (
        "select setval('public.tickets', 1000, false)",
        "select setval('public.tickets', 1007)",
        "public.tickets: gives out 1000 next, on the source it is 1014 before and afterwards",
    ),
    "a sequence that was not used set back": (
        "select setval('public.numbers', 1, false); select nextval('public.numbers')",
        "select setval('public.numbers', 1, false)",
        "",
    ),
    "a large object unlinked": ("select lo_unlink(424242)", "", "large object 424242: missing"),
    "a large object altered": ("select lo_put(7, 0, 'z')", "", "large object 7: written differently"),
    "a large object forged": ("select lo_from_bytea(99, 'z')", "", "large object 99: written on the copy itself"),
    "a large object's owner": ("alter large object 7 owner to app", "", "large object 7: written differently"),
}


@pytest.mark.parametrize("change", [name for name, (_, _, said) in STATES.items() if said])
def test_state_that_is_altered_in_the_copy_is_missed_by_name(night: Night, change: str) -> None:
    statement, undo, said = STATES[change]
    found = night.judged("state", here=replace(night.here, state=altered(night.copy, statement, undo), taken=1))
    assert found.status is Status.MISSED
    assert said in found.because


@pytest.mark.parametrize("change", STATES)
def test_state_that_is_altered_on_the_source_afterwards_is_no_miss(night: Night, change: str) -> None:
    statement, undo, _ = STATES[change]
    copy = replace(night.here, state=standing(night.copy))
    after = replace(night.after, state=altered(night.source, statement, undo))
    assert night.judged("state", here=copy, after=after).status is not Status.MISSED


def test_an_unlogged_table_that_is_expendable_is_named_and_no_miss(night: Night) -> None:
    found = night.judged("state", here=replace(night.here, state=standing(night.copy)))
    assert found.status is Status.MET
    assert "Public.cache is expendable and empty" in found.because


def set_to(owner: psycopg.Connection, setting: str) -> None:
    """Let it act in new sessions. A server that was told to reload does so in its own time."""
    name, before = setting.split(" ")[0], time.monotonic()
    owner.execute(f"alter system set {setting}".encode())
    owner.execute("select pg_reload_conf()")
    while (
        time.monotonic() < before + 10 * BUSY
        and owner.execute(
            "select from pg_settings where name = %s and sourcefile like '%%auto.conf'", (name,)
        ).fetchone()
        is None
    ):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("autovacuum", "off"),
        ("default_statistics_target", "9"),
        ("default_transaction_read_only", "on"),
    ],
)
def test_a_setting_that_acts_otherwise_on_the_copy_is_missed(night: Night, setting: str, value: str) -> None:
    set_to(night.copy, f"{setting} = {value}")
    with night.copied.superuser() as fresh:
        state = standing(fresh)
    night.copy.execute(f"alter system reset {setting}".encode())
    found = night.judged("configuration", here=replace(night.here, state=state))
    assert found.status is Status.MISSED
    assert found.because.startswith(f"{setting}: ")


# -- other databases of the server


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[LocalServer, Look]]:
    """A server with another database that is looked at, too, and the look before."""
    with local_server("create database billing") as server:
        with server.superuser() as owner:
            owner.execute("create table things (id int primary key); insert into things values (1)")
        with server.superuser("billing") as owner:
            owner.execute("create table bills (id serial primary key, v text)")
            owner.execute("insert into bills (v) select n::text from generate_series(1, 50) n")
        yield server, at_once(looking(server.address, both(server), Question()))


def both(server: LocalServer) -> PostgresConfig:
    return msgspec.structs.replace(server.database(), databases=("billing",))


@pytest.mark.parametrize(
    ("act", "objective", "said"),
    [
        ("select", "", ""),
        ("update bills set v = 'forged' where id = 4", "data", "billing: public.bills: 1 row "),
        ("truncate bills", "data", "billing: public.bills: 50 rows missing"),
        (
            "alter table bills add forged int",
            "schema",
            "billing: column public.bills.forged: defined on the copy itself",
        ),
        ("select setval('bills_id_seq', 1)", "state", "billing: public.bills_id_seq: is behind public.bills.id by"),
        ("", "schema", "billing: column public.bills.id: missing"),
    ],
)
def test_what_is_altered_in_another_database_is_missed(
    two: tuple[LocalServer, Look], act: str, objective: str, said: str
) -> None:
    server, before = two
    with physical_copy(server) as copied:
        with connect(copied.address, copied.database()) as asked:
            held = recovered(asked)
        if act:
            with copied.superuser("billing") as owner:
                owner.execute(act.encode())
        else:
            with copied.superuser() as owner:
                owner.execute("drop database billing with (force)")
        comparison = Comparison(both(copied), copied.address, server.address, "", before, None, held, False)
        with connect(copied.address, copied.database()) as asked:
            found = at_once(everywhere(comparison, asked))
    baseline = Baseline("b", "t", "db", "db-1", before)
    evidence = holding(*found, seen("baseline", msgspec.to_builtins(baseline), "source"))
    judged = {
        name: findings.judged(KNOWN[name].judge, evidence, Demand(name, "restored", 0.05, "share"))
        for name in ("data", "schema", "state")
    }
    if objective:
        assert judged[objective].status is Status.MISSED
        assert said in judged[objective].because
    else:
        assert {one.status for one in judged.values()} == {Status.MET}, judged
        assert judged["data"].because == "51 rows proven."
