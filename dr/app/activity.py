"""What experiments call: each activity is one verb of the run that DR_RUN names, done as the plan has it.

Under a bare ``chaos run`` there is no run yet: the first activity looks, plans and guards one, with consent from
DR_CONFIRM or DR_YES, and ``undo`` finishes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from inspect import Parameter, Signature
from typing import Any

import msgspec

from dr.app import drill, steady
from dr.app.cleanup import clean_drills
from dr.app.ending import exit_code, finish
from dr.app.lock import locked
from dr.app.prepare import accept, prepare
from dr.app.session import Session, attach
from dr.app.signals import halting
from dr.config.load import find_target, home
from dr.config.place import OTHERS
from dr.config.plugins import PROVIDER, VerbSpec, verbs
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.domain.model import Call
from dr.engine.guard import Consent
from dr.evidence.directory import find_run
from dr.host.awake import watching
from dr.host.clock import SystemClock
from dr.wiring import settings as configured

Configuration = Mapping[str, Any]
CHAOS_TOOLKIT = "Chaos Toolkit"
"""Who receives the signals of this process."""


def predictions_in_slo(path: str = steady.SOURCE, configuration: Configuration | None = None) -> bool:
    """Probe: whether the prediction service on the source answers within its objectives now, on the way of ``path``."""
    with _listening(configuration) as session:
        return steady.in_slo(session, path)


def undo(configuration: Configuration | None = None) -> None:
    """Rollback: undo what is open; under a bare ``chaos run`` also judge and seal. Raises ProviderError where something
    of that run is left."""
    with _listening(configuration) as session:
        if os.environ.get("DR_RUN"):
            session.unwind(session.plan.request.keep)
            return
        session.engine.ledger.append("event", data={"text": "Chaos Toolkit came to its rollbacks", "rollbacks": True})
        left = finish(session).leftovers
    if left:
        raise ProviderError(" ".join(left))


def whole_drill(configuration: Configuration | None = None) -> None:
    """All of a drill that uses another's method, in a Chaos Toolkit of its own. Raises DrError unless it is met."""
    name = _drill_of(configuration)
    session = _session(name, os.environ.get("DR_RUN", ""))
    outcome = drill.run(session, drill.read(name))
    if outcome.error is not None:
        raise outcome.error
    if exit_code(outcome):
        run, verdict = session.directory.id, outcome.verdict.status
        raise ProviderError(f"Run {run} is {verdict}.", f"'dr report {run}' tells why, and what is left.")


def _activity(name: str, offered: Iterable[VerbSpec]) -> Callable[..., None]:
    """The activity that does the verb ``name``; its signature is what Chaos Toolkit holds an experiment to."""

    def do(configuration: Configuration | None = None, **args: Any) -> None:
        with _listening(configuration) as session:
            session.do(session.find(drill.verb(name, args)))

    do.__name__ = do.__qualname__ = name
    do.__doc__ = " ".join(spec.does for spec in offered)
    do.__signature__ = Signature([*_parameters(offered)])  # type: ignore[attr-defined]
    return do


def _parameters(offered: Iterable[VerbSpec]) -> Iterator[Parameter]:
    """An argument is required where everybody who offers the verb needs it; ``provider`` says who is meant."""
    fields = [msgspec.structs.fields(spec.args) for spec in offered]
    needed = [{field.encode_name for field in one if field.required} for one in fields]
    names = dict.fromkeys(field.encode_name for one in fields for field in one)
    for name in (*names, PROVIDER, "configuration"):
        required = all(name in one for one in needed)
        yield Parameter(name, Parameter.KEYWORD_ONLY, default=Parameter.empty if required else None)


@contextmanager
def _listening(configuration: Configuration | None) -> Iterator[Session]:
    """Within an activity a signal halts the run and no more: what Chaos Toolkit raises there, it swallows itself."""
    session = _session(_drill_of(configuration), os.environ.get("DR_RUN", ""))
    with halting(session.directory, CHAOS_TOOLKIT):
        yield session


def _drill_of(configuration: Configuration | None) -> str:
    return str((configuration or {}).get("drill", ""))


@cache
def _session(name: str, run: str) -> Session:
    """This process's session: of the run that it was started for, or one of its own. From here on a signal halts it."""
    os.umask(OTHERS)  # a bare ``chaos run`` has its user's
    session = _attached(run) if run else _begun(drill.read(name))
    _LASTING.enter_context(halting(session.directory, CHAOS_TOOLKIT, pass_on=True))
    _LASTING.enter_context(watching(partial(session.directory.note_asleep, SystemClock())))
    return session


def _attached(run: str) -> Session:
    return attach(configured(), find_run(home(), run), _silent, os.environ.get("DR_OWNER", ""))


def _begun(experiment: drill.Experiment) -> Session:
    settings, target = configured(), os.environ.get("DR_TARGET", "lab")
    if (other := drill.suited(experiment, find_target(settings, target))) is not experiment:
        raise RefusedError(f"{experiment.name} is not for target {target}.", f"Run {other.path} in its place.")
    drill.check_foreign(experiment, find_target(settings, target))
    _LASTING.enter_context(locked(target))
    for run, ended in clean_drills(settings, target, _silent):
        if isinstance(ended, DrError):
            logging.getLogger(__name__).warning("The killed drill %s could not be cleaned up: %s", run.id, ended)
    prepared = prepare(settings, drill.request(experiment, target, keep=False), experiment.demands, _silent)
    session = accept(prepared, Consent(os.environ.get("DR_CONFIRM", ""), bool(os.environ.get("DR_YES"))))
    if experiment.foreign:  # this run is judged before Chaos Toolkit writes how they ended
        text = f"not seen: {', '.join(experiment.foreign)}"
        session.engine.ledger.append("event", data={"text": text, "unseen": list(experiment.foreign)})
    return session


_LASTING = ExitStack()
"""What ends with the process: the target's lock of a session of its own, and its listening to signals."""


def _silent(_call: Call, _note: str) -> None:
    """Chaos Toolkit has a log of its own; progress is the parent's to tell."""


def activities() -> Mapping[str, Callable[..., Any]]:
    """All of them, by name: one for each verb that anybody offers, and what else experiments call."""
    known = {name: _activity(name, [spec for _, spec in offered]) for name, offered in verbs().items()}
    return {**known, **{one.__name__: one for one in (predictions_in_slo, undo, whole_drill)}}
