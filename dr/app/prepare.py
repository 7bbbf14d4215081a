"""From a request to a run whose plan is accepted: what it comes down to, and whether an earlier one goes on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from dr import __version__, wiring
from dr.app import earlier
from dr.app.asked import digest, gist, packed, unpacked
from dr.app.ending import pronounce
from dr.app.pools import look_before
from dr.app.session import Session, Tell, attach, context_of
from dr.app.terms import refusals
from dr.config.load import home
from dr.config.model import Settings
from dr.config.plugins import plugins
from dr.domain.errors import DrError, EvidenceError, RefusedError
from dr.domain.model import Effect, Facts, Purpose, Request, Resource, RunIdentity, Stamp
from dr.domain.refs import is_run
from dr.engine.guard import Consent
from dr.engine.perform import renew
from dr.engine.plan import Asked, demands, plan
from dr.evidence.directory import RunDirectory, unfinished
from dr.evidence.model import RunRecord
from dr.evidence.seals import previous, seal
from dr.host import locks
from dr.host.clock import SystemClock
from dr.judge.objectives import time_to_copy
from dr.report.words import moment
from dr.wiring import look

PARTS = ("chaostoolkit", "chaostoolkit-lib")
"""What every run rests on, whoever does its verbs."""


@dataclass(frozen=True)
class Prepared:
    """What a request comes down to, before anything is changed. ``began``: None where a run of this machine goes on.
    ``closes``: one that is over, and so does not."""

    session: Session
    facts: Facts
    began: Stamp | None
    closes: Prepared | None = None

    @property
    def goes_on(self) -> bool:
        """Whether an earlier run goes on, this machine's or another's."""
        return self.began is None or bool(earlier.made(self.session.directory.id, self.facts))

    @property
    def ended_elsewhere(self) -> str:
        """How this unfinished run came to its end without this machine, in words; "" where it did not."""
        run, restored = self.session.directory.id, self.session.restorations()
        seen = earlier.restored(self.session.plan, self.session.engine.ledger.state())
        return earlier.ended_elsewhere(run, restored, self.facts) or earlier.gone(run, seen, self.facts)

    @property
    def over(self) -> str:
        """Why this unfinished run does not go on although something came of it, in words; "" where it may."""
        taken, why = _taken_over(self.session), self.ended_elsewhere
        if not why and taken and not _under_way(self.session):
            at = moment(min(taken.values()))
            why = f"Run {self.session.directory.id}, which failed over at {at}, was never finished."
        return why and f"{why} A new one begins."

    def refusals(self, consent: Consent) -> tuple[str, ...]:
        """Why the run may not begin."""
        begun = frozenset(self.session.engine.ledger.state().began)
        return refusals(self.session.plan, self.session.context.target, self.facts, consent, begun)


def prepare(settings: Settings, request: Request, asked: Asked, tell: Tell, *, named: bool = False) -> Prepared:
    """Look and plan; change nothing. An unfinished restore with an equal request is found and goes on, here by its run
    directory and from another machine by its tag. ``named``: somebody wants that very run, however old it is. Raises
    what the drivers' look and propose raise, and RefusedError for a run that is too old or cannot go on."""
    request = replace(request, digest=digest(request.target, request.verbs))
    unfinished = _unfinished(request) if request.purpose is Purpose.RESTORE else None
    here = None if unfinished is None else _standing(settings, unfinished, tell)
    prepared = here if here is not None and _goes_on(here) else _plan(settings, request, asked, tell)
    if here is not None and here.over:
        prepared = replace(prepared, closes=here)
    if prepared.goes_on and not named:
        session, now = prepared.session, prepared.session.context.clock.now().at
        usual = time_to_copy.LIMIT.of(settings.objectives)
        ends = (
            None if session.directory.path.exists() else lambda found: session.restorer(found.ref).ended_by_hand(found)
        )
        earlier.check_age(session.plan, prepared.facts, now, usual, ends)
    return same_since(prepared, request.since)


