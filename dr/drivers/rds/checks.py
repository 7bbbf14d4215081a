"""The source and its replicas, asked whether they are there and can be restored: reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from dr.config.needs import Check
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Resource
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import instance


def instance_checks(rds: RdsConfig, resources: Iterable[Resource]) -> Iterator[Check]:
    """The source and its replicas among the provider's ``resources``."""
    present = tuple(resources)
    for kind, name in (("source", rds.instance), *(("replica", name) for name in rds.replicas)):
        yield f"{kind} {name}", partial(_check_instance, rds, kind, name, present)
    yield f"restoring {rds.instance}", partial(_check_restorable, rds.instance, present)


def _check_instance(rds: RdsConfig, kind: str, name: str, present: Iterable[Resource]) -> None:
    found = next((one for one in present if one.ref == instance(name)), None)
    if found is None:
        raise RefusedError(
            f"There is no instance {name} in {rds.region} of account {rds.account}.",
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
