"""References of a call to the result of an earlier one, "${CALL.KEY}", and what stands in their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dr.domain.errors import RefusedError
from dr.domain.model import Call
from dr.domain.refs import Ref

REFERENCE = re.compile(r"\$\{([^.}]+)\.([^}]+)\}")
IDENTIFIER = "identifier"
"""The key by which arguments and results name a thing of their driver's own provider that is acted on."""


def fill(args: Mapping[str, Any], effects: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Fill every "${CALL.KEY}" from the effects. Raises RefusedError where the effect is missing."""
    return {key: _filled(value, effects) for key, value in args.items()}


def _filled(value: Any, effects: Mapping[str, Mapping[str, Any]]) -> Any:
    if isinstance(value, Mapping):
        return fill(value, effects)
    if isinstance(value, list | tuple):
        return [_filled(item, effects) for item in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole:
        return _looked_up(whole, effects)
    return REFERENCE.sub(lambda match: str(_looked_up(match, effects)), value)


def _looked_up(match: re.Match[str], effects: Mapping[str, Mapping[str, Any]]) -> Any:
    call, key = match.groups()
    if key not in effects.get(call, {}):
        raise RefusedError(f"{call} has not given {key} yet, which a later step needs.", "See the ledger for why.")
    return effects[call][key]


def named(calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls with references in place of every "${CALL.identifier}" that they touch, or make something within: all
    that the earlier call makes, or where it makes nothing, touches, since its result may name any of them. What refers
    to no earlier call stays, and is nothing that there is."""
    known: dict[str, tuple[Ref, ...]] = {}
    found = []
    for call in calls:
        call = _referring(replace(call, undo=call.undo and _referring(call.undo, known)), known)
        known[call.id] = call.makes or call.touches
        found.append(call)
    return tuple(found)


def _referring(call: Call, known: Mapping[str, tuple[Ref, ...]]) -> Call:
    touches, makes = ([ref for one in refs for ref in _meant(one, known)] for refs in (call.touches, call.makes))
    return replace(call, touches=tuple(dict.fromkeys(touches)), makes=tuple(dict.fromkeys(makes)))


def _meant(ref: Ref, known: Mapping[str, tuple[Ref, ...]]) -> tuple[Ref, ...]:
    refers = REFERENCE.fullmatch(ref.name)
    if ref.within is not None:
        return tuple(replace(ref, within=holder) for holder in _meant(ref.within, known))
    if refers is None or refers[2] != IDENTIFIER:
        return (ref,)
    return known.get(refers[1]) or (ref,)


def acted_on(planned: Any, filled: Any, key: str = "") -> frozenset[str]:
    """What ``filled`` arguments name as acted on: under the key, or where ``planned`` ones refer to another's name.
    What is not filled yet names nothing."""
    refers = REFERENCE.fullmatch(planned) if isinstance(planned, str) else None
    if refers and filled == planned:
        return frozenset()
    if key == IDENTIFIER or (refers and refers[2] == IDENTIFIER):
        return frozenset({str(filled)})
    if isinstance(filled, Mapping):
        inner = planned if isinstance(planned, Mapping) else {}
        return frozenset().union(*(acted_on(inner.get(name), value, name) for name, value in filled.items()))
    if isinstance(filled, list | tuple):
        pairs = zip(planned, filled, strict=True) if isinstance(planned, list | tuple) else ()
        return frozenset().union(*(acted_on(*pair) for pair in pairs))
    return frozenset()
