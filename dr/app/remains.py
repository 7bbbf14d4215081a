"""What a run leaves at the provider: asked for once more, by its tag, when it ends or is cleaned up; and said."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dr.domain.errors import DrError
from dr.domain.model import Call, Purpose, Resource
from dr.domain.refs import Ref
from dr.engine.perform import carry_out
from dr.ports import Clock, Restorer

if TYPE_CHECKING:
    from dr.app.session import Session, Tell

NOTHING = "The provider lists nothing of this run any more."


@dataclass(frozen=True)
class Seen:
    """What the provider showed of a run. ``sentence``: that, in words, "" of a run that makes nothing there.

    ``left``: what should not be there, or may be there for all that is known, a sentence each. ``stands``: the names of
    what is there.
    """

    sentence: str
    left: tuple[str, ...] = ()
    stands: tuple[str, ...] = ()


def look(session: Session, *, keep: bool, over: bool, sweep: bool) -> Seen:
    """Ask once more, and note the answer in the ledger. ``keep``: a drill's restorations were to be spared.

    ``over``: the run is not gone on with. ``sweep``: delete what a drill left that its ledger does not tell, too.
    """
    on_call = session.plan.request.purpose is Purpose.RESTORE
    if on_call and not any(call.restoration for call in session.plan.calls):
        return Seen("")  # what a failover changes is the source, which nobody takes for a thing that was left
    run, failed = session.directory.id, ""
    spared = frozenset(session.restorations()) if keep else frozenset[Ref]()
    try:
        if sweep and not on_call:
            failed = " ".join(_sweep(session, spared))
        found = session.restorer.remains(run)
    except DrError as error:
        what = f"The provider could not be asked what stands of run {run}: {error}"
        seen = Seen(what) if on_call else Seen(what, (f"{what} 'dr cleanup {run}' asks again.",))
        return _noted(session, seen, None)
    if on_call:
        found = tuple(one for one in found if one.tags.get("dr:purpose") == Purpose.RESTORE)
        seen = Seen(_on_call(session, found, over), stands=tuple(one.ref.name for one in found))
    else:
        seen = _of_a_drill(run, found, spared, failed)
    return _noted(session, seen, found)


def remove(provider: Restorer, calls: Iterable[Call], clock: Clock, tell: Tell) -> list[tuple[Call, str]]:
    """Carry out deletions. Each with why it failed, "" where it did not: one that stays does not keep the others."""
    return [(call, _removed(provider, call, clock, tell)) for call in calls]


def _removed(provider: Restorer, call: Call, clock: Clock, tell: Tell) -> str:
    try:
        provider.confirm_identity()
        carry_out(provider, call, call.args, clock, tell)
    except DrError as error:
        return str(error)
    return ""


def _sweep(session: Session, spared: frozenset[Ref]) -> list[str]:
    """Delete what bears the tag of a drill whose ledger shows nothing open. Returns what failed."""
    nobody, run = frozenset[str](), frozenset({session.directory.id})
    clock = session.context.clock
    found = session.restorer.orphans(clock.now().at, nobody, run)
    calls = [call for call in found if spared.isdisjoint(call.touches)]
    return [because for _, because in remove(session.restorer, calls, clock, session.tell) if because]


def _of_a_drill(run: str, found: tuple[Resource, ...], spared: frozenset[Ref], failed: str) -> Seen:
    kept = [one for one in found if one.ref in spared]
    left = [one for one in found if one not in kept]
    sentences = [f"{_stands(one)}, as --keep asked: 'dr cleanup {run}' removes it." for one in kept]
    told = tuple(f"{_stands(one)}: 'dr cleanup {run}' tries again to remove it. {failed}".strip() for one in left)
    if failed and not left:
        told = (failed,)
    sentence = " ".join((*sentences, *told)) or NOTHING
    return Seen(sentence, told, tuple(one.ref.name for one in found))


def _on_call(session: Session, found: tuple[Resource, ...], over: bool) -> str:
    run = session.directory.id
    if found:
        return "\n".join(f"{_stands(one)}. {_ways(run, one, over, session.restorer)}" for one in found)
    asked = session.restorations()
    if not asked:
        return (
            "The provider was asked to make nothing."
            if over
            else "The provider was asked to make nothing; the same command begins anew."
        )
    if any(call.restoration and call.id in session.engine.ledger.state().effects for call in session.plan.calls):
        gone = "was adopted, renamed without its tags, or deleted."
        return f"The provider lists nothing of run {run}: {asked[0].name} {gone}"
    again = "" if over else f" 'dr restore --resume {run}' looks for it and goes on."
    return f"The provider lists nothing of run {run}: {asked[0].name} was asked for, and may be listed later.{again}"


def _stands(one: Resource) -> str:
    status = "being made (creating)" if one.status == "creating" else one.status
    return f"{one.ref.name} stays at the provider, where it is {status}"


def _ways(run: str, one: Resource, over: bool, provider: Restorer) -> str:
    """How to go on with what a restore on call has made, and how to be rid of it: commands to paste, a line each."""
    name = shlex.quote(one.ref.name)
    ways = [(f"dr adopt {run} --confirm {name}", "hands it over"), *provider.by_hand(one)]
    if not over:
        ways.insert(0, (f"dr cleanup {run}", "ends the run and leaves it"))
        if not one.remedy:
            ways.insert(0, (f"dr restore --resume {run}", "goes on with it"))
    return "\n  ".join(("dr never deletes it.", *(f"{command}  # {does}" for command, does in ways)))


def _noted(session: Session, seen: Seen, found: tuple[Resource, ...] | None) -> Seen:
    """The answer stands in the evidence. What cannot be noted is told all the same."""
    listed = None if found is None else [{"identifier": one.ref.name, "status": one.status} for one in found]
    session.engine.ledger.append("event", data={"text": seen.sentence, "remains": listed})
    return seen
