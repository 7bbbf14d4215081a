"""Reading an experiment: what is wrong with it is said before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.app.drill import ForeignError, read, verb
from dr.domain.errors import UsageError
from dr.domain.model import Verb
from tests.unit.test_cli import dr, home

__all__ = ["home"]

NOON = 1_777_032_000.0
FOREIGN = "title: t\ndescription: d\nmethod: []\n"


def written(path: Path, func: str = "serve", arguments: str = "{}", demands: str = "{data: restored}") -> str:
    path.write_text(
        "title: t\ndescription: d\n"
        f"extensions: [{{name: dr, demands: {demands}}}]\n"
        "method: [{name: a, type: action, provider: {type: python, module: dr.activities,"
        f" func: {func}, arguments: {arguments}}}}}]\n"
    )
    return str(path)


@pytest.mark.parametrize(
    "time",
    [
        "2026-04-24T12:00:00Z",
        "'2026-04-24T12:00:00Z'",
        "'2026-04-24T14:00:00+02:00'",
        "2026-04-24T14:00:00+02:00",
        NOON,
    ],
)
def test_a_time_with_its_zone_is_read_as_chaos_toolkit_will_pass_it(tmp_path: Path, time: object) -> None:
    path = written(tmp_path / "x.yaml", "restore", f"{{to: {{time: {time}}}}}")
    (planned,) = read(path).verbs
    assert planned == Verb("restore", {"to": {"time": NOON}})
    passed = yaml.safe_load(Path(path).read_text())["method"][0]["provider"]["arguments"]
    assert verb("restore", passed) == planned


@pytest.mark.parametrize(
    ("func", "arguments", "words"),
    [
        ("restore", "{to: {time: 2026-04-24T12:00:00}}", "has no zone"),
        ("restore", "{to: {time: '2026-04-24T12:00:00'}}", "has no zone"),
        ("restore", "{to: {time: 1e300}}", "'1e300' is not a time"),
        ("restore", "{to: {time: 2026-04-24}}", "argument to of restore is no JSON value"),
        ("restore", "{to: {time: .nan}}", "line 4, is not valid: .*arguments.to.time is not finite"),
        ("disaster", "{kind: 2026-04-24T12:00:00Z}", "argument kind of disaster is no JSON value"),
        ("measure", "{path: restored, seconds: .nan}", "line 4, .*arguments.seconds is not finite"),
        ("measure", "{path: !!set {a}}", "argument path of measure is no JSON value"),
        ("measure", "{1: 2}", "argument 1 of measure is no JSON value"),
    ],
)
def test_an_argument_that_no_run_could_keep_is_refused_by_its_name(
    tmp_path: Path, func: str, arguments: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        read(written(tmp_path / "x.yaml", func, arguments))


@pytest.mark.parametrize("demands", ["{}", "", "[latency]", "{latency: 7}", "{latency: }", "{7: restored}"])
def test_demands_are_objectives_with_paths_and_never_none(tmp_path: Path, demands: str) -> None:
    with pytest.raises(UsageError, match="demand"):
        read(written(tmp_path / "x.yaml", demands=demands))


def test_an_experiment_of_somebody_else_is_told_from_a_drill_with_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FOREIGN)
    with pytest.raises(ForeignError, match="no drill of dr"):
        read(str(tmp_path / "x.yaml"))
    with pytest.raises(UsageError) as refused:
        read(written(tmp_path / "y.yaml", demands="{}"))
    assert not isinstance(refused.value, ForeignError)


def test_a_foreign_experiment_breaks_neither_the_list_nor_all(home: Path) -> None:
    (home / "experiments").mkdir()
    (home / "experiments" / "theirs.yaml").write_text(FOREIGN)
    listed = dr("drill", "list")
    assert listed.returncode == 0
    assert "rds-pitr" in listed.stdout
    assert "theirs.yaml is no drill of dr" in listed.stderr
    ran: Any = dr("drill", "run", "--all", "--yes")
    assert ran.returncode == 3
    assert "skipped: experiments/theirs.yaml is no drill of dr" in ran.stderr
    assert "dr: rds-pitr: The lab is not running" in ran.stderr
