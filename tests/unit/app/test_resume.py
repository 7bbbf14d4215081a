"""An unfinished restore is found again: by its run's name and by its request, on a machine that never heard of it."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.app.asked import digest, packed, unpacked
from dr.app.cleanup import clean, unreadable
from dr.app.earlier import check_age
from dr.app.prepare import accept, prepare
from dr.app.restore import STEPS, asked, cautions, earlier_runs, resumed
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Demand, Plan, Purpose, Request, RunIdentity, Verb
from dr.domain.tags import spread
from dr.drivers.rds import settings
from dr.engine.guard import Consent
from dr.evidence.directory import RunDirectory, find_run
from dr.judge.objectives import time_to_copy
from tests.unit.drivers.rds.support import NOW, SOURCE, facts
from tests.unit.machines import NIGHT, SETTINGS, Machines, again, tell, wanted

LATEST: dict[str, Any] = {"time": "latest"}
NEWEST: dict[str, Any] = {"snapshot": "latest"}
HOUR = time_to_copy.LIMIT.default


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "asked_for",
    [
        wanted(),
        wanted({"snapshot": "latest"}, since=NOW - 600.5),
        wanted({"time": "latest"}, as_name="tonight", reset_master=True),
        wanted({"time": NOW - 3600}, settings={"DBInstanceClass": "db.r6g.xlarge", "MultiAZ": False}),
        wanted(verify=True),
    ],
)
def test_a_run_goes_on_by_its_name_with_the_very_same_request(machines: Machines, asked_for: Request) -> None:
    begun = machines.begin(asked_for).session
    machines.another()
    found = resumed(SETTINGS, "prod", begun.directory.id, None, tell).session
    assert found.directory.id == begun.directory.id
    assert found.plan.request == begun.plan.request
    assert [(call.touches, call.makes) for call in found.plan.calls] == [
        (call.touches, call.makes) for call in begun.plan.calls
    ]


def test_no_name_is_no_run_of_another_machine(machines: Machines) -> None:
    machines.begin(wanted())
    machines.another()
    with pytest.raises(UsageError, match="No run was named"):
        resumed(SETTINGS, "prod", "", None, tell)


def test_the_same_command_keeps_the_time_of_the_disaster_and_another_is_refused(machines: Machines) -> None:
    begun = machines.begin(wanted(since=NOW - 600))
    machines.another()
    again = prepare(SETTINGS, wanted(), asked(wanted()), tell)
    assert (again.session.directory.id, again.session.plan.request.since) == (begun.session.directory.id, NOW - 600)
    for act in (
        lambda: prepare(SETTINGS, wanted(since=NOW - 60), asked(wanted()), tell),
        lambda: resumed(SETTINGS, "prod", begun.session.directory.id, NOW - 60, tell),
    ):
        with pytest.raises(RefusedError, match="not begun with this --since"):
            act()


LONG = {"DomainOu": "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(64))}


def test_what_does_not_fit_into_tags_is_told_before_and_is_to_be_typed_again(machines: Machines) -> None:
    begun = machines.begin(wanted(settings=LONG))
    (told,) = cautions(begun.session.plan)
    restored = begun.session.plan.calls[0].makes[0].name
    assert told.startswith(f"What was asked for does not fit into the tags of {restored}: another machine")
    assert not any(key.startswith("dr:request-") for key in machines.tags(restored))
    machines.another()
    with pytest.raises(RefusedError, match=r"hold no request.*'dr restore --target prod --snapshot night'"):
        resumed(SETTINGS, "prod", begun.session.directory.id, None, tell)
    assert again(wanted(settings=LONG)).session.directory.id == begun.session.directory.id


def test_what_fits_is_no_matter_to_tell(machines: Machines) -> None:
    assert cautions(machines.begin(wanted(settings={"DBSubnetGroupName": "x" * 255})).session.plan) == ()


def test_the_same_command_goes_on_with_what_the_former_version_tagged(machines: Machines) -> None:
    asked_for = wanted(settings={"MultiAZ": False})
    begun = machines.begin(asked_for).session
    restored = begun.plan.calls[0].makes[0].name
    former = {**machines.tags(restored), "dr:set": base64.b64encode(b'{"MultiAZ": false}').decode()}
    machines.retag(restored, {key: value for key, value in former.items() if not key.startswith("dr:request-")})
    machines.another()
    assert again(asked_for).session.directory.id == begun.directory.id
    with pytest.raises(RefusedError, match=r"hold no request.*Type its command again: 'dr restore --target prod"):
        resumed(SETTINGS, "prod", begun.directory.id, None, tell)


def former(asked_for: Request) -> Request:
    """As a former version had it: how long a path settles stood in the request, and the settings were the restore's."""
    verbs = [verb for verb in asked_for.verbs if verb.name not in ("settle", "configure")]
    seconds = [replace(one, args={**one.args, "seconds": 12.0}) if one.name == "measure" else one for one in verbs]
    return replace(asked_for, verbs=tuple(seconds))