def _goes_on(here: Prepared) -> bool:
    """Whether an unfinished run is gone on with: not where nothing came of it, and not where it is over. Raises
    RefusedError for one whose restoration has failed for good."""
    if here.over:
        return False
    session, run = here.session, here.session.directory.id
    earlier.check_alive(run, session.plan.what, here.facts, here=True)
    since = session.context.clock.now().at - session.late
    came = earlier.made(run, here.facts) or earlier.asked_since(since, session.plan, session.engine.ledger.state())
    return bool(came) or _under_way(session)


def _plan(settings: Settings, request: Request, asked: Asked, tell: Tell) -> Prepared:
    """A new run, or what another machine began and nobody has finished."""
    began = SystemClock().now()
    run = f"{datetime.fromtimestamp(began.at, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    context = context_of(settings, request.target, run)
    drivers = wiring.drivers(context, request.verbs)
    facts, on_call = look(drivers, request), request.purpose is Purpose.RESTORE
    elsewhere = _tagged(request, facts) if on_call else None
    if elsewhere is not None:
        run = elsewhere.tags["dr:run"]
        context = context_of(settings, request.target, run)
        earlier.check_alive(run, "restore", facts, context.run.exists())
        drivers = wiring.drivers(context, request.verbs)
        at = earlier.began(run)  # the other machine's clock says so
        began = Stamp(at, began.mono_ns - round((began.at - at) * 1e9), began.boot)
        request = replace(request, since=earlier.number(elsewhere, "dr:since"))
    text = packed(request.verbs) if on_call else ""
    identity = RunIdentity(context.run.name, request.target, request.purpose, request.digest, request.since, text)
    frozen = demands(request, asked, settings.objectives, wiring.objectives(), facts.extra, context.target)
    planned = plan(request, identity, facts, wiring.proposing(drivers, context.target), frozen)
    return Prepared(Session(context, planned, drivers, tell), facts, began)


def resume(settings: Settings, directory: RunDirectory, tell: Tell) -> Prepared:
    """An unfinished restore as it stands; its plan is the one that was accepted then. Raises RefusedError for a run
    that has come to its end, here or elsewhere, or whose restoration has failed for good, and for a drill, which is
    cleaned up and not resumed."""
    prepared = _standing(settings, directory, tell)
    over = prepared.ended_elsewhere
    if over:
        raise RefusedError(over, f"Start a new one; 'dr cleanup {directory.id}' closes this one here, too.")
    earlier.check_alive(directory.id, prepared.session.plan.what, prepared.facts, here=True)
    return prepared


def _standing(settings: Settings, directory: RunDirectory, tell: Tell) -> Prepared:
    """A run of this machine and what there is now, whether it may go on or not. Raises RefusedError."""
    session = attach(settings, directory, tell)
    _check_resumable(session)
    return Prepared(session, look(session.providers, session.plan.request), None)


def accept(prepared: Prepared, consent: Consent) -> Session:
    """The plan becomes the run's: into run.json and the ledger. Raises RefusedError with every refusal."""
    refusals = prepared.refusals(consent)
    if refusals:
        raise RefusedError(" ".join(refusals))
    session = prepared.session
    locks.note(f"run {session.directory.id}")
    if prepared.began is None:
        _check_resumable(session)
        session.directory.resume()
        if not session.engine.ledger.state().accepted:  # killed between run.json and its acceptance
            session.engine.ledger.append("accepted", data={"run.json": session.directory.record_digest()})
        session.engine.ledger.append("resumed")
        with session.directory.exclusive():
            renew(session.engine, session.plan.calls)
        return session
    recorded = session.directory.create(_record(session, prepared.began))
    session.engine.ledger.append("accepted", data={"run.json": recorded})
    if prepared.closes is not None:
        _close(prepared.closes, session)
    look_before(session)
    return session


