"""What an answer says, without its content: a form, which is kept and compared in its place. Pure.

A form is the digest of an answer without what differs every time. Where numbers may differ a little, they are left out
of the digest and follow it, with how much that may be: a digest tells nothing of how near two numbers are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from dr.host.decode import line_of

Names = Mapping[object, object]
"""What stands in a request, or an answer, to what is put in its place."""
UNANSWERED = "no answer"
"""How what stands in a form's place begins where there was no answer."""
_NUMBERS = msgspec.json.Decoder(tuple[float, ...])


def canonical(document: object) -> bytes:
    """The one form of a JSON document that digests are made of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def renamed(document: Any, names: Names) -> Any:
    """``document`` with each of its values that ``names`` knows replaced."""
    if isinstance(document, Mapping):
        return {key: renamed(value, names) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [renamed(value, names) for value in document]
    return names.get(document, document) if isinstance(document, str) or _is_number(document) else document


def standing(document: Any, name: object) -> int:
    """In how many places ``renamed`` would replace ``name``."""
    if isinstance(document, Mapping):
        document = [*document.values()]
    if isinstance(document, list | tuple):
        return sum(standing(value, name) for value in document)
    return int(renamed(document, {name: None}) is not document)


def form_of(answer: Mapping[str, Any], volatile: Collection[str], tolerance: float, names: Names) -> str:
    """The form of ``answer`` without its ``volatile`` fields, once what it names is ``renamed``.

    ``tolerance``: by how much a number may differ; 0: not at all.
    """
    kept = renamed({key: value for key, value in answer.items() if key not in volatile}, names)
    if not tolerance:
        return hashlib.sha256(canonical(kept)).hexdigest()
    numbers = [*_numbers(kept)]
    return f"{hashlib.sha256(canonical(_unnumbered(kept))).hexdigest()} {tolerance!r} {json.dumps(numbers)}"


def stored_form(fields: Mapping[str, Any], tolerance: float) -> str:
    """The form of what of an answer is stored, which is the same of the answer and of its row: there 1.0 may be 1."""
    return form_of({name: _floating(value) for name, value in fields.items()}, (), tolerance, {})


def _floating(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {key: _floating(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_floating(value) for value in document]
    return float(document) if _is_number(document) else document


def answered(form: str) -> bool:
    """Whether it is a form, and not why there is none."""
    return bool(form) and not form.startswith(UNANSWERED)


def same(golden: str, other: str) -> bool | None:
    """Whether two answers are the same, by their forms. None: that cannot be told, since they were made with different
    tolerances, or hold a number that is too large to be compared. Where there was no answer, it is like no other."""
    if not answered(golden) or not answered(other):
        return False
    digest, tolerance, numbers = _parts(golden)
    other_digest, other_tolerance, other_numbers = _parts(other)
    if tolerance != other_tolerance:
        return None
    if digest != other_digest:
        return False
    if numbers is None or other_numbers is None:
        return None
    near = (abs(a - b) <= float(tolerance) for a, b in zip(numbers, other_numbers, strict=False))
    return len(numbers) == len(other_numbers) and all(near)


def _parts(form: str) -> tuple[str, str, tuple[float, ...] | None]:
    """The digest, the tolerance ("": none), and the numbers; None: one of them is not to be read."""
    digest, _, rest = form.partition(" ")
    tolerance, _, numbers = rest.partition(" ")
    return digest, tolerance, line_of(numbers.encode(), _NUMBERS) if tolerance else ()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(document: Any) -> Iterator[float]:
    """In the order that ``canonical`` has them in."""
    if isinstance(document, Mapping):
        for key in sorted(document):
            yield from _numbers(document[key])
    elif isinstance(document, list):
        for value in document:
            yield from _numbers(value)
    elif _is_number(document):
        yield document


def _unnumbered(document: Any) -> Any:
    if isinstance(document, Mapping):
        return {key: _unnumbered(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_unnumbered(value) for value in document]
    return {"number": None} if _is_number(document) else document
