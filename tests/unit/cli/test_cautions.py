"""What is to be known before consent is told with the plan, and a refusal of what was consented to stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dr.cli.common import consent, print_plan
from tests.unit.drivers.rds.support import SOURCE
from tests.unit.machines import Machines, again, wanted

CAUTION = "The damage may be in it."


@pytest.mark.parametrize(
    ("yes", "confirm", "told"),
    [
        (False, "another-db", False),
        (False, SOURCE, True),
        (True, "", False),  # the target is not disposable
        (False, "", True),  # what is asked for is consent, which this is to be known before
    ],
)
def test_a_caution_is_told_before_what_begins_and_not_beside_a_refusal_of_the_consent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, yes: bool, confirm: str, told: bool
) -> None:
    Machines(tmp_path, monkeypatch)
    given = consent(again(wanted()), yes, confirm, [CAUTION])
    assert (given.identifier, given.yes) == (confirm, yes)
    assert capsys.readouterr() == ("", f"dr: {CAUTION}\n" if told else "")


def test_a_caution_comes_with_the_plan_and_leaves_its_document_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Machines(tmp_path, monkeypatch)
    print_plan(again(wanted()), "json", [CAUTION])
    shown = capsys.readouterr()
    assert shown.out.startswith("{")
    assert shown.err == f"dr: {CAUTION}\n"
