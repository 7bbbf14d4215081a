"""The golden answer of a request, and whether an answer is it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from dr.evidence.answers import Names, form_of, same

_ENCODE = msgspec.json.Encoder().encode


class Golden:
    """What a request is to be answered with. ``form``: of its golden answer; the others as ``form_of`` has them.

    Most answers are the one before to the byte, but for what is volatile, so that a form is seldom made.
    """

    def __init__(self, form: str, volatile: Collection[str], tolerance: float, names: Names) -> None:
        self._form, self._volatile, self._tolerance, self._names = form, volatile, tolerance, names
        self._known = b""

    def is_in(self, answer: Mapping[str, Any]) -> bool | None:
        """Whether ``answer`` is the golden one. None: that cannot be told, as ``same`` has it."""
        kept = _ENCODE({key: value for key, value in answer.items() if key not in self._volatile})
        if kept == self._known:
            return True
        alike = same(self._form, form_of(answer, self._volatile, self._tolerance, self._names))
        if alike:
            self._known = kept
        return alike
