"""Which drivers a request brings with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr import wiring
from tests.integration.meters import context

ALL = {"rds", "postgres", "measuring", "serving", "moving", "faults", "observing"}


@pytest.mark.parametrize(
    ("verbs", "needed"),
    [
        (["restore"], {"rds"}),
        (["restore", "examine"], {"rds", "postgres"}),
        (["measure", "serve"], {"rds", "measuring", "serving"}),
        (["promote", "move", "rebuild"], {"rds", "moving"}),
        (["disaster"], {"rds", "postgres", "faults"}),
        (["restore", "no-such-verb"], ALL),
        (list(wiring.PROPOSED_BY), ALL),
    ],
)
def test_only_the_drivers_of_the_asked_verbs_are_made(tmp_path: Path, verbs: list[str], needed: set[str]) -> None:
    made = wiring.drivers(context(tmp_path), verbs)
    assert set(made) == needed
    assert set(wiring.proposers(made)) >= {verb for verb in verbs if verb in wiring.PROPOSED_BY}
