"""Prints the figures of the attacks that ran, in whichever of the session's processes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.attack.figures import FIGURES, Figures

COUNTED = "attacks"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its figures on."""
    output: dict[str, str] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[COUNTED] = json.dumps(vars(FIGURES))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The session itself takes them. A worker that died has handed on none, and its test has failed."""
    told = getattr(node, "workeroutput", {}).get(COUNTED)
    if told is not None:
        figures = json.loads(told)
        counted = {name: Counter(figures[name]) for name in ("tried", "verdicts")}
        FIGURES.add(Figures(**{**figures, **counted}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES.tried:
        terminalreporter.section("attacks")
        for line in FIGURES.lines():
            terminalreporter.write_line(line)
