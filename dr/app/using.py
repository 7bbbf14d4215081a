"""A drill that uses another's method and says what differs: its fault, other steps, and demands of its own. Pure.

Chaos Toolkit knows nothing like it. To it such a file is an experiment of one activity, ``whole_drill``, which runs all
of it; what is resolved here is the experiment that Chaos Toolkit is then given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dr.config.plugins import verbs
from dr.domain.errors import UsageError
from dr.judge.course import ACTIVITIES

WHOLE = "whole_drill"
"""The one activity of such a file."""
_STATED = frozenset({"version", "title", "description", "tags", "configuration", "extensions", "method"})


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of dr's activities, in short. ``pauses``: seconds before it and after it."""

    name: str
    func: str
    arguments: dict[str, Any] = {}
    pauses: dict[str, float] = {}


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """dr's extension of such a file. ``use``: the other drill's name. ``instead``: what stands in the place of the
    other's step of a name; null leaves it out. ``remedy``: what takes the fault out after it has settled, where it does
    not end by itself. ``after``: what follows the other's last step. ``demands``: over the other's; null leaves one
    out."""

    name: str
    use: str
    fault: list[Step]
    instead: dict[str, Step | None] = {}
    remedy: list[Step] = []
    after: list[Step] = []
    demands: dict[str, Any] = {}
    runbook: str = ""


def extension(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """dr's own of a document's extensions; empty where there is none."""
    found = document.get("extensions")
    each = found if isinstance(found, list) else []
    return next((one for one in each if isinstance(one, Mapping) and one.get("name") == "dr"), {})


def resolved(name: str, document: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment that drill ``name`` comes down to: what its ``document`` says, over the ``other`` that it uses.
    Raises UsageError with what is wrong with either."""
    try:
        said = msgspec.convert(extension(document), Use)
    except msgspec.ValidationError as wrong:
        raise UsageError(
            f"Its use of another drill is not valid: {wrong}.", "Give use, fault, and what differs."
        ) from None
    base = extension(other)
    strange = sorted(set(document) - _STATED)
    if strange or [_func(step) for step in document.get("method") or ()] != [WHOLE]:
        more = f" and has its own {', '.join(strange)}" if strange else ""
        raise UsageError(
            f"It uses the method of {said.use}{more}.",
            f"Its method is one activity, {ACTIVITIES}.{WHOLE}, and no more.",
        )
    demands = {**(base.get("demands") or {}), **said.demands}
    return {
        **other,
        **{key: document[key] for key in ("title", "description", "tags") if key in document},
        "configuration": {**(other.get("configuration") or {}), "drill": name},
        "extensions": [
            {
                "name": "dr",
                "runbook": said.runbook or base.get("runbook", ""),
                "demands": {objective: paths for objective, paths in demands.items() if paths is not None},
            }
        ],
        "method": _method(said, other),
    }


def _method(said: Use, other: Mapping[str, Any]) -> list[Any]:
    steps = list(other.get("method") or ())
    strikes = sorted(name for name, offered in verbs().items() if any(spec.strikes for _, spec in offered))
    struck = [place for place, step in enumerate(steps) if _func(step) in strikes]
    if not struck or not said.fault:
        lacking = f"{said.use} has no fault" if not struck else "It gives no fault"
        raise UsageError(f"{lacking}, so that none stands in another's place.", f"Known: {', '.join(strikes)}.")
    before, later = steps[: struck[0]], steps[struck[-1] + 1 :]
    if strange := sorted(set(said.instead) - {_name(step) for step in (*before, *later)}):
        known = ", ".join(str(_name(step)) for step in (*before, *later))
        raise UsageError(f"{said.use} has no step {', '.join(strange)} beside its fault.", f"Its steps: {known}.")
    *between, last = _instead(said, later) or [None]
    remedy, after = map(_activity, said.remedy), map(_activity, said.after)
    ended = [] if last is None else [last]
    return [*_instead(said, before), *map(_activity, said.fault), *between, *remedy, *ended, *after]


def _instead(said: Use, steps: list[Any]) -> list[Any]:
    """The other's ``steps``, each as it is or as whoever uses them has it."""
    found = ((step, said.instead.get(_name(step), step)) for step in steps)
    return [step if own is step else _activity(own) for step, own in found if own is not None]


def _name(step: object) -> str:
    return str(step.get("name", "")) if isinstance(step, Mapping) else ""


def _activity(step: Step) -> dict[str, Any]:
    short = msgspec.to_builtins(step)
    called = {key: short.pop(key) for key in ("func", "arguments") if key in short}
    return {**short, "type": "action", "provider": {"type": "python", "module": ACTIVITIES, **called}}


def _func(step: object) -> object:
    match step:
        case {"provider": {"module": module, "func": func}} if module == ACTIVITIES:
            return func
    return None
