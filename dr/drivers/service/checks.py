"""The service and what it predicts by, asked whether they are there: writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from dr.config.needs import Check
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Grant
from dr.drivers.service.asking import get, predict
from dr.drivers.service.config import ServiceConfig

NO_REQUEST = ""
"""JSON that no service predicts anything from; but one that asks for a token asks for it first."""


def service_checks(service: ServiceConfig, grants: Collection[Grant]) -> Iterator[Check]:
    """The service, and what it predicts by."""
    yield f"service at {service.url}", partial(_check_service, service, Grant.MARKERS in grants)
    if service.artifacts:
        yield "service.artifacts", partial(_check_artifacts, service)


def _check_service(service: ServiceConfig, asked: bool) -> None:
    """Raises ProviderError where neither its /healthz nor the URL itself is good; where predictions may be ``asked`` of
    it, RefusedError where it refuses the token that they are asked with."""
    url = service.url
    status, _ = get(url, "/healthz")
    if status == 404:  # a health check of another name, or none
        status, _ = get(url, "")
    if status >= 400:
        raise ProviderError(
            f"The service at {url} answers with status {status}.",
            "See whether it is well, and whether service.url is its base URL.",
        )
    if asked:
        predict(url, NO_REQUEST, service.token)


def _check_artifacts(service: ServiceConfig) -> None:
    if not Path(service.artifacts).is_dir():
        raise RefusedError(
            f"The directory of model artifacts {service.artifacts!r} is not there.",
            "Put it there, or correct service.artifacts.",
        )
