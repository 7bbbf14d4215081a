"""From a target to its providers, and from a verb to the provider that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dr.config.context import Context
from dr.config.load import load
from dr.config.model import Settings, Target
from dr.config.objective import Objective
from dr.config.plugins import offer, plugins
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Facts, RunIdentity, Verb
from dr.judge.objectives import registry
from dr.ports import Provider, Restorer


def drivers(context: Context, verbs: Iterable[Verb]) -> Mapping[str, Provider]:
    """Those that ``verbs`` need, by the name that calls carry; and those that restore and whose sections these read
    (where there are none, all that restore), which look at the account, too, and look first: where the source listens,
    others know from what they have stored of it.

    Imports are slow, and what is not needed is not made. Raises UsageError for a verb that nobody does, RefusedError
    for one that needs a section that the target does not have.
    """
    offers = [offer(verb, context.target) for verb in verbs]
    for plugin, spec in offers:
        if lacking := plugin.lacks(context.target):
            raise RefusedError(
                f"Target {context.name} has no section {', '.join(lacking)}, which {spec.name} needs.",
                "Add it in dr.yaml, or name another --target.",
            )
    needed = {plugin.name for plugin, _ in offers}
    read = {section for plugin, _ in offers for section in plugin.reads}
    restore = {name for name, one in plugins().items() if one.restores and not one.lacks(context.target)}
    return {
        name: plugin.make(context)
        for name, plugin in sorted(plugins().items(), key=lambda one: not one[1].restores)
        if plugin.make and name in needed | (restore & (needed | read) or restore)
    }


def objectives() -> Mapping[str, Objective]:
    """Whatever can be demanded, by its name. Raises UsageError where two have one name."""
    return registry(one for plugin in plugins().values() for one in plugin.objectives)


def on_call(verb: Verb, target: Target | None = None) -> tuple[str, ...]:
    """What a restore on call of ``target`` demands of what it restores, since it holds ``verb``.

    Of what providers bring, only that of the one that does it. Raises UsageError for a verb that nobody does.
    """
    plugin, _ = offer(verb, target)
    return tuple(one.name for one in registry(plugin.objectives).values() if one.on_call == verb.name)


def settings(path: Path | None = None) -> Settings:
    """What dr.yaml says, with the limits of all objectives that there are. Raises UsageError."""
    return load(path, {limit.name: one.number for one in objectives().values() for limit in one.limits})


def restorer(by_name: Mapping[str, Provider]) -> Restorer:
    """The driver that makes a target's restorations, among all of ``drivers``: its client is slow to make.

    Raises RefusedError where none does.
    """
    made = [by_name[name] for name, plugin in plugins().items() if plugin.restores and name in by_name]
    if not made:
        raise RefusedError("Nothing restores this target.", "Give it the section of a provider that does in dr.yaml.")
    return cast("Restorer", made[0])


@dataclass(frozen=True)
class Proposers:
    """Who proposes the calls of a verb, among all of ``drivers``."""

    by_name: Mapping[str, Provider]
    target: Target

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """The calls of ``verb``. Raises UsageError for a verb that nobody does, and for an argument that it does not
        take; otherwise as its provider does."""
        plugin, spec = offer(verb, self.target)
        spec.arguments(verb)
        if plugin.name not in self.by_name:
            raise UsageError(f"The provider {plugin.name}, which does {verb.name}, was not made.")
        return self.by_name[plugin.name].propose(verb, facts, run)
