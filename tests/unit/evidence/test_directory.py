from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.app.cleanup import abandon
from dr.app.ending import Outcome
from dr.domain.errors import EvidenceError, UsageError
from dr.domain.model import Observation, Plan, Purpose, Request, RunIdentity, Verb
from dr.evidence import directory
from dr.evidence.directory import RunDirectory, find_run, runs
from dr.evidence.model import RunRecord
from dr.evidence.samples import header, marker_line
from dr.evidence.seals import seal
from dr.host.files import write_atomically
from tests.virtual import VirtualClock, call

CLOCK = VirtualClock()
PLAN = Plan(
    Request("lab", (Verb("restore", {"to": {"snapshot": "latest"}}),), Purpose.RESTORE),
    RunIdentity("20261123-101500-abcd", "lab", Purpose.RESTORE, "digest"),
    (call("restore"),),
    (),
)
RECORD = RunRecord(PLAN, CLOCK.now(), "RDS emulated", {"dr": "0"}, 1.0)


def record_of(run: str) -> RunRecord:
    """The record of a run of that name."""
    return replace(RECORD, plan=replace(PLAN, run=replace(PLAN.run, id=run)))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "runs" / "20261123-101500-abcd")
    digest = directory.create(RECORD)
    directory.ledger(CLOCK).append("accepted", data={"run.json": digest})
    directory.observe([Observation("model", "restored", {"active": 1})], 1.0)
    return directory


def sealed(run: RunDirectory) -> RunDirectory:
    run.write_verdict({"verdict": "met"})
    run.seal(CLOCK.now(), run.digests())
    return run


def test_a_plan_survives_the_way_to_the_disk_and_back(run: RunDirectory) -> None:
    assert run.record() == RECORD


def test_an_untouched_sealed_run_has_no_problems(run: RunDirectory) -> None:
    assert sealed(run).load(CLOCK).problems == ()


def test_an_observation_that_was_taken_away_is_missed_although_all_is_sealed_anew(run: RunDirectory) -> None:
    run.observe([Observation("model", "restored", {"active": 1})] * 2, 1.0, "examine")
    run.ledger(CLOCK).append("effect", "examine", observed=2)
    assert sealed(run).load(CLOCK).problems == ()
    path = run.path / "observations.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    told = "observations.jsonl holds 1 of 2 or more observations that examine made"
    assert sealed(run).load(CLOCK).problems == (told,)


