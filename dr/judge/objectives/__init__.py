"""Every objective there is: each module in this folder exports ``OBJECTIVES``, and nothing else names it."""

from __future__ import annotations

import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module

from dr.config.objective import Objective
from dr.domain.errors import UsageError


def registry(extra: Iterable[Objective] = ()) -> Mapping[str, Objective]:
    """Name to objective: those of this folder, and ``extra``, which providers bring. Raises UsageError where two have a
    name in common, or two limits. Objectives may share one."""
    found = (*_own(), *extra)
    names = Counter(one.name for one in found)
    limits = Counter(limit.name for limit in {limit for one in found for limit in one.limits})
    twice = sorted({name for names in (names, limits) for name, count in names.items() if count > 1})
    if twice:
        raise UsageError(f"More than one objective, or limit of one, is called {', '.join(twice)}.", "Rename one.")
    return {one.name: one for one in found}


@cache
def _own() -> tuple[Objective, ...]:
    modules = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return tuple(one for name in modules for one in import_module(f"{__name__}.{name}").OBJECTIVES)
