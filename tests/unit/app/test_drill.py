"""Reading an experiment: what is wrong with it is said before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dr.app import using as using_another
from dr.app.drill import ForeignError, read, read_all, suited, verb
from dr.config.model import Settings
from dr.config.plugins import Plugin, VerbSpec
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Grant, Verb
from tests.unit.cli.test_cli import dr, home
from tests.unit.drivers.rds.support import target

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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"func": "explode"}, "There is no verb 'explode'"),
        ({"func": "disaster", "arguments": "{kind: flood}"}, "There is no disaster of kind 'flood'"),
        ({"func": "serve", "arguments": "{typo: 1}"}, "serve knows no argument typo"),
        ({"func": "examine", "arguments": "{of: all}"}, "Invalid enum value 'all'"),
        ({"func": "examine", "demands": "{bliss: restored}"}, "There is no objective bliss"),
        ({"func": "examine", "demands": "{data: restored}"}, "No verb measures what is demanded: data"),
    ],
)
def test_a_drill_that_no_target_could_run_is_not_shown(home: Path, change: dict[str, str], words: str) -> None:
    shown: Any = dr("drill", "show", written(home / "x.yaml", **change))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert words in shown.stderr


def test_a_drill_that_breaks_what_it_restores_is_another_one_where_that_must_not_be(
    capfd: pytest.CaptureFixture[str],
) -> None:
    named = read("velero-namespace-restore")
    assert suited(named, target(grants=(Grant.DISPOSABLE,))) is named
    assert suited(named, None) is named, "of a lab that is not running nothing is known"
    other = suited(named, target(grants=(Grant.MARKERS,)))
    assert other.name == "velero-namespace-restore-copy"
    assert "disaster" in {one.name for one in named.verbs} - {one.name for one in other.verbs}
    assert "velero-namespace-restore-copy is run in its place" in capfd.readouterr().err
    plain = read("rds-pitr")
    assert suited(plain, target(grants=())) is plain


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "There is no drill"),
        ({"func": "explode"}, "There is no verb 'explode'"),
        ({"demands": "{bliss: restored}"}, "no objective bliss"),
        ({"demands": "{latency: source}"}, "No verb measures what is demanded"),
        ({"arguments": "["}, "bad.yaml"),
        ({"runbook": "runbooks/none.md"}, "runbooks/none.md is not there"),
    ],
)
def test_every_drill_is_checked_before_the_first_runs(
    tmp_path: Path, change: dict[str, str] | None, words: str
) -> None:
    good = written(tmp_path / "good.yaml", "restore", "{to: {snapshot: latest}}")
    bad = tmp_path / "bad.yaml"
    if change is not None:
        said = {"func": "restore", "arguments": "{to: {snapshot: latest}}", **change}
        runbook = said.pop("runbook", "")
        written(bad, **said)
        bad.write_text(bad.read_text().replace("{name: dr,", f"{{name: dr, runbook: '{runbook}',"))
    names = [good, str(bad), good]
    with pytest.raises(UsageError, match=words) as refused:
        read_all(names, Settings(targets={"prod": target()}), "prod")
    assert "None was run." in str(refused.value)
    assert [one.name for one in read_all(names[::2], Settings(targets={"prod": target()}), "prod")] == ["good", "good"]


def test_a_drill_that_acts_outside_dr_is_refused_before_the_first_runs(tmp_path: Path) -> None:
    good = written(tmp_path / "good.yaml", "restore", "{to: {snapshot: latest}}")
    foreign = tmp_path / "foreign.yaml"
    theirs = ", {name: theirs, type: action, provider: {type: process, path: rm}}]"
    foreign.write_text(Path(good).read_text().rstrip()[:-1] + theirs)
    with pytest.raises(RefusedError, match=r"activities of other extensions \(theirs\)"):
        read_all([good, str(foreign)], Settings(targets={"prod": target()}), "prod")


def test_a_misspelt_drill_is_told_and_none_is_run(home: Path) -> None:
    ran: Any = dr("drill", "run", "rds-pitr", "rds-pitre", "--yes")
    assert ran.returncode == 2
    assert "rds-pitre: There is no drill 'rds-pitre'" in ran.stderr
    assert "The lab is not running" not in ran.stderr


BASE: dict[str, Any] = {
    "version": "1.0.0",
    "title": "base",
    "description": "d",
    "configuration": {"target": "t", "drill": "base"},
    "extensions": [
        {"name": "dr", "runbook": "runbooks/b.md", "demands": {"outage": "source", "split-brain": "writes"}}
    ],
    "method": [
        {"name": name, "type": "action", "provider": {"type": "python", "module": "dr.activities", "func": func}}
        for name, func in (("look", "observe"), ("force", "failover"), ("settle", "settle"), ("look-after", "observe"))
    ],
    "rollbacks": [{"name": "undo"}],
}
CRASH = {"name": "crash", "func": "disaster", "arguments": {"kind": "engine-crash"}, "pauses": {"before": 5}}
WHOLE = {
    "name": "all",
    "type": "action",
    "provider": {"type": "python", "module": "dr.activities", "func": "whole_drill"},
}


def using(path: Path, base: dict[str, Any] = BASE, more: dict[str, Any] | None = None, **said: Any) -> str:
    """A drill beside the one that it uses."""
    (path / "base.yaml").write_text(yaml.safe_dump(base))
    extension = {"name": "dr", "use": "base", "fault": [CRASH], **said}
    document = {"title": "crash", "description": "c", "extensions": [extension], "method": [WHOLE], **(more or {})}
    (path / "x.yaml").write_text(yaml.safe_dump(document))
    return str(path / "x.yaml")


def test_a_drill_that_uses_another_is_that_with_its_own_fault_and_demands(tmp_path: Path) -> None:
    remedy = {"name": "mend", "func": "remedy"}
    found = read(using(tmp_path, remedy=[remedy], demands={"split-brain": None, "errors": "source"}))
    assert [one.name for one in found.verbs] == ["observe", "disaster", "settle", "remedy", "observe"]
    assert found.demands == {"outage": "source", "errors": "source"}
    assert (found.name, found.title, found.description, found.runbook) == ("x", "crash", "c", "runbooks/b.md")
    given = found.document
    assert given is not None
    assert given["configuration"] == {"target": "t", "drill": "x"}
    assert given["rollbacks"] == BASE["rollbacks"]
    assert given["method"][1] == {
        "name": "crash",
        "type": "action",
        "pauses": {"before": 5},
        "provider": {
            "type": "python",
            "module": "dr.activities",
            "func": "disaster",
            "arguments": {"kind": "engine-crash"},
        },
    }


def test_steps_of_another_drill_stand_as_whoever_uses_it_has_them(tmp_path: Path) -> None:
    whole, end = ({"name": name, "func": name} for name in ("settle", "rebuild"))
    given = read(using(tmp_path, instead={"look": None, "settle": {**whole, "name": "wait"}}, after=[end])).document
    assert given is not None
    assert [one["name"] for one in given["method"]] == ["crash", "wait", "look-after", "rebuild"]
    assert given["method"][2] == BASE["method"][3]


def test_a_drill_may_use_one_that_uses_another_whose_fault_is_a_declaration(tmp_path: Path) -> None:
    declare = {"name": "declare", "func": "declare"}
    using(tmp_path, fault=[declare], demands={"errors": "source"})
    extension = {"name": "dr", "use": "x", "fault": [CRASH], "demands": {"outage": None}}
    document = {"title": "y", "description": "y", "extensions": [extension], "method": [WHOLE]}
    (tmp_path / "y.yaml").write_text(yaml.safe_dump(document))
    found = read(str(tmp_path / "y.yaml"))
    assert [one.name for one in found.verbs] == ["observe", "disaster", "settle", "observe"]
    assert found.demands == {"split-brain": "writes", "errors": "source"}
    assert (found.name, found.runbook) == ("y", "runbooks/b.md")


def test_whichever_verb_a_plugin_says_strikes_is_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a provider's of somebody's own may."""
    own = Plugin("own", verbs=(VerbSpec("settle", "", strikes=True),))
    monkeypatch.setattr(using_another, "verbs", lambda: {"settle": ((own, own.verbs[0]),)})
    extension = {"name": "dr", "use": "base", "fault": [{"name": "crash", "func": "disaster"}]}
    found = using_another.resolved("x", {"extensions": [extension], "method": [WHOLE]}, BASE)
    before = [step["provider"]["func"] for step in BASE["method"]]
    place = before.index("settle")
    assert [step["provider"]["func"] for step in found["method"]] == [*before[:place], "disaster", *before[place + 1 :]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use": "nobody"}, "It uses 'nobody', and there is no such drill"),
        ({"use": "../base"}, "is no name of a drill"),
        ({"use": "x"}, "It uses x, which leads back to it. Use a drill with a method of its own"),
        ({"base": {**BASE, "extensions": [{"name": "dr", "use": "x"}]}}, "It uses x, which leads back to it"),
        ({"instead": {"lok": None}}, "base has no step lok beside its fault. Its steps: look, settle, look-after"),
        ({"instead": {"force": None}}, "base has no step force beside its fault"),
        ({"instead": {"look": 1}}, "Expected `object | null`, got `int`"),
        ({"fault": []}, "It gives no fault"),
        ({"fault": {"kind": "x"}}, "its use of another drill is not valid: Expected `array`"),
        ({"fault": [{"name": "crash"}]}, "missing required field `func`"),
        ({"fault": [{**CRASH, "provider": {}}]}, "unknown field `provider`"),
        ({"faults": [CRASH]}, "unknown field `faults`"),
        ({"base": {**BASE, "method": BASE["method"][2:]}}, "base has no fault"),
        ({"base": {**BASE, "title": 7}}, "base.yaml.*title"),
        ({"more": {"method": BASE["method"]}}, "It uses the method of base. Its method is one activity"),
        ({"more": {"method": [WHOLE, WHOLE]}}, "It uses the method of base. Its method is one activity"),
        ({"more": {"method": "x"}}, "x.yaml.*method"),
        ({"more": {"rollbacks": []}}, "It uses the method of base and has its own rollbacks"),
        ({"demands": {"outage": None, "split-brain": None}}, "It demands nothing"),
        ({"fault": [{**CRASH, "arguments": {"kind": "2026-04-24"}}], "demands": {"outage": 7}}, "demand 'outage'"),
    ],
)
def test_what_is_wrong_with_the_use_of_another_drill_is_said(tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){words}"):
        read(using(tmp_path, **change))


def test_the_whole_of_another_drill_is_no_step_of_a_drill_that_uses_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no verb 'whole_drill'"):
        read_all([written(tmp_path / "x.yaml", "whole_drill")], Settings(targets={"prod": target()}), "prod")
