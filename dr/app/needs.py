"""What verbs need of this machine: the secrets they log in with, the CAs they verify by, the command that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dr.config.model import Target
from dr.config.needs import Need
from dr.config.plugins import offer, plugins
from dr.domain.errors import DrError
from dr.domain.model import Verb


def needs(target: Target, verbs: Iterable[Verb]) -> Iterator[tuple[str, str]]:
    """Each thing that ``verbs`` need, and what is wrong with it, "" where nothing is. Raises UsageError for a verb that
    nobody does, or that does not take its arguments."""
    offered = ((offer(verb, target)[1], verb) for verb in verbs)
    return _tried(need for spec, verb in offered for need in spec.needs(target, spec.arguments(verb)))


def all_needs(target: Target) -> Iterator[tuple[str, str]]:
    """The same for all that a target names, whatever verb needs it."""
    specs = (spec for plugin in plugins().values() if not plugin.lacks(target) for spec in plugin.verbs)
    return _tried(need for spec in specs for need in spec.needs(target, None))


def _tried(found: Iterable[Need]) -> Iterator[tuple[str, str]]:
    for what, trial in {need.what: need.trial for need in found}.items():
        yield what, problem(trial)


def problem(attempt: Callable[[], object]) -> str:
    """What ``attempt`` fails with, "" where it does not."""
    try:
        attempt()
    except DrError as error:
        return str(error)
    return ""
