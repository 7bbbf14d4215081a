"""Fixtures that several suites share, which tests may be skipped, and what spreads them over processes."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest

from dr.domain.errors import RefusedError
from dr.lab.cluster import binaries
from dr.lab.servers.binaries import find
from tests import spreading
from tests.labs import BARE, Lab, lab_up
from tests.support import many, roomy

LIFECYCLE = "tests/integration/test_lab_lifecycle.py::test_"
NEEDS_SYSTEM = {
    "tests/integration/test_lab_postgres.py::test_*[system": "a lab on the system's PostgreSQL",
    "tests/integration/test_lab_platform.py::test_*[system": "a lab on the system's PostgreSQL",
    "tests/integration/test_lab_postgres.py::test_a_port_in_use_fails_with_postgresqls_reason_*": "a server with TLS",
    "tests/integration/test_examine.py::test_*": "citext and amcheck",
    "tests/integration/test_fingerprint.py::test_*": "collations of ICU",
    "tests/integration/test_other_labs.py::test_a_dump_of_ones_own_*": "a pg_dump that speaks TLS",
    f"{LIFECYCLE}stock_tools_work_under_the_exports_of_a_directory_with_a_difficult_name": "a psql that speaks TLS",
    f"{LIFECYCLE}the_platforms_recovery_commands_work_as_they_are_typed": "a psql that speaks TLS",
}
"""What only a system's PostgreSQL has, by the name of the test; skipped where there is none."""
NEEDS_CLUSTER = (
    *(f"tests/integration/test_{name}.py" for name in ("lab_cluster", "cluster_nodes")),
    *(f"tests/integration/test_{name}.py" for name in ("gpu_drills", "velero_drills")),
    "tests/sabotage/test_namespaces.py",
)
"""What needs the cluster's programs, by the beginning of the name; skipped where ``dr lab install`` did not run."""
MAY_BE_SKIPPED = ("tests/aws/test_rds_account.py", "tests/integration/test_lab_velero.py", *NEEDS_CLUSTER)
"""The only other tests that may be skipped, where no account is named; any other skip fails the run."""

TOLD = pytest.StashKey[TemporaryDirectory[str]]()
"""Where processes tell which tests are to share one."""


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run files and their tests in an order drawn by SEED")


def pytest_configure(config: pytest.Config) -> None:
    """Give every test the same width of lines: pytest-xdist tells its workers of a terminal that they do not have. A
    property that says nothing else gets its share of the usual examples. Tests write where servers are made, too."""
    os.environ.pop("COLUMNS", None)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = roomy()
    if hasattr(config, "workerinput"):
        _lead_a_session(config)
    os.environ["DR_HOME"] = "/proc/none"  # a place that is empty, and in which nothing can be made
    os.environ |= BARE  # what needs the cluster asks for it: it is as much of the machine as all else
    slow = [hypothesis.HealthCheck.too_slow]  # a busy machine is no fault of a test's
    hypothesis.settings.register_profile("share", max_examples=many(100), deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("share")


def _lead_a_session(config: pytest.Config) -> None:
    """Where the kernel shares the processors among sessions (autogroup), all workers would have to do with the share
    of one, and a busy machine has others. A terminal's interrupt does not reach a session of its own: it is handed on,
    so that a worker still takes its labs down."""
    os.setsid()
    (Path(config.workerinput["groups"]).parent / f"{os.getpid()}.pid").touch()  # type: ignore[attr-defined]


def _hand_on_the_interrupt(config: pytest.Config) -> None:
    for told in _told(config).parent.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(told.stem), signal.SIGINT)


def _told(config: pytest.Config) -> Path:
    if TOLD not in config.stash:
        config.stash[TOLD] = TemporaryDirectory(prefix="dr-groups-")
    return Path(config.stash[TOLD].name) / "groups.json"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["groups"] = str(_told(node.config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> spreading.Groups | None:
    return spreading.Groups(config, log, _told(config)) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and spread the rest over the processes, the longest first."""
    if not _system():
        _skip(items)
    if lacking := binaries.find().lacking(*binaries.CONTROL_PLANE):
        _skip_without_cluster(items, lacking)
    if config.option.shuffle is not None:
        spreading.shuffle(items, config.option.shuffle)
    items.sort(key=spreading.place)
    if hasattr(config, "workerinput"):
        spreading.tell(items, Path(config.workerinput["groups"]))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What thousands of tests are is there to stay: not to look through it again and again saves some 4% of what they
    ask of a processor."""
    gc.collect()
    gc.freeze()


def _skip(items: list[pytest.Item]) -> None:
    """Skip what needs a system's PostgreSQL."""
    for item in items:
        what = needed(item.nodeid)
        if what is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs a system PostgreSQL: {what}"))


def _skip_without_cluster(items: list[pytest.Item], lacking: tuple[str, ...]) -> None:
    for item in items:
        if item.nodeid.startswith(NEEDS_CLUSTER):
            item.add_marker(pytest.mark.skip(reason=f"no {', '.join(lacking)}: {binaries.INSTALL}"))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which something else was skipped."""
    if exitstatus == pytest.ExitCode.INTERRUPTED and not hasattr(session.config, "workerinput"):
        _hand_on_the_interrupt(session.config)
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [report.nodeid for report in terminal.stats.get("skipped", ())] if terminal else []
    silent = [nodeid for nodeid in skipped if not nodeid.startswith(MAY_BE_SKIPPED)]
    if silent and not _system():
        silent = [nodeid for nodeid in silent if needed(nodeid) is None]
    if silent:
        terminal.write_line(f"skipped, and not on the list of what may be: {', '.join(silent)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how long each folder took, summed over the processes."""
    spent: Counter[str] = Counter()
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if isinstance(report, pytest.TestReport):
            spent["/".join(report.nodeid.split("/")[:2])] += report.duration  # type: ignore[assignment]
    terminalreporter.section("minutes a folder")
    for folder, seconds in spent.most_common():
        terminalreporter.write_line(f"{seconds / 60:6.1f} {folder}")


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
