"""The lab as a target: the text of target.yaml, which ``dr`` reads as it would read production's entry in dr.yaml."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from dr.config.model import Login
from dr.domain.model import Grant
from dr.drivers.aws.config import Credentials
from dr.drivers.clients.config import ClientsConfig, PoolerConfig
from dr.drivers.faults.plugin import FaultsConfig
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.rds.config import RdsConfig
from dr.drivers.service.config import Planting, Rows, ServiceConfig, Stored
from dr.drivers.velero.config import VeleroConfig
from dr.lab.beside import pgbouncer, prometheus
from dr.lab.beside.pgbouncer import PgBouncer
from dr.lab.beside.prometheus import Prometheus
from dr.lab.cluster.control import MAIN, ControlPlane
from dr.lab.cluster.platform import HOSTS, NAMESPACES
from dr.lab.platform.population import PROBE_REQUESTS, probes
from dr.lab.platform.roles import ANALYST, API, HARNESS, secret_file
from dr.lab.rds.account import DRILL_SECURITY_GROUP, DRILL_SUBNET_GROUP
from dr.lab.rds.signature import Account

SOURCE = "readmission-db"
DATABASE = "readmission"
MASTER = "readmission_admin"
PROFILE = "lab"
REPLICAS = (f"{SOURCE}-replica-1", f"{SOURCE}-replica-2")
ENTRY = "readmission"
"""PgBouncer's entry for the service."""
READS = ("readmission_ro_1", "readmission_ro_2")
"""Its entries for the replicas."""


# An endpoint keeps its address here, where RDS keeps its name: nobody has to look it up anew.
EMULATED = ("RDS emulated", "DNS resolution not exercised")
NO_INDEXES = ("indexes not examined",)
IN_CLUSTER = ("no kubelet and no containers in the cluster", "NetworkPolicies not enforced")


CLUSTER = "cluster"
PREDICTED = ("readmission_risk", "confidence_interval", "risk_factors", "model_version")
"""The path that is measured through the cluster's Ingress."""


def token_file(directory: Path) -> Path:
    """Where the token stands that the prediction service asks for."""
    return directory / "secrets" / "service.token"


def render(
    directory: Path,
    account: Account,
    api: str,
    service: str,
    ca: Path,
    pooler: PgBouncer | None = None,
    metrics: Prometheus | None = None,
    replicated: bool = False,
    amcheck: bool = True,
    cluster: ControlPlane | None = None,
    velero: str = "",
    way: str = "",
    way_into: str = "",
) -> str:
    """target.yaml's text; no secret in it, only where the secrets are. ``velero``: its command line. ``way``: the
    URL of the service through the cluster; ``way_into``: that of one in a copy."""

    def login(role: str) -> Login:
        return Login(role, f"file:{secret_file(directory / 'secrets', role)}")

    target = {
        "grants": (Grant.MARKERS, Grant.FAULTS, Grant.DISPOSABLE),
        "emulated": ", ".join((*EMULATED, *(() if amcheck else NO_INDEXES), *(IN_CLUSTER if cluster else ()))),
        "rds": RdsConfig(
            account=account.id,
            region=account.region,
            instance=SOURCE,
            replicas=REPLICAS if replicated else (),
            endpoint=api,
            credentials=Credentials(str(directory / "aws-credentials"), PROFILE),
            restored={
                "DBSubnetGroupName": DRILL_SUBNET_GROUP,
                "VpcSecurityGroupIds": [DRILL_SECURITY_GROUP],
                "MultiAZ": False,
            },
        ),
        "postgres": PostgresConfig(
            name=DATABASE,
            harness=login(HARNESS),
            roles=(login(API), login(ANALYST)),
            master=login(MASTER),
            ca=str(ca),
            amcheck=amcheck,
        ),
        "service": ServiceConfig(
            url=service,
            command=(sys.executable, "-m", "dr.lab.service"),
            login=API,
            requests=tuple({**request} for request in PROBE_REQUESTS),
            expected=("prediction_id", "readmission_risk"),
            artifacts=str(directory / "models"),
            planted=Planting(login(MASTER), (*_planted(),)),
            stored=Stored("public.predictions", "admission_id", {name: name for name in PREDICTED}),
            token=f"file:{token_file(directory)}",
            ways={CLUSTER: way} if way else {},
            copies=way_into,
        ),
        "clients": ClientsConfig(_pooler(pooler, READS if replicated else ()) if pooler else None),
        "prometheus": _prometheus(metrics) if metrics else None,
        "kubernetes": _kubernetes(cluster) if cluster else None,
        "velero": VeleroConfig(program=velero, instead=_of_copies()) if velero else None,
        "faults": FaultsConfig((sys.executable, "-m", "dr.lab.fault")),
    }
    return yaml.safe_dump(msgspec.to_builtins(target), sort_keys=False)


def _kubernetes(cluster: ControlPlane) -> KubernetesConfig:
    return KubernetesConfig(str(cluster.kubeconfig), MAIN, cluster.uid, NAMESPACES)


def _of_copies() -> dict[str, str]:
    """The hosts of the Ingress, which is left out of a copy of the platform."""
    return {host: host.replace(".", ".copy.", 1) for host in HOSTS}


def _planted() -> Iterator[Rows]:
    """The probe patients, each with the admission that a golden request names."""
    for admission in probes()[1]:
        yield Rows("public.patients", {"patient_id": admission.patient})
        yield Rows("public.admissions", {"patient_id": admission.patient, "admission_id": admission.id})


def _pooler(pooler: PgBouncer, reads: tuple[str, ...]) -> PoolerConfig:
    return PoolerConfig(
        host="127.0.0.1",
        port=pooler.port,
        entry=ENTRY,
        admin=Login(pgbouncer.ADMIN, f"file:{secret_file(pooler.directory, pgbouncer.ADMIN)}"),
        configuration=str(pooler.configuration),
        reads=reads,
    )


def _prometheus(metrics: Prometheus) -> PrometheusConfig:
    return PrometheusConfig(metrics.url, f'job="{prometheus.JOB}"', prometheus.INTERVAL)
