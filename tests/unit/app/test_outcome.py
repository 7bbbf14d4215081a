from __future__ import annotations

import pytest

from dr.app.ending import worst


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ({0}, 0),
        ({0, 4}, 4),
        ({4, 5}, 5),
        ({1, 5, 4, 3}, 1),
        ({3, 4}, 4),
        ({130, 1}, 130),
        ({143, 4}, 143),
        ({129, 1}, 129),
        (set(), 0),
    ],
)
def test_several_exit_codes_come_down_to_the_worst(codes: set[int], code: int) -> None:
    assert worst(codes) == code
