"""What others answer, print or leave behind may be anything: it is a sentence or "none", and never a defect of dr's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dr.app.drill import read
from dr.domain.errors import ProviderError, UsageError
from dr.drivers.faults.provider import run_command
from dr.host.children import held
from dr.lab import fault, presence
from dr.meter.http import Response, answer

BRACKETS = "[" * 100_000 + "]" * 100_000
DEEP = '{"a":' + BRACKETS + "}"


@pytest.mark.parametrize("text", [DEEP, '{"a": NaN}', '{"a": 1e999}', "[1]", "{", "\udcff"])
def test_arguments_of_a_fault_are_one_object_of_json(text: str) -> None:
    with pytest.raises(UsageError, match="no JSON object"):
        fault.parse(text)


@pytest.mark.parametrize("printed", [b'{"a": NaN}', b"{", b'{"a": 1e999}'])
def test_a_fault_that_prints_something_else_is_a_providers_error(printed: bytes) -> None:
    with pytest.raises(ProviderError, match="The answer to the fault crash"):
        run_command([sys.executable, "-c", f"import os; os.write(1, {printed!r})"], "crash", {}, 20.0)


@pytest.mark.parametrize("body", [DEEP.encode(), b'{"a": "\xff"}', b"[]", b'{"a": NaN}', b""])
def test_an_answer_of_the_service_that_is_no_object_is_a_bad_body(body: bytes) -> None:
    assert answer(Response(200, body, True), ["a"]) == "body"


@pytest.mark.parametrize("left", [b"", b"\xff", DEEP.encode(), b"[]", b'{"who": 7, "owner": ""}', b'{"who": "x"}'])
def test_a_pid_file_and_a_presence_that_are_none_name_no_process(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pid").write_bytes(left)
    (tmp_path / "daemon.json").write_bytes(left)
    assert held(tmp_path / "x.pid") is None
    assert presence.read(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title: \xff", "line 1, is not UTF-8"),
        (BRACKETS.encode(), "nested deeper"),
        (b"title: t\nmethod: 7", "line 2, is not valid: method"),
        (b"title: t\ndescription: d\nmethod:\n- name: a\n  provider: 7", "line 5, is not valid: method.0.provider"),
        (b"title: t\ndescription: d\nmethod: []\nextensions: [{name: dr, demands: {a: b}, runbook: 7}]", "line 4, is"),
        (b"extensions: [{name: dr}]\nmethod: []", "not an experiment dr understands"),
    ],
)
def test_an_experiment_that_is_none_is_named_with_its_line(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.yaml") as raised:
        read(str(path))
    assert says in str(raised.value)
