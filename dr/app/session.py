"""One run with everything it needs to go on: to do its verbs, to undo them, and to be found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from dr import wiring
from dr.app import earlier
from dr.config.context import Context
from dr.config.load import find_target, home
from dr.config.model import Settings
from dr.config.plugins import plugins
from dr.domain.errors import RefusedError
from dr.domain.model import Call, Plan, Purpose, Verb
from dr.domain.refs import Ref
from dr.engine.perform import Engine, perform, unwind
from dr.engine.plan import label
from dr.evidence.directory import RunDirectory
from dr.host import children
from dr.host.clock import SystemClock
from dr.ports import Provider, Restorer

Tell = Callable[[Call, str], None]


@dataclass(frozen=True)
class Session:
    """A run with everything it needs to go on."""

    context: Context
    plan: Plan
    providers: Mapping[str, Provider]
    tell: Tell

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.context.run)

    @property
    def late(self) -> float:
        """Seconds that what was accepted to be restored may not be listed yet."""
        return max(one.late for one in wiring.restorers(self.providers))

    def restorer(self, ref: Ref) -> Restorer:
        """Who restored what ``ref`` refers to, also where that is another provider's. Raises RefusedError where that is
        nobody of this run."""
        able = {name for name, plugin in plugins().items() if plugin.restores}
        who = next((call.driver for call in self.plan.calls if call.restoration and ref in call.makes), ref.provider)
        if who not in able & self.providers.keys():
            raise RefusedError(f"Nobody here restores {ref}: it belongs to {ref.provider or 'no provider'}.")
        return cast("Restorer", self.providers[who])

    @cached_property
    def engine(self) -> Engine:
        owner = self.context.owner
        return Engine(
            run=self.directory,
            ledger=self.directory.ledger(self.context.clock),
            providers=self.providers,
            clock=self.context.clock,
            tell=self.tell,
            orphaned=lambda: "" if children.alive(owner) else "its session is gone",
        )

    def calls(self, position: int) -> tuple[Call, ...]:
        wanted = label(position, self.plan.request.verbs[position])
        return tuple(call for call in self.plan.calls if call.verb == wanted)

    def do(self, position: int) -> None:
        """Perform the verb at ``position``. Raises what ``perform`` raises."""
        with self.directory.exclusive():
            perform(self.engine, self.calls(position))

    def find(self, verb: Verb) -> int:
        """The place of ``verb`` in the request: the first that is not done yet. Raises RefusedError."""
        effects = self.engine.ledger.state().effects
        places = [n for n, planned in enumerate(self.plan.request.verbs) if planned == verb]
        if not places:
            raise RefusedError(f"The plan of run {self.directory.id} holds no such {verb.name}.", "Run it with dr.")
        return next((n for n in places if any(c.id not in effects for c in self.calls(n))), places[-1])

    def unwind(self, keep: bool) -> tuple[str, ...]:
        """Undo what is open; ``keep`` spares restorations, and what was restored on call always stays. Returns what is
        left."""
        with self.directory.exclusive():
            return unwind(self.engine, self.plan.calls, keep or self.plan.request.purpose is Purpose.RESTORE)

    def bound(self) -> bool:
        """Whether something that is open keeps the run from its end: all that has an undo, but for what a restore on
        call put into its own copy. That has no undo any more once the copy is gone, and keeps nobody from restoring."""
        on_call, still = self.plan.request.purpose is Purpose.RESTORE, self.engine.ledger.state().open
        copies = {ref for call in self.plan.calls if call.restoration and on_call for ref in call.makes}
        left = [call for call in self.plan.calls if call.undo is not None and call.id in still]
        return not all(call.makes and copies.issuperset(ref.within for ref in call.makes) for call in left)

    def restorations(self) -> tuple[Ref, ...]:
        """What the run made, or may have made when it was killed, and has not undone."""
        return tuple(earlier.asked_for(self.plan, self.engine.ledger.state()))

    def done(self) -> bool:
        """Whether every call has had its effect, undone since or not."""
        effects = {entry.call for entry in self.engine.ledger.entries() if entry.kind == "effect"}
        return all(call.id in effects for call in self.plan.calls)


def context_of(settings: Settings, target: str, run: str, owner: str = "") -> Context:
    """The context of run ``run`` on ``target``. Raises UsageError or RefusedError where there is no such target."""
    where = home()
    return Context(
        name=target,
        target=find_target(settings, target),
        settings=settings,
        home=where,
        run=where / "runs" / run,
        clock=SystemClock(),
        owner=owner or children.identity(os.getpid()),
    )


def attach(settings: Settings, directory: RunDirectory, tell: Tell, owner: str = "") -> Session:
    """A session over an existing run. Raises EvidenceError where its run.json cannot be read."""
    recorded = directory.record().plan
    context = context_of(settings, recorded.request.target, directory.id, owner)
    return Session(context, recorded, wiring.drivers(context, recorded.request.verbs), tell)
