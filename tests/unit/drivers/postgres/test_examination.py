"""The examination of a large copy, through the engine in virtual time: where it is, and whether it hears a halt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from psycopg import sql

from dr.config.model import Login
from dr.domain.errors import HaltedError
from dr.domain.looks import BEFORE, Baseline, Look, Part
from dr.domain.model import Call, Effect, Plan, Purpose, Request, RunIdentity, Verb
from dr.domain.state import State
from dr.drivers.postgres import compare, examine, fingerprint, indexes, looking, others, snapshots
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.provider import PostgresProvider
from dr.drivers.postgres.source import Source
from dr.drivers.rds.naming import instance
from dr.engine.perform import Engine, perform
from dr.engine.plan import demands
from dr.evidence.baselines import write_baseline
from dr.evidence.directory import RunDirectory
from dr.evidence.model import RunRecord
from dr.host.hearing import Steps
from dr.wiring import objectives
from tests.unit.drivers.rds.support import NOW, SOURCE, VirtualClock, context

READ_SECONDS = 1_200.0
"""What one table, key or index takes."""
TABLES, KEYS, INDEXES = ("public.a", "public.b", "public.c"), ("a_fkey", "b_fkey", "c_fkey"), ("a_i", "b_i", "c_i")
MAJOR = 15
NOTHING_THERE = (
    *(indexes._COLLATIONS, indexes._OF_THE_DATABASE, examine._MODEL_VERSIONS),
    *(looking._TOUCHED, looking._FILED, looking._ON_LOGIN, looking._COUNTED, snapshots._RECOVERED),
)


class Large:
    """A database in which every table, key and index takes ``READ_SECONDS``; all else takes no time."""

    isolation_level = read_only = None
    closed = False
    newest = 10
    info = SimpleNamespace(server_version=MAJOR * 10_000)

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.read = 0
        self.open = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        outer, self.open = self.open, True
        try:
            yield
        finally:
            self.open = outer

    def take(self, *_: object) -> dict[str, Part]:
        self.clock.at += READ_SECONDS
        self.read += 1
        return {BEFORE: Part()}

    def execute(self, query: Any, parameters: object = None) -> Any:
        if isinstance(query, sql.Composed | bytes):
            self.take()
            return _rows((0,))
        if query is fingerprint._TABLES:
            return _rows(*((name, [], [], [], [], [], [], 0, 0) for name in TABLES))
        if query is examine._FOREIGN_KEYS:
            return _rows(*((key, "public.t", "select 0") for key in KEYS))
        if query is indexes._INDEXES:
            rest = ("public.t", 1, True, [])
            return _rows(*((n, name, "btree", True, name, *rest) for n, name in enumerate(INDEXES)))
        if any(query is one for one in NOTHING_THERE):
            return _rows()
        if query is snapshots._OWN:
            return _rows((0,))
        if query is snapshots._UNDER_WAY or query is snapshots._NOT_DONE:
            return _rows((None,))
        if "pg_snapshot_xmax" in query:
            return _rows((self.newest,))
        return _rows(("10:10:", NOW, NOW)) if "pg_current_snapshot" in query else _rows(("public", True))


def _nothing() -> Steps[State]:
    yield from ()
    return State()


def _rows(*rows: tuple[Any, ...]) -> SimpleNamespace:
    return SimpleNamespace(fetchone=lambda: rows[0] if rows else None, fetchall=lambda: list(rows))


class Stage:
    """An examination about to be performed, in which somebody may type Ctrl-C."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, databases: tuple[str, ...] = ()) -> None:
        self.clock = VirtualClock()
        database = PostgresConfig("readmission", Login("dr", "env:DR_SECRET"), databases=databases, connections=1)
        self.context = context(home, self.clock, database=database)
        self.databases: list[Large] = []
        for module in (examine, compare, looking, others):
            monkeypatch.setattr(module, "connect", self._connect)
        monkeypatch.setattr(examine, "clock_offset", lambda *_: {})
        monkeypatch.setattr(looking, "read_sums", Large.take)
        monkeypatch.setattr(looking, "objects", lambda _: {})
        monkeypatch.setattr(looking.state, "looking", lambda *_: _nothing())
        monkeypatch.setattr(examine, "answers", lambda *_: True)
        self.directory = RunDirectory(self.context.run)
        names = ("restore", "1-restore", "restore", "rds", "restore")
        made = Call(*names, effect=Effect.MAKES, makes=(instance("copy"), instance("another")))
        who = RunIdentity("run", "prod", Purpose.DRILL, "")
        plan = Plan(Request("prod", (), Purpose.DRILL), who, (made,), ())
        self.directory.create(RunRecord(plan, self.clock.now(), "", {}, 1.0))
        self.notes: list[str] = []
        self.halt_at = ("no note", 1)
        ledger = self.directory.ledger(self.clock)
        ledger.append("accepted")
        self.provider = PostgresProvider(self.context)
        drivers = {"postgres": self.provider}
        self.engine = Engine(self.directory, ledger, drivers, self.clock, self._tell, lambda: "")
        place = {"host": "copy", "port": 5432, "identifier": "copy", "run": "r"}
        self.args: dict[str, Any] = {**place, "recovery_point": None, "resolution": 1.0, "source": None}
        self.args |= {"kind": "time", "point_id": SOURCE, "point": {"held": "10:10:", "sure": 10}, "of": "restored"}

    @contextmanager
    def _connect(self, *_: object, **__: object) -> Iterator[Large]:
        self.databases.append(Large(self.clock))
        yield self.databases[-1]

    def _tell(self, _call: Call, note: str) -> None:
        self.notes.append(note)
        if note == self.halt_at[0] and self.notes.count(note) == self.halt_at[1]:
            self.directory.halt("SIGINT was received")

    def source_is_up(self, major: int = MAJOR) -> None:
        """It has a baseline from before the recovery point."""
        look = Look(NOW - 10, major, "10:10:", {BEFORE: "10:10:"}, {}, {})
        write_baseline(self.context.run / "baseline.json", Baseline("b", "prod", SOURCE, "db-1", look))
        source = Source(SOURCE, "db-1", examine.Endpoint("s", 1))
        self.args |= {"recovery_point": NOW - 5, "source": source.to_args()}

    def halted(self, note: str, time: int = 1) -> None:
        """Examine until a halt when ``note`` is told for the ``time``-th time."""
        self.halt_at = (note, time)
        with pytest.raises(HaltedError, match="SIGINT was received"):
            self.examine()

    def examine(self) -> None:
        names = ("examine", "1-examine", "verify", "postgres", "examine")
        perform(self.engine, [Call(*names, self.args, effect=Effect.READS, deadline=1e6)])

    def read(self) -> int:
        return sum(database.read for database in self.databases)

    def observed(self) -> Mapping[str, Any]:
        lines = (self.directory.path / "observations.jsonl").read_bytes().splitlines()
        decoded = [msgspec.json.decode(line) for line in lines]
        assert len({(one["what"], one["path"]) for one in decoded}) == len(decoded), "each is observed once, and whole"
        return {one["what"]: one["value"] for one in reversed(decoded)}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


