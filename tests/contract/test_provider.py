"""Every driver keeps the Provider's contract. A new plugin adds its row to ``rows.DRIVERS``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.provider_suite import ProviderContract, Subject
from tests.contract.rows import DRIVERS

ROWS = [pytest.param(name, marks=pytest.mark.xdist_group(f"contract of {name}")) for name in DRIVERS]
"""Each may go to another process."""


@pytest.fixture(scope="module", params=ROWS)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with DRIVERS[request.param]() as one:
        yield one


class TestProvider(ProviderContract):
    """Runs the whole suite for each row of the table."""
