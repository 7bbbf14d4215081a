"""Each thing that a target names, asked whether it is there and answers: logs in, reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from dr.config.needs import Check
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Grant, Resource
from dr.drivers.postgres.examine import log_in
from dr.drivers.postgres.source import source_among
from dr.drivers.rds.naming import instance
from dr.drivers.sections import Sections
from dr.drivers.service.asking import get, predict
from dr.drivers.service.config import ServiceConfig

NO_REQUEST = ""
"""JSON that no service predicts anything from; but one that asks for a token asks for it first."""


def database_checks(target: Sections, resources: Iterable[Resource]) -> Iterator[Check]:
    """The source and its replicas among the provider's ``resources``, and every login on the source. A source without
    an endpoint takes none, which its own check says."""
    present = tuple(resources)
    for kind, name in (("source", target.rds.instance), *(("replica", name) for name in target.rds.replicas)):
        yield f"{kind} {name}", partial(_check_instance, target, kind, name, present)
    yield f"restoring {target.rds.instance}", partial(_check_restorable, target.rds.instance, present)
    source = source_among(present, target.rds.instance)
    if source is not None:
        planted = target.service.planted if target.service is not None else None
        for role in (target.postgres.harness, *target.postgres.roles, *([planted.login] if planted else [])):
            yield f"login of {role.user}", partial(log_in, source.server, target.postgres, role)


def service_checks(service: ServiceConfig, grants: Collection[Grant]) -> Iterator[Check]:
    """The service, and what it predicts by."""
    yield f"service at {service.url}", partial(_check_service, service, Grant.MARKERS in grants)
    if service.artifacts:
        yield "service.artifacts", partial(_check_artifacts, service)


def _check_instance(target: Sections, kind: str, name: str, present: Iterable[Resource]) -> None:
    found = next((one for one in present if one.ref == instance(name)), None)
    if found is None:
        raise RefusedError(
            f"There is no instance {name} in {target.rds.region} of account {target.rds.account}.",
            "Correct the target's instance, or restore it." if kind == "source" else "Correct the target's replicas.",
        )
    if found.remedy:
        raise ProviderError(f"{name} is {found.status}.", found.remedy, code=found.status)
    if found.endpoint is None:
        raise RefusedError(f"{name} is {found.status} and has no endpoint yet.", "Wait until it is available.")


def _check_restorable(name: str, present: Iterable[Resource]) -> None:
    """Raises RefusedError where no restore of an instance's can bring ``name`` back."""
    found = next((one for one in present if one.ref == instance(name)), None)
    if found is None:
        return  # that it is not there is told already
    cluster = found.attributes.get("DBClusterIdentifier")
    if cluster:
        raise RefusedError(
            f"{name} is a member of the cluster {cluster}, whose backups are the cluster's: dr restores no clusters.",
            "Name an instance that stands by itself; 'aws rds restore-db-cluster-to-point-in-time' restores a cluster.",
        )
    if found.attributes.get("BackupRetentionPeriod") == 0:
        raise RefusedError(
            f"{name} keeps no automated backups (BackupRetentionPeriod is 0): no time of it can be restored, and a"
            " snapshot only where somebody took one.",
            "Set BackupRetentionPeriod with 'aws rds modify-db-instance'; 'dr backups' lists what there is.",
        )


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
