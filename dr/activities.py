"""What experiments call: each activity is one verb of the run that DR_RUN names, done as the plan has it.

Under a bare ``chaos run`` there is no run yet: the first activity looks, plans and guards one, with consent from
DR_CONFIRM or DR_YES, and ``undo`` finishes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from dr.app import drill, steady
from dr.app.cleanup import clean_drills
from dr.app.ending import finish
from dr.app.session import Session, accept, attach, locked, prepare
from dr.app.signals import halting
from dr.config.load import find_target, home, load
from dr.config.place import OTHERS
from dr.domain.errors import DrError, ProviderError
from dr.domain.model import Call
from dr.engine.guard import Consent
from dr.evidence.directory import find_run

Configuration = Mapping[str, Any]
CHAOS_TOOLKIT = "Chaos Toolkit"
"""Who receives the signals of this process."""


def predictions_in_slo(configuration: Configuration | None = None) -> bool:
    """Probe: whether the prediction service on the source answers within its objectives now."""
    session = _session(_drill_of(configuration))
    with _listening(session):
        return steady.in_slo(session)


def measure(path: str, markers: bool | None = None, configuration: Configuration | None = None) -> None:
    """Probe ``path`` until the run unwinds; with ``markers`` also write to it."""
    _do("measure", configuration, path=path, markers=markers)


def settle(paths: Sequence[str], configuration: Configuration | None = None) -> None:
    """Wait until all ``paths``, which are measured, are good together, or it was waited long enough for them."""
    _do("settle", configuration, paths=list(paths))


def baseline(configuration: Configuration | None = None) -> None:
    """Record what the source holds."""
    _do("baseline", configuration)


def declare(configuration: Configuration | None = None) -> None:
    """Declare the source lost, without touching it."""
    _do("declare", configuration)


def disaster(
    kind: str,
    of: str | None = None,
    seconds: float | None = None,
    share: float | None = None,
    configuration: Configuration | None = None,
) -> None:
    """Inject the fault called ``kind``; ``of``: the replica, ``seconds``: its lag, ``share``: of queries made slow."""
    _do("disaster", configuration, kind=kind, of=of, seconds=seconds, share=share)


def remedy(kind: str, configuration: Configuration | None = None) -> None:
    """Take the fault called ``kind`` out, as soon as the provider shows it."""
    _do("remedy", configuration, kind=kind)


def observe(
    when: str,
    paths: Sequence[str] | None = None,
    primary: str | None = None,
    configuration: Configuration | None = None,
) -> None:
    """Look at what a failover changes, before it and after it; ``paths``: those of writes, whose rows are read."""
    given = None if paths is None else list(paths)
    _do("observe", configuration, when=when, paths=given, primary=primary)


def lag(configuration: Configuration | None = None) -> None:
    """Record how far each read replica is behind."""
    _do("lag", configuration)


def failover(kind: str | None = None, configuration: Configuration | None = None) -> None:
    """Force a failover to the standby, and wait for its end."""
    _do("failover", configuration, kind=kind)


def await_failover(kind: str | None = None, configuration: Configuration | None = None) -> None:
    """Wait for the provider's own failover, after a fault."""
    _do("await_failover", configuration, kind=kind)


def promote(replica: str | None = None, copy: bool | None = None, configuration: Configuration | None = None) -> None:
    """Promote ``replica``, or the read replica that has received most; with ``copy`` that of a copy made for it."""
    _do("promote", configuration, replica=replica, copy=copy)


def move(configuration: Configuration | None = None) -> None:
    """Lead clients to what was promoted."""
    _do("move", configuration)


def rebuild(copy: bool | None = None, configuration: Configuration | None = None) -> None:
    """Await the first backup of what was promoted, and make new replicas of it; a copy gets none."""
    _do("rebuild", configuration, copy=copy)


def restore(to: Mapping[str, Any], configuration: Configuration | None = None) -> None:
    """Restore a copy from the recovery point that ``to`` names."""
    _do("restore", configuration, to=to)


def examine(of: str | None = None, configuration: Configuration | None = None) -> None:
    """Read the copy, or with ``of`` "promoted" what was promoted of it, before anything writes to it."""
    _do("examine", configuration, of=of)


def serve(of: str | None = None, configuration: Configuration | None = None) -> None:
    """Put the prediction service on the copy, or with ``of`` "promoted" on what was promoted of it."""
    _do("serve", configuration, of=of)


def undo(configuration: Configuration | None = None) -> None:
    """Rollback: undo what is open; under a bare ``chaos run`` also judge and seal. Raises ProviderError where something
    of that run is left."""
    session = _session(_drill_of(configuration))
    with _listening(session):
        if os.environ.get("DR_RUN"):
            session.unwind(session.plan.request.keep)
            return
        session.engine.ledger.append("event", data={"text": "Chaos Toolkit came to its rollbacks", "rollbacks": True})
        left = finish(session).leftovers
    if left:
        raise ProviderError(" ".join(left))


def _do(verb: str, configuration: Configuration | None, **args: Any) -> None:
    session = _session(_drill_of(configuration))
    with _listening(session):
        session.do(session.find(drill.verb(verb, args)))


def _listening(session: Session) -> AbstractContextManager[Any]:
    """Within an activity a signal halts the run and no more: what Chaos Toolkit raises there, it swallows itself."""
    return halting(session.directory, CHAOS_TOOLKIT)


def _drill_of(configuration: Configuration | None) -> str:
    return str((configuration or {}).get("drill", ""))


@cache
def _session(name: str) -> Session:
    """This process's session: the one it was started for, or one of its own. From here on a signal halts its run."""
    os.umask(OTHERS)  # a bare ``chaos run`` has its user's
    session = _attached() if os.environ.get("DR_RUN") else _begun(name)
    _hold(halting(session.directory, CHAOS_TOOLKIT, pass_on=True))
    return session


def _attached() -> Session:
    directory = find_run(home(), os.environ["DR_RUN"])
    return attach(load(), directory, _silent, os.environ.get("DR_OWNER", ""))


def _begun(name: str) -> Session:
    settings, target = load(), os.environ.get("DR_TARGET", "lab")
    experiment = drill.read(name)
    drill.check_foreign(experiment, find_target(settings, target))
    _hold(locked(target))
    for run, ended in clean_drills(settings, target, _silent):
        if isinstance(ended, DrError):
            logger.warning("The killed drill %s could not be cleaned up: %s", run.id, ended)
    prepared = prepare(settings, drill.request(experiment, target, keep=False), experiment.demands, _silent)
    session = accept(prepared, Consent(os.environ.get("DR_CONFIRM", ""), bool(os.environ.get("DR_YES"))))
    if experiment.foreign:  # this run is judged before Chaos Toolkit writes how they ended
        text = f"not seen: {', '.join(experiment.foreign)}"
        session.engine.ledger.append("event", data={"text": text, "unseen": list(experiment.foreign)})
    return session


def _hold(held: AbstractContextManager[Any]) -> None:
    _HELD.append(held)
    held.__enter__()


logger = logging.getLogger(__name__)
_HELD: list[AbstractContextManager[Any]] = []
"""What ends with the process: the target's lock of a session of its own, and its listening to signals."""


def _silent(_call: Call, _note: str) -> None:
    """Chaos Toolkit has a log of its own; progress is the parent's to tell."""
