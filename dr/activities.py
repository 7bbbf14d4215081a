"""What experiments call: each activity is one verb of the run that DR_RUN names, done as the plan has it.

Called by: Chaos Toolkit, in a child of ``dr drill run``. Under a bare ``chaos run`` there is no run yet: the first
activity looks, plans and guards one, with consent from DR_CONFIRM or DR_YES, and ``undo`` finishes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from dr.app import drill, steady
from dr.app.cleanup import clean_drills
from dr.app.session import Session, accept, attach, finish, locked, prepare
from dr.config.load import find_target, home, load
from dr.domain.model import Call
from dr.engine.guard import Consent
from dr.evidence.directory import find_run

Configuration = Mapping[str, Any]


def predictions_in_slo(configuration: Configuration | None = None) -> bool:
    """Probe: whether the prediction service on the source answers within its objectives now."""
    return steady.in_slo(_session(_drill_of(configuration)))


def measure(
    path: str,
    markers: bool | None = None,
    seconds: float | None = None,
    configuration: Configuration | None = None,
) -> None:
    """Probe ``path`` until the run unwinds; with ``seconds``, wait for that many seconds of samples."""
    _do("measure", configuration, path=path, markers=markers, seconds=seconds)


def baseline(configuration: Configuration | None = None) -> None:
    """Record what the source holds."""
    _do("baseline", configuration)


def declare(configuration: Configuration | None = None) -> None:
    """Declare the source lost, without touching it."""
    _do("declare", configuration)


def disaster(kind: str, configuration: Configuration | None = None) -> None:
    """Inject the fault called ``kind``."""
    _do("disaster", configuration, kind=kind)


def restore(to: Mapping[str, Any], configuration: Configuration | None = None) -> None:
    """Restore a copy from the recovery point that ``to`` names."""
    _do("restore", configuration, to=to)


def examine(configuration: Configuration | None = None) -> None:
    """Read the copy before anything writes to it."""
    _do("examine", configuration)


def serve(configuration: Configuration | None = None) -> None:
    """Put the prediction service on the copy."""
    _do("serve", configuration)


def undo(configuration: Configuration | None = None) -> None:
    """Rollback: undo what is open; under a bare ``chaos run`` also judge and seal."""
    session = _session(_drill_of(configuration))
    if os.environ.get("DR_RUN"):
        session.unwind(session.plan.request.keep)
    else:
        finish(session)


def _do(verb: str, configuration: Configuration | None, **args: Any) -> None:
    session = _session(_drill_of(configuration))
    session.do(session.find(drill.verb(verb, args)))


def _drill_of(configuration: Configuration | None) -> str:
    return str((configuration or {}).get("drill", ""))


@cache
def _session(name: str) -> Session:
    """This process's session: the one it was started for, or one of its own."""
    if os.environ.get("DR_RUN"):
        directory = find_run(home(), os.environ["DR_RUN"])
        return attach(load(), directory, _silent, os.environ.get("DR_OWNER", ""))
    settings, target = load(), os.environ.get("DR_TARGET", "lab")
    experiment = drill.read(name)
    drill.check_foreign(experiment, find_target(settings, target))
    _HELD.append(held := locked(target))
    held.__enter__()
    clean_drills(settings, target, _silent)
    prepared = prepare(settings, drill.request(experiment, target, keep=False), experiment.demands, _silent)
    session = accept(prepared, Consent(os.environ.get("DR_CONFIRM", ""), bool(os.environ.get("DR_YES"))))
    if experiment.foreign:  # this run is judged before Chaos Toolkit writes how they ended
        text = f"not seen: {', '.join(experiment.foreign)}"
        session.engine.ledger.append("event", data={"text": text, "unseen": list(experiment.foreign)})
    return session


_HELD: list[Any] = []
"""The target's lock of a session of this process's own; it ends with the process."""


def _silent(_call: Call, _note: str) -> None:
    """Chaos Toolkit has a log of its own; progress is the parent's to tell."""
