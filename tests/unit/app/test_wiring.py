"""Which drivers a request brings with it, and that a verb's arguments are held to their type."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr import wiring
from dr.app import restore
from dr.app.prepare import _record, _version
from dr.app.session import Session
from dr.config.context import Context
from dr.config.model import Protected, Section, Target
from dr.config.plugins import Plugin, VerbSpec, offer, plugins, verbs
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.source import database_of
from dr.drivers.velero.config import VeleroConfig
from tests.integration.meters import context
from tests.targets import retargeted
from tests.virtual import Scripted, call

RUN = RunIdentity("20250101-000000-ab12", "lab", Purpose.DRILL, "")
FACTS = Facts(0.0, "000000000000", "eu-central-1")
RESTORE = Verb("restore", {"to": {"time": "latest"}})


def with_cluster(run: Path, **sections: Section) -> Context:
    plain = context(run)
    cluster = KubernetesConfig("/none", "none", "uid")
    return replace(plain, target=retargeted(plain.target, kubernetes=cluster, **sections))


SPECS = [(plugin, spec) for plugin in plugins().values() for spec in plugin.verbs]


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ([RESTORE], {"rds"}),
        ([RESTORE, Verb("examine")], {"rds", "postgres"}),
        ([Verb("measure", {"path": "source"}), Verb("serve")], {"rds", "measuring", "service"}),
        ([Verb("promote"), Verb("move"), Verb("rebuild")], {"rds", "clients"}),
        ([Verb("disaster", {"kind": "rows"})], {"rds", "postgres"}),
        ([Verb("disaster", {"kind": "host-lost"})], {"rds", "faults"}),
        ([Verb("await_workloads")], {"rds", "kubernetes"}),
        ([], {"rds"}),
    ],
)
def test_only_the_drivers_of_the_asked_verbs_are_made(tmp_path: Path, asked: list[Verb], needed: set[str]) -> None:
    made = [*wiring.drivers(with_cluster(tmp_path), asked)]
    assert set(made) == needed
    assert made[0] == "rds", "others know where the source listens by what its look stores"


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (
            Verb("no-such-verb"),
            "There is no verb 'no-such-verb'. Known verbs: ask, await_failover, await_redundancy",
        ),
        (Verb("disaster", {"kind": "flood"}), "There is no disaster of kind 'flood'. The kinds are disk-full"),
        (Verb("disaster"), "The verb disaster needs an argument kind. The kinds are disk-full, disk-lost"),
        (Verb("remedy", {"kind": "rows"}), "There is no remedy of kind 'rows'"),
        (Verb("restore", {"provider": "restic"}), "Who does restore is not clear. Give it provider: one of rds"),
    ],
)
def test_a_verb_that_nobody_does_is_refused_with_those_that_there_are(verb: Verb, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        offer(verb)


@pytest.mark.parametrize(("plugin", "spec"), SPECS, ids=[f"{p.name}-{s.name}" for p, s in SPECS])
def test_an_argument_that_a_verb_does_not_know_is_refused_by_name(
    plugin: Plugin, spec: VerbSpec, tmp_path: Path
) -> None:
    kind = {"kind": min(spec.kinds)} if spec.kinds else {}
    verb = Verb(spec.name, {"typo": 1, "provider": plugin.name, **kind})
    of = with_cluster(tmp_path, velero=VeleroConfig())
    propose = wiring.proposing(wiring.drivers(of, [verb]), of.target)
    with pytest.raises(UsageError, match=f"{spec.name} knows no argument typo"):
        propose(verb, FACTS, RUN)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (Verb("restore", {"provider": "rds"}), "restore does not take {}: .*missing required field `to`"),
        (Verb("restore", {"to": "latest", "provider": "rds"}), "Expected `object`, got `str` - at `[$].to`"),
        (Verb("measure", {"path": "../x"}), "measure does not take"),
        (Verb("measure", {"path": ""}), "measure does not take"),
        (Verb("measure", {"path": 1}), "measure does not take"),
        (Verb("measure", {"path": "source", "seconds": 12}), "measure knows no argument seconds"),
        (Verb("settle"), "missing required field `paths`"),
        (Verb("settle", {"paths": "source"}), "settle does not take"),
        (Verb("settle", {"paths": []}), "settle does not take"),
        (Verb("settle", {"paths": [1]}), "settle does not take"),
        (Verb("settle", {"paths": ["../x"]}), "settle does not take"),
        (Verb("failover", {"kind": "soft"}), "Invalid enum value 'soft'"),
        (Verb("examine", {"of": "nothing"}), "Invalid enum value 'nothing'"),
        (Verb("observe", {"when": "during"}), "Invalid enum value 'during'"),
        (Verb("observe", {"when": "after", "paths": "writes"}), "observe does not take"),
        (Verb("observe", {"when": "after", "paths": [""]}), "observe does not take"),
    ],
)
def test_an_argument_of_another_type_is_refused(verb: Verb, words: str) -> None:
    _, spec = offer(verb)
    with pytest.raises(UsageError, match=words):
        spec.arguments(verb)


def test_every_verb_is_an_activity_that_says_what_it_takes() -> None:
    import dr.activities

    for name, offered in verbs().items():
        activity = getattr(dr.activities, name)
        assert activity.__doc__ == " ".join(spec.does for _, spec in offered)


@pytest.mark.parametrize(
    ("verb", "lacking", "expected"),
    [
        (Verb("move"), (), False),
        (Verb("measure", {"path": "source"}), (), True),
        (Verb("measure", {"path": "source"}), ("service",), False),
        (Verb("measure", {"path": "writes"}), ("service",), True),
        (Verb("serve"), ("service",), False),
        (Verb("no-such-verb"), (), False),
    ],
)
def test_a_verb_can_be_done_to_a_target_that_has_what_it_is_about(
    verb: Verb, lacking: tuple[str, ...], expected: bool, tmp_path: Path
) -> None:
    target = msgspec.structs.replace(context(tmp_path).target, **dict.fromkeys(lacking))
    assert wiring.able(verb, target) is expected


class Elsewhere(Section, frozen=True):
    role = "database"

    def protects(self) -> Protected:
        return Protected("clinic", lambda name: Ref("elsewhere", "server", name), ("copy",))


def test_drivers_of_a_database_read_whichever_section_protects_one(tmp_path: Path) -> None:
    rds = context(tmp_path).target
    sections: list[Any] = [(name, Section | None, None) for name in ("postgres", "elsewhere")]
    kind: Any = msgspec.defstruct("Elsewhere", sections, bases=(Target,), frozen=True)
    target: Target = kind(postgres=rds.of(PostgresConfig), elsewhere=Elsewhere())
    for name in ("postgres", "measuring", "observing", "faults", "clients"):
        plugin = plugins()[name]
        assert (plugin.lacks(target), "elsewhere" in plugin.read_of(target)) == ((), True)
        assert (plugin.lacks(rds), "rds" in plugin.read_of(rds)) == ((), True)
    assert plugins()["faults"].lacks(kind()) == ("rds",), "whatever there is to add"
    assert plugins()["rds"].lacks(target) == ("rds",)
    assert database_of(target).ref == Ref("elsewhere", "server", "clinic")


def test_a_run_records_the_versions_of_what_its_target_is_reached_by(tmp_path: Path) -> None:
    of = context(tmp_path)
    planned = Plan(Request("lab", (), Purpose.DRILL), RUN, (), ())
    session = Session(of, planned, {}, lambda _call, _note: None)
    assert _record(session, of.clock.now()).versions.keys() == {
        *("dr", "boto3", "psycopg", "chaostoolkit", "chaostoolkit-lib")
    }
    bare = replace(of, target=msgspec.structs.replace(of.target, rds=None, postgres=None, clients=None))
    session = Session(bare, planned, {}, lambda _call, _note: None)
    assert _record(session, of.clock.now()).versions.keys() == {"dr", "chaostoolkit", "chaostoolkit-lib"}
    assert _version("no-such-part") == "not installed"
    assert "not installed" not in {_version(part) for plugin in plugins().values() for part in plugin.parts}


def test_loading_every_plugin_imports_no_slow_library() -> None:
    slow = "{'boto3', 'botocore', 'psycopg', 'kubernetes', 'chaoslib', 'asyncio', 'jinja2', 'http.client'}"
    program = f"import sys; from dr.config.plugins import plugins; plugins(); print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("planned", [replace(call("a"), driver="nobody"), "a"])
def test_what_no_provider_does_is_not_planned(tmp_path: Path, planned: Any) -> None:
    class Odd(Scripted):
        def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
            return (planned,)

    propose = wiring.proposing({"postgres": Odd()}, context(tmp_path).target)
    with pytest.raises(UsageError, match="postgres plans 'a' for examine, which no provider does"):
        propose(Verb("examine"), FACTS, RUN)


def test_who_restored_what_is_another_providers_is_whoever_made_it(tmp_path: Path) -> None:
    there = Ref("kubernetes", "namespace", "rehearsal")
    made = replace(call("make"), driver="velero", makes=(there,), restoration=True)
    velero, rds = Scripted(), Scripted()
    planned = Plan(Request("lab", (), Purpose.RESTORE), RUN, (made,), ())
    session = Session(context(tmp_path), planned, {"velero": velero, "rds": rds}, lambda _call, _note: None)
    assert session.restorer(there) is velero
    assert session.restorer(Ref("rds", "instance", "copy")) is rds
    with pytest.raises(RefusedError, match=r"Nobody here restores namespace other: it belongs to kubernetes\."):
        session.restorer(replace(there, name="other"))


@pytest.mark.parametrize(("copies", "asked"), [("", []), ("http://127.0.0.1:9/{namespace}", ["measure", "settle"])])
def test_a_copy_is_asked_for_predictions_where_the_target_tells_a_way_there(
    tmp_path: Path, copies: str, asked: list[str]
) -> None:
    of = with_cluster(tmp_path, velero=VeleroConfig()).target
    of = retargeted(
        of, service=msgspec.structs.replace(of.service, copies=copies, ways={"cluster": "http://127.0.0.1:9"})
    )  # type: ignore[attr-defined]
    how: dict[str, Any] = {"since": None, "as_name": "", "reset_master": False, "verify": True}
    wanted = restore.request("lab", of, {"backup": "latest"}, **how, namespaces=["a"], into="b", database="h:1")
    first, *more = wanted.verbs
    said = {"to": {"backup": "latest"}, "namespaces": ["a"], "into": "b", "database": "h:1"}
    assert first.args == {**said, "provider": "velero"}
    assert [verb.name for verb in more] == ["compare", *asked], "nobody asks production's own ways"
    assert [verb.args for verb in more if verb.name == "measure"] == [{"path": "copy", "namespace": "b"}][: len(asked)]
