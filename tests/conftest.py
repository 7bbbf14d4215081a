"""Fixtures that several suites share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.labs import Lab, lab_up


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
