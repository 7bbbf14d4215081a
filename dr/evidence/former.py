"""Plans as earlier versions of dr wrote them, in their present form. Pure.

What a call touched and made were names, where they are references now, two drivers were called otherwise, and a call
did not say what it promises. Before that it had the booleans ``fault`` and ``takes_over`` where it has an ``effect``
now, and ``touches`` named what it made, too: whatever no call before it had named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dr.domain.model import Effect
from dr.domain.refs import Ref
from dr.evidence import former_effects

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
        stated = _stating_effects(record)
        promised = former_effects.promising(stated or record)
    except (KeyError, TypeError):
        return None  # of another shape, which whoever decodes it says
    return promised or stated


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
