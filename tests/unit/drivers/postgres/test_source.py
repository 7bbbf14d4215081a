"""Where the source's database listens, as whoever protects it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dr.config import plugins
from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.model import Resource
from dr.domain.refs import Endpoint
from dr.drivers.postgres import source
from dr.drivers.postgres.source import Source, database_of, last_seen, locate, source_among, status_of
from dr.drivers.rds.naming import instance
from dr.evidence import profiles
from dr.host.clock import SystemClock
from tests.targets import target_of

AT = Endpoint("db.example", 5433)
PINS = {"account": "1", "region": "r"}
SHOWN = Resource(instance("Clinic"), "storage-full", endpoint=AT, uid="db-1")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    target = target_of(**PINS, instance="Clinic")
    return Context("lab", target, Settings(), tmp_path, tmp_path / "run", SystemClock(), "")


def test_the_source_is_found_among_what_is_shown_by_the_name_that_the_target_has(context: Context) -> None:
    of = database_of(context.target)
    assert source_among((SHOWN,), of) == Source("Clinic", "db-1", AT)
    assert source_among((replace(SHOWN, endpoint=None),), of) is None
    assert source_among((replace(SHOWN, ref=instance("other")),), of) is None


def test_whoever_protects_the_database_is_asked_where_it_is(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    rds = replace(plugins.plugins()["rds"], shows=lambda _: (SHOWN,))
    monkeypatch.setattr(source, "plugins", lambda: {"rds": rds})
    assert locate(context) == Source("Clinic", "db-1", AT)
    assert (status_of(context, "CLINIC"), status_of(context, "other")) == ("storage-full", "")


@pytest.mark.parametrize(("pins", "known"), [(PINS, True), ({**PINS, "region": "s"}, False), (None, False)])
def test_a_source_is_seen_last_as_its_profile_has_it(
    context: Context, pins: dict[str, str] | None, known: bool
) -> None:
    """A profile of another region is of another source; ``None``: there is no profile yet."""
    described = {"Endpoint": {"Address": AT.host, "Port": AT.port}, "DbiResourceId": "db-1"}
    if pins is not None:
        profiles.store(context.home, "lab", {**pins, "instance": "Clinic", "at": 1.0, "source": described})
    assert last_seen(context) == (Source("Clinic", "db-1", AT) if known else None)
