"""What an observation holds has the shape of its kind, to its depth; those that runs of all versions wrote have it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.domain.model import Observation
from dr.evidence.directory import OBSERVATION
from dr.evidence.shapes import misfit
from dr.host.decode import line_of
from tests.unit.judge.objectives.test_content import BASELINE, COPY
from tests.unit.recoveries import drill

FORMER = sorted(Path(__file__).with_name("former").glob("*.tar.xz"))
INDEXES = {"available": True, "checked": 1, "failed": [{"index": "a", "error": "b"}], "probed": 0, "unprobed": {}}


def told(what: str, value: Any) -> str:
    return misfit(Observation(what, "restored", value))


@pytest.mark.parametrize("path", FORMER, ids=lambda path: path.name)
def test_what_former_versions_wrote_fits(path: Path) -> None:
    with tarfile.open(path) as archive:
        files = [archive.extractfile(one) for one in archive if one.name.endswith("observations.jsonl")]
        lines = [line for file in files if file is not None for line in file]
    seen = [line_of(line, OBSERVATION) for line in lines]
    assert seen
    assert [why for one in seen if (why := misfit(one))] == []


def test_what_a_drill_observes_fits() -> None:
    assert [why for one in drill().observations if (why := misfit(one))] == []


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("look", msgspec.to_builtins(COPY)),
        ("look", {"because": "the source is gone"}),
        ("baseline", msgspec.to_builtins(BASELINE)),
        ("baseline", None),
        ("configuration", {"because": "the source is gone"}),
        ("indexes", INDEXES),
        ("of-a-later-version", [1, None]),
    ],
)
def test_what_is_of_its_kind_fits(what: str, value: Any) -> None:
    assert told(what, value) == ""


@pytest.mark.parametrize(
    ("what", "value", "where"),
    [
        ("look", {**msgspec.to_builtins(COPY), "tables": {"public.a": 1}}, "$.tables[...]"),
        ("look", {"at": 1.0}, "missing required field"),
        ("baseline", {"id": "b"}, "missing required field"),
        ("rows", {"public.a": {"read": ["x"], "parts": {}}}, "$[...].read[0]"),
        ("foreign-keys", [{"name": "a", "table": "b", "orphans": "0"}], "$[0].orphans"),
        ("foreign-keys", [{"name": "a", "orphans": 0}], "`table` - at `$[0]`"),
        ("indexes", {**INDEXES, "failed": [{"index": "a"}]}, "$.failed[0]"),
        ("indexes", {**INDEXES, "unprobed": []}, "$.unprobed"),
        ("model", {"active": "1"}, "$.active"),
        ("model", {"active": 1, "source": {"version": 2}}, "$.source.version"),
        ("logins", [{"user": "a", "ok": 1, "because": ""}], "$[0].ok"),
        ("golden", {"a": 1}, "$[...]"),
        ("planted", {"answers": {"a": None}, "because": ""}, "$.answers[...]"),
        ("asked", {}, "`stood`"),
        ("stored", {"copy": 1.5, "source": 0, "because": "", "silent": False}, "$.copy"),
        ("markers", {"table": True, "present": [[1]]}, "$.present[0]"),
        ("victims", None, "got `null`"),
        ("victims", {"expected": 5}, "`present`"),
        ("configuration", [{"name": "a"}], "$[0]"),
        ("recovery-point", {"kind": "time", "identifier": "a", "covers": "now"}, "$.covers"),
        ("metrics", {"a": {"count": 1, "buckets": {"0.1": None}}}, "$[...].buckets[...]"),
        ("pools", {"when": "before", "pools": [{"database": "a"}]}, "$.pools[0]"),
        ("clock", {"offset": 0.1, "uncertainty": None}, "$.uncertainty"),
        ("failover", {"events": [{"at": "x", "message": ""}], "promoted_at": None}, "$.events[0].at"),
        ("unobserved", {"because": "x"}, "Expected `str`"),
    ],
)
def test_what_is_of_another_shape_at_any_depth_is_told(what: str, value: Any, where: str) -> None:
    assert told(what, value).startswith(f"the value of '{what}': ")
    assert where in told(what, value)
