"""Several databases of one server in one look: what another holds bears its name before its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from dr.domain.looks import Look
from dr.domain.state import State

T = TypeVar("T")
_BETWEEN = ": "


def prefixed(of: Mapping[str, T], database: str) -> dict[str, T]:
    """``of`` by names that say in which ``database``."""
    return {f"{database}{_BETWEEN}{name}": one for name, one in of.items()}


def parted(of: Mapping[str, T], database: str) -> dict[str, T]:
    """Those of ``database``, by names of their own."""
    before = f"{database}{_BETWEEN}"
    return {name.removeprefix(before): one for name, one in of.items() if name.startswith(before)}


def objects_called(name: str, kind: str) -> Iterator[str]:
    """How what is called ``name`` may be called as an object of ``kind``: several ways where it holds what stands
    between a database and a name, which a quoted name may hold as well."""
    parts = name.split(_BETWEEN)
    for n in range(len(parts)):
        yield _BETWEEN.join((*parts[:n], f"{kind} {_BETWEEN.join(parts[n:])}"))


def joined(look: Look, database: str, other: Look) -> Look:
    """``look`` with what ``other``, a look at ``database``, holds. What is the whole server's, as roles, is in both."""
    return replace(
        look,
        objects={**look.objects, **prefixed(other.objects, database)},
        tables={**look.tables, **prefixed(other.tables, database)},
        left_out={**look.left_out, **prefixed(other.left_out, database)},
        state=_state(look.state, database, other.state),
    )


def part_of(look: Look, database: str) -> Look:
    """What ``look`` holds of ``database``, but for state, which needs no look before."""
    return replace(
        look,
        objects=parted(look.objects, database),
        tables=parted(look.tables, database),
        left_out=parted(look.left_out, database),
        state=None,
    )


def _state(state: State | None, database: str, other: State | None) -> State | None:
    if state is None or other is None:
        return state
    return replace(
        state,
        sequences={**state.sequences, **prefixed(other.sequences, database)},
        large_objects={**state.large_objects, **prefixed(other.large_objects, database)},
        contents=state.contents and other.contents,
        unlogged={**state.unlogged, **prefixed(other.unlogged, database)},
        prepared=(*state.prepared, *(f"{database}: {name}" for name in other.prepared)),
        subscriptions=(*state.subscriptions, *(f"{database}: {name}" for name in other.subscriptions)),
        databases=tuple(name for name in state.databases if name != database),
        unread={**state.unread, **prefixed(other.unread, database)},
    )
