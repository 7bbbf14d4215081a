"""Leading clients elsewhere and back: what is planned, what an edit changes, and what a failure half-way leaves."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.config.model import Login
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Call, Effect, Facts, Grant, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.clients import pgbouncer_entry
from dr.drivers.clients.config import PoolerConfig, SecretConfig
from dr.drivers.clients.kubernetes_secret import Secret
from dr.drivers.clients.pgbouncer_entry import Entry
from dr.drivers.clients.place import NotTakenError, Place
from dr.drivers.clients.place import entry as entry_of
from dr.drivers.clients.place import secret as secret_of
from dr.drivers.clients.provider import Lead, MovingProvider
from dr.lab.servers.site import free_port
from tests.unit.drivers.rds.support import VirtualClock, context, run

OLD, NEW = Place("readmission-db.example.com", 5432), Place("replica-1.example.com", 5433)
INI = """\
; the hospital's own
[databases]
readmission_ro = host=replica-1.example.com port=5432 dbname=readmission
readmission = host=readmission-db.example.com port=5432 dbname=readmission pool_size=20
* = host=fallback.example.com

[pgbouncer]
readmission = host=nothing
listen_port = 6432
"""
POOLER = PoolerConfig("127.0.0.1", 1, "readmission", Login("admin", "env:DR_POOLER"), "/none/pgbouncer.ini")
SECRET = SecretConfig("/none", "prod", "readmission", "database")
LAB: dict[str, Any] = {"endpoint": "http://127.0.0.1:9", "grants": (Grant.DISPOSABLE,), "pooler": POOLER}
MOVE = Verb("move")
LED = {"pooler": {"host": OLD.host, "port": OLD.port}}


class FakeLead:
    ref = Ref("fake", "entry", "readmission")

    def __init__(self) -> None:
        self.at, self.left = OLD, ""
        self.wrong: DrError | None = None
        self.known: dict[str, str] = {}

    def identity(self) -> dict[str, str]:
        return self.known

    def check(self) -> None:
        if self.wrong:
            raise self.wrong

    def present(self) -> Place:
        return self.at

    def lead(self, to: Place) -> None:
        self.at = to

    def waiting(self, to: Place, seconds: float) -> str:
        if isinstance(self.wrong, NotTakenError):
            raise self.wrong
        return self.left


class Stage:
    def __init__(self, home: Path, lead: Lead | None = None, **changes: Any) -> None:
        self.lead, self.clock = FakeLead(), VirtualClock()
        self.context = context(home, self.clock, **(changes or LAB))
        self.provider = MovingProvider(self.context, {"pooler": lead or self.lead})

    def calls(self, who: RunIdentity) -> tuple[Call, ...]:
        return self.provider.propose(MOVE, self.provider.look(Request("prod", (MOVE,), who.purpose)), who)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def args(to: Place, before: Place | None = OLD) -> dict[str, Any]:
    def told(place: Place | None) -> dict[str, Any] | None:
        return None if place is None else {"host": place.host, "port": place.port}

    return {"to": told(to), "before": told(before)}


def test_a_drill_leads_to_the_promoted_replica_and_back_again(stage: Stage) -> None:
    (move,) = stage.calls(run())
    assert move.id == "move-pooler"
    assert move.args["to"] == {"host": "${promote.host}", "port": "${promote.port}"}
    assert move.undo is not None
    assert move.undo.args == args(OLD, None), "known before anything was done"
    begun = stage.provider.apply(move, args(NEW))
    assert (stage.lead.at, begun["from"]) == (NEW, str(OLD))
    stage.lead.left = "3 old connections are not closed yet"
    assert stage.provider.poll(move, begun).note == stage.lead.left
    stage.lead.left = ""
    assert stage.provider.poll(move, begun).result["moved_at"] == stage.clock.at
    back = stage.provider.apply(move.undo, move.undo.args)
    assert stage.lead.at == OLD
    assert stage.provider.poll(move.undo, back).done


def test_the_cluster_of_a_secret_is_compared_with_the_targets(tmp_path: Path) -> None:
    secret = msgspec.structs.replace(SECRET, cluster="uid-1")
    stage = Stage(tmp_path, **{**LAB, "secret": secret})
    stage.lead.known = {"cluster": "uid-1"}
    stage.provider.confirm_identity()
    assert stage.provider.look(Request("prod", (MOVE,), Purpose.DRILL)).identity == {"clients": {"cluster": "uid-1"}}
    stage.lead.known = {"cluster": "uid-2"}
    with pytest.raises(RefusedError, match="leads to cluster uid-2, not to uid-1"):
        stage.provider.confirm_identity()


def test_a_secret_in_a_cluster_that_the_target_does_not_pin_is_changed_in_none(tmp_path: Path) -> None:
    stage = Stage(tmp_path, **{**LAB, "secret": SECRET})
    stage.lead.known = {"cluster": "uid-1"}
    with pytest.raises(RefusedError, match=r"leads to cluster uid-1, and .* Then say secret.cluster: uid-1"):
        stage.provider.confirm_identity()


def test_on_call_the_move_stays(stage: Stage) -> None:
    assert stage.calls(run(Purpose.RESTORE))[0].undo is None


def test_a_drill_on_a_copy_moves_no_real_clients(tmp_path: Path) -> None:
    real = Stage(tmp_path, pooler=POOLER)
    assert real.calls(run()) == ()
    (move,) = real.calls(run(Purpose.RESTORE))
    assert move.touches == (entry_of(POOLER),)
    assert move.effect is Effect.TAKES_OVER


def test_what_leads_nowhere_known_is_refused(tmp_path: Path) -> None:
    bare = MovingProvider(context(tmp_path))
    seen = bare.look(Request("prod", (MOVE,), Purpose.RESTORE))
    with pytest.raises(RefusedError, match="names nothing that leads its clients"):
        bare.propose(MOVE, seen, run(Purpose.RESTORE))


def test_a_secret_and_a_pooler_are_a_call_each(tmp_path: Path) -> None:
    both = context(tmp_path, **{**LAB, "secret": SECRET})
    calls = MovingProvider(both, {"pooler": FakeLead(), "secret": FakeLead()})
    planned = calls.propose(MOVE, calls.look(Request("prod", (MOVE,), Purpose.DRILL)), run())
    assert [(call.id, call.touches) for call in planned] == [
        ("move-pooler", (entry_of(POOLER),)),
        ("move-secret", (secret_of(SECRET),)),
    ]


def test_clients_that_somebody_led_to_a_third_place_are_left_there(stage: Stage) -> None:
    (move,) = stage.calls(run())
    stage.lead.at = Place("elsewhere", 1)
    with pytest.raises(RefusedError, match="leads to elsewhere:1, and led to readmission-db"):
        stage.provider.apply(move, args(NEW))
    assert stage.lead.at == Place("elsewhere", 1)


def test_a_move_that_was_made_already_is_made_again_without_harm(stage: Stage) -> None:
    (move,) = stage.calls(run())
    stage.provider.apply(move, args(NEW))
    assert stage.provider.apply(move, args(NEW))["host"] == NEW.host


def test_what_could_not_be_led_back_is_refused_before_anything_is_planned(stage: Stage) -> None:
    stage.lead.wrong = RefusedError("PgBouncer's entry readmission names no host (line 3).")
    with pytest.raises(RefusedError, match="line 3"):
        stage.calls(run())


def test_a_move_that_is_not_taken_is_taken_back_at_once(stage: Stage) -> None:
    (move,) = stage.calls(run(Purpose.RESTORE))
    begun = stage.provider.apply(move, args(NEW))
    stage.lead.wrong = NotTakenError("after a reload it still leads there")
    with pytest.raises(NotTakenError):
        stage.provider.poll(move, begun)
    assert stage.lead.at == OLD


def test_where_clients_were_led_stands_in_the_plan_as_it_is_written(stage: Stage) -> None:
    stage.lead.at = Place("/run/postgresql", 5432, ("'/run/postgresql'", "05432"))
    (move,) = stage.calls(run())
    assert move.undo is not None
    stage.provider.apply(move.undo, json.loads(json.dumps(move.undo.args)))
    assert stage.lead.at.written == ("'/run/postgresql'", "05432")


def test_a_secret_without_the_kubernetes_client_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(RefusedError, match=r"pip install 'dr\[kubernetes\]'"):
        Secret(SECRET).present()


# -- PgBouncer's entry


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setenv("DR_POOLER", "secret")
    path = tmp_path / "pgbouncer.ini"
    path.write_text(INI)
    path.chmod(0o640)
    return Entry(PoolerConfig("127.0.0.1", free_port(), "readmission", POOLER.admin, str(path)), "")


def test_a_pooler_that_does_not_answer_is_awaited_for_a_while_and_then_the_move_is_taken_back(
    entry: Entry, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, lead=entry, **LAB)
    path = tmp_path / "pgbouncer.ini"
    (move,) = stage.provider.propose(MOVE, Facts(stage.clock.at, extra={"led": LED}), run())
    begun = stage.provider.apply(move, args(NEW))
    assert f"host={NEW.host} port={NEW.port}" in path.read_text()
    assert "PgBouncer's console" in stage.provider.poll(move, begun).note
    stage.clock.at += pgbouncer_entry.PATIENCE
    with pytest.raises(NotTakenError, match=r"was not led to replica-1\.example\.com:5433: PgBouncer's console"):
        stage.provider.poll(move, begun)
    assert path.read_text() == INI
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["pgbouncer.ini"]


def test_what_is_led_back_stays_led_back_where_the_pooler_does_not_answer(entry: Entry, tmp_path: Path) -> None:
    stage = Stage(tmp_path, lead=entry, **LAB)
    (move,) = stage.provider.propose(MOVE, Facts(stage.clock.at, extra={"led": LED}), run())
    stage.provider.apply(move, args(NEW))
    assert move.undo is not None
    back = stage.provider.apply(move.undo, move.undo.args)
    stage.clock.at += pgbouncer_entry.PATIENCE
    with pytest.raises(NotTakenError):
        stage.provider.poll(move.undo, back)
    assert (tmp_path / "pgbouncer.ini").read_text() == INI


def test_ipv6_addresses_are_told_with_brackets_and_written_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_POOLER", "secret")
    (tmp_path / "pgbouncer.ini").write_text(INI)
    path = str(tmp_path / "pgbouncer.ini")
    entry = Entry(PoolerConfig("[::1]", free_port(), "readmission", POOLER.admin, path), "")
    entry.lead(Place("fd00::7", 5433))
    assert "\nreadmission = host=fd00::7 port=5433 dbname" in (tmp_path / "pgbouncer.ini").read_text()
    assert entry.present() == Place("fd00::7", 5433)
    with pytest.raises(NotTakenError, match=r"was not led to \[fd00::7\]:5433: PgBouncer's console at \[::1\]:"):
        entry.waiting(Place("fd00::7", 5433), pgbouncer_entry.PATIENCE)


def test_a_file_behind_a_link_is_changed_where_it_is(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = (tmp_path / "pgbouncer.ini").rename(tmp_path / "elsewhere" / "pgbouncer.ini")
    (tmp_path / "pgbouncer.ini").symlink_to(real)
    entry.lead(NEW)
    assert (tmp_path / "pgbouncer.ini").is_symlink()
    assert f"host={NEW.host}" in real.read_text()


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    missing = Entry(PoolerConfig("127.0.0.1", 1, "readmission", POOLER.admin, str(tmp_path / "none")), "")
    with pytest.raises(RefusedError, match="cannot be read: No such file"):
        missing.present()
