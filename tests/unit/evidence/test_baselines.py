"""Baselines on disk: whole or not at all, found by what they can prove."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from dr.domain.errors import EvidenceError, ProviderError
from dr.domain.model import Baseline, Fingerprint, Repeat, TableSum
from dr.evidence import baselines
from dr.evidence.baselines import BaselineStore, covering, digest, read_baseline, write_baseline


def baseline(at: float, *repeats: float, name: str = "") -> Baseline:
    fingerprint = Fingerprint(float(at), 15, "10:12:11", {"table a": "1"}, {"public.a": TableSum(1, "-7", "hash-15/1")})
    done = tuple(Repeat(float(repeat), ("public.a",)) for repeat in repeats)
    return Baseline(name or f"b{at:.0f}", "lab", "readmission-db", "db-1", fingerprint, {"p": "x"}, {"active": 1}, done)


@pytest.mark.parametrize(
    ("point", "resolution", "found"),
    [
        (99.0, 0.0, None),
        (100.0, 0.0, "b100"),
        (149.9, 0.0, "b100"),
        (150.0, 0.0, "b150"),
        (199.5, 1.0, "b150"),
        (200.0, 0.0, "b150"),
        (200.5, 0.0, "b150"),
        (200.6, 0.0, None),
        (199.5, 0.4, "b150"),
    ],
)
def test_the_newest_baseline_before_the_point_with_a_repeat_after_it_covers(
    point: float, resolution: float, found: str | None
) -> None:
    known = [baseline(100, 160, 205), baseline(150, 200.5), baseline(201)]
    known[0] = replace(known[0], repeats=(Repeat(160.0, ()),))
    chosen = covering(known, point, resolution)
    assert (chosen.id if chosen else None) == found


def test_only_the_first_repeat_after_the_point_counts() -> None:
    chosen = covering([baseline(100, 300, 200, 120)], 150, 1)
    assert chosen is not None
    assert [repeat.at for repeat in chosen.repeats] == [200]


def test_a_repeat_within_the_points_resolution_proves_nothing() -> None:
    assert covering([baseline(100, 150.5)], 150, 1) is None


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
        {"torn": content[:-9], "altered": content.replace(b'"-7"', b'"-8"'), "empty": b"", "foreign": b"[]"}[damage]
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