def test_each_file_is_hashed_once_to_be_sealed_and_once_to_be_loaded(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of hours are large."""
    hashed, digest = list[str](), directory._digest_of
    monkeypatch.setattr(directory, "_digest_of", lambda path: hashed.append(path.name) or digest(path))
    seal(run.path.parent.parent, run, CLOCK)
    assert hashed.count("observations.jsonl") == 1
    assert run.load(CLOCK).problems == ()
    assert hashed.count("observations.jsonl") == 2


def test_clean_up_may_append_to_the_ledger_beyond_the_seal(run: RunDirectory) -> None:
    sealed(run).ledger(CLOCK).append("undoing", "restore")
    assert run.load(CLOCK).problems == ()


@pytest.mark.parametrize("name", ["observations.jsonl", "verdict.json", "run.json"])
def test_what_was_altered_after_the_seal_is_named(run: RunDirectory, name: str) -> None:
    path = sealed(run).path / name
    path.write_bytes(path.read_bytes().replace(b'": 1', b'": 2').replace(b'":1', b'":2').replace(b"met", b"mot"))
    assert any(name in problem and "altered" in problem for problem in run.load(CLOCK).problems)


@pytest.mark.parametrize(("written", "read"), [(None, None), ('{"status": "failed"}', {"status": "failed"}), ("{", {})])
def test_the_journal_is_loaded_and_a_torn_one_says_nothing(
    run: RunDirectory, written: str | None, read: dict[str, str] | None
) -> None:
    if written is not None:
        (run.path / "journal.json").write_text(written)
    assert run.load(CLOCK).journal == read


def test_what_went_missing_or_was_added_after_the_seal_is_named(run: RunDirectory) -> None:
    (sealed(run).path / "observations.jsonl").unlink()
    (run.path / "samples-restored.jsonl").write_text("")
    problems = " ".join(run.load(CLOCK).problems)
    assert "observations.jsonl is missing" in problems
    assert "samples-restored.jsonl was altered" in problems


def test_the_writes_of_each_path_are_loaded_and_sealed(run: RunDirectory) -> None:
    for path in ("source", "writes"):
        lines = header(path, 20.0, 2.0, CLOCK.now(), 0.0, 0.001) + marker_line(0, 10, 11, 30, "acknowledged")
        (run.path / f"markers-{path}.jsonl").write_bytes(lines)
    found = sealed(run).load(CLOCK)
    assert {path: len(of.markers) for path, of in found.markers.items()} == {"source": 1, "writes": 1}
    (run.path / "markers-writes.jsonl").unlink()
    assert "markers-writes.jsonl is missing since the seal" in run.load(CLOCK).problems


def test_a_loosened_demand_is_noticed_even_without_a_seal(run: RunDirectory) -> None:
    path = run.path / "run.json"
    path.write_bytes(path.read_bytes().replace(b"latest", b"oldest"))
    assert "run.json is not what was accepted in the ledger" in run.load(CLOCK).problems


def test_a_ledger_shortened_after_the_seal_is_noticed(run: RunDirectory) -> None:
    ledger = sealed(run).path / "ledger.jsonl"
    ledger.write_bytes(b"")
    assert "ledger.jsonl was altered after the seal" in run.load(CLOCK).problems


def test_a_run_without_its_run_json_is_an_evidence_error(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"run\.json cannot be read"):
        RunDirectory(tmp_path).record()


def test_a_directory_killed_before_it_became_a_run_is_none(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "runs" / "half-made").mkdir()
    assert [r.id for r in runs(tmp_path)] == [run.id]


def test_a_run_is_found_by_a_part_of_its_name_or_as_the_latest(run: RunDirectory, tmp_path: Path) -> None:
    assert find_run(tmp_path, "abcd").id == run.id
    assert find_run(tmp_path, "latest").id == run.id


@pytest.mark.parametrize("name", ["zzzz", ""])
def test_an_unknown_or_ambiguous_run_is_refused(run: RunDirectory, tmp_path: Path, name: str) -> None:
    RunDirectory(tmp_path / "runs" / "20261123-101501-beef").create(RECORD)
    with pytest.raises(UsageError, match="'dr history' lists the runs"):
        find_run(tmp_path, name)


def test_the_halt_is_seen_with_its_reason_until_the_run_is_resumed(run: RunDirectory) -> None:
    assert run.halted() == ""
    run.halt("dr abort was called")
    assert run.halted() == "dr abort was called"
    run.resume()
    assert run.halted() == ""


def test_what_was_appended_beyond_the_seal_is_not_judged(run: RunDirectory) -> None:
    sealed(run).ledger(CLOCK).append("effect", "declare", {"at": 1.0})
    assert "declare" not in {entry.call for entry in run.load(CLOCK).entries}


def test_a_run_killed_before_its_acceptance_can_be_sealed_and_is_not_believed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "runs" / "20261123-101500-abcd")
    directory.create(RECORD)
    sealed(directory)
    assert "run.json is not what was accepted in the ledger" in directory.load(CLOCK).problems


@pytest.mark.parametrize("torn", ["", '{"verd', "[]"])
def test_a_torn_verdict_is_called_unreadable(run: RunDirectory, torn: str) -> None:
    (sealed(run).path / "verdict.json").write_text(torn)
    assert run.verdict_document() == {"verdict": "unreadable"}
    assert "verdict.json was altered after the seal" in run.load(CLOCK).problems


def test_a_header_of_wrong_types_is_no_header(run: RunDirectory) -> None:
    header = '{"path": "restored", "rate": "fast", "timeout": 1, "stamp": {"at": 1, "mono_ns": 1, "boot": "b"}}'
    (run.path / "samples-restored.jsonl").write_text(header + "\n")
    assert run.load(CLOCK).samples == {}


@pytest.mark.parametrize("name", ["observations.jsonl", "verdict.json", "seal.json", "journal.json", "ledger.jsonl"])
def test_evidence_that_cannot_be_read_is_a_problem_and_no_defect(run: RunDirectory, name: str) -> None:
    path = sealed(run).path / name
    path.unlink(missing_ok=True)
    path.mkdir()
    assert any(name in problem for problem in run.load(CLOCK).problems)


@pytest.mark.parametrize("name", ["samples-source.jsonl", "markers-source.jsonl"])
def test_measurements_that_cannot_be_read_were_not_taken(run: RunDirectory, name: str) -> None:
    (run.path / name).mkdir()
    found = run.load(CLOCK)
    assert (found.samples, found.markers) == ({}, {})


def test_what_is_to_be_undone_is_not_known_where_the_ledger_cannot_be_read(run: RunDirectory) -> None:
    path = run.path / "ledger.jsonl"
    path.unlink()
    path.mkdir()
    with pytest.raises(EvidenceError, match="cannot be read"):
        run.ledger(CLOCK).state()


def test_a_run_ends_with_the_target_that_is_gone(run: RunDirectory, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    run.ledger(CLOCK).append("intent", "restore")
    assert list(abandon("elsewhere")) == []
    ((_, ended),) = abandon("lab")
    assert isinstance(ended, Outcome)
    assert (ended.run.id, str(ended.verdict.status), ended.leftovers) == (run.id, "inconclusive", ())
    assert run.sealed()
    assert run.ledger(CLOCK).state().open == ()
    assert run.load(CLOCK).problems == ()
    assert list(abandon("lab")) == []


def test_a_ledger_that_is_a_directory_is_a_problem_of_the_evidence(run: RunDirectory) -> None:
    ledger = sealed(run).path / "ledger.jsonl"
    ledger.unlink()
    ledger.mkdir()
    assert "ledger.jsonl was altered after the seal" in run.load(CLOCK).problems
    with pytest.raises(EvidenceError, match="cannot be opened"):
        run.ledger(CLOCK).append("event")


def test_what_is_written_is_its_users_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "seal.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "seal.json").stat().st_mode & 0o777 == 0o600
