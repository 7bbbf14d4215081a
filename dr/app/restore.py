"""``dr restore``: the verbs of a restore in their order, and their running to the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any

from dr.app.asked import unpacked
from dr.app.earlier import number, standing
from dr.app.ending import Outcome, finish, of_purpose, seal
from dr.app.prepare import Prepared, prepare, resume, same_since
from dr.app.session import Session, Tell, context_of
from dr.app.signals import halting
from dr.config.load import find_target, home
from dr.config.model import Settings, Target
from dr.config.plugins import plugins
from dr.domain.errors import DefectError, DrError, EvidenceError, HaltedError, RefusedError, UsageError
from dr.domain.model import Effect, Finding, Grant, Plan, Purpose, Request, Resource, Status, Verb, Verdict
from dr.domain.refs import is_run
from dr.domain.tags import spread
from dr.evidence.directory import find_run
from dr.evidence.restored import components
from dr.host.awake import watching
from dr.judge.objectives import time_to_restore
from dr.report.words import moment
from dr.wiring import able, ask_each, done_for, drivers, objectives, on_call, restoring

CONFIGURE = "configure"
"""The verb that ends a restore on call: a provider may put it off for hours, and the copy is proven meanwhile."""
SETTLE, ASK = "settle", "ask"
COPY = "copy"
"""The path to the service of a namespace that was restored beside production."""
EXAMINING = ("examine", "compare")
"""The verbs that say whether what was restored is what it should be, each of another kind of provider."""
MEASURING = frozenset({"serve", "measure", SETTLE})
"""The verbs that put load on a copy, and the one that ends that."""
OPTIONS = {"as_name": "--as", "reset_master": "--reset-master-secret", "set": "--set", "namespaces": "--namespace"}
OPTIONS |= {"into": "--into", "database": "--database"}
"""Arguments of the verb ``restore`` that not every provider takes, as they are typed."""
MEASURED = ("latency", "errors")
"""What is demanded of a service that was there before."""
STEPS = frozenset({"restore", *EXAMINING, *MEASURING, ASK, CONFIGURE})
"""The verbs of a restore on call: tags that ask for another one, a failover say, are not of its making."""


def request(
    name: str,
    target: Target,
    to: Mapping[str, Any],
    *,
    since: float | None,
    as_name: str,
    reset_master: bool,
    verify: bool,
    settings: Mapping[str, Any] | None = None,
    provider: str = "",
    namespaces: Collection[str] = (),
    into: str = "",
    database: str = "",
) -> Request:
    """What ``dr restore`` asks for: of its verbs those that somebody does for whoever restores the target.
    ``settings``: what the restoration is to have instead of the source's, by the provider's own names. ``provider``:
    who is to restore it, where several could. ``namespaces``: of a cluster's backup; empty: the target's. ``into``: the
    namespace that one is copied to, whose workloads find their ``database`` there. Raises what ``wiring.restoring``
    raises, and UsageError for what whoever restores does not take."""
    said = {
        "as_name": as_name,
        "reset_master": reset_master,
        "set": dict(settings or {}),
        "namespaces": [*namespaces],
        "into": into,
        "database": database,
    }
    restore = {"to": dict(to), **{key: value for key, value in said.items() if value}}
    restores = restoring(name, target, provider, to)
    if strange := [OPTIONS[key] for key in said if said[key] and not restores.takes("restore", key)]:
        whose = f"{restores.name}, which restores target {name}"
        raise UsageError(f"{whose}, takes no {', '.join(strange)}.", "Leave that out.")
    served = [Verb("serve"), Verb("measure", {"path": "restored"}), Verb("settle", {"paths": ["restored"]})]
    wanted = [Verb("restore", restore)]
    if verify:
        wanted += [*map(Verb, EXAMINING), *(served if done_for(restores, served[0], target) else ())]
    found = (done_for(restores, verb, target) for verb in (*wanted, Verb(CONFIGURE, restore)))
    asked = [verb for verb in found if verb is not None]
    through = () if not verify or "backup" not in to else _in_copy(target, into) if into else _through(target)
    return Request(name, (*asked, *through), Purpose.RESTORE, since=since)


def _in_copy(target: Target, into: str) -> Iterator[Verb]:
    """What asks the service of a copy that stands beside production; nothing where no way there is told, or nobody
    measures."""
    measuring = Verb("measure", {"path": COPY, "namespace": into})
    if any(section.way_into(into) for section in target.sections.values()) and able(measuring, target):
        yield measuring
        yield Verb(SETTLE, {"paths": [COPY]})


def _through(target: Target) -> Iterator[Verb]:
    """What measures the service on its ways through a cluster, and asks it there for its golden answers, once
    namespaces were restored in their own place; nothing where the target has none, or does not let predictions be
    written."""
    ways = [way for section in target.sections.values() for way in section.ways_round()]
    if not ways or not {Grant.MARKERS, Grant.DISPOSABLE} & {*target.grants}:
        return
    yield from (Verb("measure", {"path": way}) for way in ways)
    yield Verb(SETTLE, {"paths": ways})
    yield from (Verb(ASK, {"path": way}) for way in ways if able(Verb(ASK), target))


def resumed(settings: Settings, target: str, name: str, since: float | None, tell: Tell) -> Prepared:
    """The unfinished restore ``name``: one of this DR_HOME, or one that another machine began, which is found by the
    tags of what it restored. Raises UsageError where there is no such run, RefusedError where it cannot go on, or is no
    restore."""
    try:
        directory = find_run(home(), name)
    except UsageError:
        wanted = _begun_elsewhere(settings, target, name) if is_run(name) else None  # "" would be any run's
        if wanted is None:
            raise
        demands = asked(wanted, find_target(settings, target))
        return same_since(prepare(settings, wanted, demands, tell, named=True), since)
    if directory.record().plan.what == "failover":  # which other words and other consent belong to
        raise RefusedError(
            f"Run {directory.id} is a failover.",
            f"The 'dr failover' command that began it goes on with it; 'dr cleanup {directory.id}' ends it.",
        )
    return same_since(resume(settings, directory, tell), since)


def _begun_elsewhere(settings: Settings, name: str, run: str) -> Request | None:
    """What another machine asked for as ``run``; None where nothing at the provider bears that run's tag. Raises
    RefusedError for a run that has ended, and for a request that the tags do not tell."""
    try:
        context = context_of(settings, name, run)
    except RefusedError:
        return None  # the lab is not running, so that nothing can have been restored in it
    answers, failed = ask_each(drivers(context, ()), lambda one: of_purpose(Purpose.RESTORE, one.remains(run)))
    found = next(chain.from_iterable(answers), None)
    if found is None and failed:
        raise failed[0]
    if found is None:
        return None
    if "dr:sealed" in found.tags:
        raise RefusedError(f"Run {run} has come to its end.", "Start a new one.")
    try:
        verbs = unpacked(found.tags, name, STEPS)
    except EvidenceError as error:
        raise RefusedError(
            f"The tags of {found.ref.name} do not tell what run {run} was asked for: {str(error).rstrip('.')}.",
            f"Type its command again{_command(found)}, with whatever else it said (such as --no-verify).",
        ) from None
    return Request(name, verbs, Purpose.RESTORE)


def _command(found: Resource) -> str:
    """The command that began a restoration, where its tags tell it."""
    tags = found.tags
    point, source, at = tags.get("dr:point-id", ""), tags.get("dr:source", ""), number(found, "dr:point")
    if point.lower() != source.lower():
        kinds = plugins()[found.ref.provider].restores
        given = f"--{'snapshot' if 'snapshot' in kinds else kinds[0]} {point}"
    elif at is not None:
        given = f"--to-time {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    else:
        return ""
    return f": 'dr restore --target {tags.get('dr:target')} {given}'"


def earlier_runs(prepared: Prepared) -> tuple[str, ...]:
    """What becomes of a run that nobody finished here, to be known before consent: a sentence each."""
    plan = prepared.session.plan
    on = f"The unfinished restore {plan.run.id} goes on: it {standing(plan, prepared.facts)}."
    over = "" if prepared.closes is None else prepared.closes.over
    return tuple(sentence for sentence in (on if prepared.goes_on else "", over) if sentence)


def cautions(planned: Plan) -> tuple[str, ...]:
    """What is to be known before consent, a sentence each."""
    since = planned.request.since
    restoring = [call for call in planned.calls if call.restoration]
    late = (
        f"The recovery point, {moment(at)}, lies after the disaster (--since), so that the damage may be in it:"
        " 'dr backups' lists earlier ones."
        for at in (call.covers for call in restoring)
        if since is not None and at is not None and at > since
    )
    untold = (
        f"What was asked for does not fit into the tags of {', '.join(one.name for one in call.makes)}: another machine"
        " goes on with it by the very same command, and not by --resume."
        for call in restoring
        if planned.run.request and not spread(planned.run.request)
    )
    return (*late, *untold, *fitted(planned))


def fitted(planned: Plan) -> tuple[str, ...]:
    """What of a source's settings and tags the provider does not take for what is made of it, a sentence each."""
    return tuple(
        f"{' of '.join((name, *(one.name for one in call.makes[:1])))}: {why}."
        for call in planned.calls
        for name, (_, why) in call.args.get("fitted", {}).items()
    )


