"""Effects as earlier versions of dr wrote them, in their present form. Pure.

A call's id and keys of its result said what now its milestones, its components and observations of their own say; there
was one restoration, of a database at RDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dr.domain.model import Call, Component, Observation, Plan
from dr.domain.refs import Endpoint, Ref
from dr.evidence.model import Entry

_PROMISES = {"restore": "available", "failover": "failed-over", "promote": "promoted"}
_SETTLE = "settle-"
_OBSERVE = "observe-"
_ABANDONED = "RDS-EVENT-0034"
_SAYS_ABANDONED = "abandoning user requested failover"
_ENDED = frozenset({"", "deleted", "deleting", "failed", "stopped", "inaccessible-encryption-credentials"})
"""Statuses of a source that takes no write any more."""


def promising(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of a run.json with what each call promises; None where its calls say so themselves."""
    plan = record["plan"]
    if all("promises" in call for call in plan["calls"]):
        return None
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
        one = _told(calls[entry.call], entry) if entry.kind == "effect" and entry.call in calls else entry
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
    return (Component("database", ref, listens, origin=origin.get(str(done.get("kind")), "")),)


def observed(entries: Iterable[Entry], observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """Observations as they stand, and those for which results stood."""
    return (*map(_abandoning, observations), *_from(entries))


def _abandoning(seen: Observation) -> Observation:
    """Whether an event gave the failover up, its name or its words told."""
    if seen.what != "failover" or not isinstance(seen.value, Mapping):
        return seen
    events = [
        {**event, "abandons": True}
        if event.get("event") == _ABANDONED or _SAYS_ABANDONED in str(event.get("message", "")).lower()
        else event
        for event in seen.value.get("events") or ()
    ]
    return replace(seen, value={**seen.value, "events": events})


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
