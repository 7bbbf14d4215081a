"""Plans as earlier versions of dr wrote them, in their present form. Pure.

A call had the booleans ``fault`` and ``takes_over`` where it has an ``effect`` now, and ``touches`` named what it made,
too: whatever no call before it had named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dr.domain.model import Effect

_NAMED = re.compile(r"\$\{([^.}]+)\.identifier\}")


class _Call(msgspec.Struct):
    """What stood for a call's effect; one that states it is none of these."""

    id: str
    args: dict[str, Any] = {}
    touches: list[str] = []
    undo: _Call | None = None
    fault: bool = False
    takes_over: bool = False
    effect: None = None


class _Plan(msgspec.Struct):
    calls: list[_Call]


class _Record(msgspec.Struct):
    plan: _Plan


def present(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The content of an earlier version's run.json in its present form; None where it is no such version's."""
    try:
        calls = msgspec.convert(record, _Record).plan.calls
    except msgspec.ValidationError:
        return None
    named: dict[str, list[str]] = {}
    now = []
    for call, kept in zip(calls, record["plan"]["calls"], strict=True):
        effect, touches, makes = _effect(call, named)
        named[call.id] = [*makes, *touches]
        undo = None if call.undo is None else {**kept["undo"], "effect": _undoing(call.undo).value}
        now.append({**kept, "effect": effect.value, "touches": touches, "makes": makes, "undo": undo})
    return {**record, "plan": {**record["plan"], "calls": now}}


def _effect(call: _Call, named: Mapping[str, list[str]]) -> tuple[Effect, list[str], list[str]]:
    """What a call does, touches and makes. ``named``: the names of each call before it."""
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
    if call.takes_over:
        return Effect.TAKES_OVER
    return Effect.CHANGES if call.touches else Effect.READS
