"""Runs as earlier versions of dr wrote them, in their present form. Pure.

What a call touched and made were names, where they are references now, two drivers were called otherwise, and a call
did not say what it promises. Before that it had the booleans ``fault`` and ``takes_over`` where it has an ``effect``
now, and ``touches`` named what it made, too: whatever no call before it had named. A call's id and keys of its result
said what now its milestones, its components and observations of their own say; there was one restoration, of a
database at RDS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from dr.domain.errors import EvidenceError
from dr.domain.model import Call, Component, Effect, Observation, Plan
from dr.domain.refs import Endpoint, Ref
from dr.evidence.model import Entry

_NAMED = re.compile(r"\$\{([^.}]+)\.identifier\}")
_DRIVERS = {"moving": "clients", "serving": "service"}
_APART = (
    ("process ", "host", "process"),
    ("service at ", "service", "service"),
    ("PgBouncer's entry ", "clients", "PgBouncer entry"),
    ("Secret ", "clients", "Secret"),
)
"""How the name of what stands in no instance began; whose it is, and its kind."""
_WITHIN = (("predictions ", "service", "predictions"), ("markers ", "measuring", "markers"), ("", "postgres", "table"))
"""The same of what stands in one, after its instance's name and a slash."""
_PROMISES = {"restore": "available", "failover": "failed-over", "promote": "promoted"}
_SETTLE = "settle-"
_OBSERVE = "observe-"
_ABANDONED = "RDS-EVENT-0034"
_SAYS_ABANDONED = "abandoning user requested failover"
_ENDED = frozenset({"", "deleted", "deleting", "failed", "stopped", "inaccessible-encryption-credentials"})
"""Statuses of a source that takes no write any more."""


class _Call(msgspec.Struct):
    """What stands otherwise now."""

    id: str
    driver: str
    args: dict[str, Any] = {}
    touches: list[str] = []
    makes: list[str] = []
    undo: _Call | None = None
    fault: bool = False
    takes_over: bool = False
    effect: Effect | None = None


class _Plan(msgspec.Struct):
    calls: list[_Call]


class _Record(msgspec.Struct):
    plan: _Plan


