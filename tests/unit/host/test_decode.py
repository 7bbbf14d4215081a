"""One way to read a file: what it should hold comes back, and anything else is one error with the file and the line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.config import former
from dr.config.model import Settings
from dr.config.plugins import settings_type
from dr.domain.errors import EvidenceError, UsageError
from dr.host.decode import DEPTH, OBJECT, deep, find_json, line_of, read_json, read_yaml, wrong


class Shape(msgspec.Struct):
    name: str
    numbers: dict[str, float] = {}
    more: Any = None


def brackets(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


BAD_JSON = {
    "no utf-8": (b'{\n "name": "\xff"}', "line 2, is not UTF-8"),
    "no utf-8 in what nobody reads": (b'{"name": "a",\n\n "other": "\xff"}', "line 3, is not UTF-8"),
    "torn": (b'{\n "name": "a"', "line 2, is not JSON"),
    "empty": (b"", "line 1, is not JSON"),
    "a comma too many": (b'{\n\n "name": "a",}', "line 3, is not JSON"),
    "a list": (b"[]", "line 1, is not what it should be"),
    "another shape": (b'{\n"name": 1}', "line 2, is not what it should be: name: Expected `str`, got `int`"),
    "an entry's shape": (b'{"name": "",\n"numbers": {"a": 1,\n"b": "x"}}', "line 3, is not what it should be"),
    "NaN": (b'{"name": "a", "more":\nNaN}', "line 2, is not JSON"),
    "endless": (b'{"name": "a",\n"more": 1e999}', "line 2, is not what it should be"),
    "half a surrogate": (b'{"name": "\\ud800"}', "is not JSON"),
    "brackets": (b'{"name": "a", "more": ' + brackets(100_000) + b"}", "nested deeper"),
    "brackets in what nobody reads": (b'{"name": "a", "x": ' + brackets(DEPTH) + b"}", "nested deeper"),
    "open brackets": (b"[" * 100_000, "is not what it should be"),
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_json_that_is_not_what_it_should_be_is_one_error_with_file_and_line(what: str, tmp_path: Path) -> None:
    content, says = BAD_JSON[what]
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(EvidenceError) as raised:
        read_json(path, Shape, hint="Do this.")
    assert str(path) in str(raised.value)
    assert says in str(raised.value)
    assert str(raised.value).endswith("Do this.")


def test_json_that_is_what_it_should_be_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"name": "[[[[", "numbers": {"a": 1}, "more": ' + brackets(DEPTH - 1) + b"}")
    assert read_json(path, Shape).numbers == {"a": 1.0}
    assert find_json(tmp_path / "y.json", Shape) is None
    with pytest.raises(EvidenceError, match=r"y\.json cannot be read"):
        read_json(tmp_path / "y.json", Shape)


def test_depth_is_counted_outside_strings_and_over_both_kinds_of_brackets() -> None:
    assert not deep(b'["' + b"[" * 1000 + b'\\""]')
    assert not deep(b"[" + b"[[]]," * 1000 + b"[]]")
    assert not deep(b'[{"a":' * (DEPTH // 2) + b"1" + b"}]" * (DEPTH // 2))
    assert deep(b'[{"a":' * (DEPTH // 2) + b"[]" + b"}]" * (DEPTH // 2))


def test_a_pipe_a_directory_and_what_is_too_large_are_no_documents(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("pipe", "directory", "large"):
        with pytest.raises(EvidenceError, match=name):
            read_json(tmp_path / name, Shape)


class Numbered(msgspec.Struct):
    n: int


def test_a_torn_line_is_no_object() -> None:
    assert line_of(b'{"n": 1}\n', OBJECT) == {"n": 1}
    for line in (b'{"n": 1', b"[1]", b"7", b'{"n": NaN}', b'{"n": 1e999}', b'{"n": "\xff"}', b"[" * 100_000, b""):
        assert line_of(line, OBJECT) is None
    assert line_of(b'{"n": ' + brackets(DEPTH) + b"}", OBJECT) is None


def test_a_line_is_torn_wherever_it_was_cut_and_nothing_else_is() -> None:
    """Also within a number, of what is read and of what is skipped."""
    whole = '{"a": 1.5e-7, "b": [-1.25E+10, true, null, -3], "é": "\\u00e9\\n", "c": {"d": -0.5}, "n": 7}'.encode()
    for shape in (OBJECT, msgspec.json.Decoder(Numbered)):
        assert wrong(whole, shape) == ""
        for cut in range(len(whole)):
            for rest in (b"", b"\n", b"\0\0\n"):
                assert wrong(whole[:cut] + rest, shape) == "", whole[:cut]
    for line in (
        b'{"a": 1.}',
        b'{"a": 1e, "b": 2',
        b'{"a": NaN',
        b'{"a": --',
        b'{"a": 1}}',
        b'{"a": 1}x',
        b'{"a" 1.',
        b"e",
    ):
        assert "no JSON" in wrong(line, OBJECT), line


def test_a_line_with_half_a_character_is_whole_and_no_json() -> None:
    for line in (b'{"a": "\\ud800"}', b'{"a": "\\ud800x", "b": 1}', b'{"\\udbff": 1}\n', b'{"a": "\\udc00"}'):
        assert "no JSON" in wrong(line, OBJECT), line
    assert wrong(b'{"a": "\\ud83d\\ude00"}', OBJECT) == ""
    assert wrong(b'{"a": "\\ud83d\\ude', OBJECT) == ""


def bomb(levels: int, of: Callable[[int], str]) -> str:
    """Each level is nine of the one before."""
    lines = ["l0: &l0 [a, a, a]" if of(0).startswith("[") else "l0: &l0 {k: a}"]
    return "\n".join([*lines, *(f"l{n}: &l{n} {of(n - 1)}" for n in range(1, levels))])


BAD_YAML = {
    "half a character": (b'name: "a"\nmore: "x\\ud800"', "line 2, is not YAML: an escape stands for half a character"),
    "no utf-8": (b"targets:\n  \xff: {}", "line 2, is not UTF-8"),
    "no yaml": (b"targets:\n  a: [", "line 2, is not YAML"),
    "a tab": (b"targets:\n\ta: b", "line 2, is not YAML"),
    "two documents": (b"{}\n---\n{}", "is not YAML"),
    "another shape": (b"meter:\n  rate: fast", "line 2, is not valid: meter.rate: Expected `float`, got `str`"),
    "not finite": (b"meter:\n  rate: .nan", "line 2, is not valid: meter.rate is not finite"),
    "a date of no calendar": (b"a: 2026-13-45", "is not YAML"),
    "an empty whole number": (b'a: !!int ""', "is not YAML"),
    "a truth that is none": (b"a: !!bool maybe", "is not YAML"),
    "brackets": (brackets(100_000), "line 1, is not YAML: it is nested deeper"),
    "blocks": (b"\n".join(b" " * n + b"a:" for n in range(700)), "nested deeper"),
    "a bomb": (bomb(30, lambda n: "[" + ", ".join([f"*l{n}"] * 9) + "]").encode(), "comes down to more than"),
    "a bomb of merges": (
        bomb(30, lambda n: "{<<: [" + ", ".join([f"*l{n}"] * 9) + "]}").encode(),
        "comes down to more than",
    ),
    "itself": (b"a: &a [*a]", "line 1, is not YAML: an alias leads to what it stands in"),
    "python": (b"a: !!python/object/apply:os.getcwd []", "is not YAML"),
}


@pytest.mark.parametrize("what", BAD_YAML)
def test_yaml_that_is_not_what_it_should_be_is_refused_in_a_moment(what: str, tmp_path: Path) -> None:
    content, says = BAD_YAML[what]
    path = tmp_path / "dr.yaml"
    path.write_bytes(content)
    began = time.process_time()
    with pytest.raises(UsageError) as raised:
        read_yaml(path, Settings, UsageError)
    assert time.process_time() - began < 5
    assert str(path) in str(raised.value)
    assert says in str(raised.value)


def test_the_entry_of_a_mapping_that_is_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dr.yaml"
    target = "{account: '1', region: r, instance: i, database: {name: d, harness: {user: u, secret: 'env:X'}}"
    path.write_text(f"targets:\n  one: {target}}}\n  two: {target}, grants: [all]}}\n")
    with pytest.raises(UsageError, match=r"line 3, is not valid: targets\.two\.grants\.0: Invalid enum"):
        read_yaml(path, settings_type({}), UsageError, present=former.settings)


def test_aliases_and_merges_that_people_write_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dr.yaml"
    path.write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: [*a, *a]\n")
    assert read_yaml(path, dict[str, Any], UsageError)["b"] == {"x": 1, "y": [{"x": 1}, {"x": 1}]}
    path.write_text("")
    assert read_yaml(path, Settings, UsageError) == Settings()
