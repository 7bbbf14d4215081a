"""Finding the cluster's programs: where it is looked, in which order, and what fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dr.domain.errors import RefusedError
from dr.lab.cluster import binaries
from dr.lab.cluster.binaries import Version, built, find, fits
from dr.lab.cluster.modules import KUBERNETES, MODULES, Module


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(folder: Path, name: str, says: str) -> Path:
    """A program that says so, whatever it is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def where(*folders: Path, assets: Path | None = None) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, folders)), **({"KUBEBUILDER_ASSETS": str(assets)} if assets else {})}


(_, VELERO) = MODULES
FITTING = f"Kubernetes v{KUBERNETES.version}"


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    found = find(where(tmp_path))
    assert found.paths == {}
    assert found.lacking(*binaries.CONTROL_PLANE) == binaries.CONTROL_PLANE
    with pytest.raises(RefusedError, match=r"There is no etcd here.*dr lab install"):
        found.path("etcd")


def test_kubebuilders_assets_come_before_path_and_path_before_the_cache(tmp_path: Path) -> None:
    own = program(built(KUBERNETES), "kube-apiserver", FITTING)
    assert find(where(tmp_path)).path("kube-apiserver") == own
    on_path = program(tmp_path / "path", "kube-apiserver", FITTING)
    assert find(where(tmp_path / "path")).path("kube-apiserver") == on_path
    asset = program(tmp_path / "assets", "kube-apiserver", FITTING)
    assert find(where(tmp_path / "path", assets=tmp_path / "assets")).path("kube-apiserver") == asset


@pytest.mark.parametrize("says", ["Kubernetes v1.20.5", "who knows", ""])
def test_one_whose_version_does_not_fit_or_is_not_told_is_passed_over(tmp_path: Path, says: str) -> None:
    program(tmp_path / "old", "kube-apiserver", says)
    assert find(where(tmp_path / "old")).lacking("kube-apiserver")
    newer = program(tmp_path / "new", "kube-apiserver", FITTING)
    assert find(where(tmp_path / "old", tmp_path / "new")).path("kube-apiserver") == newer


def test_what_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "path", "kube-apiserver", FITTING).chmod(0o644)
    (tmp_path / "path" / "etcd").mkdir()
    assert find(where(tmp_path / "path")).paths == {}


def test_velero_is_taken_from_the_cache_alone(tmp_path: Path) -> None:
    program(tmp_path / "path", "velero", "Version: v1.18.3")
    assert find(where(tmp_path / "path")).lacking("velero")
    own = program(built(VELERO), "velero", "Version: v1.18.3")
    assert find(where(tmp_path / "path")).path("velero") == own


def test_the_caches_own_on_a_path_are_not_asked_again(tmp_path: Path) -> None:
    program(built(KUBERNETES), "kubectl", "not asked")
    assert find(where(built(KUBERNETES))).path("kubectl") == built(KUBERNETES) / "kubectl"


def test_a_shell_is_led_to_each_folder_of_kubectl_and_velero_once(tmp_path: Path) -> None:
    program(built(VELERO), "velero", "")
    program(built(VELERO), "velero-plugin-for-aws", "")
    program(tmp_path / "path", "kubectl", FITTING)
    assert find(where(tmp_path / "path")).folders == (tmp_path / "path", built(VELERO))


@pytest.mark.parametrize(
    ("name", "version", "fit"),
    [
        ("kube-apiserver", (1, 37), True),
        ("kube-apiserver", (1, 36), False),
        ("kube-scheduler", (1, 38), False),
        ("kubectl", (1, 36), True),
        ("kubectl", (1, 38), True),
        ("kubectl", (1, 35), False),
        ("kubectl", (2, 37), False),
        ("etcd", (3, 5), True),
        ("etcd", (3, 7), True),
        ("etcd", (3, 4), False),
        ("etcd", (4, 0), False),
        ("etcd", None, False),
    ],
)
def test_what_fits(name: str, version: Version | None, fit: bool) -> None:
    assert fits(name, version) is fit


def test_the_folder_is_another_once_anything_that_is_built_changes(tmp_path: Path) -> None:
    assert KUBERNETES.stamp.startswith("kubernetes-1.37.2-")
    assert VELERO.stamp.startswith("velero-1.18.3-")
    copy = tmp_path / "controlplane"
    copy.mkdir()
    for path in KUBERNETES.folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    same = Module(**{**vars(KUBERNETES), "folder": copy})
    assert same.stamp == KUBERNETES.stamp
    (copy / "main.go").write_text("package main\n")
    assert same.stamp != KUBERNETES.stamp
    assert Module(**{**vars(KUBERNETES), "values": ()}).stamp != KUBERNETES.stamp
