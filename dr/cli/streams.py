"""The standard streams of a command, which outlive their readers.

A pipe whose reader went away, a full disk or a lost terminal must not end a run before it is unwound and sealed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click


class Enduring(TextIOWrapper):
    """A stream that drops what cannot be written, from the first failure on. ``lost``: that failure."""

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Point the descriptor at nothing, so that what is still in a buffer harms nobody either."""
        self.lost = self.lost or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        with suppress(OSError):
            super().flush()


def endure() -> Enduring:
    """Put enduring streams in place of stdout and stderr, and of one that is closed, nothing. Returns stdout."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - it stays open as long as the process lives
    out = Enduring(_binary(sys.stdout), encoding="utf-8", errors="replace", line_buffering=True)
    sys.stdout = out
    sys.stderr = Enduring(_binary(sys.stderr), encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return out


def _binary(stream: TextIO | None) -> Any:
    return stream.buffer if stream is not None else Path(os.devnull).open("wb")


_results: TextIO | None = None
"""Where results go while a command runs; None: no command does."""


def results() -> TextIO:
    """Where the results of the command that runs go."""
    return _results or sys.stdout


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a result of the command that runs, or what is said beside it."""
    click.echo(text, file=None if err else _results, err=err, nl=nl)


def apart(command: click.Command) -> click.Command:
    """``command``, while which stdout holds its results alone: whatever else is printed, as by a provider of somebody's
    own, goes to stderr."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            command.commands[name] = apart(one)
    elif command.callback is not None:
        command.callback = _apart(command.callback)
    return command


def _apart(do: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(do)
    def done(*args: Any, **options: Any) -> Any:
        global _results
        before, _results = _results, sys.stdout
        try:
            with redirect_stdout(sys.stderr):
                return do(*args, **options)
        finally:
            _results = before

    return done
