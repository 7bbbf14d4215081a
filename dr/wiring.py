"""From a target to its providers, and from a verb to the provider that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from dr.config.context import Context
from dr.config.load import load
from dr.config.model import Settings, Target
from dr.config.objective import Objective
from dr.config.plugins import PROVIDER, Plugin, ignored, lost_sections, offer, plugins, unloaded, verbs
from dr.domain.errors import DrError, RefusedError, UsageError
from dr.domain.model import Call, Facts, Request, RunIdentity, Verb
from dr.engine.plan import Propose
from dr.host.signals import say
from dr.judge.objectives import registry
from dr.ports import Provider, Restorer

T = TypeVar("T")
NOTHING = "Give it the section of a provider that does in dr.yaml."


def drivers(context: Context, asked: Iterable[Verb]) -> Mapping[str, Provider]:
    """Those that the verbs ``asked`` need, by the name that calls carry; those whose sections these read and that are
    known by an identity, which they alone tell; and those that restore and whose sections these read, or all that
    restore where there are none. They look first: where the source listens, others know from what they have stored of
    it.

    Imports are slow, and what is not needed is not made. Raises UsageError for a verb that nobody does, RefusedError
    for one that needs a section that the target does not have.
    """
    doing = [does(verb, context) for verb in asked]
    needed = {plugin.name for plugin in doing}
    read = {section for plugin in doing for section in plugin.read_of(context.target)}
    known = {name for name, section in context.target.sections.items() if name in read and section.pins()}
    restore = who_restores(context.target).keys()
    return {
        name: plugin.made(context)
        for name, plugin in sorted(plugins().items(), key=lambda one: not one[1].restores)
        if plugin.make and name in needed | known | (restore & (needed | read) or restore)
    }


def does(verb: Verb, context: Context) -> Plugin:
    """Who does ``verb`` to the context's target. Raises UsageError where nobody does, RefusedError where the target
    does not have a section that this needs."""
    plugin, spec = offer(verb, context.target)
    if lacking := plugin.lacks(context.target):
        raise RefusedError(
            f"Target {context.name} has no section {', '.join(lacking)}, which {spec.name} needs.",
            "Add it in dr.yaml, or name another --target.",
        )
    return plugin


def look(by_name: Mapping[str, Provider], request: Request) -> Facts:
    """What all drivers see. Raises what their looking raises."""
    return merged({name: provider.look(request) for name, provider in by_name.items()})


def merged(seen: Mapping[str, Facts]) -> Facts:
    """As one. By what a provider is known, it has told itself: of another's identity nobody is believed. Raises
    RefusedError where a provider shows what is not of its own, or calls it the target's, or tells another's ``extra``.
    """
    every = tuple(seen.values())
    own = {ref for facts in every for ref in facts.own}
    extra: dict[str, Any] = {}
    for name, facts in seen.items():
        if twice := sorted(extra.keys() & facts.extra.keys()):
            raise RefusedError(
                f"The provider {name} tells of {twice[0]!r}, of which another one tells, too.",
                "Nothing was changed. Let its look name that by its own name.",
            )
        extra |= facts.extra
        around = [holder for ref in facts.own for holder in ref.holders if holder not in own]
        for ref in (*facts.own, *around, *(one.ref for one in facts.resources)):
            if ref.provider != name:
                raise RefusedError(
                    f"The provider {name} tells of {ref}, which is not its own: it belongs to {ref.provider}.",
                    "Nothing was changed. Correct what its look says.",
                )
    return Facts(
        at=every[0].at,
        identity={name: facts.identity[name] for name, facts in seen.items() if name in facts.identity},
        resources=tuple(resource for facts in every for resource in facts.resources),
        points=tuple(replace(point, provider=name) for name, facts in seen.items() for point in facts.points),
        own={ref: what for facts in every for ref, what in facts.own.items()},
        extra=extra,
    )


def objectives() -> Mapping[str, Objective]:
    """Whatever can be demanded, by its name. A provider one of whose names is taken is said to bring none."""
    known, brought = registry(()), tuple[Objective, ...]()
    for plugin in plugins().values():
        try:
            known = registry((*brought, *plugin.objectives))
            brought += plugin.objectives
        except UsageError as error:
            _say_once(f"The objectives of the provider {plugin.name} are left out. {error}")
    return known


@cache
def _say_once(sentence: str) -> None:
    say(sentence)


def on_call(verb: Verb, target: Target | None = None) -> tuple[str, ...]:
    """What a restore on call of ``target`` demands of what it restores, since it holds ``verb``. Of what providers
    bring, only that of the one that does it, unless it is left out of ``objectives``; and nothing that is about
    components of another role than it reads. Raises UsageError for a verb that nobody does."""
    plugin, spec = offer(verb, target)
    told = (*registry().values(), *plugin.objectives)
    known = (one for one in objectives().values() if any(one is other for other in told))
    return tuple(one.name for one in known if one.on_call == verb.name and one.role in ("", spec.role))


def settings(path: Path | None = None) -> Settings:
    """What dr.yaml says, with the limits of all objectives that there are. Raises UsageError. Whatever stands where
    providers do and is none, or none that has a name of its own, is named once."""
    for sentence in ignored():
        _say_once(sentence)
    return load(path, {limit.name: one.number for one in objectives().values() for limit in one.limits})


def who_restores(target: Target) -> Mapping[str, Plugin]:
    """Who can restore ``target``, by name."""
    return {name: one for name, one in plugins().items() if one.restores and not one.lacks(target)}


def unrestored(name: str, target: Target) -> RefusedError:
    """That nothing restores the target called ``name``: with what is missing to a provider of which it has a part."""
    partly = (one for one in plugins().values() if one.restores and one.read_of(target))
    missing = (
        f"Add section {', '.join(one.lacks(target))} in dr.yaml, which {one.name} needs to restore it."
        for one in partly
    )
    return RefusedError(f"Nothing restores target {name}.", " ".join(missing) or NOTHING)


def restoring(name: str, target: Target, provider: str = "", to: Mapping[str, Any] | None = None) -> Plugin:
    """Who restores the target called ``name`` from a recovery point ``to``. ``provider``: who is meant, where several
    could. Raises UsageError that names the choices, or that says why none can be loaded, or from what it restores;
    RefusedError where there is none."""
    could = who_restores(target)
    able = {one: plugin for one, plugin in could.items() if plugin.restores_from(to)} or could
    choices = " or ".join(f"--provider {one}" for one in able)
    if lost := unloaded().get(provider) or ("" if able else " ".join(lost_sections(target).values())):
        raise UsageError(lost)
    if provider and provider not in able:
        hint = f"Say {choices}." if able else unrestored(name, target).hint
        raise UsageError(f"The provider {provider!r} does not restore target {name}.", hint)
    if not able:
        raise unrestored(name, target)
    if len(able) > 1 and not provider:
        raise UsageError(f"Who is to restore target {name} is not clear: {', '.join(able)} can.", f"Say {choices}.")
    found = able[provider or next(iter(able))]
    if not found.restores_from(to):
        points, asked = " or ".join(f"a {kind}" for kind in found.restores), next(iter(to or ()), "")
        raise UsageError(
            f"{found.name}, which restores target {name}, does so from {points}, and not from a {asked}.",
            "'dr backups' lists what can be restored.",
        )
    return found


def able(verb: Verb, target: Target) -> bool:
    """Whether somebody does ``verb`` to ``target``, which has what that is about."""
    return bool(_able(verb, target))


def _able(verb: Verb, target: Target) -> list[Plugin]:
    offered = verbs().get(verb.name, ())
    return [plugin for plugin, spec in offered if not plugin.lacks(target) and spec.concerns(target, verb.args)]


def done_for(restores: Plugin, verb: Verb, target: Target) -> Verb | None:
    """``verb`` of a run in which ``restores`` restores: it names who does it, where others could. None: nobody does."""
    everybody = _able(verb, target)
    fits = [plugin for plugin in everybody if plugin is restores or restores.name in plugin.read_of(target)]
    if not fits or len(everybody) == 1:
        return verb if fits else None
    return replace(verb, args={**verb.args, PROVIDER: (restores if restores in fits else fits[0]).name})


def restorers(by_name: Mapping[str, Provider]) -> tuple[Restorer, ...]:
    """The drivers that make a target's restorations, among all of ``drivers``: their clients are slow to make. Raises
    RefusedError where none does."""
    made = tuple(by_name[name] for name, plugin in plugins().items() if plugin.restores and name in by_name)
    if not made:
        raise RefusedError("Nothing restores this target.", NOTHING)
    return cast("tuple[Restorer, ...]", made)


def ask_each(by_name: Mapping[str, Provider], ask: Callable[[Restorer], T]) -> tuple[list[T], list[DrError]]:
    """What each of ``restorers`` answers, and why another could not: that hides nobody else's answer."""
    answers: list[T] = []
    failed: list[DrError] = []
    for provider in restorers(by_name):
        try:
            answers.append(ask(provider))
        except DrError as error:
            failed.append(error)
    return answers, failed


def proposing(by_name: Mapping[str, Provider], target: Target) -> Propose:
    """Who proposes the calls of a verb, among all of ``drivers``, once its arguments are of their type. It sees no
    recovery point of another provider: "latest" is the latest of its own."""

    def propose(verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        plugin, spec = offer(verb, target)
        spec.arguments(verb)
        own = tuple(point for point in facts.points if point.provider == plugin.name)
        calls = by_name[plugin.name].propose(verb, replace(facts, points=own), run)
        if odd := [one for one in calls if not isinstance(one, Call) or one.driver not in by_name]:
            what = getattr(odd[0], "id", odd[0])
            raise UsageError(f"The provider {plugin.name} plans {what!r} for {verb.name}, which no provider does.")
        return calls

    return propose
