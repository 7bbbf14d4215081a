"""Meters as a plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

import msgspec

from dr.config.needs import Check, bundle
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Purpose
from dr.drivers.measuring.paths import DATABASE_PATHS, WRITES, Path
from dr.drivers.postgres.plugin import harness
from dr.drivers.sections import Sections, pooler_of
from dr.drivers.service.plugin import token


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``markers``: rows are written to the source, too. ``url``: where a path is served that is neither the source nor
    what was restored."""

    path: Path
    markers: bool = False
    url: str = ""


class Settling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``paths``: those that are to be good at the same time."""

    paths: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1)]


def _measured(args: Mapping[str, Any], _purpose: Purpose) -> Collection[str]:
    return (str(args["path"]),) if "path" in args else ()


def _needs(target: Sections, args: Measurement | None) -> Iterable[Check]:
    if args is None or args.markers or args.path in DATABASE_PATHS:
        yield from harness(target)
    if target.service is not None and (args is None or args.path not in DATABASE_PATHS):
        yield from token(target.service)
    pooler = pooler_of(target)
    if pooler is not None and (args is None or args.path == WRITES):
        yield from bundle("clients.pooler.ca", pooler.ca)


PLUGIN = Plugin(
    "measuring",
    later("dr.drivers.measuring.provider", "MeasuringProvider"),
    (
        VerbSpec("measure", "Measure a path until the run unwinds.", Measurement, paths=_measured, needs=_needs),
        VerbSpec("settle", "Wait until all paths are good together, or it was waited long enough for them.", Settling),
    ),
    reads=("rds", "postgres"),
)
