"""Providers as plugins: a folder of ``dr.drivers`` with a plugin.py is one, and nothing else names it.

A plugin.py is read by every command that plans anything, so that it imports nothing that is slow.
"""

from __future__ import annotations

import importlib
import keyword
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, cast

import msgspec

from dr.config.contained import contained
from dr.config.context import Context
from dr.config.model import Meter, Section, Target
from dr.config.needs import Check
from dr.config.objective import Objective
from dr.domain.errors import DEFECTS, DrError, UsageError
from dr.domain.model import Facts, Purpose, Resource, Verb
from dr.ports import Provider

DRIVERS = "dr.drivers"
PROVIDER = "provider"
"""The argument of any verb that says which provider does it, where a target has several that could."""


@dataclass(frozen=True, slots=True)
class VerbSpec:
    """A verb that a provider offers.

    ``does``: what it does, a sentence. ``args``: the type of its arguments. ``kinds``: the values of its argument
    ``kind`` that this provider takes, where another offers the same verb for others; empty: whatever it says.
    ``role``: of the components that it reads, where that decides what may be demanded of them.
    ``paths``: those of which its calls observe anything, by arguments and purpose. ``needs``: of a target and arguments
    (None: whatever they may be), what it needs of this machine. ``concerns``: whether a target has what it is about.
    ``strikes``: it is an experiment's fault, in whose place another's stands where that uses its method.
    """

    name: str
    does: str
    args: type[msgspec.Struct] = msgspec.Struct
    kinds: frozenset[str] = frozenset()
    role: str = ""
    paths: Callable[[Mapping[str, Any], Purpose], Collection[str]] = lambda _args, _purpose: ()
    needs: Callable[[Any, Any], Iterable[Check]] = lambda _target, _args: ()
    concerns: Callable[[Target, Mapping[str, Any]], bool] = lambda _target, _args: True
    strikes: bool = False

    def arguments(self, verb: Verb) -> Any:
        """The arguments of ``verb`` as their type. Raises UsageError for one that it does not take."""
        given = {key: value for key, value in verb.args.items() if key != PROVIDER}
        known = self.args.__struct_fields__
        unknown = sorted(set(given) - set(known))
        if unknown:
            takes = ", ".join(known) or "none"
            raise UsageError(f"{verb.name} knows no argument {', '.join(unknown)}.", f"It takes: {takes}.")
        try:
            return msgspec.convert(given, self.args)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"{verb.name} does not take {given!r}: {error}.", f"It takes: {', '.join(known)}."
            ) from None

    def takes(self, verb: Verb) -> bool:
        """Whether the arguments of ``verb`` are of their type."""
        try:
            self.arguments(verb)
        except UsageError:
            return False
        return True


TAKEN = frozenset({"undo", "whole_drill", "predictions_in_slo"})
"""What experiments call beside verbs."""


def later(module: str, name: str) -> Callable[[Context], Provider]:
    """What makes a provider of the class ``name``, whose ``module`` is imported no earlier, since that may be slow."""
    return lambda context: cast("Provider", getattr(importlib.import_module(module), name)(context))


@dataclass(frozen=True, slots=True)
class Plugin:
    """A provider: its ``name``, how it is made, the ``verbs`` that it offers, and the ``objectives`` that it brings.

    One that is not made only brings its section, which others read.

    ``section``: the type of what a target says for it; None where it needs nothing said. ``reads``: the sections
    without which it cannot be made, each by its name, or by the role of what a target protects by it. ``restores``:
    from which recovery points, by the words that its verb's argument ``to`` takes; where there are any, it fulfils
    ``dr.ports.Restorer``, too. ``checks``: what 'dr doctor' asks of a target that has these sections, by what those who
    restore see.

    ``parts``: the distributions by which it works; a run records their versions. ``shows``: whatever is of the kind of
    what a target protects, without all else that planning needs. ``last_seen``: what it protects as it was seen last,
    without a request; None: that is not known. ``held``: what of it others cannot use now, a pool each; None where a
    target has nothing like it. ``baseline``: records what the source holds, apart from any run; says what was done.

    ``keeps``: settings of a server that are of the provider's version of it, and no copy's to have. ``sized_by``:
    what it calls a server's size, among that in which a copy may differ.
    """

    name: str
    make: Callable[[Context], Provider] | None = None
    verbs: tuple[VerbSpec, ...] = ()
    objectives: tuple[Objective, ...] = ()
    section: type[Section] | None = None
    reads: tuple[str, ...] = ()
    restores: tuple[str, ...] = ()
    checks: Callable[[Context, Facts], Iterable[Check]] = lambda _context, _facts: ()
    parts: tuple[str, ...] = ()
    shows: Callable[[Context], tuple[Resource, ...]] = lambda _context: ()
    last_seen: Callable[[Context], Resource | None] = lambda _context: None
    held: Callable[[Context], list[dict[str, Any]] | None] = lambda _context: None
    baseline: Callable[[Context], str] | None = None
    keeps: tuple[str, ...] = ()
    sized_by: str = ""

    def made(self, context: Context) -> Provider:
        """Its provider. Raises UsageError where that cannot be made, as where its client library lacks."""
        assert self.make is not None  # noqa: S101 - who asks for one that only brings its section asks wrongly
        try:
            return contained(self.name, self.make(context))
        except DrError:
            raise
        except DEFECTS as error:
            raise UsageError(
                f"The provider {self.name} cannot be made ({type(error).__name__}: {error}).",
                "Mend its folder, or install what it needs.",
            ) from None

    def restores_from(self, to: object) -> bool:
        """Whether it restores from a recovery point ``to``, as a verb says it; True where that says none, or where it
        restores nothing at all."""
        return not self.restores or not isinstance(to, Mapping) or not to or bool(to.keys() & {*self.restores})

    def takes(self, verb: str, argument: str) -> bool:
        """Whether its ``verb`` has an argument of this name."""
        return any(argument in spec.args.__struct_fields__ for spec in self.verbs if spec.name == verb)

    def read_of(self, target: Target) -> frozenset[str]:
        """The sections that it reads, as far as ``target`` has them."""
        return frozenset(chain.from_iterable(_standing_for(name, target) for name in self.reads))

    def lacks(self, target: Target) -> tuple[str, ...]:
        """The sections that it reads and ``target`` does not have."""
        return tuple(_called(name) for name in self.reads if not _standing_for(name, target))


