"""Every driver keeps the Provider's contract. A new plugin adds its row to ``rows.DRIVERS``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.provider_suite import ProviderContract, Subject
from tests.contract.rows import DRIVERS


@pytest.fixture(scope="module", params=list(DRIVERS))
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with DRIVERS[request.param]() as one:
        yield one


class TestProvider(ProviderContract):
    """Runs the whole suite for each row of the table."""
