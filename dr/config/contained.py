"""A provider's own defects, kept within it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from dr.domain.errors import DEFECTS, DefectError, DrError

T = TypeVar("T")


class _Contained:
    """A provider, or its plugin, that raises nothing but DrError, whatever its code does."""

    def __init__(self, name: str, provider: object) -> None:
        self._name, self._provider = name, provider

    def __getattr__(self, attribute: str) -> Any:
        found = self._holding(attribute, getattr)(self._provider, attribute)
        return self._holding(attribute, found) if callable(found) else found

    def _holding(self, asked: str, code: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(code)
        def held(*args: Any, **named: Any) -> Any:
            try:
                return code(*args, **named)
            except DrError:
                raise
            except DEFECTS as error:
                raise DefectError(error, f"The provider {self._name} failed in {asked}") from None

        return held


def contained(name: str, provider: T) -> T:
    """``provider``, or its plugin, whose defects come as DefectError: its undos are still done, and its run is judged
    all the same."""
    return cast("T", _Contained(name, provider))
