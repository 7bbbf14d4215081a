"""Every case, by its name."""

from __future__ import annotations

from tests.truth.cases import blinded, healthy, sabotaged
from tests.truth.table import Case

ALL: tuple[Case, ...] = (*healthy.CASES, *sabotaged.CASES, *blinded.CASES)
CASES = {case.name: case for case in ALL}
assert len(CASES) == len(ALL), "two cases have one name"