def _standing_for(read: str, target: Target) -> list[str]:
    """The sections of ``target`` of this name, or of this role."""
    return [name for name, section in target.sections.items() if read in (name, section.role)]


def _called(read: str) -> str:
    """What somebody would add for it: of a role, any section that has it."""
    sections = ((name, plugin.section) for name, plugin in plugins().items() if plugin.section is not None)
    return " or ".join(name for name, section in sections if read != name and section.role == read) or read


def plugins() -> Mapping[str, Plugin]:
    """Every provider that can be loaded, by name."""
    return {name: one for name, one in _found().items() if isinstance(one, Plugin)}


def unloaded() -> Mapping[str, str]:
    """Every other one: what happened to which folder, and what to do next. It hinders nothing that does not need it."""
    return {name: one for name, one in _found().items() if isinstance(one, str)}


def ignored() -> tuple[str, ...]:
    """Of what is not loaded, that by whose name nobody could ask for it: what it is, and what to do next."""
    return tuple(why for name, why in unloaded().items() if os.sep in name)


@cache
def _found() -> Mapping[str, Plugin | str]:
    """By name; what is no provider, or none that has a name of its own, by its path."""
    found: dict[str, Plugin | str] = {}
    places = {os.path.realpath(place): Path(place) for place in importlib.import_module(DRIVERS).__path__}
    for place in places.values():
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            why = "is no directory" if not place.is_dir() else f"cannot be read: {error.strerror}"
            found[str(place)] = f"DR_PLUGINS names {place}, which {why}."
            continue
        for at in entries:
            if at.name.startswith((".", "_")) or (lack := _no_folder(at)) is None:
                continue
            if lack:
                found[str(at)] = f"{at} is no provider: {lack}. Mend it, or take it out of that directory."
            elif at.name in found:
                found[str(at)] = f"{at} is left out: there is another provider {at.name}. Give it a name of its own."
            else:
                found[at.name] = _plugin(at)
    return dict(sorted(found.items()))


def _no_folder(at: Path) -> str | None:
    """What keeps ``at`` from being the folder of a provider, "" where nothing does; None of a file without code."""
    if at.is_symlink() and not at.exists():
        return "it is a link that leads nowhere"
    if not at.is_dir():
        return "it is a file, and a provider is a folder" if at.suffix == ".py" else None
    lacking = [name for name in ("__init__.py", "plugin.py") if not (at / name).is_file()]
    return f"it has no {' and no '.join(lacking)}" if lacking else ""


def _plugin(at: Path) -> Plugin | str:
    """What the plugin.py of a folder describes, or why that cannot be told."""
    folder = at.name
    why = f"its PLUGIN is not the plugin {folder}"
    try:
        found = importlib.import_module(f"{DRIVERS}.{folder}.plugin").PLUGIN
        if isinstance(found, Plugin) and found.name == folder:
            why = _unfit(found)
            if not why:
                return found
    except DEFECTS as error:
        why = f"{type(error).__name__}: {error}".rstrip(".")
    return f"The provider {folder} cannot be loaded from {at} ({why}). Mend that folder, or install what it needs."


def _unfit(plugin: Plugin) -> str:
    """Why a plugin cannot be used, "" where it can. Raises whatever its types do."""
    if not _may_be_a_section(plugin.name):
        return f"{plugin.name} cannot be the name of a target's section"
    for kind in (plugin.section or Section, *(spec.args for spec in plugin.verbs)):
        msgspec.structs.fields(kind)
        with suppress(msgspec.ValidationError):  # whatever else is said of it, nothing can be read as it
            msgspec.convert({}, kind)
    if odd := [one for one in plugin.objectives if not isinstance(one, Objective)]:
        return f"{odd[0]!r} is no objective"
    names = [spec.name for spec in plugin.verbs]
    taken = [spec.name for spec in plugin.verbs if spec.name in TAKEN or not _may_be_called(spec.name)]
    if taken:
        return f"{taken[0]} cannot be a verb's name"
    if twice := [spec.name for n, spec in enumerate(plugin.verbs) if spec.name in names[:n] and not spec.kinds]:
        return f"it offers {twice[0]} twice"
    return f"nothing makes who does {names[0]}" if names and plugin.make is None else ""


