"""A provider that cannot be loaded, or is not there, hinders what needs it and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import dr.drivers
from dr import activities, wiring
from dr.app import activity
from dr.app.terms import terms
from dr.config import plugins
from dr.config.load import find_target, present
from dr.config.model import Settings, Target
from dr.config.plugins import offer
from dr.domain.errors import UsageError
from dr.domain.model import Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.engine.guard import Consent, guard
from dr.wiring import settings

RDS = {
    "rds": {"account": "123456789012", "region": "eu-central-1", "instance": "db", "endpoint": "http://127.0.0.1:1"},
    "postgres": {"name": "d", "harness": {"user": "u", "secret": "env:X"}},
}
RESTORE = Verb("restore", {"to": {"time": "latest"}})


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the plugins' path whose plugin.py imports what is not installed."""
    folder = tmp_path / "plugins" / "restic"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "plugin.py").write_text("import not_installed_here\n")
    monkeypatch.setattr(dr.drivers, "__path__", [*dr.drivers.__path__, str(folder.parent)])
    yield from _fresh(folder)


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DR_PLUGINS", raising=False)


def _fresh(folder: Path) -> Iterator[Path]:
    for found in (plugins._found, plugins.target_type):
        found.cache_clear()
    yield folder
    for name in [name for name in sys.modules if name.startswith("dr.drivers.restic")]:
        del sys.modules[name]
    for found in (plugins._found, plugins.target_type):
        found.cache_clear()


def read(tmp_path: Path, **written: object) -> Settings:
    (tmp_path / "dr.yaml").write_text(yaml.safe_dump(written))
    return settings(tmp_path / "dr.yaml")


def test_a_broken_folder_hinders_no_target_that_does_not_name_it(tmp_path: Path, broken: Path) -> None:
    target = find_target(read(tmp_path, targets={"prod": RDS}), "prod")
    assert offer(RESTORE, target)[0].name == "rds"


def test_a_target_that_names_it_is_restored_by_its_other_providers(tmp_path: Path, broken: Path) -> None:
    target = find_target(read(tmp_path, targets={"prod": {**RDS, "restic": {"any": ["thing"]}}}), "prod")
    assert offer(RESTORE, target)[0].name == "rds"
    assert {*target.sections} == {"rds", "postgres"}


@pytest.mark.parametrize("verb", [RESTORE, Verb("restore", {"provider": "restic"})])
def test_what_needs_it_says_what_happened_to_which_folder_and_what_to_do(
    tmp_path: Path, broken: Path, verb: Verb
) -> None:
    target = find_target(read(tmp_path, targets={"store": {"restic": {}}}), "store")
    words = rf"The provider restic cannot be loaded from {broken} \(.*not_installed_here'\)\. Mend that folder"
    with pytest.raises(UsageError, match=words):
        offer(verb, target)
    with pytest.raises(UsageError, match=f"no verb 'back_up'.*{words}"):
        offer(Verb("back_up"), target)


