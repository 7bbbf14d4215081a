"""Baselines on disk: whole or not at all, found by what they can prove."""

from __future__ import annotations

import copy
import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dr.domain.errors import EvidenceError, ProviderError
from dr.domain.looks import BEFORE, Baseline, Look, Part, Sum, TableLook, Version, packed_sums
from dr.evidence import baselines
from dr.evidence.baselines import BaselineStore, covering, digest, looked_after, read_baseline, write_baseline


def look(at: float) -> Look:
    tables = {"public.a": TableLook("hash-15/1:x", 1, {BEFORE: Part(1, packed_sums([Sum(1, 7)]))})}
    return Look(float(at), 15, "10:12:11", {BEFORE: "10:12:11"}, {"table a": Version("1", 9)}, tables)


def baseline(at: float, *later: float) -> Baseline:
    looks = tuple(look(one) for one in later)
    return Baseline(f"b{at:.0f}", "lab", "readmission-db", "db-1", look(at), {"p": "x"}, {"active": 1}, looks)


@pytest.mark.parametrize(
    ("point", "found"), [(99.0, None), (100.0, "b100"), (149.9, "b100"), (150.0, "b150"), (900.0, "b150")]
)
def test_the_newest_baseline_before_the_point_covers_it(point: float, found: str | None) -> None:
    chosen = covering([baseline(150), baseline(100, 160, 205), baseline(901)], point)
    assert (chosen.id if chosen else None) == found


def test_the_first_look_after_all_that_the_copy_may_hold_is_taken_for_the_look_afterwards() -> None:
    known = baseline(100, 300, 151, 150.5, 120)
    found = [looked_after(known, point, 1.0) for point in (150.0, 150.5, 299.5)]
    assert [one.at if one else None for one in found] == [151, 300, None]


FORMER = {
    "digest": "",
    "baseline": {
        "id": "f",
        "target": "lab",
        "source": "readmission-db",
        "resource_id": "db-1",
        "fingerprint": {
            "at": 100.0,
            "major": 15,
            "snapshot": "10:12:11",
            "schema": {"table a": "1"},
            "tables": {
                "public.a": {"rows": 2, "checksum": "-7", "method": "hash-15/1", "total": 3},
                "public.b": {"rows": 0, "checksum": "", "method": "unreadable: permission denied", "total": 0},
                "public.c": {"rows": 0, "checksum": "0", "method": "hash-15/1", "total": 0},
            },
        },
        "golden": {"p": "x"},
        "model": {"active": 1},
        "repeats": [{"at": 120.0, "changed": ["public.a"], "totals": {}}],
    },
}


def former(path: Path, **tables: object) -> Path:
    written = copy.deepcopy(FORMER)
    written["baseline"]["fingerprint"]["tables"] |= tables  # type: ignore[index]
    canonical = msgspec.json.encode(written["baseline"], order="sorted")
    path.write_bytes(msgspec.json.encode({**written, "digest": hashlib.sha256(canonical).hexdigest()}))
    return path


def test_a_baseline_of_the_former_form_is_a_look_of_one_bucket_a_table(tmp_path: Path) -> None:
    found = read_baseline(former(tmp_path / "f.json"))
    assert (found.id, found.golden, found.model, found.later) == ("f", {"p": "x"}, {"active": 1}, ())
    assert found.look.cuts == {BEFORE: "10:12:11"}
    assert (found.look.objects, found.look.recipe) == ({}, 0)
    tables = found.look.tables
    assert tables["public.a"].sums(BEFORE) == [Sum(2, 2**64 - 7)]
    assert tables["public.b"].unreadable == "permission denied"
    assert (tables["public.c"].rows, tables["public.c"].sums(BEFORE)) == (0, [Sum(0, 0)])


def test_a_former_baseline_whose_checksum_is_no_number_is_named(tmp_path: Path) -> None:
    wrong = {"rows": 2, "checksum": "x", "method": "hash-15/1"}
    with pytest.raises(EvidenceError, match=r"f\.json is not what it should be"):
        read_baseline(former(tmp_path / "f.json", wrong=wrong))


def test_a_baseline_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path, "lab")
    store.save(baseline(100))
    store.save(baseline(100, 120))
    store.save(baseline(90))
    assert store.load("readmission-db") == ((baseline(100, 120), baseline(90)), ())
    assert store.load("another") == ((), ())
    assert BaselineStore(tmp_path, "prod").load("readmission-db") == ((), ())


@pytest.mark.parametrize("damage", ["torn", "altered", "empty", "foreign"])
def test_a_damaged_baseline_is_named_and_the_others_are_used(tmp_path: Path, damage: str) -> None:
    store = BaselineStore(tmp_path, "lab")
    path = store.save(baseline(100))
    store.save(baseline(110))
    content = path.read_bytes()
    path.write_bytes(
        {"torn": content[:-9], "altered": content.replace(b'"b100"', b'"b101"'), "empty": b"", "foreign": b"[]"}[damage]
    )
    with pytest.raises(EvidenceError, match=path.name):
        read_baseline(path)
    found, problems = store.load("readmission-db")
    assert [b.id for b in found] == ["b110"]
    assert len(problems) == 1
    assert path.name in problems[0]


def test_names_that_are_no_file_names_are_kept_inside_the_store(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path, "../up")
    path = store.save(replace(baseline(100), source="..", id="a/b"))
    assert path.is_relative_to(tmp_path / "baselines")
    assert store.load("..")[0][0].id == "a/b"


def test_the_oldest_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "KEEP", 3)
    store = BaselineStore(tmp_path, "lab")
    for at in range(101, 107):
        store.save(baseline(at))
    assert [b.id for b in store.load("readmission-db")[0]] == ["b104", "b105", "b106"]


def test_a_full_disk_leaves_the_earlier_baseline_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(path, baseline(100))

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(baselines, "write_atomically", full)
    with pytest.raises(ProviderError, match="No space left"):
        write_baseline(path, baseline(100, 120))
    assert read_baseline(path) == baseline(100)


def test_the_digest_covers_the_repeats() -> None:
    assert digest(baseline(100)) != digest(baseline(100, 120))
    assert digest(baseline(100)) == digest(baseline(100))