def asked(wanted: Request, target: Target | None = None) -> dict[str, str | list[str]]:
    """The demands of a restore on call: objective to path, or to several. Markers exist in drills alone, so loss is not
    asked."""
    ways = [verb.args["path"] for verb in wanted.verbs if verb.name == "measure" and verb.args["path"] != "restored"]
    golden = [verb.args["path"] for verb in wanted.verbs if verb.name == ASK]
    known, names = objectives(), [name for verb in wanted.verbs for name in on_call(verb, target)]
    if {verb.name for verb in wanted.verbs} & {*EXAMINING} and not any(known[name].verified for name in names):
        names.append(time_to_restore.NAME)
    return {
        **dict.fromkeys(names, "restored"),
        **(dict.fromkeys(MEASURED, ways) if ways else {}),
        **({"golden": golden} if golden else {}),
    }


def run(session: Session, how: str = "", before: Callable[[Verb], None] = lambda _: None) -> Outcome:
    """Do every verb, finish, and say how it ended. An interrupt leaves what was begun to be gone on with: ``how``,
    where the outcome's last look at the provider does not tell. ``before`` is called before each verb after the first.

    Whatever fails after the first verb, which makes it, a defect of dr's own, too, is the outcome's error: what was
    restored stands, is configured all the same, and how it is reached has to be told. Raises RefusedError where the
    provider refused the first step: then nothing was made.
    """
    error: DrError | None = None
    note_asleep = partial(session.directory.note_asleep, session.context.clock)
    with halting(session.directory) as signals, watching(note_asleep):
        try:
            for position, verb in enumerate(session.plan.request.verbs):
                if error is None or verb.name == CONFIGURE:
                    error = _attempt(session, position, before if position else lambda _: None, error)
                if error is not None and position == 0:
                    break
        except HaltedError as halted:
            code = (signals or [halted.exit_code])[0]
            why = session.directory.halted() or "its session is gone"
            error = HaltedError(f"The {session.plan.what} was stopped before its end: {why}.", how, exit_code=code)
        try:
            outcome = finish(session)
            if isinstance(error, RefusedError) and not _begun(session) and not outcome.stands:
                seal(session, outcome.verdict)  # the provider refused, nothing was made: nothing is to be gone on with
                raise error
        except Exception as failed:
            if failed is error:
                raise
            return unjudged(session, failed, error)
    return replace(outcome, error=error)


