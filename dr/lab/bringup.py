"""Everything the lab consists of, made in order: site, account, source, platform, pooler, service, API, standby and
replicas, target."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.beside.standing import Beside
from dr.lab.cluster.standing import Cluster
from dr.lab.cluster.storage import ObjectStore
from dr.lab.cluster.timings import Timings
from dr.lab.platform import dump, install
from dr.lab.platform.model import ARTIFACT
from dr.lab.platform.roles import API, password, show_all
from dr.lab.rds import account as accounts
from dr.lab.rds import building, events, names
from dr.lab.rds.actions_instances import enter, find
from dr.lab.rds.errors import AwsError
from dr.lab.rds.faults import Failing, Faults
from dr.lab.rds.postgres import PostgresServers
from dr.lab.rds.protocol import Api
from dr.lab.rds.rebuilding import rebuild
from dr.lab.rds.records import Instance, Snapshot, State, Store
from dr.lab.rds.retention import automated
from dr.lab.rds.service import Lab as RdsLab
from dr.lab.rds.trouble import Trouble
from dr.lab.rds.work import Work
from dr.lab.servers.access import Access
from dr.lab.servers.settings import ADMIN, SPACING
from dr.lab.servers.site import IN_CLUSTER, free_port, kept_secret, open_site, write_closed
from dr.lab.service.served import Served
from dr.lab.target import DATABASE, ENTRY, MASTER, PROFILE, READS, REPLICAS, SOURCE, render, token_file
from dr.ports import Clock

SOURCE_TAGS = {"env": "prod", "project": "readmission-risk", "Name": SOURCE}
log = logging.getLogger(__name__)
SETTLE_LIMIT, GLANCE = 60.0, 0.05
"""Seconds that standby and replicas may take, and between two looks at whether they are there."""
WITHOUT_AMCHECK = "This PostgreSQL has no amcheck: nothing is demanded of indexes."
FOREIGN_ACCOUNT = "210987654321"
"""Another account, whose snapshots can be shared with the lab's."""


