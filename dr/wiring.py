"""From a target to its drivers: the one place that names them. Called by: ``dr.app``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from dr.config.context import Context

if TYPE_CHECKING:
    from dr.ports import Provider, Restorer

PROPOSED_BY = {
    "baseline": "postgres",
    "declare": "postgres",
    "disaster": "postgres",
    "examine": "postgres",
    "measure": "measuring",
    "restore": "rds",
    "serve": "serving",
}
"""A verb's name to the driver that proposes its calls."""


def drivers(context: Context) -> Mapping[str, Provider]:
    """Every driver of a target, by the name that calls carry. Imports are slow and stay here."""
    from dr.drivers.measuring import MeasuringProvider
    from dr.drivers.postgres import PostgresProvider
    from dr.drivers.rds import RdsProvider
    from dr.drivers.serving import ServingProvider

    return {
        "rds": RdsProvider(context),
        "postgres": PostgresProvider(context),
        "measuring": MeasuringProvider(context),
        "serving": ServingProvider(context),
    }


def restorer(by_name: Mapping[str, Provider]) -> Restorer:
    """The driver that makes restorations, among a target's."""
    return cast("Restorer", by_name[PROPOSED_BY["restore"]])


def proposers(by_name: Mapping[str, Provider]) -> Mapping[str, Provider]:
    """A verb's name to its driver."""
    return {verb: by_name[driver] for verb, driver in PROPOSED_BY.items()}
