"""Fixtures that several suites share, and which tests may be skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.domain.errors import RefusedError
from dr.lab.servers.binaries import find
from tests.labs import Lab, lab_up

LIFECYCLE = "tests/integration/test_lab_lifecycle.py::test_"
NEEDS_SYSTEM = {
    "tests/integration/test_lab_postgres.py::test_*[system": "a lab on the system's PostgreSQL",
    "tests/integration/test_lab_platform.py::test_*[system": "a lab on the system's PostgreSQL",
    "tests/integration/test_lab_postgres.py::test_a_port_in_use_fails_with_postgresqls_reason_*": "a server with TLS",
    "tests/integration/test_examine.py::test_*": "citext and amcheck",
    "tests/integration/test_fingerprint.py::test_*": "collations of ICU",
    "tests/integration/test_postgres_provider.py::test_a_lost_source_is_remembered_to_have_had_amcheck": "amcheck",
    "tests/integration/test_other_labs.py::test_a_dump_of_ones_own_*": "a pg_dump that speaks TLS",
    f"{LIFECYCLE}stock_tools_work_under_the_exports_of_a_directory_with_a_difficult_name": "a psql that speaks TLS",
    f"{LIFECYCLE}the_platforms_recovery_commands_work_as_they_are_typed": "a psql that speaks TLS",
}
"""What only a system's PostgreSQL has, by the name of the test; skipped where there is none."""
MAY_BE_SKIPPED = ("tests/aws/test_rds_account.py",)
"""The only other tests that may be skipped, where no account is named; any other skip fails the run."""


def _system() -> bool:
    """Whether there is a system PostgreSQL. Fails the run where DR_TEST_POSTGRES=system says there must be one."""
    try:
        find(Path("/nowhere"), "system")
    except RefusedError as error:
        if os.environ.get("DR_TEST_POSTGRES") == "system":
            pytest.exit(f"DR_TEST_POSTGRES=system, but: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
        return False
    return True


def needed(nodeid: str) -> str | None:
    """What a test needs of a system's PostgreSQL, if anything."""
    for name, what in NEEDS_SYSTEM.items():
        begin, star, part = name.partition("*")
        if nodeid == name or (star and nodeid.startswith(begin) and part in nodeid):
            return what
    return None


def pytest_configure() -> None:
    """Give every test the same width of lines: pytest-xdist tells its workers of a terminal that they do not have."""
    os.environ.pop("COLUMNS", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a system's PostgreSQL where there is none."""
    if _system():
        return
    for item in items:
        what = needed(item.nodeid)
        if what is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs a system PostgreSQL: {what}"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which something else was skipped."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report.nodeid for report in terminal.stats.get("skipped", ())] if terminal else []
    silent = [nodeid for nodeid in skipped if not nodeid.startswith(MAY_BE_SKIPPED)]
    if silent and not _system():
        silent = [nodeid for nodeid in silent if needed(nodeid) is None]
    if silent:
        terminal.write_line(f"skipped, and not on the list of what may be: {', '.join(silent)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    """One lab for every test that leaves it as it was."""
    with lab_up("--single") as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The shared lab; afterwards it must be whole again."""
    yield shared_lab
    shared_lab.assert_whole()


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    """A lab that the test may ruin."""
    with lab_up("--single") as lab:
        yield lab