class Lab:
    """A context: what it made is stopped at its end. ``prepare`` first, ``publish`` last. ``tell_service``: as
    ``Served``'s ``tell``."""

    def __init__(
        self, directory: Path, clock: Clock, timings: Timings, tell_service: Callable[[int, float], object]
    ) -> None:
        self._directory = directory
        self._site = open_site(directory, clock)
        self._servers = PostgresServers(self._site)
        self.account = accounts.new_account()
        state = accounts.initial_state(self._servers.version)
        self._store = Store(directory / "rds.json", self.account, state)
        self._faults = Faults()
        self._trouble = Trouble(self._servers)
        self._work = Work(self._store, self._servers, clock, self._faults, enlarge=self._enlarge)
        self._api = Api(RdsLab(self._store, self._work, clock))
        self._beside = Beside(self._site)
        self.cluster = Cluster(self._site, timings)
        self._storage: ObjectStore | None = None
        self._tell_service = tell_service
        self._served: Served | None = None
        self.added: tuple[str, ...] = ()
        """What a loaded dump lacked and the service needs."""
        self._password = secrets.token_urlsafe(24)
        self._clock = clock
        self._replicas: list[Instance] = []
        self._amcheck = True
        self._nights: set[str] = set()
        """Instances whose daily backup is under way."""

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._api.close()
        self.cluster.stop()
        if self._storage is not None:
            self._storage.close()
        if self._served is not None:
            self._served.stop()
        self._beside.stop()
        self._work.close(5.0)
        self._trouble.stop()
        self._servers.close()

    @property
    def api_url(self) -> str:
        return self._api.url

    @property
    def service_url(self) -> str:
        return self._running_service().url

    @property
    def pooler_port(self) -> int:
        """PgBouncer's; 0 where there is none."""
        return self._beside.pooler.port if self._beside.pooler else 0

    @property
    def prometheus_url(self) -> str:
        """Empty where there is none."""
        return self._beside.prometheus.url if self._beside.prometheus else ""

    @property
    def absent(self) -> tuple[str, ...]:
        """Sentences on what is not installed."""
        return self._beside.absent + self.cluster.absent + (() if self._amcheck else (WITHOUT_AMCHECK,))

    def _running_service(self) -> Served:
        if self._served is None:
            raise ProviderError("The prediction service was not started.")
        return self._served

    # Bringing up

    def prepare(
        self, patients: int, load: Path | None, *, single: bool = False, without: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Make everything, naming each phase before it begins. Raises DrError."""
        if "kubernetes" not in without:
            self.cluster.begin()
        yield "making the source's server"
        source = self._make_source()
        server = self._servers.server(source.resource_id)
        access = Access(str(server.socket_directory), server.port, MASTER, self._password, DATABASE)
        artifacts, closed = self._directory / "models", self._directory / "secrets"
        if load is None:
            yield f"installing the platform with {patients} patients"
            install.install(access, patients, artifacts, closed)
        else:
            yield f"loading {load.name}"
            superuser = replace(access, user=ADMIN, password=self._site.admin_password())
            dump.load(superuser, MASTER, self._site.binaries, load)
            yield "adding what the service needs"
            self.added = install.complete(access, artifacts, closed).added
        with server.connect(DATABASE) as connection:
            show_all(connection)
            found = connection.execute("select from pg_extension where extname = 'amcheck'").fetchone()
            self._amcheck = found is not None
        write_closed(closed / f"{MASTER}.password", f"{self._password}\n")
        yield "starting PgBouncer, the prediction service and Prometheus"
        self._replicas = [] if single else self._enter_replicas(source)
        reads = {name: one.port for name, one in zip(READS, self._replicas, strict=False)}
        self._beside.pool({ENTRY: source.port, **reads})
        self._served = Served(self._directory, self.pooler_port or source.port, free_port(), self._tell_service)
        self._served.start()
        self._beside.scrape(self._served.url)
        self._api.start()
        if not single:  # each takes seconds, and so does last night's snapshot: side by side
            self._work.begin(partial(self._add_standby, source))
        for one in self._replicas:
            self._work.begin(partial(self._work.replicas.create, one))
        if self.cluster.present:
            yield "putting the platform into Kubernetes"
            self._furnish(source)

    def _furnish(self, source: Instance) -> None:
        """Put the platform into the cluster, which reaches the database through the lab's pooler."""
        self._storage = ObjectStore(self.account)
        self._storage.start()
        self._storage.furnish({ARTIFACT.name: ARTIFACT.read_bytes()})
        login = f"{API}:{password(self._directory / 'secrets', API)}"
        self.cluster.furnish(
            self._storage,
            database_url=f"postgresql://{login}@{IN_CLUSTER}:5432/{DATABASE}?sslmode=verify-full",
            ca=self._site.ca.read_bytes(),
            token=kept_secret(token_file(self._directory)),
            upstream=f"127.0.0.1:{self.pooler_port or source.port}",
        )

    def _enlarge(self, key: str) -> None:
        self._trouble.fill_disk(key, full=False)

    def _add_standby(self, source: Instance) -> None:
        with self._work.lock(source.resource_id):
            self._work.keeper.convert(source, multi_az=True)

    def _enter_replicas(self, source: Instance) -> list[Instance]:
        with self._store.changing() as state:
            attributes = building.replica({}, source.attributes, state)
            return [
                enter(state, name, dict(attributes), {**SOURCE_TAGS, "Name": name}, None, source=source.resource_id)
                for name in REPLICAS
            ]

    def settle(self) -> None:
        """Wait until standby, replicas and the cluster's pods are there. Raises ProviderError where one is not."""
        limit = self._clock.now().mono_ns + round(SETTLE_LIMIT * 1e9)
        while waiting := self._unfinished():
            if self._clock.now().mono_ns > limit:
                raise ProviderError(f"{waiting[0]} was not there within {SETTLE_LIMIT:.0f} s.", "See daemon.log.")
            self._clock.sleep(GLANCE)
        self.cluster.settle()

    def _unfinished(self) -> list[str]:
        """What is still being made. Raises ProviderError for a replica that cannot be."""
        with self._store.reading() as state:
            if not self._replicas:
                return []
            present = [state.instances[name] for name in (SOURCE, *REPLICAS) if name in state.instances]
            for one in present:
                if one.status == "failed":
                    raise _unmade(one, state)
            lacking = [f"The standby of {one.identifier}" for one in present[:1] if not one.attributes["MultiAZ"]]
            return lacking + [one.identifier for one in present if one.status == "creating"]

    def _make_source(self) -> Instance:
        asked = {
            "DBInstanceClass": "db.r6g.large",
            "Engine": "postgres",
            "AllocatedStorage": 100,
            "DBName": DATABASE,
            "MasterUsername": MASTER,
            "BackupRetentionPeriod": 7,
            "DBSubnetGroupName": accounts.SUBNET_GROUP,
            "VpcSecurityGroupIds": [accounts.SECURITY_GROUP],
            "DBParameterGroupName": accounts.PARAMETER_GROUP,
            "DeletionProtection": True,
            "CopyTagsToSnapshot": True,
            "StorageEncrypted": True,
            "EnableCloudwatchLogsExports": ["postgresql"],
        }
        with self._store.changing() as state:
            attributes = building.created(asked, state, self.account.region)
            one = enter(state, names.identifier(SOURCE, "DBInstanceIdentifier"), attributes, dict(SOURCE_TAGS), None)
        # Its first backup is last night's: taken when the platform is in it.
        self._work.create(one, self._password, first_backup=False)
        if one.status != "available":
            with self._store.reading() as state:
                raise _unmade(one, state)
        return one

    def publish(self) -> None:
        """Write the credentials, the password file and the target: from here on the lab is to be used."""
        keys = f"aws_access_key_id = {self.account.access_key}\naws_secret_access_key = {self.account.secret_key}\n"
        credentials = f"[{PROFILE}]\n{keys}region = {self.account.region}\n"
        write_closed(self._directory / "aws-credentials", credentials)
        write_closed(self._directory / "pgpass", f"127.0.0.1:*:*:{MASTER}:{self._password}\n")
        target = render(
            *(self._directory, self.account, self.api_url, self.service_url, self._site.ca),
            pooler=self._beside.pooler,
            metrics=self._beside.prometheus,
            replicated=bool(self._replicas),
            amcheck=self._amcheck,
            cluster=self.cluster.running.plane if self.cluster.present else None,
            velero=self.cluster.velero_program,
            way=self.cluster.way(),
            way_into=self.cluster.way_into(),
        )
        write_closed(self._directory / "target.yaml", target)

    # Keeping

    def watch(self) -> None:
        """One look at everything that may have died."""
        self._work.watch()
        self._work.survey()
        self._work.retain()
        for one in self._work.due():
            if one.identifier not in self._nights:
                self._nights.add(one.identifier)
                self._work.begin(partial(self._back_up_nightly, one))
        self._running_service().keep()
        self._beside.keep()
        self.cluster.keep()

    def _back_up_nightly(self, one: Instance) -> None:
        """The daily backup, of the source between two baselines: without them nobody could judge a restore of it."""
        try:
            if one.identifier == SOURCE:
                self._note_baseline()
                self._clock.sleep(SPACING)
            with suppress(RefusedError):  # it is left out where something else is done to it
                self._work.automated_backup(one)
            if one.identifier == SOURCE:
                self._note_baseline()
        finally:
            self._nights.discard(one.identifier)

    def _note_baseline(self) -> None:
        # As production's cron would: the lab is below what takes baselines.
        command = [sys.executable, "-m", "dr", "baseline", "--target", "lab"]
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if answer.returncode:
            log.error("the nightly baseline failed: %s", answer.stderr.strip())

    # What ``dr.lab.control`` asks for

    def commands(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "automated_backup": self.automated_backup,
            "fail_calls": self.fail_calls,
            "delay_restores": self._faults.delay_restores,
            "delay_backups": self._faults.delay_backups,
            "force_status": self.force_status,
            "cut_archive": self.cut_archive,
            "share_foreign_snapshot": self.share_foreign_snapshot,
            "set_quota": self.set_quota,
            "kill_server": self.kill_server,
            "age_backups": self.age_backups,
            "rebuild": self.rebuild,
            "pgbouncer": self._beside.set_pooler_down,
            "prometheus": self._beside.set_prometheus_down,
            "kubernetes": self.cluster.set_down,
            "velero": self.set_velero_down,
            "storage": self.refuse_storage,
            "lose_node": self.cluster.lose_node,
            "break_gpu": self.cluster.break_gpu,
            "volume_digest": self.cluster.volume_digest,
            "cluster": self.cluster.shown,
            "stubborn_service": self.stubborn_service,
            "instances": self.instances,
            **self._trouble.commands(self._key),
        }

    def _key(self, instance: str) -> str:
        with self._store.reading() as state:
            return _find(state, instance).resource_id

    def automated_backup(self, instance: str) -> str:
        with self._store.reading() as state:
            one = _find(state, instance)
        return self._work.automated_backup(one)

    def set_velero_down(self, down: bool = True) -> None:
        self.cluster.velero.set_down(down)

    def fail_calls(self, code: str, calls: int = 1, action: str = "") -> None:
        if code not in self._api.failures:
            raise RefusedError(f"The lab knows no error code {code!r}.")
        self._faults.fail(Failing(code, calls, action))

    def force_status(self, instance: str, status: str) -> None:
        """Show ``status`` instead of the true one; "" shows the true one again."""
        with self._store.changing() as state:
            one = _find(state, instance)
            one.forced = status
            if status == "storage-full":
                self._work.say(state, "storage-full", one)

    def cut_archive(self, instance: str, cut: bool = True) -> None:
        """Let no more WAL reach the archive of ``instance``; ``cut=False`` ends that."""
        self._servers.archive(self._key(instance)).chmod(0o500 if cut else 0o700)

    def share_foreign_snapshot(self, snapshot: str, encrypted: bool) -> str:
        """Let another account's copy of ``snapshot`` be shared with the lab's. Returns its ARN."""
        with self._store.changing() as state:
            source = state.snapshots.get(snapshot)
            if source is None:
                raise RefusedError(f"The lab has no snapshot {snapshot!r}.", "'dr backups' names them.")
            arn = f"arn:aws:rds:{self.account.region}:{FOREIGN_ACCOUNT}:snapshot:shared-{secrets.token_hex(4)}"
            attributes = {**source.attributes, "Encrypted": encrypted}
            state.snapshots[arn] = _shared(source, arn, attributes)
        return arn

    def set_quota(self, instances: int) -> None:
        with self._store.changing() as state:
            state.quota = instances

    def kill_server(self, instance: str) -> None:
        """End an instance's server as a power failure would."""
        self._servers.server(self._key(instance)).kill()

    def age_backups(self, instance: str, seconds: float) -> None:
        """Let the automated backups of ``instance`` be that much older; the next may be due then, and some expire."""
        with self._store.changing() as state:
            for one in automated(state, _find(state, instance).resource_id):
                one.asked -= seconds
                one.created, one.original, one.database_time = (
                    at and at - seconds for at in (one.created, one.original, one.database_time)
                )

    def rebuild(self, instance: str) -> None:
        """Make an instance that is lost for good anew from its last backup, with its standby and its replicas."""
        with self._store.reading() as state:
            one = _find(state, instance)
        replicas = self._replicas if one.identifier == SOURCE else self._work.replicas.of(one)
        rebuild(self._work, self._store, one, replicas)

    def refuse_storage(self, methods: list[str]) -> None:
        """Let the cluster's S3 deny requests of these HTTP methods, until it is told others."""
        if self._storage is None:
            raise RefusedError("This lab has no S3.", "'dr lab up' with Kubernetes has one.")
        self._storage.refuse(methods)

    def stubborn_service(self, stubborn: bool = True) -> None:
        self._running_service().set_stubborn(stubborn)

    def instances(self) -> list[dict[str, Any]]:
        """What there is, for ``dr lab status``. ``standby``: whether it has a synchronous one now; None: Single-AZ."""
        with self._store.reading() as state:
            present = list(state.instances.values())
        return [
            {
                "identifier": one.identifier,
                "status": one.forced or one.status,
                "port": one.port,
                "standby": self._has_standby(one) if one.attributes["MultiAZ"] else None,
            }
            for one in present
        ]

    def _has_standby(self, one: Instance) -> bool:
        try:
            standby = self._servers.standby(one.resource_id)
        except RefusedError:
            return False  # it is being made, or was deleted meanwhile
        return standby is not None and standby.takes_all


def _find(state: State, instance: str) -> Instance:
    """As the API finds it, and refused in a sentence where there is none."""
    try:
        return find(state, instance)
    except AwsError:
        raise RefusedError(f"The lab has no instance {instance!r}.", "'dr lab status' names them.") from None


def _unmade(one: Instance, state: State) -> ProviderError:
    said = events.failure(state.events, one.identifier) or "See daemon.log."
    return ProviderError(f"{one.identifier} could not be made. {said}")


def _shared(source: Snapshot, arn: str, attributes: dict[str, Any]) -> Snapshot:
    return Snapshot(
        identifier=arn,
        kind="manual",
        status="available",
        progress=100,
        source=source.source,
        resource_id=f"{source.resource_id}-foreign",
        attributes=attributes,
        tags={},
        backup=source.backup,
        asked=source.asked,
        created=source.created,
        original=source.original,
        database_time=source.database_time,
    )
