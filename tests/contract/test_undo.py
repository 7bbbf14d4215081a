"""Every driver whose things outlive a run believes no single answer that they are gone. A new one adds itself here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.errors import ProviderError
from dr.domain.model import Purpose, Request, Verb
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.provider import VeleroProvider
from tests.contract import example
from tests.contract.provider_suite import Left, UndoContract
from tests.platform_objects import KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.stub_velero import OWN, backup, stub_velero
from tests.targets import retargeted, target_of
from tests.unit.drivers.rds.support import (
    NOW,
    SOURCE,
    LateRds,
    VirtualClock,
    context,
    description,
    facts,
    replica,
    run,
    snapshot,
)


@contextmanager
def rds(home: Path, verb: Verb, name: str) -> Iterator[Left]:
    """What the call ``name`` of a drill made at RDS."""
    clock = VirtualClock()
    fake = LateRds(clock)
    provider = RdsProvider(context(home, clock), fake)  # type: ignore[arg-type]
    night = snapshot("night", NOW - 20_000, SnapshotType="automated")
    (call,) = (one for one in provider.propose(verb, facts(night, instances=(description(),)), run()) if one.id == name)
    made = str(call.args["identifier"])
    tags = [{"Key": key, "Value": value} for key, value in call.args["tags"].items()]
    row = description if name == "restore" else replica
    fake.rows[made] = row(made, TagList=tags, DeletionProtection=False)

    def denied(answers: int) -> None:
        fake.fail = {operation: ["DBInstanceNotFound"] * answers for operation in ("DescribeDBInstances", DELETE)}

    def late(seconds: float) -> None:
        fake.hidden[made], fake.deaf = clock.at + seconds, True

    def broken() -> None:
        def unreachable(*_: object) -> None:
            raise ProviderError("RDS cannot be reached.", transient=True)

        fake.pages = unreachable  # type: ignore[method-assign, assignment]

    yield Left(
        provider=provider,
        call=call,
        clock=clock,
        things=lambda: set(fake.rows) - {SOURCE},
        unlisted=lambda answers: setattr(fake, "empty", answers),
        denied=denied,
        late=late,
        foreign=lambda: fake.rows[made].update(TagList=[]),
        broken=broken,
    )


@contextmanager
def kv(home: Path) -> Iterator[Left]:
    """A copy of the example's store: a file, of which every answer is the truth."""

    def nothing(_: float) -> None:
        pass

    clock = VirtualClock()
    with example.plugin() as plugin:
        store = example.Store(plugin, home, clock)
        store.fill()
        provider = store.provider()
        (call,) = provider.propose(example.RESTORE, provider.look(example.REQUEST), example.RUN)
        provider.apply(call, call.args)
        (copy,) = store.copies()
        another = json.dumps({"id": "store-1", "keys": {}})
        yield Left(
            provider=provider,
            call=call,
            clock=clock,
            things=store.copies,
            unlisted=nothing,
            denied=nothing,
            late=nothing,
            foreign=lambda: (home / copy).write_text(another),
            broken=lambda: (home / copy).write_bytes(b"torn"),
            at_once=True,
        )


@contextmanager
def velero(home: Path) -> Iterator[Left]:
    """The record of a restore: the API server reads what it has stored, so that each answer is the truth."""

    def nothing(_: float) -> None:
        pass

    clock = VirtualClock()
    with stub_velero(home) as one:
        one.objects.hold(PLATFORM[0])
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "known", "namespace": SYSTEM}}
        one.keep(backup("nightly"), ("configmaps", config))
        section = KubernetesConfig(str(home / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,))
        target = retargeted(target_of(), kubernetes=section, velero=VeleroConfig(program=str(one.program)))
        provider = VeleroProvider(Context("lab", target, Settings(), home, home, clock, ""))
        verb = Verb("restore", {"to": {"backup": "nightly"}})
        planned = provider.propose(verb, provider.look(Request("lab", (verb,), Purpose.DRILL)), example.RUN)
        (call,) = (of for of in planned if of.restoration)
        provider.apply(call, call.args)
        (name,) = one.restores()
        another = {"metadata": {"name": name, "labels": {"dr/run": "20200101-000000-0001"}}}
        yield Left(
            provider=provider,
            call=call,
            clock=clock,
            things=one.restores,
            unlisted=nothing,
            denied=nothing,
            late=nothing,
            foreign=lambda: one.objects.hold((f"{OWN}/restores", another)),
            broken=lambda: setattr(one.objects, "gone", True),
            at_once=True,
        )


DELETE = "DeleteDBInstance"
COPY = Verb("promote", {"copy": True})
MADE: dict[str, Callable[[Path], AbstractContextManager[Left]]] = {
    "kv, a copy": kv,
    "rds, a copy": lambda home: rds(home, Verb("restore", {"to": {"snapshot": "latest"}}), "restore"),
    "rds, a replica of a copy": lambda home: rds(home, COPY, "replicate"),
    "velero, a restore": velero,
}
"""By the name of the plugin and what it makes."""


@pytest.fixture(params=list(MADE))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    with MADE[request.param](tmp_path) as one:
        yield one


class TestUndo(UndoContract):
    """Runs the whole suite for each row of the table."""
