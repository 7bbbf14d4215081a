"""``dr adopt``: at cut-over a restored instance stops being the run's. Called by: ``dr.cli``."""

from __future__ import annotations

from dr.app.session import attach, locked
from dr.config.load import home
from dr.config.model import Settings
from dr.domain.errors import RefusedError
from dr.domain.model import Call, Purpose
from dr.evidence.directory import find_run


def adopt(settings: Settings, run: str, confirmed: str) -> str:
    """Take the run's tags off what it restored. Returns what was done, in a sentence.

    Raises RefusedError for a drill's copy, for a run that restored nothing, and without the identifier as consent.
    """
    session = attach(settings, find_run(home(), run), _silent)
    restored = session.engine.ledger.state().effects.get("restore")
    if session.plan.request.purpose is not Purpose.RESTORE or restored is None:
        raise RefusedError(f"Run {session.directory.id} has no restoration to adopt.", "Only dr restore makes them.")
    identifier = str(restored["identifier"])
    if confirmed != identifier:
        raise RefusedError("Nothing was confirmed.", f"Say --confirm {identifier} to take the run's tags off it.")
    with locked(session.context.name):
        session.restorer.adopt(identifier, session.directory.id)
        session.engine.ledger.append("event", data={"text": f"{identifier} was adopted"})
    return f"{identifier} is an ordinary instance now; dr will not touch it again."


def _silent(_call: Call, _note: str) -> None:
    """Nothing is performed here."""