def _settled(session: Session) -> bool:
    """Whether the copy was measured to the end, so that it is not to be served or probed again."""
    verbs, entries = session.plan.request.verbs, session.engine.ledger.entries()
    effects = {entry.call for entry in entries if entry.kind == "effect"}
    calls = [call for n, verb in enumerate(verbs) if verb.name == SETTLE for call in session.calls(n)]
    return bool(calls) and all(call.id in effects for call in calls)


def _attempt(
    session: Session, position: int, before: Callable[[Verb], None], earlier: DrError | None
) -> DrError | None:
    """Do one verb, although ``earlier`` may have ended the run. What has failed is returned; a halt is raised."""
    try:
        if earlier is not None:
            session.engine.ledger.append("resumed")
        verb = session.plan.request.verbs[position]
        if verb.name in MEASURING and _settled(session):
            return earlier  # of a run that is gone on with: the copy may be in use by now
        if verb.name == CONFIGURE:
            session.unwind(keep=True)  # nobody serves or probes meanwhile
        before(verb)
        session.do(position)
    except HaltedError:
        raise
    except DrError as failed:
        return earlier or failed
    except Exception as defect:
        return earlier or DefectError(defect)
    return earlier


def unjudged(session: Session, failed: Exception, earlier: DrError | None) -> Outcome:
    """The outcome of a run whose evidence could not be judged, or not be written. What it restored is told from the
    ledger, as far as that can be read. ``earlier``: what had ended it before."""
    why = failed if isinstance(failed, DrError) else DefectError(failed)
    plan, what = session.plan, f"The run could not be judged: {why}"
    try:
        made = components(session.directory.entries(session.context.clock))
    except Exception as lost:  # the sentence above has the first cause
        made, what = (), f"{what} Its ledger cannot be read ({type(lost).__name__})."
    finding = Finding("completed", "", Status.INCONCLUSIVE, what)
    verdict = Verdict(plan.run.id, plan.request.target, None, Status.INCONCLUSIVE, (finding,), (), made)
    return Outcome(session.directory, verdict, (), earlier or why, judged=False)


def _begun(session: Session) -> bool:
    """Whether the run changed anything, or may have: one whose credentials expire while it waits has."""
    changing = {call.id for call in session.plan.calls if call.effect is not Effect.READS}
    entries = [entry for entry in session.engine.ledger.entries() if entry.call in changing]
    return any(entry.kind == "effect" or entry.data.get("begun") for entry in entries)
