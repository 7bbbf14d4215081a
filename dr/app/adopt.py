"""``dr adopt``: at cut-over a restored instance stops being the run's."""

from __future__ import annotations

from dr.app.session import Session, attach, locked
from dr.config.load import home
from dr.config.model import Settings
from dr.domain.errors import RefusedError
from dr.domain.model import Call, Purpose
from dr.evidence.directory import find_run
from dr.evidence.restored import standing


def adopt(settings: Settings, run: str, confirmed: str) -> str:
    """Take the run's tags off what it restored, or has only asked for when it was killed: the provider has the
    word on that. Returns what was done, in a sentence.

    Raises RefusedError for a drill's copy, for a run that restored nothing, and without the identifier as consent.
    """
    session = attach(settings, find_run(home(), run), _silent)
    identifier = _restored(session)
    if confirmed != identifier:
        raise RefusedError("Nothing was confirmed.", f"Say --confirm {identifier} to take the run's tags off it.")
    with locked(session.context.name):
        session.restorer.adopt(identifier, session.directory.id)
        session.engine.ledger.append("event", data={"text": f"{identifier} was adopted"})
    return f"{identifier} is an ordinary instance now; dr will not touch it again."


def _restored(session: Session) -> str:
    """What there is to adopt: what took effect, or else what bears the run's tag. Raises RefusedError."""
    run, asked = session.directory.id, session.restorations()
    if session.plan.request.purpose is not Purpose.RESTORE or not asked:
        raise RefusedError(f"Run {run} has no restoration to adopt.", "Only dr restore makes them.")
    restored = standing(session.directory.entries(session.context.clock))
    if restored:
        return restored[0].ref.name
    found = [one.ref.name for one in session.restorer.remains(run) if one.tags.get("dr:purpose") == Purpose.RESTORE]
    if not found:
        raise RefusedError(
            f"The provider lists nothing of run {run}: {asked[0].name} was asked for, and may be listed later.",
            "Repeat the command in a few minutes.",
        )
    return found[0]


def _silent(_call: Call, _note: str) -> None:
    """Nothing is performed here."""
