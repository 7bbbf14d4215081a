"""A canary's writer against a stub of the API server: what it writes down, and whom it never writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dr.config.context import Context
from dr.config.model import Settings
from dr.domain.errors import RefusedError
from dr.domain.model import Call, Grant, Purpose, RunIdentity, Verb
from dr.drivers.kubernetes import canary
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.provider import KubernetesProvider
from dr.engine.references import fill
from dr.evidence.samples import load_markers, markers_file
from dr.host import children
from dr.host.clock import SystemClock
from tests.platform_objects import CORE, KUBE_SYSTEM_UID, PLATFORM, SYSTEM
from tests.stub_cluster import Objects, stub_cluster
from tests.support import eventually
from tests.targets import target_of

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "d")
PATH = f"{CORE}/configmaps/dr-canary-{RUN.id}"


class Writing:
    """A driver of the stub's cluster, whose canary is made and written."""

    def __init__(self, at: Path) -> None:
        section = KubernetesConfig(str(at / "kubeconfig"), "stub", KUBE_SYSTEM_UID, (SYSTEM,))
        target = msgspec.structs.replace(target_of(grants=(Grant.MARKERS,)), kubernetes=section)
        owner = children.identity(os.getpid())
        self.at = at
        self.provider = KubernetesProvider(Context("lab", target, Settings(), at, at, SystemClock(), owner))
        self.made, self.write = canary.propose(Verb("mark_namespace", {"namespace": SYSTEM}), RUN, section, 2.0)

    def begin(self) -> None:
        made = self.provider.apply(self.made, self.made.args)
        result = self.provider.apply(self.write, fill(self.write.args, {"canary": made}))
        eventually(lambda: self.provider.poll(self.write, result).done, 20.0)

    def undo(self, call: Call) -> bool:
        assert call.undo is not None
        return self.provider.poll(call.undo, self.provider.apply(call.undo, call.undo.args)).done

    def outcomes(self) -> list[tuple[str, str]]:
        found = load_markers(markers_file(self.at, "source"))
        assert found is not None
        return [(one.outcome, one.error) for one in found.markers]


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    with stub_cluster(tmp_path / "kubeconfig") as held:
        held.hold(*PLATFORM)
        yield held


@pytest.fixture
def writing(objects: Objects, tmp_path: Path) -> Iterator[Writing]:
    one = Writing(tmp_path)
    one.begin()
    yield one
    one.undo(one.write)


def test_its_number_grows_until_it_is_gone_and_a_restored_one_is_left_as_it_is(
    objects: Objects, writing: Writing
) -> None:
    eventually(lambda: objects.found[PATH]["data"]["n"] == "2", 10.0)
    with objects.lock:  # restored under a UID of its own
        objects.create(f"{CORE}/configmaps", {**objects.found.pop(PATH), "data": {"n": "1"}})
    eventually(lambda: writing.outcomes()[-1] == ("failed", "409"), 10.0)
    eventually(lambda: children.running(writing.at / "meter-write-canary.pid") is None, 10.0)
    assert objects.found[PATH]["data"] == {"n": "1"}
    assert writing.outcomes()[:3] == [("acknowledged", "")] * 3
    assert writing.undo(writing.made)
    assert PATH not in objects.found


def test_the_clock_of_the_server_is_known_to_within_a_part_of_the_second_that_it_tells(
    objects: Objects, writing: Writing
) -> None:
    found = load_markers(markers_file(writing.at, "source"))
    assert found is not None
    assert abs(found.offset) <= found.uncertainty + 0.001
    assert found.uncertainty < 0.5


def test_an_object_of_its_name_that_is_somebody_else_s_is_left_alone(objects: Objects, tmp_path: Path) -> None:
    objects.hold((f"{CORE}/configmaps", {"metadata": {"name": f"dr-canary-{RUN.id}"}}))
    with pytest.raises(RefusedError, match="is not this run's"):
        Writing(tmp_path).begin()
    assert not Path(tmp_path / "meter-write-canary.pid").exists()
