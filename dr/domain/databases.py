"""Several databases of one server in one look: what another holds bears its name before its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from dr.domain.looks import NOWHERE, Look
from dr.domain.state import State

T = TypeVar("T")
_BETWEEN = ": "

_PART = r'(?:"(?:[^"]|"")*"|[^":.\s]+)'
_TABLE = re.compile(rf"(?:(?P<database>.*){_BETWEEN})?(?P<table>{_PART}\.{_PART})", re.DOTALL)
"""A schema and a table, each as SQL has it: what is not quoted has no colon."""


def within(database: str, name: str) -> str:
    """``name`` so that it says in which ``database``; "" is the main one, which no name says."""
    return f"{database}{_BETWEEN}{name}" if database else name


def parsed(name: str) -> tuple[str, str]:
    """The database that a table's name says, "" for the main one, and its name there."""
    found = _TABLE.fullmatch(name)
    return (found["database"] or "", found["table"]) if found else ("", name)


def prefixed(of: Mapping[str, T], database: str) -> dict[str, T]:
    """``of`` by names that say in which ``database``."""
    return {within(database, name): one for name, one in of.items()}


def parted(of: Mapping[str, T], database: str) -> dict[str, T]:
    """Those of ``database``, by names of their own."""
    before = f"{database}{_BETWEEN}"
    return {name.removeprefix(before): one for name, one in of.items() if name.startswith(before)}


def joined(look: Look, database: str, other: Look) -> Look:
    """``look`` with what ``other``, a look at ``database``, holds. What is the whole server's, as roles, is in both."""
    return replace(
        look,
        objects={**look.objects, **prefixed(other.objects, database)},
        tables={**look.tables, **prefixed(other.tables, database)},
        left_out=_left_out(look.left_out, database, other.left_out),
        state=_state(look.state, database, other.state),
        on_login={**look.on_login, database: other.on_login.get("", ())},
    )


def _left_out(main: Mapping[str, str], database: str, other: Mapping[str, str]) -> dict[str, str]:
    """dr.yaml names tables of all databases alike: one that is not in this one is nowhere only if it is in none."""
    found = {name: why for name, why in other.items() if why != NOWHERE}
    kept = {name: why for name, why in main.items() if why != NOWHERE or name in other.keys() - found.keys()}
    return {**kept, **prefixed(found, database)}


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
