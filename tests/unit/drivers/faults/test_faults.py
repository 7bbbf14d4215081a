"""Disasters of every kind but rows: what is planned, what the target's command is told, and what comes back."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app.terms import terms
from dr.config.context import Context
from dr.config.model import Target
from dr.domain.errors import HaltedError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Own, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.faults.plugin import KINDS, PLUGIN
from dr.drivers.faults.provider import FaultsProvider, run_command
from dr.drivers.rds.naming import instance
from dr.engine.guard import Consent, guard
from dr.host.clock import SystemClock
from dr.host.hearing import heeding
from tests.integration.meters import context, drive
from tests.support import BUSY
from tests.targets import retargeted
from tests.virtual import VirtualClock

FACTS = Facts(
    0.0,
    {"rds": {"account": "000000000000", "region": "eu-central-1"}},
    own={instance("source-db"): Own.SOURCE},
)
RUN = RunIdentity("20261124-033333-cf4e", "lab", Purpose.DRILL, "")
COMMAND = """
import json, pathlib, sys
log = pathlib.Path(sys.argv[1])
log.open("a").write(json.dumps(sys.argv[2:]) + "\\n")
print(json.dumps({"node": "b"}))
"""


class Broken:
    """A target whose command notes what it was told. ``status``: what the provider shows."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "log"
        command = (sys.executable, "-c", COMMAND, str(self._log))
        plain = context(directory)
        target = retargeted(plain.target, faults=command, grants=(Grant.DISPOSABLE,))
        self.clock = VirtualClock()
        self.context: Context = replace(plain, target=target, clock=self.clock)
        self.status = "available"
        self.provider = FaultsProvider(self.context, lambda _context, _instance: self.status)

    @property
    def told(self) -> list[tuple[str, Any]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(name, json.loads(arguments)) for name, arguments in map(json.loads, lines)]

    def propose(self, verb: str, **args: Any) -> Call:
        (call,) = self.provider.propose(Verb(verb, args), FACTS, RUN)
        return call


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path)


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("replica-lag", "instance-lost")])
def test_a_fault_is_put_in_and_its_undo_takes_it_out(broken: Broken, kind: str) -> None:
    call = broken.propose("disaster", kind=kind)
    assert (call.effect, call.makes) == (Effect.FAULT, ())
    assert call.touches == (instance("source-db"),)
    drive(broken.provider, call)
    if call.undo is None:
        assert kind == "engine-crash"
        return
    drive(broken.provider, call.undo)
    (first, put_in), (last, taken_out) = broken.told
    assert first == last == KINDS[kind].fault
    assert put_in["instance"] == taken_out["instance"] == "source-db"
    assert put_in != taken_out


def test_an_instance_is_lost_with_its_standby_and_rebuilt_as_a_whole(broken: Broken) -> None:
    call = broken.propose("disaster", kind="instance-lost")
    assert call.undo is not None
    drive(broken.provider, call)
    drive(broken.provider, call.undo)
    assert broken.told == [
        ("lose_host", {"instance": "source-db", "lost": True, "standby": True}),
        ("lose_host", {"instance": "source-db", "lost": True}),
        ("rebuild", {"instance": "source-db"}),
    ]


def test_nobody_loses_an_instance_for_good_that_is_not_disposable(broken: Broken) -> None:
    kept = replace(broken.context, target=retargeted(broken.context.target, grants=(Grant.FAULTS,)))
    with pytest.raises(RefusedError, match="'dr drill run db-replica-promotion-copy'"):
        FaultsProvider(kept).propose(Verb("disaster", {"kind": "instance-lost"}), FACTS, RUN)


def test_the_disaster_is_stamped_right_before_the_command_acts(broken: Broken) -> None:
    slow = (sys.executable, "-c", "import json, time; print(json.dumps({'acted': time.time()})); time.sleep(0.2)")
    target = retargeted(broken.context.target, faults=slow)
    provider = FaultsProvider(replace(broken.context, target=target, clock=SystemClock()))
    call, began = broken.propose("disaster", kind="host-lost"), time.time()
    result = drive(provider, call).result
    assert began <= result["at"] < result["answer"]["acted"]
    assert call.phase == "disaster"


def test_a_fault_that_is_repeated_stays_where_it_first_was(broken: Broken) -> None:
    call = broken.propose("disaster", kind="host-hung")
    first = drive(broken.provider, call).result
    broken.clock.at += 60.0
    assert drive(broken.provider, call).result == first
    assert len(set(map(str, broken.told))) == 1