def _may_be_called(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _may_be_a_section(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not hasattr(Target, name)


def verbs() -> Mapping[str, tuple[tuple[Plugin, VerbSpec], ...]]:
    """Every verb's name to those who offer it."""
    offered: dict[str, tuple[tuple[Plugin, VerbSpec], ...]] = {}
    for plugin in plugins().values():
        for spec in plugin.verbs:
            offered[spec.name] = (*offered.get(spec.name, ()), (plugin, spec))
    return dict(sorted(offered.items()))


@cache
def target_type() -> type[Target]:
    """A target with a section for each provider that has one, under the provider's name. That of one that cannot be
    loaded may say anything, and is none of its ``sections``."""
    sections: list[Any] = [(name, plugin.section | None, None) for name, plugin in plugins().items() if plugin.section]
    sections += [(name, Any, None) for name in unloaded() if _may_be_a_section(name)]
    made = msgspec.defstruct("Target", sections, bases=(Target,), frozen=True, forbid_unknown_fields=True)
    return cast("type[Target]", made)


def settings_type(limits: Mapping[str, Any]) -> type[Any]:
    """The whole of dr.yaml, with such targets, where ``limits`` may stand under ``objectives``: name to the type of its
    number."""
    named = [(name.replace("-", "_"), kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in limits.items()]
    objectives = msgspec.defstruct("Objectives", named, rename="kebab", frozen=True, forbid_unknown_fields=True)
    fields: list[Any] = [
        ("targets", dict[str, target_type()], {}),  # type: ignore[misc]
        ("objectives", objectives, objectives()),
        ("meter", Meter, Meter()),
    ]
    return msgspec.defstruct("Settings", fields, frozen=True, forbid_unknown_fields=True)


def takes(verb: Verb, target: Target | None = None) -> None:
    """Raises UsageError where nobody does ``verb`` with its arguments: of several, whoever ``offer`` finds for
    ``target``; without a target any of them may be meant."""
    able = _fitting(verb) if target is None else [offer(verb, target)]
    wrong = []
    for _, spec in able or [offer(verb)]:
        try:
            spec.arguments(verb)
        except UsageError as error:
            wrong.append(error)
        else:
            return
    raise wrong[0]


def _fitting(verb: Verb) -> list[tuple[Plugin, VerbSpec]]:
    """Who offers ``verb``, by its kind and by the provider that it names."""
    kind, provider = verb.args.get("kind"), verb.args.get(PROVIDER)
    fits = [one for one in verbs().get(verb.name, ()) if provider in (None, one[0].name)]
    return [one for one in fits if not one[1].kinds or (isinstance(kind, str) and kind in one[1].kinds)]


def offer(verb: Verb, target: Target | None = None) -> tuple[Plugin, VerbSpec]:
    """Who does ``verb``: of several, whoever has a section in ``target``; without one, whoever takes its arguments.
    Raises UsageError where nobody does, where whoever does cannot be loaded, or where it is not clear who."""
    offered = verbs().get(verb.name, ())
    if not offered:
        hint = " ".join((f"Known verbs: {', '.join(verbs())}.", *unloaded().values()))
        raise UsageError(f"There is no verb {verb.name!r}.", hint)
    kind, provider = verb.args.get("kind"), verb.args.get(PROVIDER)
    if isinstance(provider, str) and provider in unloaded():
        raise UsageError(unloaded()[provider])
    fits = _fitting(verb)
    fits = [one for one in fits if one[0].restores_from(verb.args.get("to"))] or fits
    if target is not None:
        able = [one for one in fits if not one[0].lacks(target)]
        if not able and (lost := lost_sections(target)):
            raise UsageError(" ".join(lost.values()))
        fits = able or fits
    else:
        fits = [one for one in fits if one[1].takes(verb)][:1] or fits[:1]
    if len(fits) == 1:
        return fits[0]
    kinds = sorted(kind for _, spec in offered for kind in spec.kinds)
    if kinds and not fits:
        what = f"There is no {verb.name} of kind {kind!r}." if kind else f"The verb {verb.name} needs an argument kind."
        raise UsageError(what, f"The kinds are {', '.join(kinds)}.")
    names = ", ".join(plugin.name for plugin, _ in fits or offered)
    raise UsageError(f"Who does {verb.name} is not clear.", f"Give it provider: one of {names}.")


def lost_sections(target: Target) -> dict[str, str]:
    """The sections of ``target`` whose provider cannot be loaded, each with what to do about it."""
    return {name: why for name, why in unloaded().items() if getattr(target, name, None) is not None}