@pytest.mark.parametrize("asked_for", [wanted(), wanted(verify=True), wanted(settings={"MultiAZ": False})])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_same_command_finds_what_a_former_version_began(
    machines: Machines, asked_for: Request, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_SECRET", "hush")
    begun = machines.begin_here(asked_for).session
    then = former(asked_for)
    request = {"verbs": msgspec.to_builtins(then.verbs), "digest": digest("prod", then.verbs)}
    path = begun.directory.path / "run.json"
    record = msgspec.json.decode(path.read_bytes())
    record["plan"]["request"] |= request
    path.write_bytes(msgspec.json.encode(record))
    restored = begun.plan.calls[0].makes[0].name
    kept = {key: value for key, value in machines.tags(restored).items() if not key.startswith("dr:request")}
    machines.retag(restored, {**kept, **spread(packed(then.verbs)), "dr:request": request["digest"]})
    if elsewhere:
        machines.another()
    found = again(asked_for)
    assert found.session.directory.id == begun.directory.id
    assert f"The unfinished restore {begun.directory.id} goes on" in earlier_runs(found)[0]


@pytest.mark.parametrize("other", [wanted({"time": NOW - 3600}), wanted(verify=True), wanted(settings={"Port": 1})])
def test_another_command_does_not_go_on_with_it_and_is_told_what_does(machines: Machines, other: Request) -> None:
    run = machines.begin_here(wanted()).session.directory.id
    for _ in ("here", "elsewhere"):
        with pytest.raises(RefusedError, match=f"of run {run}. If nobody is at it: 'dr restore --resume {run}"):
            again(other)
        machines.another()


def deflated(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


FAILOVER = (Verb("failover"),)


@pytest.mark.parametrize(
    ("tags", "because"),
    [
        ({"dr:request-1": ""}, "they hold no request"),
        ({"dr:request-1": "what is this"}, "their request was altered"),
        ({"dr:request-1": "AAAA"}, "their request was altered"),
        ({"dr:request-1": deflated(b"[]")[:-8]}, "their request is cut"),
        ({"dr:request-1": deflated(b" " * (1 << 20))}, "their request is cut, or longer than any"),
        ({"dr:request-1": deflated(b"[" * 1000)}, "their request"),
        ({"dr:request-1": deflated(b"\xff")}, "their request, line 1, is not UTF-8"),
        ({"dr:request-1": deflated(b"[]")}, "their request is none of a restore"),
        ({"dr:request-1": deflated(b'{"to": 1}')}, "their request, line 1, is not what it should be"),
        ({"dr:request-1": deflated(b'[["restore", 1]]')}, "their request, line 1, is not what it should be"),
        ({"dr:request-1": packed(wanted(LATEST).verbs)}, "differ, or it is none of target 'prod'"),
        ({"dr:request": "0123456789abcdef"}, "differ, or it is none of target 'prod'"),
        (
            {"dr:request-1": packed(FAILOVER), "dr:request": digest("prod", FAILOVER)},
            "their request is none of a restore .failover.",
        ),
    ],
)
def test_altered_tags_are_refused_with_what_is_wrong_with_them(
    machines: Machines, tags: dict[str, str], because: str
) -> None:
    begun = machines.begin(wanted()).session
    restored = begun.plan.calls[0].makes[0].name
    machines.retag(restored, {**machines.tags(restored), **tags})
    machines.another()
    before = machines.changes()
    with pytest.raises(RefusedError, match=f"{because}.*Type its command again: 'dr restore --target prod"):
        resumed(SETTINGS, "prod", begun.directory.id, None, tell)
    assert machines.changes() == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(STEPS)),
            st.dictionaries(st.text(max_size=40), st.none() | st.booleans() | st.text(max_size=400), max_size=6),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_request_comes_back_from_its_tags_or_has_none(asked_for: list[tuple[str, dict[str, Any]]]) -> None:
    verbs = tuple(Verb(name, args) for name, args in asked_for)
    tags = spread(packed(verbs))
    assert all(len(value) <= 256 and re.fullmatch(r"[A-Za-z0-9+/=]+", value) for value in tags.values())
    assert len(tags) <= 8
    if tags:
        assert unpacked({**tags, "dr:request": digest("prod", verbs)}, "prod", STEPS) == verbs
    else:
        assert len(packed(verbs)) > 8 * 256


def test_no_setting_that_a_request_may_hold_is_a_secret() -> None:
    every = {*settings.RESTORE, *settings.ASKED, *settings.MODIFY}
    assert not {name for name in every if re.search("(?i)password$|token|privatekey", name)} - {
        "ManageMasterUserPassword"  # whether RDS keeps one of its own
    }
    assert {name for name in every if "Secret" in name} == {"DomainAuthSecretArn", "MasterUserSecretKmsKeyId"}


def test_a_run_that_has_ended_and_one_that_never_was_are_told_apart(machines: Machines) -> None:
    begun = machines.begin(wanted()).session
    begun.providers["rds"].seal_tag(str(begun.plan.calls[0].args["identifier"]), begun.directory.id, "met")
    machines.another()
    with pytest.raises(RefusedError, match="come to its end"):
        resumed(SETTINGS, "prod", begun.directory.id, None, tell)
    with pytest.raises(UsageError, match="no run 'nonesuch'"):
        resumed(SETTINGS, "prod", "nonesuch", None, tell)


def test_a_restoration_that_failed_for_good_is_not_gone_on_with_but_restored_anew_beside(machines: Machines) -> None:
    begun = machines.begin(wanted()).session
    failed = str(begun.plan.calls[0].args["identifier"])
    machines.fake.rows[failed]["DBInstanceStatus"] = "insufficient-capacity"
    machines.another()
    for act in (
        lambda: prepare(SETTINGS, wanted(), asked(wanted()), tell),
        lambda: resumed(SETTINGS, "prod", begun.directory.id, None, tell),
    ):
        with pytest.raises(RefusedError, match=f"{failed}, which the restore .* made, is insufficient-capacity"):
            act()
    other = wanted(settings={"DBInstanceClass": "db.r6g.xlarge"})
    anew = machines.begin(other).session
    assert anew.directory.id != begun.directory.id
    assert set(machines.fake.rows) == {SOURCE, failed, str(anew.plan.calls[0].args["identifier"])}


@pytest.mark.parametrize("to", [LATEST, NEWEST])
def test_the_latest_is_not_what_an_old_run_began_with_here_or_elsewhere(machines: Machines, to: dict[str, Any]) -> None:
    asked_for = wanted(to)
    run = machines.begin_here(asked_for).session.directory.id
    (restored,) = set(machines.fake.rows) - {SOURCE}
    machines.clock.at = NOW + HOUR
    assert again(asked_for).session.directory.id == run
    machines.another()
    assert again(asked_for).session.directory.id == run
    machines.clock.at += 1
    tagging = f"'aws rds add-tags-to-resource --resource-name {machines.fake.rows[restored]['DBInstanceArn']} "
    point = "08:51:20" if to is LATEST else "06:23:20"
    for machine, ends in ((1, f"To restore anew, end it with 'dr cleanup {run}'."), (2, tagging)):
        machines.back_to(machine)
        before = machines.changes()
        with pytest.raises(RefusedError) as refused:
            again(asked_for)
        assert f"{run} began at 2025-10-09 08:53:20 UTC and its recovery point is 2025-10-09 {point} UTC" in str(
            refused.value
        )
        assert f"'dr restore --resume {run}'" in str(refused.value)
        assert ends in str(refused.value)
        assert machines.changes() == before
        assert resumed(SETTINGS, "prod", run, None, tell).session.directory.id == run


def test_what_a_refusal_says_ends_an_old_run_does_and_leaves_its_copy(machines: Machines) -> None:
    asked_for = wanted(NEWEST)
    old = machines.begin_here(asked_for).session.directory
    machines.clock.at += HOUR + 1
    clean(SETTINGS, old, tell)
    second = machines.begin_here(asked_for).session.directory
    assert second.id != old.id
    machines.another()
    machines.clock.at += HOUR + 1
    (copy,) = (name for name in machines.fake.rows if name != SOURCE and machines.tags(name)["dr:run"] == second.id)
    machines.fake.rows[copy]["TagList"].append({"Key": "dr:sealed", "Value": "abandoned"})
    assert not again(asked_for).goes_on
    assert len(machines.fake.rows) == 3


@pytest.mark.parametrize("to", [NIGHT, {"time": NOW - 3600}])
def test_a_point_that_does_not_move_goes_on_whatever_its_age(machines: Machines, to: dict[str, Any]) -> None:
    run = machines.begin_here(wanted(to)).session.directory.id
    machines.clock.at += 7 * 86_400
    assert again(wanted(to)).session.directory.id == run
    machines.another()
    assert again(wanted(to)).session.directory.id == run


@pytest.mark.parametrize(("age", "refused"), [(60, False), (61, True)])
def test_the_limit_is_the_one_that_was_frozen_with_the_run(age: float, refused: bool) -> None:
    run = RunIdentity("20251009-085320-ab12", "prod", Purpose.RESTORE, "")
    old = Plan(wanted(LATEST, as_name="tonight"), run, (), (Demand("time-to-copy", "restored", 60.0, "s"),))
    if not refused:
        check_age(old, facts(), NOW + age, HOUR, None)
        return
    with pytest.raises(RefusedError, match=r"not known. That is more than 60 s ago.* command with another --as"):
        check_age(old, facts(), NOW + age, HOUR, None)


def test_before_consent_a_run_that_goes_on_says_when_it_began_and_what_it_restores(machines: Machines) -> None:
    assert earlier_runs(again(wanted(LATEST))) == ()
    run = machines.begin_here(wanted(LATEST)).session.directory.id
    machines.clock.at += 600
    machines.fake.rows[SOURCE]["LatestRestorableTime"] += 600
    told = (
        f"The unfinished restore {run} goes on: it began at 2025-10-09 08:53:20 UTC and its recovery point is"
        " 2025-10-09 08:51:20 UTC.",
    )
    assert earlier_runs(again(wanted(LATEST))) == told
    machines.another()
    assert earlier_runs(again(wanted(LATEST))) == told


def ended_and_noted(machines: Machines, run: str, how: str) -> None:
    """Machine 1 refuses to resume ``run``, and the same command begins anew, changes nothing of it and closes it."""
    machines.back_to(1)
    before = machines.changes()
    with pytest.raises(RefusedError, match=how):
        resumed(SETTINGS, "prod", run, None, tell)
    anew = again(wanted())
    assert anew.session.directory.id != run
    (sentence,) = earlier_runs(anew)
    assert how in sentence
    closed = find_run(Path(anew.session.context.home), run)
    assert not closed.sealed(), "nothing is changed before consent"
    accept(anew, Consent(SOURCE))
    assert machines.changes() == before
    assert closed.sealed()
    assert how in str([entry.data for entry in closed.ledger(machines.clock).entries()])
    assert again(wanted()).closes is None


def test_a_run_that_another_machine_ended_is_not_gone_on_with_here(machines: Machines) -> None:
    run = machines.begin_here(wanted()).session.directory.id
    machines.another()
    restored = machines.finish(run)
    sealed = machines.tags(restored)["dr:sealed"]
    ended_and_noted(machines, run, f"Run {run} was ended elsewhere as {sealed}; {restored} is its restoration.")


def test_a_restoration_that_was_adopted_elsewhere_is_nobodys_to_go_on_with(machines: Machines) -> None:
    run = machines.begin_here(wanted()).session.directory.id
    machines.another()
    session = resumed(SETTINGS, "prod", run, None, tell).session
    restored = machines.finish(run)
    session.providers["rds"].adopt(restored, run)
    ended_and_noted(machines, run, f"{restored} is no longer run {run}'s: it was adopted elsewhere")


def test_a_restoration_that_somebody_deleted_is_not_gone_on_with_and_its_run_ends(machines: Machines) -> None:
    begun = machines.begin_here(wanted()).session
    restored = begun.plan.calls[0].makes[0].name
    machines.another()  # the one that is asked once more is machine 1
    del machines.fake.rows[restored]
    run = begun.directory.id
    ended_and_noted(machines, run, f"{restored}, which run {run} restored, is gone: somebody deleted")


def test_an_end_that_cannot_be_noted_here_hinders_no_new_restore(machines: Machines) -> None:
    begun = machines.begin_here(wanted()).session
    machines.another()
    machines.finish(begun.directory.id)
    machines.back_to(1)
    anew = again(wanted())
    (begun.directory.path / "ledger.jsonl").write_text("altered\n")
    session = accept(anew, Consent(SOURCE))
    assert "could not be closed" in str([entry.data for entry in session.engine.ledger.entries()])


def test_cleaning_up_here_leaves_the_mark_of_whoever_ended_the_run(machines: Machines) -> None:
    begun = machines.begin_here(wanted()).session
    restored = str(begun.plan.calls[0].args["identifier"])
    begun.providers["rds"].seal_tag(restored, begun.directory.id, "met")
    clean(SETTINGS, RunDirectory(begun.directory.path), tell)
    assert begun.directory.sealed()
    assert machines.tags(restored)["dr:sealed"] == "met"


@pytest.mark.parametrize("file", ["run.json", "ledger.jsonl"])
def test_an_unfinished_restore_that_cannot_be_read_hinders_no_new_one(machines: Machines, file: str) -> None:
    begun = machines.begin_here(wanted()).session
    path = begun.directory.path / file
    path.write_bytes(path.read_bytes().replace(b'"', b'"\xff', 1))
    damaged = path.read_bytes()
    anew = again(wanted())
    assert anew.session.directory.id != begun.directory.id
    accept(anew, Consent(SOURCE))
    assert path.read_bytes() == damaged
    (sentence,) = unreadable()
    assert begun.directory.id in sentence
    assert str(path) in sentence


def test_a_tag_that_names_no_run_is_not_gone_on_with(machines: Machines) -> None:
    begun = machines.begin(wanted()).session
    name = begun.plan.calls[0].makes[0].name
    for tag in machines.fake.rows[name]["TagList"]:
        tag["Value"] = "../../elsewhere" if tag["Key"] == "dr:run" else tag["Value"]
    machines.another()
    assert again(wanted()).session.directory.path.parent.name == "runs"
    assert again(wanted()).began is not None