@pytest.mark.parametrize(("restored", "named"), [({}, "copy"), ({"restored": "another"}, "another")])
def test_what_was_restored_is_named_as_examined_also_where_its_replica_was_read(
    stage: Stage, restored: dict[str, str], named: str
) -> None:
    stage.args |= restored
    stage.examine()
    told = stage.engine.ledger.entries()[-1]
    assert "examined" in told.milestones
    assert [of.ref.name for of in told.components] == [named]


def test_every_table_key_and_index_is_named_before_it_is_read_and_nothing_is_waited_for(stage: Stage) -> None:
    stage.examine()
    assert stage.notes[2:-1] == [
        "examining every table",
        *(f"summing {name} of the copy" for name in TABLES),
        "examining the foreign keys",
        *(f"looking for orphans of {name} in public.t" for name in KEYS),
        "examining the indexes",
        *(f"checking the index {name}" for name in INDEXES),
        *(f"looking for rows through the index {name}" for name in INDEXES),
    ]
    seen = stage.observed()
    assert list(seen["look"]["tables"]) == list(TABLES)
    assert [key["name"] for key in seen["foreign-keys"]] == list(KEYS)
    assert seen["indexes"]["checked"] == len(INDEXES)
    assert sum(stage.clock.slept) == 0.0
    assert stage.clock.at - NOW == READ_SECONDS * 9
    assert len(stage.engine.ledger.entries()) == 3, "no note stands in the ledger"


