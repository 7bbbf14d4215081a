"""An earlier run that nobody finished here: what became of it, and whether it may go on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from dr.config.plugins import plugins
from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Plan, Resource
from dr.domain.refs import Ref
from dr.evidence.ledger import State
from dr.report.words import duration, moment


def made(run: str, facts: Facts) -> list[Resource]:
    """What of ``run`` is at the provider."""
    return [resource for resource in facts.resources if resource.tags.get("dr:run") == run]


def asked_for(plan: Plan, state: State) -> dict[Ref, float]:
    """The restorations that a provider may have been asked for and are not undone: not those that were surely refused.
    Each with the wall time of its newest intent."""
    calls = [call for call in plan.calls if call.restoration and call.id in state.intended]
    return {ref: state.intended[call.id] for call in calls if call.id not in state.refused for ref in call.makes}


def asked_since(since: float, plan: Plan, state: State) -> bool:
    """Whether a restoration that has not taken effect was asked for after ``since``, and so may not be listed yet. To
    ask for the same once more makes no second one; a new run would."""
    done = restored(plan, state)
    return any(at > since for ref, at in asked_for(plan, state).items() if ref not in done)


def began(run: str) -> float:
    """When ``run`` was begun, from its name: a restore that goes on elsewhere is no younger for that."""
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()


def number(found: Resource, tag: str) -> float | None:
    """What a tag holds: ``dr:point``, a restoration's recovery point, or ``dr:since``, the time of the disaster that it
    was begun with. None where it is not there, or no number."""
    try:
        return float(found.tags[tag])
    except (KeyError, ValueError):
        return None


def standing(plan: Plan, facts: Facts) -> str:
    """When a run began and what it restores, in words. What its tags say comes first: "the latest" was another time
    when it was planned."""
    there = made(plan.run.id, facts)
    planned = (call.covers for call in plan.calls if call.restoration)
    at = number(there[0], "dr:point") if there else next(planned, None)
    point = f"its recovery point is {moment(at)}" if at is not None else "its recovery point is not known"
    return f"began at {moment(began(plan.run.id))} and {point}"


def restored(plan: Plan, state: State) -> list[Ref]:
    """The restorations that were seen whole, and that the run has not undone."""
    done = {ref for call in plan.calls if call.id in state.effects for ref in call.makes}
    return [ref for ref in asked_for(plan, state) if ref in done]


def ended_elsewhere(run: str, restored: Collection[Ref], facts: Facts) -> str:
    """How a run that is unfinished here came to its end on another machine, in words; "" where it did not.
    ``restored``: what it is known here to have restored."""
    for resource in facts.resources:
        whose, sealed = resource.tags.get("dr:run"), resource.tags.get("dr:sealed")
        if whose == run and sealed is not None:
            return f"Run {run} was ended elsewhere as {sealed}; {resource.ref.name} is its restoration."
        if resource.ref in restored and whose != run:
            name = resource.ref.name
            return f"{name} is no longer run {run}'s: it was adopted elsewhere, or is another's of that name."
    return ""


def gone(run: str, restored: Collection[Ref], facts: Facts) -> str:
    """That nothing is listed any more of what was seen ``restored``, in words; "" where something is."""
    if not restored or made(run, facts):
        return ""
    names = ", ".join(ref.name for ref in restored)
    return f"{names}, which run {run} restored, is gone: somebody deleted, adopted or renamed it."


def check_alive(run: str, what: str, facts: Facts, here: bool) -> None:
    """Waiting for what has failed for good is no way to go on, and deleting it is a person's decision. ``what``: of
    which the run is, "restore" or "failover". ``here``: whether the run's directory is on this machine. Raises
    RefusedError."""
    for resource in made(run, facts):
        if resource.remedy:
            ends = f" 'dr cleanup {run}' ends the run." if here else ""
            named = what == "restore" and plugins()[resource.ref.provider].takes("restore", "as_name")
            beside = " To restore anew beside it, ask for another --as or --set." if named else ""
            raise RefusedError(
                f"{resource.ref.name}, which the {what} {run} made, is {resource.status}, so that cannot go on.",
                f"{resource.remedy}{beside}{ends} {resource.ref.name} is left alone: to delete it is up to you.",
            )


def check_age(plan: Plan, facts: Facts, now: float, usual: float, ends: Callable[[Resource], str] | None) -> None:
    """Whoever asks for the latest wants what is the latest now, and not what it was when an old run began. ``usual``:
    the limit in seconds where none was frozen with the plan. ``ends``: the command by which a person marks the run of
    what it made as over, where the run's directory is not on this machine. Raises RefusedError."""
    run = plan.run.id
    frozen = (demand.limit for demand in plan.demands if demand.objective.startswith("time-to-"))
    limit = next(frozen, None) or usual
    if not plan.request.restores_the_latest() or now - began(run) <= limit:
        return
    end = f"end it with 'dr cleanup {run}'"
    if ends is not None:  # clean-up knows its own machine's runs alone; to others the tag says that one is over
        end += f" on the machine that began it. Is that gone? Then end it with '{ends(made(run, facts)[0])}'"
    taken = any(verb.args.get("as_name") for verb in plan.request.verbs)
    raise RefusedError(
        f"The unfinished restore {run} {standing(plan, facts)}. That is more than {duration(limit)} ago, so it is no"
        " longer the latest.",
        f"To go on with it all the same: 'dr restore --resume {run}'. To restore anew, {end}. Its copy is left alone."
        f" Then repeat the command{' with another --as' if taken else ''}.",
    )
