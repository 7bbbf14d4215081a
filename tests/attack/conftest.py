"""Prints the figures of the attacks that ran."""

from __future__ import annotations

import pytest

from tests.attack.figures import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES.tried:
        terminalreporter.section("attacks")
        for line in FIGURES.lines():
            terminalreporter.write_line(line)
