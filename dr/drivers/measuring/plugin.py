"""Meters as a plugin."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

import msgspec

from dr.config.model import Target
from dr.config.needs import Check, bundle
from dr.config.plugins import Plugin, VerbSpec, later
from dr.domain.model import Purpose
from dr.drivers.clients.config import pooler_of
from dr.drivers.measuring.paths import DATABASE_PATHS, WRITES, Path
from dr.drivers.postgres.plugin import harness
from dr.drivers.service.config import ServiceConfig
from dr.drivers.service.plugin import token


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``markers``: rows are written to the source, too. ``url``: where a path is served that is neither the source nor
    what was restored; ``namespace``: of the copy that serves it."""

    path: Path
    markers: bool = False
    url: str = ""
    namespace: str = ""


class Settling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``paths``: those that are to be good at the same time."""

    paths: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1)]


def _measured(args: Mapping[str, Any], _purpose: Purpose) -> Collection[str]:
    return (str(args["path"]),) if "path" in args else ()


def _concerns(target: Target, args: Mapping[str, Any]) -> bool:
    return args.get("path") in DATABASE_PATHS or target.section(ServiceConfig) is not None


def _needs(target: Target, args: Measurement | None) -> Iterable[Check]:
    service = target.section(ServiceConfig)
    if args is None or args.markers or args.path in DATABASE_PATHS:
        yield from harness(target)
    if service is not None and (args is None or args.path not in DATABASE_PATHS):
        yield from token(service)
    pooler = pooler_of(target)
    if pooler is not None and (args is None or args.path == WRITES):
        yield from bundle("clients.pooler.ca", pooler.ca)


PLUGIN = Plugin(
    "measuring",
    later("dr.drivers.measuring.provider", "MeasuringProvider"),
    (
        VerbSpec(
            *("measure", "Measure a path until the run unwinds.", Measurement),
            paths=_measured,
            needs=_needs,
            concerns=_concerns,
        ),
        VerbSpec("settle", "Wait until all paths are good together, or it was waited long enough for them.", Settling),
    ),
    reads=("database", "postgres"),
)