def test_a_directory_that_is_not_there_is_told_and_hinders_nothing(
    tmp_path: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = str(tmp_path / "gone")
    monkeypatch.setattr(dr.drivers, "__path__", [*dr.drivers.__path__, gone])
    assert plugins.unloaded()[gone] == f"DR_PLUGINS names {gone}, which is no directory."
    assert find_target(read(tmp_path, targets={"prod": RDS}), "prod").word == "db"


def shadowed(place: Path) -> tuple[Path, str]:
    again = place / "rds"
    again.mkdir()
    (again / "__init__.py").touch()
    (again / "plugin.py").write_text("raise SystemExit('it is not to be read')")
    return again, "is left out: there is another provider rds. Give it a name of its own."


def without(name: str) -> Callable[[Path], tuple[Path, str]]:
    def made(place: Path) -> tuple[Path, str]:
        folder = place / "lacking"
        folder.mkdir()
        for other in {"__init__.py", "plugin.py"} - set(name.split()):
            (folder / other).write_text("PLUGIN = 1")
        return folder, f"is no provider: it has no {' and no '.join(name.split())}. Mend it"

    return made


def dangling(place: Path) -> tuple[Path, str]:
    link = place / "gone"
    link.symlink_to(place / "nowhere")
    return link, "is no provider: it is a link that leads nowhere. Mend it"


def single(place: Path) -> tuple[Path, str]:
    file = place / "store.py"
    file.touch()
    return file, "is no provider: it is a file, and a provider is a folder. Mend it"


@pytest.mark.parametrize(
    "strange",
    [shadowed, without("__init__.py"), without("plugin.py"), without("__init__.py plugin.py"), dangling, single],
)
def test_what_stands_where_providers_do_and_is_none_is_told_by_every_command_once(
    tmp_path: Path, broken: Path, strange: Callable[[Path], tuple[Path, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    """Beside it stands what nobody takes for a provider."""
    (broken.parent / "README.md").touch()
    (broken.parent / "_shared").mkdir()
    at, why = strange(broken.parent)
    wiring._say_once.cache_clear()
    for _ in range(2):
        assert find_target(read(tmp_path, targets={"prod": RDS}), "prod").word == "db"
    said = capfd.readouterr().err.strip()
    assert said.startswith(f"dr: {at} {why}"), said
    assert said.count("\n") == 0, "once, and of nothing else"
    assert offer(RESTORE)[0].name == "rds"
    assert plugins.unloaded().keys() == {broken.name, str(at)}, "that one has a name to be asked for"


def test_a_directory_that_is_named_twice_holds_its_providers_once(
    tmp_path: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "again").symlink_to(broken.parent)
    monkeypatch.setattr(dr.drivers, "__path__", [*dr.drivers.__path__, str(tmp_path / "again")])
    assert plugins.unloaded().keys() == {broken.name}


def test_a_plugin_of_another_name_is_no_plugin(tmp_path: Path, broken: Path) -> None:
    (broken / "plugin.py").write_text("PLUGIN = 3\n")
    with pytest.raises(UsageError, match="its PLUGIN is not the plugin restic"):
        offer(Verb("restore", {"provider": "restic"}))


OF_A_TYPE_THAT_NOTHING_IS_READ_AS = """
from dr.config.model import Section
from dr.config.plugins import Plugin, VerbSpec

class Strange(Section, frozen=True):
    what: list | tuple

PLUGIN = Plugin("restic", {})
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("PLUGIN = Plugin('restic', objectives=None)", "TypeError"),
        ("PLUGIN = Plugin('restic', objectives=(1,))", "1 is no objective"),
        ("PLUGIN = Plugin('restic', verbs=(VerbSpec('undo', ''),))", "undo cannot be a verb's name"),
        ("PLUGIN = Plugin('restic', verbs=(VerbSpec('a verb', ''),))", "a verb cannot be a verb's name"),
        ("PLUGIN = Plugin('restic', verbs=(VerbSpec('drill', ''),))", "nothing makes who does drill"),
        ("PLUGIN = Plugin('restic', print, (VerbSpec('a', ''), VerbSpec('a', '')))", "it offers a twice"),
    ],
)
def test_a_plugin_that_cannot_be_one_is_told_and_hinders_no_other(
    tmp_path: Path, broken: Path, text: str, why: str
) -> None:
    (broken / "plugin.py").write_text(f"from dr.config.plugins import Plugin, VerbSpec\n{text}\n")
    assert find_target(read(tmp_path, targets={"prod": RDS}), "prod").word == "db"
    assert why in plugins.unloaded()["restic"]


@pytest.mark.parametrize("name", ["grants", "word", "emulated", "my-kv", "import"])
def test_a_name_that_no_section_can_have_hinders_no_target(tmp_path: Path, broken: Path, name: str) -> None:
    folder = broken.rename(broken.with_name(name))
    (folder / "plugin.py").write_text(f"from dr.config.plugins import Plugin\nPLUGIN = Plugin({name!r})\n")
    target = find_target(read(tmp_path, targets={"prod": {**RDS, "grants": ["markers"], "emulated": "all"}}), "prod")
    assert (target.grants, target.emulated, target.word) == (("markers",), "all", "db")
    assert f"{name} cannot be the name of a target's section" in plugins.unloaded()[name]


@pytest.mark.parametrize("text", ["import not_installed_here", "raise SystemExit(0)", ""])
def test_a_provider_that_cannot_be_made_is_named(broken: Path, text: str) -> None:
    made = f"PLUGIN = Plugin('restic', later('{dr.drivers.__name__}.restic.provider', 'Restic'))"
    (broken / "plugin.py").write_text(f"from dr.config.plugins import Plugin, later\n{made}\n")
    (broken / "provider.py").write_text(text)
    plugin = plugins.plugins()["restic"]
    with pytest.raises(UsageError, match=r"The provider restic cannot be made \(.+\)\. Mend its folder"):
        plugin.made(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "part", ["section=Strange", "verbs=(VerbSpec('save', '', Strange),)", "section=int", "verbs=(1,)"]
)
def test_a_plugin_whose_types_nothing_can_be_read_as_hinders_no_other(tmp_path: Path, broken: Path, part: str) -> None:
    (broken / "plugin.py").write_text(OF_A_TYPE_THAT_NOTHING_IS_READ_AS.format(part))
    assert find_target(read(tmp_path, targets={"prod": RDS}), "prod").word == "db"
    with pytest.raises(UsageError, match="restic cannot be loaded"):
        offer(
            Verb("save", {"provider": "restic"}),
            find_target(read(tmp_path, targets={"store": {"restic": {}}}), "store"),
        )


def test_a_target_is_not_disposable_where_nobody_knows_what_a_section_leads_to(tmp_path: Path, broken: Path) -> None:
    def refusals(**more: object) -> tuple[str, ...]:
        target: Target = find_target(
            read(tmp_path, targets={"lab2": {**RDS, "grants": ["disposable"], **more}}), "lab2"
        )
        told = terms(target)
        return guard(EMPTY, told, Facts(0.0, told.pins), Consent())

    assert refusals() == ()
    (refusal,) = refusals(restic={})
    assert "whatever section restic leads to is not on loopback" in refusal


EMPTY = Plan(Request("lab2", (), Purpose.DRILL), RunIdentity("r", "lab2", Purpose.DRILL, ""), (), ())


@pytest.mark.usefixtures("unset")
def test_a_section_of_a_provider_that_is_not_there_hinders_its_own_target_alone(tmp_path: Path) -> None:
    found = read(tmp_path, targets={"prod": RDS, "store": {"kv": {"id": "1"}}})
    assert find_target(found, "prod").word == "db"
    assert "store" in present(found), "clean-up says that it cannot be looked at"
    with pytest.raises(UsageError) as refused:
        find_target(found, "store")
    assert "Target 'store' cannot be used: it says kv" in str(refused.value)
    assert "DR_PLUGINS is not set" in str(refused.value)
    with pytest.raises(UsageError, match="Known targets: lab, prod, store"):
        find_target(found, "other")


@pytest.mark.usefixtures("unset")
def test_a_limit_of_what_such_a_provider_brings_is_left_out_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limits = {"time-to-copy": 60, "keys-lost": 0}
    found = read(tmp_path, targets={"prod": RDS, "store": {"kv": {}}}, objectives=limits)
    assert found.objectives == {"time-to-copy": 60.0}
    assert "The limit keys-lost in dr.yaml is left out" in capfd.readouterr().err
    with pytest.raises(UsageError, match="keys-lost"):
        read(tmp_path, targets={"prod": RDS}, objectives=limits)


def test_no_verb_hides_what_experiments_call_beside_verbs() -> None:
    named = {name for name, one in vars(activities).items() if not name.startswith("_")}
    assert named - {*plugins.verbs()} == plugins.TAKEN


def test_a_verb_of_any_name_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chaos Toolkit finds it, whatever the module that makes the activities calls its own things."""
    offered = plugins.verbs()
    names = {name for name in vars(activity) if not name.startswith("_")} - plugins.TAKEN
    odd = dict.fromkeys(names, offered["examine"])
    monkeypatch.setattr(activity, "verbs", lambda: {**offered, **odd})
    assert odd.keys() <= activity.activities().keys()
