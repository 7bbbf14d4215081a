from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.domain.errors import EvidenceError, ProviderError
from dr.evidence.ledger import Ledger, parse
from tests.virtual import VirtualClock


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", VirtualClock())


def test_what_was_appended_is_read_back_in_order(ledger: Ledger) -> None:
    ledger.append("accepted")
    ledger.append("intent", "restore", {"args": {"n": 1}})
    assert [(e.seq, e.kind, e.call) for e in ledger.entries()] == [(0, "accepted", ""), (1, "intent", "restore")]
    assert ledger.entries()[1].data == {"args": {"n": 1}}
    assert ledger.intact()


def test_a_torn_last_line_is_cut_off_by_the_next_append(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append("accepted")
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"seq": 1, "kind": "int')
    assert [e.kind for e in ledger.entries()] == ["accepted"]
    ledger.append("intent", "restore")
    assert [e.kind for e in ledger.entries()] == ["accepted", "intent"]
    assert ledger.intact()


def test_an_altered_entry_breaks_the_chain_and_refuses_more(ledger: Ledger, tmp_path: Path) -> None:
    for kind in ("accepted", "intent", "effect"):
        ledger.append(kind, "restore")
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"intent"', b'"effect"'))
    assert not ledger.intact()
    assert [e.kind for e in ledger.entries()] == ["accepted"]
    with pytest.raises(EvidenceError, match="altered after entry 1"):
        ledger.append("effect", "restore")


def test_a_removed_entry_breaks_the_chain(ledger: Ledger, tmp_path: Path) -> None:
    for kind in ("accepted", "intent", "effect"):
        ledger.append(kind, "restore")
    lines = (tmp_path / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "ledger.jsonl").write_bytes(lines[0] + lines[2])
    assert not ledger.intact()


def test_state_knows_what_is_open_newest_first_and_what_was_undone(ledger: Ledger) -> None:
    ledger.append("accepted")
    for call in ("a", "b", "c"):
        ledger.append("intent", call)
        ledger.append("effect", call, {"of": call})
    ledger.append("undoing", "b")
    ledger.append("undone", "b")
    state = ledger.state()
    assert state.open == ("c", "a")
    assert dict(state.effects) == {"a": {"of": "a"}, "c": {"of": "c"}}


def test_a_failure_ends_the_run_until_it_is_resumed(ledger: Ledger) -> None:
    ledger.append("accepted")
    ledger.append("failed", "a", {"because": "storage-full"})
    assert ledger.state().over == "storage-full"
    ledger.append("resumed")
    assert ledger.state().over == ""


@given(cut=st.integers(min_value=0, max_value=2000))
def test_a_ledger_cut_anywhere_yields_a_prefix_of_its_entries(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    ledger = Ledger(path, VirtualClock())
    whole = [ledger.append("intent", f"call-{n}") for n in range(5)]
    path.write_bytes(path.read_bytes()[:cut])
    found = ledger.entries()
    assert list(found) == whole[: len(found)]
    assert list(parse(path.read_bytes().splitlines()))[: len(found)] == list(found)


def test_an_entry_that_did_not_fit_on_the_disk_is_an_error_and_no_entry(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append("accepted")
    whole = os.pwrite
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", lambda file, line, at: whole(file, line[:20], at))
        with pytest.raises(ProviderError, match="the disk is full"):
            ledger.append("intent", "restore")
    assert [entry.kind for entry in ledger.entries()] == ["accepted"]


def test_what_no_json_holds_is_written_so_that_the_chain_can_be_read(
    ledger: Ledger,
) -> None:
    deep: object = "end"
    for _ in range(500):
        deep = [deep]
    told = ledger.append("effect", "a", {"share": float("nan"), "file": "a\udcff", "answer": deep, "whole": (1, 2.5)})
    ledger.append("undone", "a")
    assert ledger.intact()
    assert ledger.entries()[0] == told
    assert {**told.data, "answer": None} == {"share": None, "file": "a?", "answer": None, "whole": [1, 2.5]}


def test_an_entry_whose_shape_is_not_a_ledgers_ends_it_even_where_its_hash_is_right(
    ledger: Ledger, tmp_path: Path
) -> None:
    entry = ledger.append("event", data={"text": "x"})
    body = {"seq": 1, "stamp": "now", "kind": "event", "call": "", "data": [], "prev": entry.hash}
    digest = hashlib.sha256((entry.hash + json.dumps(body, sort_keys=True)).encode()).hexdigest()
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write(json.dumps({**body, "hash": digest}) + "\n")
    assert len(ledger.entries()) == 1
    assert not ledger.intact()
