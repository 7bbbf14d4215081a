"""A ``Subject`` of every plugin, with real parts where one runs cheaply: what the suite runs over."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from dr.config.context import Context
from dr.config.model import Login, Settings
from dr.config.plugins import plugins
from dr.domain.model import Grant, Purpose, Request, Resource, RunIdentity, Verb
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.pgbouncer_entry import Entry
from dr.drivers.clients.provider import MovingProvider
from dr.drivers.faults.provider import FaultsProvider
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.provider import KubernetesProvider
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.observing.provider import ObservingProvider
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.provider import PostgresProvider
from dr.drivers.rds.naming import instance
from dr.drivers.service.provider import ServingProvider
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.provider import VeleroProvider
from dr.host import children
from dr.host.clock import SystemClock
from dr.lab.beside import pgbouncer
from dr.lab.beside.pgbouncer import ADMIN, PgBouncer
from dr.lab.platform.roles import password
from dr.lab.servers.site import free_port
from tests.contract import example
from tests.contract.provider_suite import Subject
from tests.integration import meters, rds_endpoint
from tests.lab_servers import lab_site
from tests.platform_objects import KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.servers import PASSWORD, LocalServer, local_server
from tests.stub_cluster import stub_cluster
from tests.stub_velero import KEY, backup, stub_velero
from tests.targets import retargeted, target_of

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "d")
SOURCE = "source-db"
HUSH, TOKEN = "hush hush", "t0ken"
NOWHERE = "http://127.0.0.1:1"
STATE = """
import json, pathlib, sys
state, arguments = pathlib.Path(sys.argv[1]), json.loads(sys.argv[3])
state.touch() if arguments["lost"] else state.unlink(missing_ok=True)
print(json.dumps({"fault": sys.argv[2]}))
"""
"""What puts a fault into a target that is one file."""
STARTED = b"process_start_time_seconds 1795417000.25\n"
METRICS = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(STARTED), STARTED)


def requested(verb: Verb) -> Request:
    return Request("lab", (verb,), Purpose.DRILL)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dr-row-") as made:
        yield Path(made)


def beside(at: Path, name: str) -> Path:
    """The run directory of a driver that is broken."""
    (at / name).mkdir()
    return at / name


@contextmanager
def rds() -> Iterator[Subject]:
    """A snapshot restore with the master password set anew, against the lab's endpoint and real PostgreSQL."""
    verb = Verb("restore", {"to": {"snapshot": "latest"}, "reset_master": True})
    with rds_endpoint.endpoint() as one:
        yield Subject(
            plugin=plugins()["rds"],
            provider=one.provider(),
            broken=one.provider(endpoint=NOWHERE),
            request=rds_endpoint.request(verb),
            run=rds_endpoint.identity(),
            things=lambda: [name for name in one.rows() if name != rds_endpoint.SOURCE],
            secrets=(rds_endpoint.PASSWORD, one.account.secret_key),
        )


def of_server(server: LocalServer, at: Path, secret: str = PASSWORD, **parts: Any) -> Context:
    """A target whose source is ``server``, and to which the harness logs in with ``secret``."""
    target = target_of(
        account="1",
        region="eu-west-1",
        instance=SOURCE,
        database=server.database(secret),
        grants=(Grant.MARKERS,),
        **parts,
    )
    return Context("lab", target, Settings(), at, at, SystemClock(), "")


def as_seen(server: LocalServer) -> tuple[Resource, ...]:
    """The source as RDS's driver sees it."""
    return (Resource(instance(SOURCE), "available", endpoint=server.address, uid="db-1"),)


def own_tables(server: LocalServer) -> list[str]:
    with server.superuser() as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'dr'").fetchall()
    return [str(name) for (name,) in rows]


@contextmanager
def postgres() -> Iterator[Subject]:
    """The rows that are to vanish, and a baseline, on a real server; broken is one that does not take the password."""
    with local_server("create table patients (id int primary key)") as server, directory() as at:
        yield Subject(
            plugin=plugins()["postgres"],
            provider=PostgresProvider(of_server(server, at)),
            broken=PostgresProvider(of_server(server, beside(at, "broken"), "wrong horse")),
            request=requested(Verb("baseline")),
            run=RUN,
            things=lambda: own_tables(server),
            secrets=(PASSWORD, "wrong horse"),
            seen=as_seen(server),
        )


