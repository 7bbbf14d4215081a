"""Samples and markers on disk: what is written is read, and what a kill tore is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.model import Stamp
from dr.evidence.samples import (
    SAMPLE,
    Growing,
    footer,
    header,
    last_line,
    load_markers,
    load_samples,
    marker_line,
    next_number,
    sample_line,
)

STAMP = Stamp(1000.0, 5_000, "boot-1")


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    file.write_bytes(
        header("source", 50.0, 2.0, STAMP)
        + sample_line(1, 30, 31, 40, 200, "", 1)
        + sample_line(0, 10, 0, 20, 0, "timeout", 2)
        + footer("stopped", 1, lateness={"p95": 0.0001}, processor=0.031)
    )
    found = load_samples(file)
    assert found is not None
    assert found.processor == 0.031
    assert (found.path, found.rate, found.timeout, found.start) == ("source", 50.0, 2.0, STAMP)
    assert [(s.n, s.due, s.sent, s.done, s.status, s.error, s.late) for s in found.samples] == [
        (0, 10, 0, 20, 0, "timeout", 2),
        (1, 30, 31, 40, 200, "", 1),
    ]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    whole = header("source", 50.0, 2.0, STAMP) + sample_line(0, 10, 11, 20, 200, "", 0)
    for cut in range(1, len(sample_line(1, 30, 31, 40, 200, "", 0))):
        file.write_bytes(whole + sample_line(1, 30, 31, 40, 200, "", 0)[:cut])
        found = load_samples(file)
        assert found is not None
        assert [s.n for s in found.samples] == [0]


def test_without_a_whole_header_there_are_no_samples(tmp_path: Path) -> None:
    assert load_samples(tmp_path / "absent") is None
    (tmp_path / "torn").write_bytes(header("source", 50.0, 2.0, STAMP)[:-5])
    assert load_samples(tmp_path / "torn") is None
    assert load_markers(tmp_path / "torn") is None


def test_a_further_segment_goes_on_counting(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    file.write_bytes(header("source", 50.0, 2.0, STAMP) + sample_line(0, 10, 11, 20, 200, "", 0) + b'{"n": 1, "du\n')
    assert next_number(file) == 1
    assert next_number(tmp_path / "absent") == 0


def test_times_of_another_boot_are_moved_onto_the_first_clock(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    later = Stamp(1060.0, 700, "boot-2")
    file.write_bytes(
        header("source", 50.0, 2.0, STAMP)
        + sample_line(0, 10, 11, 20, 200, "", 0)
        + header("source", 50.0, 2.0, later)
        + sample_line(1, 800, 0, 900, 0, "refused", 0)
    )
    found = load_samples(file)
    assert found is not None
    moved = found.samples[1]
    assert found.wall(moved.due) == 1060.0 + 100 / 1e9
    assert moved.done - moved.due == 100
    assert moved.sent == 0


def test_the_newest_line_of_a_write_holds(tmp_path: Path) -> None:
    file = tmp_path / "markers-source.jsonl"
    file.write_bytes(
        header("source", 20.0, 2.0, STAMP, 0.25, 0.001)
        + marker_line(0, 10, 11, 0, "indeterminate")
        + marker_line(1, 20, 21, 0, "indeterminate")
        + marker_line(0, 10, 11, 30, "acknowledged")
    )
    found = load_markers(file)
    assert found is not None
    assert (found.offset, found.uncertainty) == (0.25, 0.001)
    assert [(m.n, m.done, m.outcome) for m in found.markers] == [(0, 30, "acknowledged"), (1, 0, "indeterminate")]


def test_a_writes_repetition_is_a_write_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "markers-writes.jsonl"
    file.write_bytes(
        header("writes", 20.0, 2.0, STAMP, 0.0, 0.001)
        + marker_line(0, 10, 11, 30, "indeterminate", error="broken")
        + marker_line(0, 10, 31, 0, "indeterminate", attempt=1)
        + marker_line(0, 10, 31, 40, "acknowledged", attempt=1, late=5)
    )
    found = load_markers(file)
    assert found is not None
    assert (found.path, found.timeout) == ("writes", 2.0)
    assert [(m.attempt, m.outcome, m.error, m.late) for m in found.markers] == [
        (0, "indeterminate", "broken", 0),
        (1, "acknowledged", "", 5),
    ]


def test_the_last_line_is_the_newest_probe_and_no_footer(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    assert last_line(file) is None
    file.write_bytes(
        header("source", 50.0, 2.0, STAMP) + sample_line(7, 10, 11, 20, 200, "", 0) + footer("stopped", 7) + b'{"n": 8'
    )
    measured = load_samples(file)
    assert measured is not None
    assert measured.processor is None, "a footer that says nothing of it"
    found = last_line(file)
    assert found is not None
    assert found["n"] == 7


def test_lines_that_are_no_probes_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    file.write_bytes(
        header("source", 50.0, 2.0, STAMP) + b'{"due": 1}\n[1]\nnonsense\n' + sample_line(0, 1, 2, 3, 200, "", 0)
    )
    found = load_samples(file)
    assert found is not None
    assert len(found.samples) == 1


def test_what_grows_is_read_on_from_where_it_was_left(tmp_path: Path) -> None:
    file = tmp_path / "samples-source.jsonl"
    growing = Growing(file, SAMPLE)
    assert growing.more() == []
    file.write_bytes(header("source", 50.0, 2.0, STAMP) + sample_line(0, 10, 11, 20, 200, "", 0))
    assert [s.n for s in growing.more()] == [0]
    with file.open("ab") as more:
        more.write(sample_line(1, 30, 31, 40, 200, "", 0)[:-9])
        more.flush()
        assert growing.more() == [], "it is not whole yet"
        more.write(sample_line(1, 30, 31, 40, 200, "", 0)[-9:] + footer("stopped", 1) + b"no line\n")
        more.flush()
        assert [s.n for s in growing.more()] == [1]
        more.write(header("source", 50.0, 2.0, Stamp(1001.0, 7_000, "boot-2")) + sample_line(2, 7_050, 0, 0, 0, "", 0))
    (moved,) = growing.more()
    assert (moved.n, moved.due, moved.done) == (2, 5_000 + 1_000_000_000 + 50, 0)


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_a_run_that_is_gone_on_with_after_weeks_has_sound_evidence(boot: str, tmp_path: Path) -> None:
    file, week, faults = tmp_path / "samples-source.jsonl", 7 * 86_400 * 10**9, list[str]()
    later = Stamp(1000.0 + 3 * 7 * 86_400, (3 * week if boot == "boot-1" else 0) + 5_000, boot)
    begun = later.mono_ns
    file.write_bytes(
        header("source", 50.0, 2.0, STAMP)
        + sample_line(0, 10, 11, 20, 200, "", 0)
        + header("source", 50.0, 2.0, later)
        + sample_line(1, begun + 10, begun + 11, begun + 20, 200, "", 0)
        + sample_line(2, begun + 30, begun + 31, begun + week + 40, 200, "", 0)
    )
    found = load_samples(file, faults)
    assert found is not None
    assert [s.n for s in found.samples] == [0, 1]
    assert found.wall(found.samples[1].due) == pytest.approx(later.at)
    (fault,) = faults
    assert fault.startswith("samples-source.jsonl, line 5, is not what a meter writes: it is of another time")
