"""The documents say what the code does: configuration, experiments, runbooks, calendar, README."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml
from chaoslib.experiment import ensure_experiment_is_valid

from dr.app import drill
from dr.cli import COMMANDS, cli
from dr.config.model import Meter
from dr.config.plugins import settings_type, target_type
from dr.domain.model import Verb
from dr.engine.plan import demands
from dr.wiring import objectives, settings

ROOT = Path(__file__).parents[3]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.md"))
NAMES = [path.stem for path in EXPERIMENTS]


def blocks(document: Path) -> list[str]:
    """The commands that a reader is told to type: ``bash`` blocks, and the README's indented ones."""
    text = document.read_text()
    fenced = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in fenced for line in block.splitlines()]


def commands(document: Path) -> list[list[str]]:
    """Every ``dr`` command in a document, as arguments without comments."""
    indented = re.findall(r"^    (dr .*)$", document.read_text(), re.MULTILINE)
    lines = [line for line in (*blocks(document), *indented) if line.startswith("dr ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def resolve(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``arguments`` name, and what is left for it."""
    context = click.Context(cli)
    command: click.Command = cli
    rest = arguments
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"dr {' '.join(arguments)}: no command {rest[0]}"
        command, rest = found, rest[1:]
    return command, rest


def test_documented_configuration_names_every_field_with_its_default() -> None:
    document = yaml.safe_load((ROOT / "docs" / "dr.yaml").read_text())
    limits = {limit.name: limit.default for one in objectives().values() for limit in one.limits}
    assert document["objectives"] == limits
    assert document["meter"] == msgspec.to_builtins(Meter())
    assert set(document) == {field.encode_name for field in msgspec.structs.fields(settings_type({}))}
    (target,) = document["targets"].values()
    assert_every_field(target, target_type())


def test_every_objective_is_documented() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    assert [name for name in objectives() if f"`{name}`" not in text] == []


def assert_every_field(value: dict[str, Any], kind: Any) -> None:
    for field in msgspec.structs.fields(kind):
        assert field.encode_name in value, f"{kind.__name__}.{field.encode_name} is not documented"
        inner = [t for t in (field.type, *getattr(field.type, "__args__", ())) if hasattr(t, "__struct_fields__")]
        if inner and isinstance(value[field.encode_name], dict):
            assert_every_field(value[field.encode_name], inner[0])


def test_documented_configuration_is_valid() -> None:
    assert settings(ROOT / "docs" / "dr.yaml").targets["production"].word == "readmission-db"


def given(path: Path) -> Mapping[str, Any]:
    """The experiment that Chaos Toolkit runs in the end."""
    whole: Mapping[str, Any] = drill.read(str(path)).document or yaml.safe_load(path.read_text())
    return whole


@pytest.mark.parametrize("path", EXPERIMENTS, ids=NAMES)
def test_chaos_toolkit_accepts_every_experiment(path: Path) -> None:
    ensure_experiment_is_valid(yaml.safe_load(path.read_text()))
    ensure_experiment_is_valid(given(path))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=NAMES)
def test_every_experiment_unwinds_always_and_has_no_controls(path: Path) -> None:
    document = given(path)
    assert document["runtime"] == {"rollbacks": {"strategy": "always"}}
    assert [rollback["provider"]["func"] for rollback in document["rollbacks"]] == ["undo"]
    assert document["controls"] == []
    assert document["configuration"]["drill"] == path.stem


@pytest.mark.parametrize("path", EXPERIMENTS, ids=NAMES)
def test_every_experiment_demands_what_can_be_judged_and_has_a_runbook(path: Path) -> None:
    experiment = drill.read(str(path))
    asked = demands(drill.request(experiment, "lab", keep=False), experiment.demands, {}, objectives(), {})
    assert asked
    assert (ROOT / experiment.runbook).exists()
    assert experiment.foreign == ()


def test_only_a_point_in_time_is_asked_for_loss_and_exactness() -> None:
    by_name = {path.stem: set(drill.read(str(path)).demands) for path in EXPERIMENTS}
    assert by_name["rds-pitr"] - by_name["rds-snapshot-restore"] == {"loss", "exact-point"}


RESTORING = [path for path in EXPERIMENTS if any(verb.name == "examine" for verb in drill.read(str(path)).verbs)]
"""Those that make a copy and read it."""
FAILING_OVER = [path for path in EXPERIMENTS if path not in RESTORING]
WRITING = [path for path in FAILING_OVER if any(verb.name == "observe" for verb in drill.read(str(path)).verbs)]
"""Of these those that lose the database."""


@pytest.mark.parametrize("path", RESTORING, ids=lambda path: path.stem)
def test_a_copy_is_examined_before_the_first_probe_writes_to_it(path: Path) -> None:
    verbs = drill.read(str(path)).verbs
    names = [verb.name for verb in verbs]
    probed = next(n for n, v in enumerate(verbs) if v.name == "measure" and v.args["path"] in ("restored", "copy"))
    made = names.index("restore" if "restore" in names else "promote")
    served = names.index("serve") if "serve" in names else names.index("compare")  # by the workloads of a namespace
    assert made < names.index("examine") < served < probed


def disasters(verbs: Sequence[Verb]) -> list[int]:
    """The places of what strikes."""
    return [n for n, verb in enumerate(verbs) if verb.name in ("failover", "disaster")]


@pytest.mark.parametrize("path", FAILING_OVER, ids=lambda path: path.stem)
def test_every_path_that_is_judged_is_measured_before_the_disaster_and_settles_after_it(path: Path) -> None:
    experiment = drill.read(str(path))
    (struck,) = disasters(experiment.verbs)
    before = {verb.args["path"] for verb in experiment.verbs[:struck] if verb.name == "measure"}
    (after,) = [{*verb.args["paths"]} for verb in experiment.verbs[struck:] if verb.name == "settle"]
    asked = demands(drill.request(experiment, "lab", keep=False), experiment.demands, {}, objectives(), {})
    compared = {"restored"} if any(verb.name == "compare" for verb in experiment.verbs) else set()
    assert before == after == {demand.path for demand in asked} - compared, "what is compared is not measured"


@pytest.mark.parametrize("path", WRITING, ids=lambda path: path.stem)
def test_rows_are_read_of_every_path_of_writes_that_was_measured(path: Path) -> None:
    verbs = drill.read(str(path)).verbs
    (struck,) = disasters(verbs)
    written = [verb.args["path"] for verb in verbs if verb.name == "measure" and verb.args["path"].startswith("writes")]
    seen = [verb for verb in verbs if verb.name == "observe"]
    assert [verb.args["when"] for verb in seen] == ["before", "after"]
    assert seen[1].args["paths"] == written
    assert (
        verbs.index(seen[0]) < struck < max(n for n, v in enumerate(verbs) if v.name == "settle") < verbs.index(seen[1])
    )


@pytest.mark.parametrize("name", ["db-failover-host-lost", "db-failover-host-hung"])
def test_a_host_comes_back_only_when_every_path_has_settled(name: str) -> None:
    names = [verb.name for verb in drill.read(name).verbs]
    assert names.index("await_failover") < names.index("settle")
    assert names.index("remedy") == len(names) - names[::-1].index("settle")
    assert names[-1] == "observe"


def test_only_a_failover_is_asked_about_an_old_primary() -> None:
    asked = {path.stem for path in FAILING_OVER if "split-brain" in drill.read(str(path)).demands}
    assert asked == {"db-failover", "db-failover-host-lost", "db-failover-host-hung"}


def test_the_calendar_calls_the_recovery_of_a_namespace_no_recovery_of_the_system() -> None:
    calendar = yaml.safe_load((ROOT / "schedules" / "calendar.yaml").read_text())
    (whole,) = (test["drills"] for test in calendar["tests"] if test["description"].startswith("Restore entire system"))
    assert [name for name in whole if not name.startswith("velero-cluster")] == []


@pytest.mark.parametrize("document", [*RUNBOOKS, ROOT / "README.md"], ids=lambda path: path.name)
def test_documents_use_commands_and_options_that_exist(document: Path) -> None:
    found = commands(document)
    assert found
    for arguments in found:
        command, rest = resolve(arguments)
        known = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
        assert {argument for argument in rest if argument.startswith("--")} <= known, f"dr {' '.join(arguments)}"


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_every_runbook_has_the_six_parts_and_its_drill(runbook: Path) -> None:
    parts = re.findall(r"^## (.*)$", runbook.read_text(), re.MULTILINE)
    assert parts == ["What happened", "Decide", "Do", "Verify", "Cut over", "Undo"]
    assert runbook.stem in NAMES
    assert f"../experiments/{runbook.stem}.yaml" in runbook.read_text()


def test_the_calendar_names_drills_that_exist() -> None:
    calendar = yaml.safe_load((ROOT / "schedules" / "calendar.yaml").read_text())
    assert {name for test in calendar["tests"] for name in test["drills"]} == set(NAMES)


@pytest.mark.parametrize("document", [*RUNBOOKS, *ROOT.glob("*.md")], ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        assert link.startswith("https://") or (document.parent / link).exists(), link


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"dr {name}" not in readme] == []