@contextmanager
def observing() -> Iterator[Subject]:
    """The look before a disaster, at a real server and at a service's metrics: it makes nothing."""
    with local_server() as server, directory() as at, meters.serving() as service:
        service.says = METRICS
        good = meters.context(at, service.url, server.database())
        gone = meters.context(beside(at, "broken"), NOWHERE, server.database("wrong horse"))
        gone = replace(gone, target=retargeted(gone.target, service=None))  # a silent one is asked for half a minute
        yield Subject(
            plugin=plugins()["observing"],
            provider=ObservingProvider(good),
            broken=ObservingProvider(gone),
            request=requested(Verb("observe", {"when": "before"})),
            run=RUN,
            things=lambda: own_tables(server),
            secrets=(PASSWORD, "wrong horse", HUSH),
            seen=as_seen(server),
            any_verb=True,
            bears=True,
            reads=True,
        )


@contextmanager
def measuring() -> Iterator[Subject]:
    """The prober of the source's service, a process; an outage is what it is there to see."""
    with directory() as at, meters.serving() as service:
        (at / "token").write_text(TOKEN + "\n")
        token = f"file:{at / 'token'}"
        yield Subject(
            plugin=plugins()["measuring"],
            provider=MeasuringProvider(meters.context(at, service.url, token=token)),
            broken=MeasuringProvider(meters.context(beside(at, "broken"), NOWHERE, token=token)),
            request=requested(Verb("measure", {"path": "source"})),
            run=RUN,
            things=lambda: running(at / "meter-measure-source.pid"),
            secrets=(TOKEN, HUSH),
            any_verb=True,
            bears=True,
        )


def running(pidfile: Path) -> list[str]:
    return [pidfile.stem] if children.running(pidfile) else []


@contextmanager
def service() -> Iterator[Subject]:
    """A service that is started and asked on a copy of which only its sessions are played; broken is the copy."""
    copy = {"host": "localhost", "port": free_port()}
    with directory() as at:
        (at / "token").write_text(TOKEN + "\n")
        good = meters.context(at, token=f"file:{at / 'token'}")
        yield Subject(
            plugin=plugins()["service"],
            provider=ServingProvider(good, meters.watched),
            broken=ServingProvider(meters.context(beside(at, "broken"))),
            request=requested(Verb("serve")),
            run=RUN,
            things=lambda: running(at / "serve.pid"),
            secrets=(TOKEN, HUSH),
            effects={"restore": copy, "serve": {"url": NOWHERE, **copy}},
            any_verb=True,
        )


@contextmanager
def clients() -> Iterator[Subject]:
    """The entry of a real PgBouncer, which needs no server to lead to; broken is one that does not listen."""
    with lab_site() as site, directory() as at:
        program = pgbouncer.find(site)
        assert program is not None, "PgBouncer is not installed: .ci/run installs it"
        pooler = PgBouncer(site, program, site.directory / "pgbouncer", free_port(), {})
        pooler.start({"clinic": pgbouncer.Entry("127.0.0.1", free_port(), "clinic")})
        secret = at / "console"
        secret.write_text(password(pooler.directory, ADMIN))
        config = PoolerConfig(
            "localhost", pooler.port, "clinic", Login(ADMIN, f"file:{secret}"), str(pooler.configuration)
        )
        database = PostgresConfig("clinic", Login("dr", f"file:{secret}"), ca=str(site.ca))
        entry = Entry(config, database.ca)
        before = entry.present()
        (at / "gone.ini").write_bytes(pooler.configuration.read_bytes())
        gone = msgspec.structs.replace(config, port=free_port(), configuration=str(at / "gone.ini"))

        def moving(pooler: PoolerConfig) -> MovingProvider:
            target = target_of(database=database, pooler=pooler, grants=(Grant.DISPOSABLE,))
            return MovingProvider(Context("lab", target, Settings(), at, at, SystemClock(), ""))

        try:
            yield Subject(
                plugin=plugins()["clients"],
                provider=moving(config),
                broken=moving(gone),
                request=requested(Verb("move")),
                run=RUN,
                things=lambda: [] if entry.present() == before else [config.entry],
                secrets=(secret.read_text(),),
                effects={"promote": {"host": "127.0.0.1", "port": free_port()}},
                any_verb=True,
            )
        finally:
            pooler.stop()


