"""The one way to read a file of ours: bytes, UTF-8, depth, JSON or YAML, shape, finite numbers.

A disk, an editor or another user may have altered any of them. So whoever reads one does it here, and gets what it
should hold or one error that names the file and, where one can be told, the line. Size and depth are bounded before
anything is built of them: brackets by the thousand, and YAML whose aliases multiply, are refused in a moment.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dr.domain.errors import DrError, EvidenceError

T = TypeVar("T")

DEPTH = 64
"""The most levels of lists and objects within each other: ours have ten."""
DOCUMENT = 64 << 20
"""Bytes of a document: the baseline of some thousand tables takes a few MiB."""
WRITTEN = 1 << 20
"""Bytes of what a person writes: a configuration, an experiment."""
NODES = 50_000
"""Values that such a file comes down to, each alias counted with all that it stands for."""

LONGEST = 1024
"""Bits of a whole number, from which on it is beyond every floating-point one."""
LOCATED = 1 << 18
"""Characters in which the line of something misshapen is looked for."""

OBJECT = msgspec.json.Decoder(dict[str, Any])
"""A line that is any object."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_CUT = re.compile(rb"(?:[:,\[ ]-|[0-9](?:\.|[eE][-+]?))\Z")
"""The end of what was torn within a number."""
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def content(
    path: Path, limit: int = DOCUMENT, error: type[DrError] = EvidenceError, hint: str = "", *, piped: bool = False
) -> bytes | None:
    """What the file at ``path`` holds, at most ``limit`` bytes; None where there is none. Raises ``error``. ``piped``:
    it may also be a pipe, which a person named; any other is no file, and waiting for its writer no reading."""
    try:
        with opened(path, piped=piped) as file:
            size = os.fstat(file.fileno()).st_size
            found = file.read((limit if piped else min(limit, size)) + 1)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise error(f"{path} cannot be read: {failed.strerror}.", hint) from None
    if len(found) > limit:
        raise error(f"{path} is larger than {limit >> 20} MiB.", hint)
    return found


def opened(path: Path, *, piped: bool = False) -> BufferedReader:
    """The file at ``path``, to be read. Raises OSError, also for what is no file: nobody waits for a pipe's writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if piped else os.O_NONBLOCK))
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or (piped and not stat.S_ISDIR(kind)):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is no file")


def read_json(path: Path, kind: type[T], error: type[DrError] = EvidenceError, hint: str = "") -> T:
    """The JSON document at ``path``, as a ``kind``. Raises ``error`` where it is not there, or is none."""
    found = find_json(path, kind, error, hint)
    if found is None:
        raise error(f"{path} cannot be read: there is no such file.", hint)
    return found


def find_json(path: Path, kind: type[T], error: type[DrError] = EvidenceError, hint: str = "") -> T | None:
    """As ``read_json``, and None where there is no such file."""
    found = content(path, DOCUMENT, error, hint)
    return None if found is None else json_of(found, kind, str(path), error, hint)


def json_of(found: bytes, kind: type[T], name: str, error: type[DrError] = EvidenceError, hint: str = "") -> T:
    """The JSON document ``found``, as a ``kind``. Raises ``error``, which names it ``name``."""
    text = _text(found, name, error, hint)
    try:
        value = msgspec.json.decode(found, type=kind)
    except msgspec.ValidationError as wrong:
        whole: Any = None
        with suppress(ValueError, RecursionError):
            whole = msgspec.json.decode(found)
        place, why = _misshapen(wrong, whole, kind)
        raise error(f"{name}{_line_of(text, place)} is not what it should be: {why}.", hint) from None
    except msgspec.DecodeError as wrong:
        byte = re.search(r"\(byte (\d+)\)", str(wrong))  # where something is missing, none is named
        line = found.count(b"\n", 0, int(byte[1]) if byte else len(found)) + 1
        raise error(f"{name}, line {line}, is not JSON: {wrong}.", hint) from None
    except RecursionError:
        raise error(f"{name} is nested deeper than {DEPTH} levels.", hint) from None
    if deep(found):
        raise error(f"{name} is nested deeper than {DEPTH} levels.", hint)
    if (endless := _endless(value, ())) is not None:
        raise error(f"{name}{_line_of(text, endless)} is not what it should be: {_shown(endless)} is not finite.", hint)
    return value


def line_of(line: bytes, shape: msgspec.json.Decoder[T]) -> T | None:
    """What one line of a file of lines says; None where it is torn, or anything else than ``shape``. Such a line proves
    nothing and is left out by whoever reads the file. It is fast: there are thousands a minute."""
    try:
        found = shape.decode(line)
    except (ValueError, RecursionError):  # msgspec's own errors, and UnicodeDecodeError, are ValueErrors
        return None
    return None if deep(line) else found


def wrong(line: bytes, shape: msgspec.json.Decoder[Any]) -> str:
    """Why a line of a file of lines is not of ``shape``; "" where it is, and where a kill or a power cut tore it."""
    whole = line.strip(b"\0\r\n ")
    try:
        found = shape.decode(whole)
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 ({error.reason})"
    except msgspec.ValidationError as error:
        return str(error)
    except msgspec.DecodeError as error:
        at_end = f"(byte {len(whole)})" in str(error)
        torn = ("truncated" in str(error) and not _whole(whole)) or (at_end and _CUT.search(whole))
        return "" if torn else f"it is no JSON ({error})"
    except RecursionError:
        return f"it is nested deeper than {DEPTH} levels"
    if deep(line):
        return f"it is nested deeper than {DEPTH} levels"
    endless = _endless(found if isinstance(found, dict) else msgspec.to_builtins(found), ())
    return "" if endless is None else f"{_shown(endless)} is not finite"


def _whole(line: bytes) -> bool:
    """Whether it is JSON to its end, with half a surrogate pair in it, after which msgspec looks for the other half."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def deep(found: bytes) -> bool:
    """Whether JSON that is well-formed is nested deeper than ``DEPTH``."""
    if found.count(b"[") + found.count(b"{") <= DEPTH:
        return False
    bare = _STRING.sub(b"", found).translate(_BRACKETS, _OTHERS)
    for _ in range(DEPTH):  # each round takes the innermost level off
        bare = bare.replace(b"[]", b"")
    return bool(bare)


def read_yaml(
    path: Path, kind: type[T], error: type[DrError], hint: str = "", present: Callable[[Any], Any] = lambda value: value
) -> T:
    """The YAML document that a person wrote at ``path``, as a ``kind``; an empty one is an empty mapping. ``present``:
    puts one of a former form into the present one. Raises ``error``."""
    found = content(path, WRITTEN, error, hint, piped=True)
    if found is None:
        raise error(f"{path} cannot be read: there is no such file.", hint)
    import yaml  # it is slow to import, and a meter reads none

    from dr.host.bounded_yaml import load

    text = _text(found, str(path), error, hint)
    try:
        value = load(text, DEPTH, NODES)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = "" if mark is None else f", line {mark.line + 1},"
        raise error(f"{path}{line} is not YAML: {wrong.problem or wrong.context}.", hint) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as wrong:
        # Such as a date that no calendar has, or an explicit tag on what it does not fit.
        raise error(f"{path} is not YAML: {' '.join(str(wrong).split())}.", hint) from None
    value = {} if value is None else value
    endless = _endless(value, ())
    if endless is not None:
        raise error(f"{path}{_line_of(text, endless)} is not valid: {_shown(endless)} is not finite.", hint)
    value = present(value)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as wrong:
        place, why = _misshapen(wrong, value, kind)
        raise error(f"{path}{_line_of(text, place)} is not valid: {why}.", hint) from None


# ---- what is wrong, and where


def _text(found: bytes, name: str, error: type[DrError], hint: str) -> str:
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = found.count(b"\n", 0, wrong.start) + 1
        raise error(f"{name}, line {line}, is not UTF-8 ({wrong.reason} at byte {wrong.start}).", hint) from None


def _endless(value: Any, place: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Where a number stands that is not finite, or that no floating-point one comes near; None: nowhere."""
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    if isinstance(value, int):
        return None if value.bit_length() < LONGEST else place
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, part in parts:
        if type(part) is str:  # most of what a document holds
            continue
        if (found := _endless(part, (*place, key))) is not None:
            return found
    return None


def _misshapen(wrong: msgspec.ValidationError, value: Any, kind: type[Any]) -> tuple[tuple[Any, ...], str]:
    """The keys that lead to what has the wrong shape, and what is wrong with it."""
    why, _, path = str(wrong).partition(" - at `$")
    place: list[Any] = []
    here = value
    for name, number in re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", path):
        key: Any = name or (int(number) if number.isdigit() else _culprit(str(wrong), value, here, kind))
        if key is None:
            break
        place.append(key)
        with suppress(LookupError, TypeError):
            here = here[key]
    return tuple(place), f"{_shown(place)}: {why}" if place else why


def _culprit(problem: str, value: Any, here: Any, kind: type[Any]) -> Any:
    """The entry of ``here``, a mapping within ``value``, that is wrong; msgspec names each "[...]". It is found by
    leaving out all others, which nobody needs any more."""
    for key, part in list(here.items()) if isinstance(here, dict) else ():
        here.clear()
        here[key] = part
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as wrong:
            if str(wrong) == problem:
                return key
    return None


def _shown(place: Iterable[Any]) -> str:
    return ".".join(str(key) for key in place)


def _line_of(text: str, place: tuple[Any, ...]) -> str:
    """On which line ``place`` begins, in words; JSON is YAML enough for that. "": it cannot be told in a moment."""
    if len(text) > LOCATED:
        return ""
    import yaml

    from dr.host.bounded_yaml import compose

    try:
        node = compose(text, DEPTH, NODES)
    except (yaml.YAMLError, ValueError):
        return ""
    for key in place:
        if isinstance(node, yaml.MappingNode):
            node = next((part for name, part in node.value if name.value == str(key)), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
    return "" if node is None else f", line {int(node.start_mark.line) + 1},"