def _close(ended: Prepared, beside: Session) -> None:
    """Judge and seal here, by what was seen here, a run that is over. What it restored is not touched. What fails in
    that is noted in the ledger of the run ``beside`` it, which it does not hinder."""
    closed = ended.session
    try:
        closed.engine.ledger.append("event", data={"text": ended.over})
        if not (closed.unwind(keep=True) and closed.bound()):
            pronounce(closed.directory, closed.context.clock)
            if lost := seal(closed.context.home, closed.directory, closed.context.clock):
                beside.engine.ledger.append("event", data={"text": lost})
    except DrError as error:
        beside.engine.ledger.append("event", data={"text": f"{closed.directory.id} could not be closed: {error}"})


def _check_resumable(session: Session) -> None:
    if session.directory.sealed():
        raise RefusedError(f"Run {session.directory.id} has come to its end.", "Start a new one.")
    if session.plan.request.purpose is not Purpose.RESTORE:
        raise RefusedError(f"Run {session.directory.id} is a drill.", "'dr cleanup' finishes it; then run it again.")


def _taken_over(session: Session) -> dict[str, float]:
    """The calls that made another server the source, or may have, each with when it was begun."""
    if not session.plan.takes_over:
        return {}
    began = session.engine.ledger.state().began
    return {
        call.id: began[call.id] for call in session.plan.calls if call.effect is Effect.TAKES_OVER and call.id in began
    }


def _under_way(session: Session) -> bool:
    """Whether that was done just now: it is not asked for a second time. Once the longest of its steps would have
    ended, whoever types the command again means another disaster."""
    effects, now = session.engine.ledger.state().effects, session.context.clock.now().at
    deadlines = {call.id: call.deadline for call in session.plan.calls}
    longest = max(deadlines.values(), default=0.0)
    began = _taken_over(session).items()
    return any(now - at < (longest if name in effects else deadlines[name]) for name, at in began)


def same_since(prepared: Prepared, since: float | None) -> Prepared:
    """``prepared``, which goes on. Raises RefusedError where it was begun with another time of the disaster."""
    planned = prepared.session.plan
    if since is not None and since != planned.request.since:
        run = prepared.session.directory.id
        again = f"Say 'dr restore --resume {run}'" if planned.what == "restore" else "Leave --since out"
        raise RefusedError(
            f"The {planned.what} {run} goes on, and it was not begun with this --since.",
            f"{again}, or end it with 'dr cleanup {run}'.",
        )
    return prepared


def _unfinished(request: Request) -> RunDirectory | None:
    wanted = gist(request.target, request.verbs)
    for directory, record in reversed(unfinished(home()).runs):
        recorded = record.plan.request
        if recorded.purpose is Purpose.RESTORE and gist(recorded.target, recorded.verbs) == wanted:
            return directory
    return None


def _tagged(request: Request, facts: Facts) -> Resource | None:
    """What an equal request began to restore on another machine, and nobody has finished."""
    lost = unfinished(home()).unreadable
    for resource in facts.resources:
        run = resource.tags.get("dr:run", "")
        begun = "dr:sealed" not in resource.tags and _asks_for(request, resource.tags)
        if begun and is_run(run) and run not in lost and not RunDirectory(home() / "runs" / run).sealed():
            return resource
    return None


def _asks_for(request: Request, tags: Mapping[str, str]) -> bool:
    """Whether what bears ``tags`` was begun by this very command, by this version of dr or a former one."""
    if tags.get("dr:request") == request.digest:
        return True
    try:
        verbs = unpacked(tags, request.target, {verb.name for verb in request.verbs})
    except EvidenceError:
        return False
    return gist(request.target, verbs) == gist(request.target, request.verbs)


def _record(session: Session, began: Stamp) -> RunRecord:
    target = session.context.target
    able = (one for one in plugins().values() if not one.lacks(target))
    parts = sorted({*PARTS, *(part for plugin in able for part in plugin.parts)})
    return RunRecord(
        plan=session.plan,
        started=began,
        emulated=target.emulated,
        versions={"dr": __version__, **{name: _version(name) for name in parts}},
        window=session.context.settings.meter.window,
        previous_seal=previous(session.context.home, session.context.clock),
    )


def _version(part: str) -> str:
    try:
        return version(part)
    except PackageNotFoundError:
        return "not installed"
