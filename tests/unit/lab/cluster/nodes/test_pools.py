"""The lab's nodes as the API server is told of them."""

from __future__ import annotations

import pytest

from dr.domain.errors import UsageError
from dr.lab.cluster.nodes.__main__ import counts
from dr.lab.cluster.nodes.agent import size
from dr.lab.cluster.nodes.pools import GPU, POOLS, lease, loopback, node, node_status, places

NODES = {place.name: place for place in places(POOLS, 44)}


def test_the_pools_are_the_platform_s_with_three_gpu_nodes() -> None:
    assert [name for name in NODES if name.startswith("gpu")] == ["gpu-1", "gpu-2", "gpu-3"]
    assert len(NODES) == 9


def test_gpu_nodes_alone_have_gpus_and_their_taint() -> None:
    assert node(NODES["gpu-1"])["spec"]["taints"][0]["key"] == GPU
    assert "taints" not in node(NODES["general-1"])["spec"]
    assert node_status(NODES["gpu-1"], [], [], 0.0, 0.0)["capacity"][GPU] == "1"
    assert GPU not in node_status(NODES["general-1"], [], [], 0.0, 0.0)["capacity"]


def test_a_broken_gpu_leaves_what_is_allocatable_and_the_node_stays_ready() -> None:
    gpu = NODES["gpu-1"]
    found = node_status(gpu, [], gpu.gpus, 0.0, 0.0)
    assert found["capacity"][GPU] == "1"
    assert found["allocatable"][GPU] == "0"
    assert found["conditions"][0]["status"] == "True"


def test_addresses_are_the_node_s_own_and_lead_to_loopback() -> None:
    general, other = NODES["general-1"], NODES["general-2"]
    assert general.pod_address([]) == "10.44.1.2"
    assert general.pod_address(["10.44.1.2", "10.44.1.4"]) == "10.44.1.3"
    assert other.pod_address([]) == "10.44.2.2"
    assert loopback("10.44.1.2") == "127.44.1.2"
    with pytest.raises(UsageError, match="general-1"):
        general.pod_address([f"10.44.1.{n}" for n in range(255)])


def test_a_lease_is_renewed_to_the_microsecond() -> None:
    assert lease(NODES["gpu-1"], 40, 1.5)["spec"] == {
        "holderIdentity": "gpu-1",
        "leaseDurationSeconds": 40,
        "renewTime": "1970-01-01T00:00:01.500000Z",
    }


def test_counts_choose_pools_and_how_many_nodes_each_has() -> None:
    assert [(pool.name, pool.count) for pool in counts("gpu=2,general=1")] == [("general", 1), ("gpu", 2)]
    with pytest.raises(ValueError, match="tpu"):
        counts("tpu=1")


@pytest.mark.parametrize(("quantity", "number"), [("1", 1), ("2k", 2000), ("1Mi", 1 << 20), ("1.5Gi", 3 << 29)])
def test_quantities_of_memory_are_read(quantity: str, number: int) -> None:
    assert size(quantity) == number
