"""What a loss comes down to, and what takes it back."""

from __future__ import annotations

from typing import Any

import pytest

from dr.domain.errors import DrError, RefusedError, UsageError
from dr.domain.model import Effect, Facts, Grant, Own, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.kubernetes import losing
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.refs import namespace, node
from dr.drivers.kubernetes.scene import NodeSeen, PodSeen, Scene
from dr.engine.guard import Consent, Terms, guard
from tests.platform_objects import OF, SYSTEM

CONFIG = KubernetesConfig("/none", "none", "uid", (SYSTEM,))
EC2 = KubernetesConfig("/none", "none", "uid", (SYSTEM,), "ec2")
UIDS = {SYSTEM: "uid-system"}


def scene(machine: str = "", *, cordoned: bool = False, gpus: int = 1, ready: bool = True) -> Scene:
    held = PodSeen("a", "uid-a", "gpu-1", ready, True, True, False, 1)
    return Scene({"gpu-1": NodeSeen(True, cordoned, gpus, 1, machine)}, (held,), 1, ("model",), ("a",))


def planned(kind: str, there: Scene, config: KubernetesConfig = CONFIG, name: str = "disaster", **args: Any) -> Any:
    return losing.propose(Verb(name, {"kind": kind, "of": OF, **args}), config, {OF: there}, UIDS)


def test_a_node_is_lost_by_the_targets_command_and_brought_back_by_it() -> None:
    call = planned("node-lost", scene())
    assert call.args == {"fault": "lose_node", "arguments": {"node": "gpu-1", "lost": True}}
    assert (call.effect, call.touches) == (Effect.FAULT, (node("gpu-1"),))
    assert call.undo.args["arguments"] == {"node": "gpu-1", "lost": False}
    assert call.undo.args["gpus"] == 1


def test_a_gpu_is_lost_by_its_number() -> None:
    call = planned("gpu-lost", scene(), number=0)
    assert call.args == {"fault": "break_gpu", "arguments": {"node": "gpu-1", "number": 0, "broken": True}}
    assert call.undo.args["arguments"]["broken"] is False


def test_an_instance_is_terminated_where_the_node_says_which_it_is() -> None:
    call = planned("node-lost", scene("aws:///us-east-1a/i-0abc"), EC2)
    assert (call.operation, call.args) == ("terminate", {"instance": "i-0abc"})
    assert (call.undo.operation, call.undo.args) == ("await-pool", {"nodes": 1, "gpus": 1})
    for machine in ("", "gce://project/zone/name", "aws:///us-east-1a/"):
        with pytest.raises(RefusedError, match="does not say which EC2 instance it is"):
            planned("node-lost", scene(machine), EC2)


@pytest.mark.parametrize("cordoned", [True, False])
def test_a_node_that_is_drained_gets_back_what_it_was(cordoned: bool) -> None:
    call = planned("node-drained", scene(cordoned=cordoned))
    assert call.undo.args == {"node": "gpu-1", "cordoned": cordoned}


def test_a_namespace_is_lost_by_its_uid_so_that_another_of_its_name_is_spared() -> None:
    call = losing.propose(Verb("disaster", {"kind": "namespace-lost", "namespace": SYSTEM}), CONFIG, {}, UIDS)
    assert call.args == {"namespace": SYSTEM, "uid": "uid-system"}
    assert (call.effect, call.touches) == (Effect.FAULT, (namespace(SYSTEM),))


@pytest.mark.parametrize(
    ("kind", "there", "args", "error", "words"),
    [
        ("node-lost", scene(), {"of": "elsewhere/model"}, UsageError, "needs of: the workload that it hits"),
        ("node-lost", scene(ready=False), {}, RefusedError, "No pod of .* is ready, so that its loss would show"),
        ("node-lost", scene(), {"node": "gpu-9"}, RefusedError, "is ready on node gpu-9"),
        ("gpu-lost", scene(gpus=0), {}, RefusedError, "Node gpu-1 has no GPU that could be lost"),
        ("namespace-lost", scene(), {"namespace": "none"}, RefusedError, "no namespace 'none' to lose"),
    ],
)
def test_what_would_show_nothing_is_refused(
    kind: str, there: Scene, args: dict[str, Any], error: type[DrError], words: str
) -> None:
    with pytest.raises(error, match=words):
        planned(kind, there, **args)


def test_a_remedy_moves_what_the_gpu_hit_and_there_is_none_of_another_loss() -> None:
    call = planned("gpu-lost", scene(), name="remedy")
    assert call.args == {"node": "gpu-1", "namespace": SYSTEM, "workload": "readmission-model"}
    assert call.touches == (node("gpu-1"), namespace(SYSTEM))
    with pytest.raises(UsageError, match="no remedy of a node-lost"):
        planned("node-lost", scene(), name="remedy")


@pytest.mark.parametrize("kind", sorted(losing.KINDS))
def test_a_target_that_is_not_disposable_loses_a_node_where_it_grants_that_and_else_nothing(kind: str) -> None:
    call = planned(kind, scene("aws:///us-east-1a/i-0abc"), EC2, namespace=SYSTEM)
    run = RunIdentity("20261130-033333-cf4e", "t", Purpose.DRILL, "d")
    plan = Plan(Request("t", (Verb("disaster"),), Purpose.DRILL), run, (call,), ())
    pins = {"kubernetes": {"cluster_uid": "uid"}}
    facts = Facts(0.0, pins, own={node("gpu-1"): Own.MACHINE, namespace(SYSTEM): Own.PART})

    def refused(*grants: Grant) -> tuple[str, ...]:
        return guard(plan, Terms(grants, pins, ("https://127.0.0.1:1",), "word"), facts, Consent("word"))

    assert refused(Grant.DISPOSABLE) == ()
    (why,) = refused(Grant.FAULTS, Grant.MARKERS)
    if kind == losing.NAMESPACE_LOST:
        assert "which the target's service runs on, which is not disposable" in why
        assert refused(Grant.MACHINES, Grant.MARKERS) != ()
    else:
        assert "in whose place something puts another, and the target does not grant machines" in why
        assert refused(Grant.MACHINES) == ()
