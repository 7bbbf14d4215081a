"""Fixtures that several suites share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labs import Lab, lab_up

MAY_BE_SKIPPED = ("tests/aws/test_rds_account.py",)
"""The only tests that may be skipped, where no account is named; any other skip fails the run."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which something else was skipped."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report.nodeid for report in terminal.stats.get("skipped", ())] if terminal else []
    silent = [nodeid for nodeid in skipped if not nodeid.startswith(MAY_BE_SKIPPED)]
    if silent:
        terminal.write_line(f"skipped, and not on the list of what may be: {', '.join(silent)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    """One lab for every test that leaves it as it was."""
    with lab_up() as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The shared lab; afterwards it must be whole again."""
    yield shared_lab
    shared_lab.assert_whole()


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """A lab that the test may ruin."""
    with lab_up() as lab:
        yield lab