def test_keys_and_indexes_of_other_databases_are_examined_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, databases=("billing",))
    stage.examine()
    seen = stage.observed()
    assert [(key["table"], key["name"]) for key in seen["foreign-keys"]] == [
        (table, name) for table in ("public.t", "billing: public.t") for name in KEYS
    ]
    assert seen["indexes"]["checked"] == 2 * len(INDEXES)
    assert {f"looking for rows through the index billing: {name}" for name in INDEXES} <= set(stage.notes)


@pytest.mark.parametrize(
    ("note", "read"),
    [
        ("summing public.b of the copy", 1),
        ("looking for orphans of b_fkey in public.t", 4),
        ("checking the index b_i", 7),
    ],
)
def test_a_halt_is_heard_between_two_tables_keys_or_indexes(stage: Stage, note: str, read: int) -> None:
    stage.halted(note)
    assert stage.read() == read


@pytest.mark.parametrize("major", [MAJOR, MAJOR - 1], ids=["alike", "by md5"])
def test_a_halt_is_heard_while_the_source_is_looked_at_afterwards(stage: Stage, major: int) -> None:
    stage.source_is_up(major)
    stage.halted("summing public.b of the source")
    assert stage.read() == len(TABLES) + 1


def test_what_was_halted_lets_go_of_its_transaction_before_anything_is_undone(stage: Stage) -> None:
    stage.source_is_up()
    stage.halted("summing public.b of the source")
    source = stage.databases[-1]
    assert (source.read, source.open) == (1, True)
    stage.provider.apply(
        Call("undo", "undo", "unwind", "postgres", "drop-victims", effect=Effect.CHANGES), {"run": "r"}
    )
    assert not source.open


@pytest.mark.parametrize(("point_id", "used"), [(SOURCE, False), ("another", True)])
def test_a_baseline_of_a_former_server_of_the_sources_name_is_not_used(stage: Stage, point_id: str, used: bool) -> None:
    """But for a copy of which nothing says that it was made of the present one."""
    stage.source_is_up()
    stage.args |= {"source": {**stage.args["source"], "resource_id": "db-2"}, "point_id": point_id}
    stage.examine()
    seen = stage.observed()
    assert (seen["baseline"] is not None) is used
    assert [note for note in stage.notes if "of the source" in note] == (
        [] if used else [f"summing {name} of the source" for name in TABLES]
    )


@pytest.mark.parametrize(("transactions", "used"), [(2**31 - 1, True), (2**31, False)])
def test_a_baseline_that_rows_cannot_be_told_by_any_more_is_named_and_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, transactions: int, used: bool
) -> None:
    stage.source_is_up()
    monkeypatch.setattr(Large, "newest", 10 + transactions)
    stage.examine()
    told = stage.engine.ledger.entries()[-1].data["notes"]
    assert any("too many to tell rows by" in note for note in told) is not used
    assert (BEFORE in stage.observed()["look"]["cuts"]) is used


@pytest.mark.parametrize("amcheck", [True, False])
def test_indexes_are_left_out_only_where_the_target_says_so(tmp_path: Path, amcheck: bool) -> None:
    """Nobody answers here: what cannot be seen now is demanded, and inconclusive where it cannot be examined then."""
    database = PostgresConfig("readmission", Login("dr", "env:DR_SECRET"), amcheck=amcheck)
    request = Request("prod", (Verb("restore", {"to": {"snapshot": "latest"}}),), Purpose.DRILL)
    seen = PostgresProvider(context(tmp_path, database=database)).look(request)
    asked = demands(request, {"indexes": "restored"}, {}, objectives(), seen.extra)
    assert [demand.objective for demand in asked] == ["indexes"] * amcheck


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ('"$user", public', ["api", "public"]),
        ('"$user",public', ["api", "public"]),
        ("app,archive, public", ["app", "archive", "public"]),
        (" App ,\tarchive", ["app", "archive"]),
        ('"My, x", "a""b",Public', ["My, x", 'a"b', "public"]),
        ('""', []),
        ("", []),
    ],
)
def test_a_search_path_is_read_as_postgresql_reads_it(written: str, names: list[str]) -> None:
    """As a parameter group has it, without the blanks that PostgreSQL puts between what ALTER ROLE was given."""
    assert examine.searched(written, "api") == names
