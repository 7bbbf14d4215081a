"""When an alert would have been pending and firing, from the samples of its own expression. Pure.

An alert's ``for`` outlasts most drills, so that what Prometheus itself had fired by the drill's end says little: this
says what the rule comes to, with its ``for`` as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

TINY = 1e-3
"""Of a step: what wall-clock seconds may be off as binary fractions."""


@dataclass(frozen=True, slots=True)
class Alerting:
    """One stretch of an alert, wall-clock seconds.

    ``firing``: when it began to fire; None: it did not within the stretch. ``until``: the first evaluation at which the
    expression was no longer true; None: it was true to the end, so that what did not fire might have fired later.
    ``since`` at the window's first evaluation: it may have begun before.
    """

    since: float
    firing: float | None
    until: float | None


def stretches(true_at: Iterable[float], start: float, end: float, step: float, held: float) -> tuple[Alerting, ...]:
    """An alert's stretches within the evaluations ``start``, ``start + step``, ... up to ``end``.

    ``true_at``: the times of the points that the range query of the rule's expression returned on that grid: a
    comparison returns a point where it holds and none elsewhere. ``held``: the rule's ``for``, seconds. As Prometheus
    does: pending from the first true evaluation, firing from the first that is ``held`` later, over at one untrue.
    """
    true = {round((at - start) / step) for at in true_at}
    evaluations = math.floor((end - start) / step + TINY) + 1
    found: list[Alerting] = []
    since: int | None = None
    for n in range(evaluations):
        if n in true and since is None:
            since = n
        elif n not in true and since is not None:
            found.append(_stretch(start, step, held, since, n, over=True))
            since = None
    if since is not None:
        found.append(_stretch(start, step, held, since, evaluations, over=False))
    return tuple(found)


def _stretch(start: float, step: float, held: float, since: int, beyond: int, over: bool) -> Alerting:
    """The stretch of the evaluations from ``since`` to before ``beyond``."""
    fires = since + math.ceil(held / step - TINY)
    return Alerting(
        start + since * step,
        start + fires * step if fires < beyond else None,
        start + beyond * step if over else None,
    )
