"""What the lab's daemon says of a command that is given what it does not take."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab.bringup import Lab
from dr.lab.rds.remote import KEY, Remote, as_error, call, fit
from tests.support import BUSY


def act(instance: str, *, what: Literal["backend", "postmaster"] = "postmaster", share: float = 0.5) -> None:
    """What is asked for."""


@pytest.mark.parametrize("arguments", [{"instance": "x"}, {"instance": "x", "what": "backend", "share": 1}])
def test_what_a_command_takes_passes(arguments: dict[str, Any]) -> None:
    fit("act", act, arguments)


def test_velero_of_the_lab_is_taken_down_by_a_truth_value() -> None:
    def down(**arguments: Any) -> None:
        fit("velero", Lab.set_velero_down.__get__(object()), arguments)

    down(down=True)
    down()
    with pytest.raises(UsageError, match=r"velero takes down \(true or false; true if left out\), not"):
        down(down="now")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"x": 1},
        {"instance": 5},
        {"instance": "x", "what": "disk"},
        {"instance": "x", "share": "a"},
        {"instance": "x", "share": True},
    ],
)
def test_what_a_command_takes_is_said_where_it_is_given_something_else(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as wrong:
        fit("act", act, arguments)
    takes = (
        'act takes instance (text), what ("backend" or "postmaster"; "postmaster" if left out), '
        "share (number; 0.5 if left out), not {"
    )
    assert str(wrong.value).startswith(takes)


def test_a_command_without_arguments_says_so() -> None:
    with pytest.raises(UsageError, match="tick takes no arguments, not "):
        fit("tick", lambda: None, {"x": 1})


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (3, RefusedError), (5, ProviderError)])
def test_an_error_keeps_its_exit_code_on_its_way(code: int, kind: type[Exception]) -> None:
    assert type(as_error(code, "It is so.")) is kind


def test_who_connects_and_says_nothing_keeps_nobody_from_being_answered(tmp_path: Path) -> None:
    remote = Remote(tmp_path, {"double": double})
    with socket.create_connection(("127.0.0.1", remote.port)), ThreadPoolExecutor(1) as beside:
        assert beside.submit(call, tmp_path, remote.port, "double", number=4).result(timeout=10 * BUSY) == 8
    remote.close()


def test_another_key_is_not_answered(tmp_path: Path) -> None:
    remote = Remote(tmp_path, {"double": double})
    (tmp_path / KEY).write_text("another")
    with pytest.raises(ProviderError, match="does not answer"):
        call(tmp_path, remote.port, "double", number=4)
    remote.close()


def double(number: int) -> int:
    return 2 * number
