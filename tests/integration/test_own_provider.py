"""A provider that is one folder, which nothing of dr names, and one experiment: its drill runs from end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[1] / "example"
KEYS = {"a": 1, "b": [2], "c": None}


class Place:
    """A directory with a store, its backup, the provider on the plugins' path, and a target."""

    def __init__(self, at: Path) -> None:
        self.at = at
        shutil.copytree(EXAMPLE / "kv", at / "plugins" / "kv")
        (at / "plugins" / "kv" / "__init__.py").touch()
        (at / "experiments").mkdir()
        shutil.copy(EXAMPLE / "kv-restore.yaml", at / "experiments")
        (at / "backups").mkdir()
        self.write("store.json", KEYS)
        self.write("backups/nightly.json", KEYS)
        self.target(grants=[])

    def write(self, name: str, keys: dict[str, Any]) -> None:
        (self.at / name).write_text(json.dumps({"id": "store-1", "keys": keys}))

    def target(self, **fields: Any) -> None:
        kv = {"id": "store-1", "file": str(self.at / "store.json"), "backups": str(self.at / "backups")}
        (self.at / "dr.yaml").write_text(yaml.safe_dump({"targets": {"store": {"kv": kv, **fields}}}))

    def dr(self, *arguments: str, code: int = 0) -> str:
        """What dr prints on stdout and, where it ends with another ``code``, why."""
        home, plugins = str(self.at / "home"), str(self.at / "plugins")
        done = subprocess.run(
            [sys.executable, "-m", "dr", *arguments],
            cwd=self.at,
            env={**os.environ, "DR_HOME": home, "DR_PLUGINS": plugins},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        self.said = done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def drill(self, *more: str, code: int = 0) -> str:
        return self.dr("drill", "run", "kv-restore", "--target", "store", "--confirm", "store-1", *more, code=code)

    @property
    def copies(self) -> list[str]:
        return [one.name for one in self.at.glob("copy-*")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_whole_copy_is_met_and_removed(place: Place) -> None:
    said = place.drill()
    assert said.startswith("MET")
    assert "All 3 keys are there." in said
    assert place.copies == []
    run = next((place.at / "home" / "runs").iterdir()).name
    assert place.dr("verify", run).startswith("MET")
    assert "nothing" in place.dr("cleanup", "--all", "--target", "store").lower()


def test_a_copy_that_lost_a_key_is_missed(place: Place) -> None:
    place.write("backups/nightly.json", {**KEYS, "b": [3]})
    assert "1 of 3 keys are lost." in place.drill(code=1)
    assert place.copies == []


def test_a_backup_that_is_not_there_is_refused_before_anything_is_made(place: Place) -> None:
    (place.at / "backups" / "nightly.json").unlink()
    assert "There is no backup nightly of the store store-1" in place.drill(code=3)
    assert place.copies == []


def test_another_store_than_the_one_pinned_is_refused(place: Place) -> None:
    (place.at / "store.json").write_text(json.dumps({"id": "store-2", "keys": KEYS}))
    assert "The id of kv is store-2, and the target is pinned to store-1." in place.drill(code=3)


def test_a_kept_copy_is_told_with_the_way_to_it_and_clean_up_removes_it(place: Place) -> None:
    said = place.drill("--keep")
    (copy,) = place.copies
    assert f"jq .keys {place.at / copy}" in said
    run = next((place.at / "home" / "runs").iterdir()).name
    place.dr("cleanup", run)
    assert place.copies == []


def test_what_its_verbs_and_section_do_not_take_is_refused_as_everywhere(place: Place) -> None:
    experiment = place.at / "experiments" / "kv-restore.yaml"
    experiment.write_text(experiment.read_text().replace("snapshot: nightly}}", "snapshot: nightly}, set: {}}"))
    assert "restore knows no argument set. It takes: to." in place.drill(code=2)
    place.target(kv={"id": "store-1", "file": "x", "backups": "y", "typo": 1})
    assert "typo" in place.drill(code=2)
    place.target(restic={})
    assert "restic" in place.drill(code=2)


def test_chaos_toolkit_takes_its_activities(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaostoolkit", "--no-version-check", "validate", "experiments/kv-restore.yaml"],
        cwd=place.at,
        env={**os.environ, "DR_PLUGINS": str(place.at / "plugins")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_provider_that_cannot_be_loaded_is_named(place: Place) -> None:
    (place.at / "plugins" / "kv" / "judge.py").unlink()
    assert "The provider kv cannot be loaded" in place.drill(code=2)


ENDING = "def _ends(*_):\n    raise SystemExit(0)\n\n\n{} = _ends\n"


def ends_the_process(place: Place, what: str, module: str = "provider") -> None:
    """From now on the provider's code calls sys.exit(0) where it should do ``what``."""
    with (place.at / "plugins" / "kv" / f"{module}.py").open("a") as code:
        code.write(f"\n\n{ENDING.format(what)}")


@pytest.mark.parametrize("method", ["look", "propose", "confirm_identity"])
def test_code_that_ends_the_process_before_a_run_is_a_failure(place: Place, method: str) -> None:
    ends_the_process(place, f"KvProvider.{method}")
    assert f"The provider kv failed in {method} (SystemExit)." in place.drill(code=5)
    assert place.copies == []


@pytest.mark.parametrize("method", ["apply", "poll", "remains", "orphans"])
def test_code_that_ends_the_process_within_a_run_leaves_it_judged(place: Place, method: str) -> None:
    ends_the_process(place, f"KvProvider.{method}")
    said = place.drill(code=5)
    assert f"The provider kv failed in {method} (SystemExit)." in said
    (run,) = (place.at / "home" / "runs").iterdir()
    assert (run / "verdict.json").exists()


def test_a_judge_that_ends_the_process_knows_nothing(place: Place) -> None:
    ends_the_process(place, "keys", "judge")
    assert "The judge itself failed with SystemExit" in place.drill(code=4)
    assert place.copies == []


def test_what_a_provider_prints_is_no_part_of_a_result(place: Place) -> None:
    for name in ("plugin", "provider", "judge"):
        code = place.at / "plugins" / "kv" / f"{name}.py"
        text = code.read_text().replace("def look(self, request: Request) -> Facts:", LOUD)
        code.write_text(f"{text}\nprint('loading {name}')\n")
    assert [one["identifier"] for one in json.loads(place.dr("backups", "--target", "store", "--output", "json"))]
    verdict = json.loads(place.drill("--output", "json"))
    assert (verdict["verdict"], place.said.count("loading plugin")) == ("met", 1)
    assert "looking" in place.said
    assert place.dr("drill", "--help").startswith("Usage")


LOUD = """def look(self, request: Request) -> Facts:
        print("looking")"""


def restore(place: Place, *more: str, code: int = 0) -> str:
    return place.dr("restore", "--target", "store", *more, code=code)


def test_what_is_restored_on_call_is_met_and_stays(place: Place) -> None:
    plan = restore(place, "--snapshot", "nightly", "--plan")
    assert "keys [restored]" in plan
    assert "schema" not in plan, "what is about databases"
    said = restore(place, "--latest-snapshot", "--confirm", "store-1")
    assert said.startswith("MET")
    (copy,) = place.copies
    assert f"jq .keys {place.at / copy}" in said
    run = next((place.at / "home" / "runs").iterdir()).name
    place.dr("cleanup", run)
    assert place.copies == [copy]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            ("--snapshot", "nightly", "--as", "x", "--set", "a=1"),
            "kv, which restores target store, takes no --as, --set.",
        ),
        (("--to-time", "2026-01-01T00:00:00Z"), "does so from a snapshot, and not from a time."),
        (("--backup", "nightly"), "does so from a snapshot, and not from a backup."),
    ],
)
def test_what_its_restore_knows_nothing_of_is_told_as_it_was_typed(
    place: Place, asked: tuple[str, ...], told: str
) -> None:
    assert told in restore(place, *asked, "--confirm", "store-1", code=2)
    assert place.copies == []


def test_the_time_to_what_no_service_is_put_on_is_held_to_its_limit(place: Place) -> None:
    assert "time-to-restore [restored] at most 1 h" in restore(place, "--snapshot", "nightly", "--plan")
    document = yaml.safe_load((place.at / "dr.yaml").read_text())
    (place.at / "dr.yaml").write_text(yaml.safe_dump({**document, "objectives": {"time-to-restore": 0.001}}))
    assert "time-to-restore" in restore(place, "--latest-snapshot", "--confirm", "store-1", code=1)


def test_another_machine_goes_on_with_what_was_begun(place: Place) -> None:
    provider = place.at / "plugins" / "kv" / "provider.py"
    whole, killed = provider.read_text(), 'if call.operation == "compare":\n            __import__("os")._exit(9)'
    provider.write_text(whole.replace('if call.operation == "compare":', killed))
    restore(place, "--latest-snapshot", "--confirm", "store-1", code=9)
    provider.write_text(whole)
    (begun,) = (place.at / "home" / "runs").iterdir()
    (place.at / "home").rename(place.at / "home of the machine that is gone")
    assert f"makes store copy-{begun.name}.json" in restore(place, "--resume", begun.name, "--plan")
    restore(place, "--latest-snapshot", "--confirm", "store-1")
    assert place.copies == [f"copy-{begun.name}.json"]


def test_a_point_after_the_disaster_is_told_before_consent(place: Place) -> None:
    said = restore(place, "--latest-snapshot", "--since", "2020-01-01T00:00:00Z", code=3)
    assert "lies after the disaster (--since)" in said
    assert place.copies == []


def test_a_backup_that_lost_a_key_is_missed_on_call_and_the_copy_stays(place: Place) -> None:
    place.write("backups/nightly.json", {**KEYS, "b": [3]})
    assert "1 of 3 keys are lost." in restore(place, "--snapshot", "nightly", "--confirm", "store-1", code=1)
    assert len(place.copies) == 1


def test_a_provider_of_ones_own_hinders_no_drill_of_another(place: Place) -> None:
    assert "The lab is not running" in place.dr("drill", "run", "rds-snapshot-restore", "--yes", code=3)


# -- two providers in one drill


class Both(Place):
    """A target of two stores, each restored by a provider of its own, in one drill."""

    def __init__(self, at: Path) -> None:
        super().__init__(at)
        for file in shutil.copytree(at / "plugins" / "kv", at / "plugins" / "kw").glob("*.py"):
            file.write_text(file.read_text().replace("kv", "kw").replace('"keys"', '"entries"'))
        (at / "other" / "backups").mkdir(parents=True)
        for name in ("store.json", "backups/later.json"):
            (at / "other" / name).write_text(json.dumps({"id": "store-2", "entries": KEYS}))
        self.of = {"kv": (at, "store-1", "nightly"), "kw": (at / "other", "store-2", "later")}
        sections = {
            name: {"id": id, "file": str(home / "store.json"), "backups": str(home / "backups")}
            for name, (home, id, _) in self.of.items()
        }
        (at / "dr.yaml").write_text(yaml.safe_dump({"targets": {"store": {"consent": "store-1", **sections}}}))
        self.demand(keys="restored", entries="restored")

    def demand(self, **demands: str) -> None:
        path = self.at / "experiments" / "kv-restore.yaml"
        drill = yaml.safe_load(path.read_text())
        drill["extensions"][0]["demands"] = demands
        restore, examine = (step["provider"] for step in drill["method"][:2])
        drill["method"] = [
            {"name": f"{step['func']}-{name}", "type": "action", "provider": {**step, "arguments": arguments}}
            for name, (_, _, backup) in self.of.items()
            for step, arguments in (
                (restore, {"to": {"snapshot": backup}, "provider": name}),
                (examine, {"provider": name}),
            )
        ]
        path.write_text(yaml.safe_dump(drill))

    def breaks(self, provider: str, old: str, new: str) -> None:
        code = self.at / "plugins" / provider / "provider.py"
        assert old in code.read_text()
        code.write_text(code.read_text().replace(old, new))

    @property
    def copies(self) -> list[str]:
        return [str(one.relative_to(self.at)) for one in self.at.rglob("copy-*")]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def test_what_two_providers_restored_is_judged_kept_and_removed(both: Both) -> None:
    said = " ".join(both.drill("--keep").split())
    run = next((both.at / "home" / "runs").iterdir()).name
    assert said.startswith("MET")
    assert said.count(f"copy-{run}.json stays at the provider, where it is available, as --keep asked") == 2
    both.dr("cleanup", run)
    assert both.copies == []


def test_each_takes_the_latest_of_its_own_recovery_points(both: Both) -> None:
    for home, *_ in both.of.values():
        (backup,) = (home / "backups").glob("*.json")
        later = json.loads(backup.read_text())
        backup.write_text(json.dumps({**later, "keys": {}, "entries": {}}))
        os.utime(backup, (1.0, 1.0))
        backup.with_name(f"newest-{later['id']}.json").write_text(json.dumps(later))
    drill = both.at / "experiments" / "kv-restore.yaml"
    drill.write_text(drill.read_text().replace("nightly", "latest").replace("later", "latest"))
    said = both.drill()
    assert "from backup newest-store-1" in said
    assert "from backup newest-store-2" in said


@pytest.mark.parametrize("provider", ["kv", "kw"])
def test_what_either_left_behind_is_told(both: Both, provider: str) -> None:
    both.breaks(provider, 'if call.operation == "delete" and', "if False and")
    said = both.drill(code=5)
    (left,) = both.copies
    assert f"{left.removeprefix('other/')} stays at the provider" in said
    assert "nothing of this run" not in said


@pytest.mark.parametrize("provider", ["kv", "kw"])
def test_whoever_could_not_be_asked_what_is_left_is_told(both: Both, provider: str) -> None:
    with (both.at / "plugins" / provider / "provider.py").open("a") as code:
        code.write(f"\n\n{ENDING.format('KvProvider.remains')}")
    said = both.drill(code=5)
    assert f"The provider {provider} failed in remains" in said
    assert "nothing of this run" not in said
    assert both.copies == []


def test_a_restore_of_several_parts_is_handed_over_by_the_command_that_it_prints(place: Place) -> None:
    """Its components are a store, and a part of it that has no copy of its own."""
    code = place.at / "plugins" / "kv" / "provider.py"
    part = 'Component("configuration", Ref("kv", "part", "etc", {}))'
    text = code.read_text().replace("components=(made,)", f"components=(made, {part.format('ref')})")
    of = 'Ref("kv", "store", copy.name)'
    code.write_text(text.replace("components=(read,)", f"components=(read, {part.format(of)})"))
    said = place.dr("restore", "--snapshot", "nightly", "--target", "store", "--confirm", "store-1")
    (command,) = [line.split() for line in said.splitlines() if line.split()[:2] == ["dr", "adopt"] and "#" not in line]
    (copy,) = place.copies
    assert command[-1] == copy
    assert f"Say --confirm {copy}" in place.dr(*command[1:-1], "etc", code=3)
    assert place.dr(*command[1:]).startswith(f"{copy} is handed over")
    assert json.loads((place.at / copy).read_text())["tags"] == {}
