"""Every driver keeps the Provider's contract. A new driver adds its factory to ``DRIVERS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from dr.domain.model import Verb
from tests.contract.provider_suite import ProviderContract, Subject
from tests.integration import rds_endpoint


@contextmanager
def rds() -> Iterator[Subject]:
    """A snapshot restore with the master password set anew, against the lab's endpoint and real PostgreSQL."""
    verb = Verb("restore", {"to": {"snapshot": "latest"}, "reset_master": True})
    with rds_endpoint.endpoint() as one:
        yield Subject(
            provider=one.provider(),
            broken=one.provider(endpoint="http://127.0.0.1:1"),
            request=rds_endpoint.request(verb),
            run=rds_endpoint.identity(),
            things=lambda: [name for name in one.rows() if name != rds_endpoint.SOURCE],
            secrets=(rds_endpoint.PASSWORD, one.account.secret_key),
        )


DRIVERS: dict[str, Callable[[], AbstractContextManager[Subject]]] = {"rds": rds}


@pytest.fixture(scope="module", params=list(DRIVERS))
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with DRIVERS[request.param]() as one:
        yield one


class TestProvider(ProviderContract):
    """Runs the whole suite for each row of the table."""
