"""What dr.yaml may say, field by field; msgspec refuses everything else.

Secrets never stand here, only references to them: ``env:NAME`` (an environment variable) or ``file:PATH`` (the first
line of a file).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec

from dr.domain.model import Grant

REFERENCES = ("env:", "file:")
# The upper bounds keep out what is infinite or not a number, and what nobody waits for.
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=1e8)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1e4)]
Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


def _without_login(field: str, url: str) -> None:
    """Raises ValueError for a URL with an @, wherever: its login would stand in every report. It is not repeated."""
    if "@" in url:
        raise ValueError(f"{field} has a login in it, or an @ that could end one: dr sends none, so write it without")


def _a_reference(of: str, secret: str) -> None:
    """Raises ValueError for what is no reference; it may be the secret itself, and so is not repeated."""
    if not secret.startswith(REFERENCES):
        raise ValueError(f"The {of} is no reference: write env:NAME or file:PATH")


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database role and where its password is found."""

    user: str
    secret: str

    def __post_init__(self) -> None:
        """Raises ValueError for a secret that is no reference."""
        _a_reference(f"secret of {self.user}", self.secret)


class DatabaseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The database inside the instance."""

    name: str
    harness: Login
    """The harness's own role: reads every table (pg_read_all_data, BYPASSRLS), owns schema ``dr``, nothing else.

    With pg_read_all_stats it also sees whether the source's standby is synchronous."""
    roles: tuple[Login, ...] = ()
    """The application's roles, each with the secret the service really uses: a restore proves that they log in."""
    master: Login | None = None
    """Whose password ``--reset-master-secret`` sets on a restoration."""
    ca: str = ""
    """CA bundle for sslmode=verify-full; empty: the system's."""

    @property
    def first(self) -> Login:
        """As whom a person connects: as the application does, where one of its roles is named."""
        return (*self.roles, self.harness)[0]


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The prediction service: where the source's is, and how one is put on a restored database."""

    url: str
    """Base URL of the service on the source."""
    command: tuple[str, ...]
    """Started against a restored database, to which it connects, with DATABASE_URL, HOST, PORT, and API_TOKEN where the
    target names a token, in its environment."""
    login: str
    """The role among ``database.roles`` the service connects as."""
    requests: tuple[dict[str, object], ...]
    """Bodies of /predict for synthetic patients: probes send them in turn; their answers are the golden ones."""
    artifacts: str = ""
    """Directory of model artifacts; passed on as MODEL_DIR, and digested against model_versions."""
    expected: tuple[str, ...] = ()
    """Fields that a good answer has; empty: any JSON object is one."""
    volatile: tuple[str, ...] = ("prediction_id", "created_at")
    """Fields of an answer that differ every time and are left out when answers are compared."""
    token: str = ""
    """Where the token is found that is sent with each request to /predict (``Authorization: Bearer``), and that the
    command gets as API_TOKEN; empty: none is sent, and none given."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL with a login, and for a token that is no reference."""
        _without_login("service.url", self.url)
        if self.token:
            _a_reference("token of the service", self.token)


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An AWS shared-credentials file and its profile; both empty: boto3's own chain, minus ambient endpoints."""

    file: str = ""
    profile: str = ""


class PoolerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PgBouncer in front of the databases, as clients and its administrator reach it."""

    host: str
    port: int
    entry: str
    """The entry that leads to the primary: the database that clients name, and what a promotion leads elsewhere."""
    admin: Login
    """Of the console."""
    configuration: str
    """The file with the entries, as this machine sees it: an entry is moved there, then PgBouncer is told to reload."""
    console: str = "pgbouncer"
    """The console's database."""
    reads: tuple[str, ...] = ()
    """Entries that lead to the replicas, in the order of the target's ``replicas``."""
    ca: str = ""
    """CA bundle for sslmode=verify-full; empty: the database's."""


class SecretConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Kubernetes Secret that tells the service where the database is."""

    kubeconfig: str
    context: str
    """Of the kubeconfig: the ambient one is not looked at."""
    namespace: str
    name: str
    host_key: str = "host"
    port_key: str = "port"
    """Empty, or absent from the Secret: 5432."""
    url_key: str = ""
    """A key with a URL of both, instead of the two."""
    restart: tuple[str, ...] = ()
    """Deployments that read it when they start, and are restarted after a change."""


class PrometheusConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Prometheus that scrapes the service."""

    url: str
    selector: str = ""
    """Labels of the service's series (``job="readmission-api"``); empty: whatever has their names."""
    interval: float = 15.0
    """Seconds between two scrapes."""
    alerts: tuple[str, ...] = ("HighErrorRate", "SlowAPIResponse")
    """Its alert rules of which a drill tells whether they would have fired; empty: that is not asked."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL with a login."""
        _without_login("prometheus.url", self.url)


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system under drill, pinned."""

    account: str
    region: str
    instance: str
    """The source: DBInstanceIdentifier."""
    database: DatabaseConfig
    service: ServiceConfig | None = None
    replicas: tuple[str, ...] = ()
    """The source's read replicas: DBInstanceIdentifiers."""
    pooler: PoolerConfig | None = None
    """Absent: clients go to the database directly."""
    secret: SecretConfig | None = None
    """Absent: nothing in a cluster is to be changed when a replica takes the source's place."""
    prometheus: PrometheusConfig | None = None
    """Absent: nothing is corroborated."""
    faults: tuple[str, ...] = ()
    """A command that puts a fault into the target: its name and its arguments, as a JSON object, follow. The neutral
    value of an argument takes it back. It prints a JSON object. Empty: only the provider's own API is used."""
    endpoint: str = ""
    """RDS and STS endpoint URL; empty: AWS's own for the region."""
    credentials: Credentials = Credentials()
    grants: tuple[Grant, ...] = ()
    emulated: str = ""
    """What of this target is not the real thing; stands in every report ("RDS emulated")."""
    restored: dict[str, object] = {}
    """What a drill's copy gets instead of the source's: DBSubnetGroupName, VpcSecurityGroupIds, DBInstanceClass, ..."""
    fallback: dict[str, object] = {}
    """Prepared for the night when the source is gone and no profile of it was ever stored: what a restore on call then
    passes, unless ``--set`` says otherwise; the same names."""

    def __post_init__(self) -> None:
        """Raises ValueError for an endpoint with a login."""
        _without_login("endpoint", self.endpoint)


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """How the harness measures."""

    rate: Rate = 50.0
    """Probes a second on each path."""
    markers: Rate = 20.0
    """Markers a second."""
    timeout: Seconds = 2.0
    """Seconds after which a probe counts as an error."""
    window: Seconds = 1.0
    """Seconds of one window; three in a row within the SLO end an outage."""
    settle: Seconds = 12.0
    """Seconds that a path is measured at its end, and has to be good for where it was out."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of dr.yaml."""

    targets: dict[str, Target] = {}
    objectives: dict[str, float] = {}
    """The limits that it states, by their names."""
    meter: Meter = Meter()


def settings_with(limits: Mapping[str, Any]) -> type[Settings]:
    """The whole of dr.yaml where ``limits`` may stand under ``objectives``: name to the type of its number."""
    fields = [(name.replace("-", "_"), kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in limits.items()]
    objectives = msgspec.defstruct("Objectives", fields, rename="kebab", frozen=True, forbid_unknown_fields=True)
    whole = msgspec.defstruct("Settings", [("objectives", objectives, objectives())], bases=(Settings,), frozen=True)
    return cast("type[Settings]", whole)