def test_a_lag_is_chosen_hits_a_replica_and_is_not_the_disaster(broken: Broken) -> None:
    call = broken.propose("disaster", kind="replica-lag", of="replica-1", seconds=3)
    drive(broken.provider, call)
    assert broken.told == [("replication_link", {"of": "replica-1", "mode": "delay", "seconds": 3.0})]
    assert (call.touches, call.phase) == ((instance("replica-1"),), "prepare")


def test_a_remedy_waits_until_the_provider_shows_what_it_is_for(broken: Broken) -> None:
    call = broken.propose("remedy", kind="disk-full")
    result = broken.provider.apply(call, call.args)
    progress = broken.provider.poll(call, result)
    assert (progress.done, progress.note) == (False, "source-db is available to the provider")
    assert broken.told == []
    broken.status = "storage-full"
    assert broken.provider.poll(call, result).done
    assert broken.told == [("fill_disk", {"instance": "source-db", "full": False})]


def test_a_remedy_of_a_lost_host_waits_for_nothing(broken: Broken) -> None:
    assert drive(broken.provider, broken.propose("remedy", kind="host-lost")).milestones["detected"] == broken.clock.at
    assert broken.told == [("lose_host", {"instance": "source-db", "lost": False})]


@pytest.mark.parametrize(
    ("verb", "args", "words"),
    [
        ("disaster", {"kind": "host-lost", "seconds": 3}, "knows no argument seconds"),
        ("disaster", {"kind": "replica-lag"}, "needs of: the replica"),
        ("remedy", {"kind": "engine-crash"}, "passes by itself"),
        ("remedy", {"kind": "host-lost", "seconds": 3}, "knows no argument seconds"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(broken: Broken, verb: str, args: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        broken.propose(verb, **args)


@pytest.mark.parametrize("seconds", [-1, True, "3"])
def test_a_lag_is_a_number_of_seconds(seconds: object) -> None:
    verb = Verb("disaster", {"kind": "replica-lag", "of": "x", "seconds": seconds})
    with pytest.raises(UsageError, match=r"Expected `float.* at `\$\.seconds`"):
        PLUGIN.verbs[0].arguments(verb)


@pytest.mark.parametrize("verb", ["disaster", "remedy"])
def test_a_target_without_a_command_is_refused(tmp_path: Path, verb: str) -> None:
    with pytest.raises(RefusedError, match="names no command that puts faults into it"):
        FaultsProvider(context(tmp_path)).propose(Verb(verb, {"kind": "host-lost"}), FACTS, RUN)


def test_a_fault_hits_no_target_that_is_not_disposable(broken: Broken) -> None:
    call = broken.propose("disaster", kind="host-lost")
    plan = Plan(Request("lab", (), Purpose.DRILL), RUN, (call,), ())

    def refused(**changed: Any) -> tuple[str, ...]:
        target: Target = retargeted(broken.context.target, **changed)
        return guard(plan, terms(target), FACTS, Consent("source-db"))

    assert "would break instance source-db" in refused(grants=())[0]
    assert "would break instance source-db" in refused(grants=(Grant.FAULTS, Grant.MARKERS))[0]
    assert refused(grants=(Grant.DISPOSABLE,), endpoint="http://127.0.0.1:1") == ()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit('warming up\\nno such fault')", r"The fault drop failed: no such fault"),
        ("import sys; sys.exit(3)", "it said nothing"),
        ("print('ok')", "is not JSON"),
        ("import time; time.sleep(60)", r"was not done after 0 s"),
    ],
)
def test_a_command_that_fails_is_an_error_of_its_own_words(script: str, words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        run_command((sys.executable, "-c", script), "drop", {}, 0.4 if "sleep" in script else 20.0)


def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ProviderError, match="cannot be run: No such file"):
        run_command(("/nowhere/fault",), "drop", {}, 5.0)


@pytest.mark.parametrize("printed", ["", "null", "[1]"])
def test_a_command_may_answer_nothing(printed: str) -> None:
    assert run_command((sys.executable, "-c", f"print({printed!r})"), "drop", {}, 20.0) == {}


def test_a_command_that_takes_long_is_ended_once_the_run_is_told_to_stop() -> None:
    def stop() -> None:
        raise HaltedError("The run was stopped.")

    began = time.monotonic()
    with heeding(stop), pytest.raises(HaltedError):
        run_command((sys.executable, "-c", "import time; time.sleep(600)"), "drop", {}, 900.0)
    assert time.monotonic() - began < 20 * BUSY  # of 600; usually 1.2
