"""From a target to its drivers: the one place that names them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, cast

from dr.config.context import Context

if TYPE_CHECKING:
    from dr.ports import Provider, Restorer

PROPOSED_BY = {
    "await_failover": "rds",
    "baseline": "postgres",
    "configure": "rds",
    "declare": "postgres",
    "disaster": "postgres",
    "examine": "postgres",
    "failover": "rds",
    "lag": "rds",
    "measure": "measuring",
    "move": "moving",
    "observe": "observing",
    "promote": "rds",
    "rebuild": "rds",
    "remedy": "faults",
    "restore": "rds",
    "serve": "serving",
    "settle": "measuring",
}
"""A verb's name to the driver that proposes its calls."""
DONE_BY = {"disaster": ("faults",)}
"""A verb's name to further drivers that its calls may name."""
RESTORER = PROPOSED_BY["restore"]
"""It looks at the account, too, and so is always among the drivers."""


def drivers(context: Context, verbs: Collection[str] = PROPOSED_BY) -> Mapping[str, Provider]:
    """A target's drivers, by the name that calls carry: the restorer, and those that ``verbs`` need.

    Imports are slow and stay in here. A verb that nobody proposes needs all of them, to be told what there is.
    """
    makers = {
        "rds": _rds,
        "postgres": _postgres,
        "measuring": _measuring,
        "serving": _serving,
        "moving": _moving,
        "faults": _faults,
        "observing": _observing,
    }
    known = all(verb in PROPOSED_BY for verb in verbs)
    needed = {name for verb in verbs for name in (PROPOSED_BY[verb], *DONE_BY.get(verb, ()))} if known else {*makers}
    return {name: make(context) for name, make in makers.items() if name in {RESTORER, *needed}}


def _rds(context: Context) -> Provider:
    from dr.drivers.rds.provider import RdsProvider

    return RdsProvider(context)


def _postgres(context: Context) -> Provider:
    from dr.drivers.postgres.provider import PostgresProvider

    return PostgresProvider(context)


def _measuring(context: Context) -> Provider:
    from dr.drivers.measuring.provider import MeasuringProvider

    return MeasuringProvider(context)


def _serving(context: Context) -> Provider:
    from dr.drivers.service.provider import ServingProvider

    return ServingProvider(context)


def _moving(context: Context) -> Provider:
    from dr.drivers.clients.provider import MovingProvider

    return MovingProvider(context)


def _faults(context: Context) -> Provider:
    from dr.drivers.faults.provider import FaultsProvider

    return FaultsProvider(context)


def _observing(context: Context) -> Provider:
    from dr.drivers.observing.provider import ObservingProvider

    return ObservingProvider(context)


def restorer(by_name: Mapping[str, Provider]) -> Restorer:
    """The driver that makes a target's restorations, among all of ``drivers``: its client is slow to make."""
    return cast("Restorer", by_name[RESTORER])


def proposers(by_name: Mapping[str, Provider]) -> Mapping[str, Provider]:
    """A verb's name to its driver."""
    return {verb: by_name[driver] for verb, driver in PROPOSED_BY.items() if driver in by_name}
