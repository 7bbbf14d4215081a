"""Twelve recoveries whose truth is known, of every truth some; ``make truth`` plays all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labs import lab_up
from tests.truth.cases import ALL
from tests.truth.driver import Player
from tests.truth.table import Case, wrong


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    with lab_up("--single") as lab:
        playing = Player(lab)
        yield playing
        playing.close()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ALL if case.quick])
def test_dr_tells_the_truth(player: Player, case: Case) -> None:
    assert not wrong(case, player.play(case))
