"""``dr restore``: the verbs of a restore in their order, and their running to the end.

Called by: ``dr.cli.restore``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.app.outcome import Outcome
from dr.app.session import Session, finish, seal
from dr.app.signals import halting
from dr.config.model import Target
from dr.domain.errors import DrError, HaltedError, RefusedError
from dr.domain.model import Purpose, Request, Verb

DATA = ("schema", "data", "foreign-keys", "indexes", "model", "logins", "configuration")
SERVED = ("golden", "latency", "errors", "model-latency", "database-latency")


def request(
    name: str,
    target: Target,
    to: Mapping[str, Any],
    settle: float,
    *,
    since: float | None,
    as_name: str,
    reset_master: bool,
    verify: bool,
    settings: Mapping[str, Any] | None = None,
) -> Request:
    """What ``dr restore`` asks for. Without a service in the target there is none to put on the copy.

    ``settings``: what the restoration is to have instead of the source's, by the provider's own names.
    """
    restore: dict[str, Any] = {"to": dict(to)}
    if as_name:
        restore["as_name"] = as_name
    if reset_master:
        restore["reset_master"] = True
    if settings:
        restore["set"] = dict(settings)
    verbs = [Verb("restore", restore)]
    if verify:
        verbs.append(Verb("examine"))
    if verify and target.service is not None:
        verbs += [Verb("serve"), Verb("measure", {"path": "restored", "seconds": settle})]
    return Request(name, tuple(verbs), Purpose.RESTORE, since=since)


def asked(wanted: Request) -> dict[str, str]:
    """The demands of a restore on call: objective to path. Markers exist in drills alone, so loss is not asked."""
    verbs = {verb.name for verb in wanted.verbs}
    objectives = ["exposure"]
    if "examine" in verbs:
        objectives += DATA
    if "serve" in verbs:
        objectives += ("time-to-copy", *SERVED)
    return dict.fromkeys(objectives, "restored")


def run(session: Session) -> Outcome:
    """Do every verb, finish, and say how it ended. An interrupt leaves the restoration to be resumed.

    Raises RefusedError where the provider refused the first step: then nothing was made.
    """
    error: DrError | None = None
    with halting(session.directory) as signals:
        try:
            for position in range(len(session.plan.request.verbs)):
                session.do(position)
        except HaltedError as halted:
            how = f"'dr restore --resume {session.directory.id}' goes on; the restoration itself was left alone."
            code = (signals or [halted.exit_code])[0]
            error = HaltedError("The restore was stopped before its end.", how, exit_code=code)
        except DrError as failed:
            error = failed
        verdict, leftovers = finish(session)
        if isinstance(error, RefusedError) and not session.engine.ledger.state().effects:
            seal(session, verdict)  # the provider refused, nothing was made: there is nothing to go on with
            raise error
    return Outcome(session.directory, verdict, leftovers, error)
