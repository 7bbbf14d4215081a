"""Which tests share a process, which need not, and what begins first. tests/conftest.py asks it."""

from __future__ import annotations

import json
import random
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

FAILOVER_LABS = 2
"""As many as it takes for what needs one to be done in time: such a lab is many servers."""
ALONE = (
    "test_runbooks.py",
    "test_lab_lifecycle.py",
    "test_lab_topology.py",
    "test_other_labs.py",
    "test_answers.py",
    "test_kills.py",
    "test_failover_evidence.py",
    "test_recovery_evidence.py",
)
"""Files whose tests share nothing: each may go to another process."""
LONGEST = (
    "tests/integration/test_gpu_drills",
    "tests/integration/test_velero_drills",
    "tests/integration/test_runbooks",
    "tests/integration/test_lab_topology",
    "tests/sabotage/test_namespaces",
    "tests/integration/test_lab_cluster",
    "tests/attack/test_kills",
    "tests/integration/test_lab",
    "tests/integration",
    "tests/sabotage",
    "tests/truth",
    "tests/attack",
    "tests/contract",
    "tests",
)
"""What begins first, by the beginning of its name. The drills in a cluster share one lab each, so that a process is
busy with them for longer than with all else. Of clusters no more than two begin at once: each asks for half a minute of
a processor."""


class Groups(LoadScopeScheduling):
    """Whole groups go to one process each; ``told`` is where a process writes which there are. The groups of
    pytest-xdist itself are part of a test's name, where pytest 9.2 does not let it write."""

    def __init__(self, config: pytest.Config, log: Any, told: Path) -> None:
        super().__init__(config, log)
        self._told = told

    @cached_property
    def _groups(self) -> dict[str, str]:
        groups: dict[str, str] = json.loads(self._told.read_text())
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid, nodeid)


def tell(items: list[pytest.Item], told: Path) -> None:
    """Write the groups for ``Groups``; every process writes the same."""
    failovers = sorted(item.nodeid for item in items if "failing" in _fixtures(item))
    groups = {item.nodeid: group for item in items if (group := _group(item, failovers))}
    mine = told.with_name(f"{told.name}-{random.getrandbits(64):x}")
    mine.write_text(json.dumps(groups))
    mine.replace(told)


def shuffle(items: list[pytest.Item], seed: int) -> None:
    """Tests of a file stay together, as what they share is made once. Where a file is marked ``in_order``, each of its
    tests goes on with what those before it left, as a lab, or what Prometheus has seen."""
    chance = random.Random(seed)  # noqa: S311  (an order, and no secret)
    stands = {item.nodeid: at for at, item in enumerate(items)}
    chance.shuffle(items)
    drawn = {item.nodeid: at for at, item in enumerate(items)}
    files = sorted({item.path for item in items})
    chance.shuffle(files)

    def at(item: pytest.Item) -> tuple[int, int]:
        return files.index(item.path), (stands if item.get_closest_marker("in_order") else drawn)[item.nodeid]

    items.sort(key=at)


def place(item: pytest.Item) -> int:
    """A session is over when its longest group is: those that wait longest begin first."""
    if "failing" in _fixtures(item):
        return 0
    return next(n for n, name in enumerate(LONGEST, 1) if item.nodeid.startswith(name))


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _group(item: pytest.Item, failovers: list[str]) -> str:
    """Tests of one group share a process. In none, each goes where there is room: whoever needs just the shared lab, of
    which each process has its own, or a lab for itself alone."""
    marked = item.get_closest_marker("xdist_group")
    if marked is not None:
        return str(marked.args[0])
    if item.nodeid in failovers:
        return f"failover-lab-{failovers.index(item.nodeid) % FAILOVER_LABS}"
    if _fixtures(item) & {"shared_lab", "own_lab"} or item.path.name in ALONE:
        return ""
    return item.nodeid.partition("::")[0]
