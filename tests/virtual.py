"""A virtual clock and a driver made of dictionaries, for tests of what decides and orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dr.domain.errors import DrError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, Request, Resource, RunIdentity, Stamp, Verb
from dr.domain.refs import Ref


class VirtualClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> Stamp:
        return Stamp(self.at, int((self.at - 1_600_000_000) * 1e9), "boot")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        self.on_sleep()


class Scripted:
    """A driver whose things exist in ``made``; ``polls`` says how many polls a call takes."""

    def __init__(self, polls: int = 0, fails: Mapping[str, Exception] | None = None) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.polls = polls
        self.fails = dict(fails or {})
        self.identity: DrError | None = None
        self._left: dict[str, int] = {}

    def look(self, request: Request) -> Facts:
        return Facts(at=0.0, identity={"rds": {"account": "123456789012", "region": "eu-central-1"}})

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        return (call(verb.name),)

    def confirm_identity(self) -> None:
        if self.identity is not None:
            raise self.identity

    def orphans(self, now: float, under_way: frozenset[str], over: frozenset[str]) -> tuple[Call, ...]:
        return ()

    def remains(self, run: str) -> tuple[Resource, ...]:
        return ()

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        self.log.append(f"{call.operation} {call.id}")
        if call.id in self.fails:
            raise self.fails[call.id]
        if call.operation == "make":
            self.made[call.id] = dict(args)
        else:
            self.made.pop(str(args["what"]), None)
        self._left[call.id] = self.polls
        return {"id": call.id}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if self._left[call.id] > 0:
            self._left[call.id] -= 1
            return Progress(False, note="creating")
        return Progress(True, {"name": f"{call.id}-made"}, observations=(Observation("seen", "restored", call.id),))


def thing(name: str, within: Ref | None = None) -> Ref:
    """What ``Scripted`` makes, or something in it."""
    return Ref("scripted", "table" if within else "instance", name, within)


def call(name: str, **changes: Any) -> Call:
    """A call that makes ``name`` and whose undo removes it."""
    undo = Call(
        *(f"undo-{name}", "restore", "unwind", "scripted", "remove", {"what": name}),
        effect=Effect.CHANGES,
        touches=(thing(name),),
        deadline=60.0,
    )
    fields: dict[str, Any] = {"undo": undo, "effect": Effect.MAKES, "makes": (thing(name),)}
    fields |= {"until": "made", "deadline": 600.0}
    return Call(
        name,
        **{"verb": "1-restore", "phase": "restore", "driver": "scripted", "operation": "make", **fields, **changes},
    )
