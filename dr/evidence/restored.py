"""What a run restored, as the entries of its ledger tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from dr.domain.model import Component, Plan
from dr.domain.refs import Ref
from dr.evidence.model import Entry


def components(entries: Iterable[Entry]) -> tuple[Component, ...]:
    """Everything that was restored, in that order. Of one that was told again, what was said anew counts."""
    found: dict[Ref, Component] = {}
    for entry in entries:
        for told in entry.components:
            found[told.ref] = _renewed(found[told.ref], told) if told.ref in found else told
    return tuple(found.values())


def _renewed(known: Component, told: Component) -> Component:
    said = {field.name: getattr(told, field.name) for field in fields(told)}
    return replace(known, **{name: value for name, value in said.items() if value})


def removed(entries: Sequence[Entry]) -> frozenset[Ref]:
    """What of it the run has removed again."""
    undone = {entry.call for entry in entries if entry.kind == "undone"}
    return frozenset(of.ref for entry in entries if entry.call in undone for of in entry.components)


def made(plan: Plan, entries: Iterable[Entry]) -> tuple[Ref, ...]:
    """What the restorations made whose effects stand: that bears the run's tags, and not each component in it."""
    done: dict[str, bool] = {}
    for entry in entries:
        if entry.kind in ("effect", "undone"):
            done[entry.call] = entry.kind == "effect"
    return tuple(ref for call in plan.calls if call.restoration and done.get(call.id) for ref in call.makes)


def verified(entries: Sequence[Entry], role: str = "") -> bool | None:
    """Whether each component that was restored is named by an examination; None where nothing was restored. ``role``:
    each of this role, where there is any."""
    roles = {of.role for of in components(entries)}
    return not [of for of in unread(entries) if role not in roles or of.role == role] if roles else None


def unread(entries: Sequence[Entry]) -> tuple[Component, ...]:
    """The components that no examination names."""
    examined = {component.ref for entry in entries if "examined" in entry.milestones for component in entry.components}
    return tuple(of for of in components(entries) if of.ref not in examined)
