"""The wheel as people install it: in an environment that holds only what the wheel asks for, far from a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from dr.lab.cluster.modules import MODULES
from tests.labs import BARE
from tests.support import open_directory

ROOT = Path(__file__).parent.parent.parent
CARRIED = ("experiments", "runbooks", "schedules")
TRAVELS = {"dr", *CARRIED, "docs", "README.md", "CHANGELOG.md", "LICENSE"}
BUILT_WITH = {"pyproject.toml", "PKG-INFO", ".gitignore"}


def built(kind: str, directory: Path) -> Path:
    """The wheel or the sdist, made without network by what the lock file pins."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def asked_for(wheel: Path, *extras: str) -> set[str]:
    """The names of all distributions that the wheel with its ``extras`` needs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        own = metadata.PathDistribution(zipfile.Path(archive, f"{name.removesuffix('METADATA')}")).requires
    found: set[str] = set()
    waiting = [(own or [], extras)]
    while waiting:
        lines, wanted = waiting.pop()
        for one in map(Requirement, lines):
            if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in wanted or ("",)):
                continue
            if one.name not in found:
                found.add(one.name)
                waiting.append((metadata.requires(one.name) or [], tuple(one.extras)))
    return found


class Elsewhere:
    """The wheel installed in an environment of its own: the running one lends it what was asked for, and no more."""

    def __init__(self, directory: Path, wheel: Path, *extras: str) -> None:
        self.work = directory / "work"
        self.work.mkdir()
        self.python = directory / "venv" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory / "venv")], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True, timeout=120)
        (site,) = (directory / "venv" / "lib").glob("python*/site-packages")
        for name in asked_for(wheel, *extras):
            found = metadata.distribution(name)
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(found.locate_file(top))))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DR_", "AWS_", "PG", "PYTHON"))}
        self._environment = {**kept, **BARE, "DR_HOME": str(directory / "home"), "NO_COLOR": "1"}

    def dr(self, *args: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``dr`` in ``work``, or in the directory ``at``."""
        command = [str(self.python.with_name("dr")), *args]
        return subprocess.run(
            command,
            cwd=at or self.work,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def elsewhere(wheel: Path) -> Iterator[Elsewhere]:
    with open_directory("dr-") as directory:
        yield Elsewhere(directory, wheel, "lab")


@pytest.fixture
def without_extras(wheel: Path) -> Iterator[Elsewhere]:
    with open_directory("dr-") as directory:
        yield Elsewhere(directory, wheel)


def test_a_wheel_drills_to_met_far_from_the_checkout(elsewhere: Elsewhere) -> None:
    (elsewhere.work / "dr.yaml").write_text("meter: {settle: 4.0}\nobjectives: {error-rate: 0.05}\n")
    listed = elsewhere.dr("drill", "list")
    assert listed.returncode == 0, listed.stderr
    names = [path.stem for path in (ROOT / "experiments").glob("*.yaml")]
    assert sorted(line.split()[0] for line in listed.stdout.splitlines()) == sorted(names)
    try:
        up = elsewhere.dr("lab", "up", "--single")
        assert up.returncode == 0, up.stderr
        drilled = elsewhere.dr("drill", "run", "rds-snapshot-restore", "--yes")
        assert drilled.returncode == 0, f"{drilled.stdout}\n{drilled.stderr}"
        assert drilled.stdout.startswith("MET")
    finally:
        down = elsewhere.dr("lab", "down")
    assert down.stdout == "The lab is down.\n", down.stderr


def test_a_drill_shows_the_runbook_that_came_with_it(elsewhere: Elsewhere) -> None:
    (line,) = (
        line for line in elsewhere.dr("drill", "show", "rds-pitr").stdout.splitlines() if line.startswith("Runbook: ")
    )
    assert Path(line.removeprefix("Runbook: ")).read_bytes() == (ROOT / "runbooks" / "rds-pitr.md").read_bytes()


def test_what_stands_in_the_working_directory_is_found_first(elsewhere: Elsewhere, tmp_path: Path) -> None:
    for kind, name in (("experiments", "rds-pitr.yaml"), ("runbooks", "rds-pitr.md")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_bytes((ROOT / kind / name).read_bytes())
    shown = elsewhere.dr("drill", "show", "rds-pitr", at=tmp_path).stdout
    assert "Runbook: runbooks/rds-pitr.md\n" in shown
    assert f"Experiment: {tmp_path / 'experiments' / 'rds-pitr.yaml'}\n" in shown


def test_the_lab_without_its_extra_says_how_to_install_it(without_extras: Elsewhere) -> None:
    for command in ("up", "status", "env", "down"):
        ended = without_extras.dr("lab", command)
        assert (ended.returncode, ended.stdout) == (3, "")
        assert "pip install 'dr[lab]'" in ended.stderr
    assert without_extras.dr("drill", "list").returncode == 0, "everything else does without"


def test_wheel_and_sdist_hold_what_dr_needs_and_no_more(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"dr"}
    for module in MODULES:
        for path in module.folder.iterdir():
            assert f"dr/lab/cluster/{module.folder.name}/{path.name}" in names
    for kind in CARRIED:
        here = {path.name for path in (ROOT / kind).iterdir()}
        assert {name.split("/")[2] for name in names if name.startswith(f"dr/{kind}/")} == here
    with tarfile.open(built("sdist", tmp_path)) as archive:
        assert {name.split("/")[1] for name in archive.getnames()} == TRAVELS | BUILT_WITH
