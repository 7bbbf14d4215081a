"""The golden answers that were recorded of the source before it, or what serves from it, was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dr.config.context import Context
from dr.domain.errors import DrError
from dr.domain.looks import Baseline
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.examine import model_of
from dr.drivers.postgres.source import database_of, locate
from dr.evidence.baselines import BaselineStore, covering

MODEL, UNREAD = "its active model", "its active model, which could not be read"


def recorded(context: Context, before: float) -> Baseline | None:
    """The newest baseline with golden answers that was taken by ``before``, wall time, with what these rest on and has
    changed since; None where there is none. The database goes on while what serves from it is lost."""
    known, _ = BaselineStore(context.home, context.name).load(database_of(context.target).name)
    found = covering([one for one in known if one.golden], before)
    return found and replace(found, outdated=(*found.outdated, *_changed(context, found)))


def _changed(context: Context, baseline: Baseline) -> tuple[str, ...]:
    try:
        model = _model(context)
    except DrError:  # nobody can say then why an answer is another one
        return (UNREAD,)
    return () if model == dict(baseline.model) else (MODEL,)


def _model(context: Context) -> dict[str, Any] | None:
    """That of now; None where the source has no endpoint."""
    source = locate(context)
    if source is None:
        return None
    with connect(source.server, context.target.of(PostgresConfig)) as connection:
        return model_of(connection, context)
