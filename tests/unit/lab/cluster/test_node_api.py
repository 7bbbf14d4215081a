"""What a node's agent leaves outside its lab: nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from dr.lab.cluster.authority import Authority, kubeconfig
from dr.lab.cluster.nodes.api import Api


def test_a_node_s_keys_are_written_beside_its_kubeconfig_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    authority, file = Authority(tmp_path / "authority"), tmp_path / "node" / "kubeconfig"
    file.parent.mkdir()
    pair = authority.issue("gpu-1", "system:node:gpu-1", "system:nodes")
    file.write_text(kubeconfig("https://127.0.0.1:1", authority.own, "gpu-1", pair, "lab"))
    assert Api(file).place == ("127.0.0.1", 1)
    assert list(elsewhere.iterdir()) == []