def present(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of an earlier version's run.json in its present form; None where it is no such version's."""
    try:
        if all("promises" in call for call in record["plan"]["calls"]):
            return None
        return _promising(_stating_effects(record) or record)
    except (KeyError, TypeError, AttributeError):
        return None  # of another shape, which whoever decodes it says


def _stating_effects(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """A run.json with the effect of each call; None where its calls state it themselves."""
    try:
        calls = msgspec.convert(record, _Record).plan.calls
    except msgspec.ValidationError:
        return None
    named: dict[str, list[str]] = {}
    now = []
    for call, kept in zip(calls, record["plan"]["calls"], strict=True):
        effect, touches, makes = _effect(call, named)
        named[call.id] = [*makes, *touches]
        undo = call.undo
        undone = None if undo is None else _now(kept["undo"], undo, _undoing(undo), undo.touches, undo.makes)
        now.append({**_now(kept, call, effect, touches, makes), "undo": undone})
    return {**record, "plan": {**record["plan"], "calls": now}}


def _now(
    kept: Mapping[str, Any], call: _Call, effect: Effect, touches: Iterable[str], makes: Iterable[str]
) -> dict[str, Any]:
    """A call of the record as it is now. An instance is spelled in lower case, as its reference is."""
    args = {
        key: value.lower() if key == "identifier" and isinstance(value, str) else value
        for key, value in call.args.items()
    }
    refs = {"touches": [_ref(name) for name in touches], "makes": [_ref(name) for name in makes]}
    driver = _DRIVERS.get(call.driver, call.driver)
    return {**kept, "driver": driver, "args": args, "effect": effect.value, **refs}


def _ref(name: str) -> Ref:
    for begins, provider, kind in _APART:
        if name.startswith(begins):
            return Ref(provider, kind, name.removeprefix(begins))
    identifier, slash, thing = name.partition("/")
    instance = Ref("rds", "instance", identifier.lower())
    if not slash:
        return instance
    begins, provider, kind = next(one for one in _WITHIN if thing.startswith(one[0]))
    return Ref(provider, kind, thing.removeprefix(begins), instance)


def _effect(call: _Call, named: Mapping[str, list[str]]) -> tuple[Effect, list[str], list[str]]:
    """What a call does, touches and makes. ``named``: the names of each call before it."""
    if call.effect is not None:
        return call.effect, call.touches, call.makes
    known = {name for names in named.values() for name in names}
    fresh = [name for name in call.touches if name not in known]
    if not call.touches:
        return Effect.READS, [], []
    referred = [name for one in _NAMED.findall(str(call.args)) for name in named.get(one, [])]
    if call.fault or call.takes_over:
        effect = Effect.FAULT if call.fault else Effect.TAKES_OVER
        return effect, list(dict.fromkeys([*call.touches, *referred])), []
    touches = list(dict.fromkeys(name for name in [*call.touches, *referred] if name not in fresh))
    return (Effect.MAKES if fresh else Effect.CHANGES), touches, fresh


def _undoing(call: _Call) -> Effect:
    if call.effect is not None:
        return call.effect
    if call.takes_over:
        return Effect.TAKES_OVER
    return Effect.CHANGES if call.touches else Effect.READS


def _promising(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run.json with what each call promises."""
    plan = record["plan"]
    calls = [
        {**call, "args": _settling(call), "promises": [_PROMISES[call["id"]]] if call["id"] in _PROMISES else []}
        for call in plan["calls"]
    ]
    request = {**plan["request"], "verbs": [*map(_verb, plan["request"]["verbs"])]}
    return {**record, "plan": {**plan, "calls": calls, "request": request}}


def _settling(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a call; a settle had one path."""
    args: Mapping[str, Any] = call["args"]
    if call["operation"] != "settle" or "path" not in args:
        return args
    return {"paths": {args["path"]: args.get("url", "")}, "seconds": args["seconds"]}


def _verb(verb: Mapping[str, Any]) -> Mapping[str, Any]:
    """A verb as it is spelled now: measuring waited for no samples, and a settle had one path."""
    args = {key: value for key, value in verb["args"].items() if key not in ("seconds", "patience", "path")}
    if verb["name"] == "measure":
        return {**verb, "args": {**args, "path": verb["args"]["path"]}}
    if verb["name"] == "settle" and "path" in verb["args"]:
        return {**verb, "args": {"paths": [verb["args"]["path"]]}}
    return verb


def told(plan: Plan, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries with the milestones and components that their results stand for. What was examined was all there was."""
    calls = {call.id: call for call in plan.calls}
    found: list[Entry] = []
    for entry in entries:
        try:
            one = _told(calls[entry.call], entry) if entry.kind == "effect" and entry.call in calls else entry
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise EvidenceError(f"Line {entry.seq + 1} of the ledger holds no result of {entry.call}.") from None
        if "examined" in one.milestones and not one.components:
            one = replace(one, components=tuple(of for earlier in found for of in earlier.components))
        found.append(one)
    return tuple(found)


def _told(call: Call, entry: Entry) -> Entry:
    if entry.milestones or entry.components:  # gone on with by this version
        return entry
    if call.id.startswith(_SETTLE):
        if "settled" in entry.data:  # gone on with by this version
            return entry
        return replace(entry, data={**entry.data, "settled": {call.id.removeprefix(_SETTLE): entry.data}})
    when = {name: float(at) for name, at in _milestones(call, entry).items() if at is not None}
    return replace(entry, milestones=when, components=_components(call, entry.data))


def _milestones(call: Call, entry: Entry) -> Mapping[str, Any]:
    of = entry.data.get
    by_call: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "restore": lambda: {"available": of("available_at")},
        "examine": lambda: {"correct": of("first_correct_at"), "examined": entry.stamp.at},
        "serve": lambda: {"started": of("started_at"), "served": of("ready_at")},
        "failover": lambda: {"failed-over": of("promoted_at")},
        "promote": lambda: {"promoted": of("promoted_at"), "available": of("promoted_at")},
    }
    found = by_call[call.id]() if call.id in by_call else {}
    if call.phase == "disaster":
        return {**found, "disaster": of("at")}
    return {"detected": of("at"), "remedied": of("done_at")} if call.phase == "remedy" else found


def _components(call: Call, done: Mapping[str, Any]) -> tuple[Component, ...]:
    if call.id != "restore":
        return ()
    origin = {
        "snapshot": f"snapshot {done.get('point_id')}",
        "time": f"a point in time of {call.args.get('source')}",
    }
    try:
        ref, listens = (
            Ref("rds", "instance", str(done["identifier"]).lower()),
            Endpoint(str(done["host"]), int(done["port"])),
        )
    except (KeyError, TypeError, ValueError):
        return ()
    steps = ("Stop every writer of the old database.", f"Point the service at {listens} and restart it.")
    return (Component("database", ref, listens, cut_over=steps, origin=origin.get(str(done.get("kind")), "")),)


def observed(entries: Iterable[Entry], observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """Observations as they stand, and those for which results stood."""
    return (*map(_abandoning, observations), *_from(entries))


def _abandoning(seen: Observation) -> Observation:
    """Whether an event gave the failover up, its name or its words told."""
    events = seen.value.get("events") or () if isinstance(seen.value, Mapping) else ()
    if seen.what != "failover" or not isinstance(events, list) or not all(isinstance(one, Mapping) for one in events):
        return seen
    told = [
        {**event, "abandons": True}
        if event.get("event") == _ABANDONED or _SAYS_ABANDONED in str(event.get("message", "")).lower()
        else event
        for event in events
    ]
    return replace(seen, value={**seen.value, "events": told})


def _from(entries: Iterable[Entry]) -> Iterator[Observation]:
    for entry in entries:
        done, at = entry.data, entry.stamp.at
        if entry.kind != "effect":
            continue
        if entry.call.startswith(_OBSERVE) and "because" in done:
            yield Observation("unobserved", entry.call.removeprefix(_OBSERVE), done["because"], at)
        if entry.call == "promote" and "old_primary" in done:
            said = {"server": done.get("source"), "answer": done["old_primary"], "because": done.get("old_because", "")}
            status = done.get("old_status")
            yield Observation("replaced", "source", {**said, "status": status, "ended": status in _ENDED}, at)