@contextmanager
def faults() -> Iterator[Subject]:
    """A host that is lost, by a command that keeps a file for it; broken is a command that is not there."""
    with directory() as at:
        plain, state = meters.context(at), at / "lost"

        def faulty(*command: str) -> FaultsProvider:
            target = retargeted(plain.target, faults=command, grants=(Grant.DISPOSABLE,))
            return FaultsProvider(replace(plain, target=target))

        yield Subject(
            plugin=plugins()["faults"],
            provider=faulty(sys.executable, "-c", STATE, str(state)),
            broken=faulty("/nowhere/fault"),
            request=requested(Verb("disaster", {"kind": "host-lost"})),
            run=RUN,
            things=lambda: [state.name] if state.exists() else [],
            secrets=(HUSH,),
            any_verb=True,
        )


@contextmanager
def kv() -> Iterator[Subject]:
    """The provider that is one folder: a copy of a backup; broken is a store of which nothing is there."""
    with example.plugin() as plugin, directory() as at:
        store = example.Store(plugin, at, SystemClock())
        store.fill()
        yield Subject(
            plugin=plugin,
            provider=store.provider(),
            broken=example.Store(plugin, at / "nowhere", SystemClock()).provider(),
            request=example.REQUEST,
            run=example.RUN,
            things=store.copies,
            any_verb=True,
        )


@contextmanager
def kubernetes() -> Iterator[Subject]:
    """Workloads that are there, in a cluster that answers as much as that needs; broken is one that is not there."""
    with directory() as at, stub_cluster(at / "kubeconfig") as cluster:
        cluster.hold(*PLATFORM)
        text = (at / "kubeconfig").read_text().replace(cluster.url, NOWHERE)
        (at / "gone").write_text(text)

        def provider(file: str) -> KubernetesProvider:
            section = KubernetesConfig(str(at / file), "stub", KUBE_SYSTEM_UID, ("readmission-system",))
            target = retargeted(target_of(grants=(Grant.DISPOSABLE,)), kubernetes=section)
            return KubernetesProvider(Context("lab", target, Settings(), at, at, SystemClock(), ""))

        yield Subject(
            plugin=plugins()["kubernetes"],
            provider=provider("kubeconfig"),
            broken=provider("gone"),
            request=requested(Verb("await_workloads")),
            run=RUN,
            things=list,
            secrets=("stub-t0ken",),
            reads=True,
        )


@contextmanager
def velero() -> Iterator[Subject]:
    """A namespace that is gone and a backup that holds it; broken is one whose cluster is not there."""
    with directory() as at, stub_velero(at) as one:
        one.objects.hold(PLATFORM[0])
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "known", "namespace": SYSTEM}}
        one.keep(backup("nightly"), ("configmaps", config))
        (at / "gone").write_text((at / "kubeconfig").read_text().replace(one.objects.url, NOWHERE))

        def provider(file: str) -> VeleroProvider:
            section = KubernetesConfig(str(at / file), "stub", KUBE_SYSTEM_UID, (SYSTEM,))
            own = VeleroConfig(program=str(one.program))
            target = retargeted(target_of(grants=(Grant.DISPOSABLE,)), kubernetes=section, velero=own)
            return VeleroProvider(Context("lab", target, Settings(), at, at, SystemClock(), ""))

        yield Subject(
            plugin=plugins()["velero"],
            provider=provider("kubeconfig"),
            broken=provider("gone"),
            request=requested(Verb("restore", {"to": {"backup": "latest"}})),
            run=RUN,
            things=one.restores,
            secrets=("stub-t0ken", KEY),
        )


DRIVERS: Mapping[str, Callable[[], AbstractContextManager[Subject]]] = {
    "clients": clients,
    "faults": faults,
    "kubernetes": kubernetes,
    "kv": kv,
    "measuring": measuring,
    "observing": observing,
    "postgres": postgres,
    "rds": rds,
    "service": service,
    "velero": velero,
}
"""By the name of the plugin."""
