"""A run that is not what was sealed under its name is not believed, and one that was taken away is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from dr.domain.model import Observation, Stamp
from dr.evidence.directory import RunDirectory
from dr.evidence.samples import header
from dr.evidence.seals import previous, seal, seals
from tests.unit.cli.test_damaged_runs import GOOD, dr, home, written  # noqa: F401  (a fixture)
from tests.unit.evidence.test_directory import CLOCK

FIRST, SECOND, THIRD = "20261124-091500-aaaa", "20261124-101500-bbbb", "20261124-111500-cccc"


@pytest.fixture
def runs(home: Path) -> Path:  # noqa: F811
    """Three runs that were sealed one after another; the first is replaced or taken away by a test."""
    for name in (FIRST, SECOND, THIRD):
        assert seal(home, written(home, name), CLOCK) == ""
    return home / "runs"


def verdicts() -> dict[str, str]:
    code, out, _ = dr("history", "--output", "json")
    assert code == 0
    return {row["run"]: row["verdict"] for row in json.loads(out)}


def test_runs_as_they_were_sealed_are_believed_and_nothing_is_said(runs: Path) -> None:
    assert {verdicts()[run] for run in (FIRST, SECOND, THIRD)} == {"met"}
    assert "sealed" not in dr("history")[2]
    assert "chain" not in dr("verify", FIRST)[2]
    assert previous(runs.parent, CLOCK) == RunDirectory(runs / THIRD).seal_digest()


def test_a_run_that_was_replaced_whole_proves_nothing(runs: Path) -> None:
    """Its own seal is sound: it was made anew."""
    shutil.rmtree(runs / FIRST)
    forged = written(runs.parent, FIRST)
    forged.write_verdict({"verdict": "met", "forged": True})
    forged.seal(CLOCK.now(), forged.digests())
    assert not any(forged.broken_seals(CLOCK))
    code, _, err = dr("verify", FIRST)
    assert code == 4
    assert f"dr: seal.json is not that of the run {FIRST} that was sealed here: it was replaced." in err
    assert verdicts()[FIRST] == "altered"
    assert f"Run {FIRST}: seal.json is not that" in dr("history")[2]
    assert dr("verify", SECOND)[2].count("replaced") == 0


def test_a_run_that_was_taken_away_is_named(runs: Path) -> None:
    shutil.rmtree(runs / FIRST)
    assert f"dr: Sealed here, and taken away since: {FIRST}." in dr("history")[2]


def test_of_many_runs_that_were_taken_away_the_newest_are_named(runs: Path) -> None:
    for number in range(6):
        run = written(runs.parent, f"20261125-09150{number}-aaaa")
        seal(runs.parent, run, CLOCK)
        shutil.rmtree(run.path)
    named = ", ".join(f"20261125-09150{number}-aaaa" for number in range(1, 6))
    assert f"taken away since: {named} and 1 more." in dr("history")[2]


def test_a_run_whose_sealing_was_cut_off_is_sealed_by_the_next_command(runs: Path) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    seal(runs.parent, run, CLOCK)
    (run.path / "seal.json").unlink()
    run.write_verdict({"verdict": "inconclusive"})
    seal(runs.parent, run, CLOCK)
    assert "sealed" not in dr("verify", run.id)[2]


def test_the_seal_that_a_later_run_names_shows_it_where_the_chain_itself_was_taken_away(runs: Path) -> None:
    before = RunDirectory(runs / FIRST).seal_digest()
    path = runs / THIRD / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "previous_seal": before}))
    assert "began was replaced" not in dr("history")[2]
    (runs.parent / "seals.jsonl").unlink()
    assert "began was replaced" not in dr("history")[2]
    shutil.rmtree(runs / FIRST)
    told = f"dr: The run that was sealed before {THIRD} began was replaced or taken away."
    assert told in dr("history")[2]


def test_a_chain_that_was_altered_says_so_and_hinders_no_seal(runs: Path) -> None:
    path = runs.parent / "seals.jsonl"
    path.write_bytes(path.read_bytes().replace(SECOND.encode(), FIRST.encode()))
    told = dr("history")[2]
    assert f"{path} was altered after entry 1, in line 2. Which runs were sealed since is not known." in told
    run = written(runs.parent, "20261124-121500-dddd")
    assert "was altered after entry 1" in seal(runs.parent, run, CLOCK)
    assert run.sealed()
    assert [*seals(runs.parent, CLOCK).noted] == [FIRST]


def test_a_seal_that_was_made_to_fit_again_is_not_what_the_ledger_tells_of(runs: Path) -> None:
    """Also where the run is all there is: without the chain beside it."""
    (runs.parent / "seals.jsonl").unlink()
    run = RunDirectory(runs / FIRST)
    path = run.path / "observations.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"active":1', b'"active":2'))
    seal_json = run.path / "seal.json"
    whole = json.loads(seal_json.read_text())
    whole["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    seal_json.write_text(json.dumps(whole))
    assert verdicts()[FIRST] == "altered"
    code, _, err = dr("verify", FIRST)
    assert code == 4
    assert "dr: what was sealed is not what the ledger tells of." in err


def test_a_seal_that_was_taken_off_is_missed_by_the_ledger(runs: Path) -> None:
    (runs.parent / "seals.jsonl").unlink()
    (runs / FIRST / "seal.json").unlink()
    code, _, err = dr("verify", FIRST)
    assert code == 4
    assert "dr: seal.json is missing since the ledger was closed." in err


@pytest.mark.parametrize("file", ["verdict.json", "ledger.jsonl", "samples-source.jsonl", "seal.json"])
def test_history_believes_no_verdict_whose_seal_is_broken(file: str, runs: Path) -> None:
    path = runs / SECOND / file
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1) + b"{}\n")
    assert verdicts()[SECOND] == "altered"
    assert verdicts()[FIRST] == "met"


@pytest.mark.parametrize("command", ["verify", "report", "adopt", "cleanup"])
def test_a_directory_that_is_another_runs_is_refused(command: str, runs: Path) -> None:
    shutil.copytree(runs / FIRST, runs / "20261124-131500-eeee")
    code, _, err = dr(command, "20261124-131500-eeee")
    assert code == 4
    assert f"run.json is that of the run '{FIRST}', and not of 20261124-131500-eeee" in err
    assert verdicts()["20261124-131500-eeee"] == "unreadable"


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        (
            "observations.jsonl",
            b'{"what": "model", "path": "restored", "value": {"active": "\xff"}}',
            "it is not UTF-8",
        ),
        ("observations.jsonl", b'{"what": "model", "path": "restored", "value": 1e999}', "out of range"),
        ("observations.jsonl", b'{"what": "model", "path": "restored", "value": 1' + b"0" * 400 + b"}", "not finite"),
        ("observations.jsonl", b'{"what": 1, "path": "restored", "value": 1}', "Expected `str`, got `int`"),
        ("observations.jsonl", b'{"what": "model", "path": "restored", "value": NaN}', "it is no JSON"),
        ("samples-source.jsonl", b'{"n": 1, "due": "soon", "sent": 1, "done": 1, "status": 200, "error": ""}', "`int`"),
        ("samples-source.jsonl", b'{"n": 1, "due": 1' + b"0" * 400 + b', "sent": 1, "done": 1}', "`int`"),
        (
            "samples-source.jsonl",
            b'{"n": 99999999, "due": 1, "sent": 1, "done": 1, "status": 200, "error": ""}',
            "number",
        ),
        ("markers-source.jsonl", b'{"n": 1, "due": 1, "sent": 1, "done": -1, "outcome": "failed"}', "`int` >= 0"),
        ("markers-source.jsonl", b"[1]", "Expected `object`"),
        *(
            (f"{meter}-source.jsonl", header("source", 1.0, 1.0, stamp).rstrip(), words)
            for meter in ("samples", "markers")
            for stamp, words in (
                (Stamp(1e308, 1, "boot"), "`float` <= 100000000000.0"),
                (Stamp(1.0, 1, "boot", -1.0), "`float` >= 0.0"),
                (Stamp(1.0, 2**63, "boot"), "`int`"),
            )
        ),
        (
            "samples-source.jsonl",
            header("source", 1.0, 1.0, Stamp(1.0, 7, "boot")).rstrip().replace(b":7", b":7" + b"0" * 400),
            "`int`",
        ),
        ("observations.jsonl", b'{"what": "model", "path": "restored", "value": {}, "at": 1e308}', "`float` <="),
        *(
            (
                "observations.jsonl",
                b'{"what": "%b", "path": "source", "value": %b}' % (what, value),
                f"'{what.decode()}'",
            )
            for what, value in (
                (b"model", b"1"),
                (b"steady", b"[]"),
                (b"pools", b'"before"'),
                (b"logins", b"{}"),
                (b"foreign-keys", b"[1]"),
                (b"configuration", b"true"),
                (b"clock", b'{"offset": "late"}'),
            )
        ),
    ],
)
def test_what_no_run_writes_is_named_by_file_and_line_although_it_was_sealed(
    file: str, line: bytes, words: str, runs: Path
) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    path = run.path / file
    number = len(path.read_bytes().splitlines()) + 1
    path.write_bytes(path.read_bytes() + line + b"\n")
    seal(runs.parent, run, CLOCK)
    code, _, err = dr("verify", run.id)
    assert code == 4
    assert f"dr: {file}, line {number}, is not what" in err
    assert words in err, err


@pytest.mark.parametrize("command", ["verify", "report", "history"])
@pytest.mark.parametrize(("at", "mono_ns"), [("1e308", "1"), ("1.0", "1" + "0" * 400)])
def test_times_that_nobody_can_reckon_with_are_no_header_of_a_meters(
    at: str, mono_ns: str, command: str, runs: Path
) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    bad = header("source", 1.0, 1.0, Stamp(1.0, 1, "boot")).replace(b'"at":1.0', b'"at":' + at.encode())
    path = run.path / "samples-source.jsonl"
    path.write_bytes(bad.replace(b'"mono_ns":1', b'"mono_ns":' + mono_ns.encode()) + path.read_bytes())
    seal(runs.parent, run, CLOCK)
    code, out, err = dr(command) if command == "history" else dr(command, run.id)
    assert code == (4 if command == "verify" else 0), err
    assert ("samples-source.jsonl, line 1, is not what a meter writes" in out + err) is (command != "history")


@pytest.mark.parametrize("stamp", [{"at": 1e308}, {"mono_ns": 10**400}, {"wall": -1.0}])
def test_a_line_of_the_ledger_with_such_a_time_ends_it_although_its_hash_is_right(
    stamp: dict[str, float], runs: Path
) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    path = run.path / "ledger.jsonl"
    *whole, last = path.read_text().splitlines()
    body = {name: value for name, value in json.loads(last).items() if name != "hash"}
    body["stamp"] |= stamp
    digest = hashlib.sha256((body["prev"] + json.dumps(body, sort_keys=True)).encode()).hexdigest()
    path.write_text("\n".join([*whole, json.dumps({**body, "hash": digest})]) + "\n")
    run.seal(CLOCK.now(), run.digests())
    code, _, err = dr("verify", run.id)
    assert code == 4
    assert "ledger.jsonl was altered after entry 2, in line 3" in err


@pytest.mark.parametrize(
    "torn", [b'{"n": 1, "du\n', b'{"n": 1, "du\n\0\0\0\n', b'{"n": 1, "at": 1.\n', b"\n", b"\0\0\0\0"]
)
@pytest.mark.parametrize("file", ["observations.jsonl", "samples-source.jsonl", "markers-source.jsonl"])
def test_what_a_kill_or_a_power_cut_tore_is_no_fault(file: str, torn: bytes, runs: Path) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    path = run.path / file
    path.write_bytes(path.read_bytes() + torn)
    seal(runs.parent, run, CLOCK)
    assert f"dr: {file}" not in dr("verify", run.id)[2]


@pytest.mark.parametrize("damage", [b"garbage\n", None])
def test_a_chain_that_takes_no_more_is_moved_away_and_begun_anew(damage: bytes | None, runs: Path) -> None:
    path = runs.parent / "seals.jsonl"
    path.unlink()
    path.mkdir() if damage is None else path.write_bytes(damage)
    remedy = f"Move {path} away, and keep it: the next run that is sealed begins a new one."
    told = seal(runs.parent, written(runs.parent, "20261124-121500-dddd"), CLOCK)
    assert told.startswith("That run 20261124-121500-dddd was sealed could not be noted: ")
    assert told.endswith(remedy)
    assert "Start a new run" not in told
    assert remedy in dr("history")[2]
    path.rename(path.with_name("seals.jsonl.old"))
    assert seal(runs.parent, written(runs.parent, "20261124-131500-eeee"), CLOCK) == ""
    assert "seals.jsonl" not in dr("history")[2]


def test_a_full_disk_is_no_reason_to_move_the_chain(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    run = RunDirectory(runs / THIRD)
    assert seal(runs.parent, run, CLOCK).endswith(": the disk is full. Free space on it.")


@pytest.mark.parametrize("emptied", [True, False])
def test_a_chain_that_was_taken_away_whole_is_missed_once(emptied: bool, runs: Path) -> None:
    path = runs.parent / "seals.jsonl"
    path.write_bytes(b"") if emptied else path.unlink()
    told = f"dr: {path} notes no seal, although sealed runs are here: it was emptied, or taken away."
    assert dr("history")[2].count(told) == 1
    assert f"dr: The seal of run {FIRST} is not in the chain of seals beside the runs:" in dr("verify", FIRST)[2]
    for run in (FIRST, SECOND, THIRD, GOOD):
        shutil.rmtree(runs / run)
    written(runs.parent, FIRST)
    assert "notes no seal" not in dr("history")[2]


def test_runs_of_before_there_was_a_chain_miss_none(runs: Path) -> None:
    (runs.parent / "seals.jsonl").unlink()
    for run in (FIRST, SECOND, THIRD, GOOD):
        ledger = runs / run / "ledger.jsonl"
        ledger.write_text("".join(line for line in ledger.read_text().splitlines(True) if '"files"' not in line))
    assert "notes no seal" not in dr("history")[2]


def test_an_observation_of_a_kind_that_is_not_known_may_hold_anything(runs: Path) -> None:
    run = written(runs.parent, "20261124-141500-ffff")
    seen = [Observation("of-later", "source", 1), Observation("baseline", "source", None)]
    run.observe([*seen, Observation("configuration", "restored", {"because": "x"})], 1.0)
    seal(runs.parent, run, CLOCK)
    assert "is not what" not in dr("verify", run.id)[2]
    assert [o.what for o in run.observations()][-3:] == ["of-later", "baseline", "configuration"]
