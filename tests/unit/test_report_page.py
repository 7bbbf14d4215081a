"""The HTML page: whole, self-contained, harmless, and drawn from the evidence."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import Finding, Observation, Phase, Restored, Stamp, Status
from dr.evidence.model import Evidence
from dr.report.page import html
from tests.unit.recoveries import COPY_UP, DISASTER, FINDINGS, PHASES, START, drill, met, on_call, samples, verdict
from tests.unit.test_report_formats import anything, hostile

VOID = {"meta", "circle", "rect", "line", "polygon", "polyline", "br", "i"}


class Page(HTMLParser):
    """What a browser would make of the page: its elements, its text, and whether every element is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag and (not kind or attrs.get("class") == kind)]


def page(evidence: Evidence, *args: Any) -> Page:
    return Page(html(evidence, *(args or (verdict(),))))


def test_page_shows_the_verdict_before_anything_else() -> None:
    read = page(drill())
    assert read.text.split("</style>")[-1].strip().startswith("MISSED: rds-pitr on lab")
    body = html(drill(), verdict()).split("<body>")[1]
    places = [
        body.index(word) for word in ('class="stamp"', "readmission-db-dr-7f3a", "16.2 s", "10 markers", "Demands")
    ]
    assert places == sorted(places)


def test_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    source = html(drill(), verdict())
    read = Page(source)
    assert read.open == []
    assert {tag for tag, _ in read.elements} & {"script", "img", "link", "iframe", "object"} == set()
    assert not re.search(r"https?://|url\(|@import|\ssrc=|\shref=|\son\w+=", source)


def test_hostile_names_are_shown_and_do_nothing() -> None:
    evidence, judged = hostile()
    record = replace(evidence.record, emulated="<script>x</script>", versions={"<script>": "</style><script>"})
    source = html(replace(evidence, record=record), judged)
    read = Page(source)
    assert read.open == []
    assert read.of("script") == []
    assert "<script>alert(1)</script>" in read.text
    assert "\x1b" not in source


def test_page_names_every_finding_with_its_interval_against_its_limit() -> None:
    read = page(drill())
    assert all(finding.because in read.text for finding in FINDINGS)
    measured = [finding for finding in FINDINGS if finding.measured is not None]
    assert len(read.of("rect", "range")) == len(read.of("line", "edge")) == len(measured)


def test_a_count_without_a_limit_is_left_to_its_reason() -> None:
    counted = Finding("foreign-keys", "restored", Status.MET, "3 foreign keys hold.", 0, "foreign keys")
    read = page(drill(), verdict(counted))
    assert read.of("rect", "range") == []
    assert "0 foreign keys" not in read.text


def test_a_measured_value_beyond_its_limit_is_drawn_beyond_it() -> None:
    over = replace(FINDINGS[4], status=Status.MISSED, measured=1.4, interval=(1.3, 1.5))
    read = page(drill(), verdict(over))
    limit, low = float(read.of("line", "edge")[0]["x1"] or 0), float(read.of("rect", "range")[0]["x"] or 0)
    assert limit < low


def test_page_shades_the_outage_on_the_path_it_was_judged_on() -> None:
    read = page(drill())
    (outage,) = read.of("rect", "outage")
    (unsure,) = read.of("rect", "unsure")
    assert float(outage["width"] or 0) > 30 * float(unsure["width"] or 0)
    assert page(drill(), met()).of("rect", "outage")
    assert not page(drill(), verdict(FINDINGS[2])).of("rect", "outage")


def test_a_path_that_never_recovered_is_shaded_to_the_end() -> None:
    never = Finding("time-to-copy", "restored", Status.MISSED, "Never within the SLO.", unit="s", limit=3600.0)
    (outage,) = page(drill(), verdict(never)).of("rect", "outage")
    assert float(outage["x"] or 0) + float(outage["width"] or 0) == 944.0


def test_page_draws_latency_of_every_path_and_marks_failed_probes() -> None:
    read = page(drill())
    assert len(read.of("polyline", "middle")) == 2
    assert len(read.of("rect", "failure")) == 1
    assert "600 probes, 10 failed" in read.text


def test_page_lists_marker_gaps_and_tells_what_lies_before_the_recovery_point() -> None:
    read = page(drill())
    assert len(read.of("rect", "before")) == 1
    assert len(read.of("rect", "after")) == 1
    assert "800 acknowledged, 231 of the acknowledged not in the restoration" in read.text


def test_a_gap_across_the_recovery_point_is_shown_as_two() -> None:
    observed = Observation("markers", "restored", {"table": True, "present": [[0, 499]]})
    read = page(replace(drill(), observations=(*drill().observations, observed)))
    assert (len(read.of("rect", "before")), len(read.of("rect", "after"))) == (1, 1)


def test_page_draws_a_bar_for_every_phase_and_one_row_for_what_comes_twice() -> None:
    twice = (*PHASES, Phase("verify", DISASTER + 20, 3.0))
    read = page(drill(), replace(verdict(), phases=twice))
    assert len(read.of("rect", "phase")) == len(twice)
    assert read.text.count("verify") == page(drill()).text.count("verify")
    assert "7.2 s" in read.text


def test_page_carries_emulation_versions_and_the_ledgers_head() -> None:
    read = page(drill())
    assert read.text.count("RDS emulated") == 2
    assert "15.18" in read.text
    assert drill().entries[-1].hash in read.text
    assert "ab" * 32 in read.text


def test_page_names_problems_of_the_evidence() -> None:
    assert "Entry 3 was altered." in page(replace(drill(), problems=("Entry 3 was altered.",))).text


def test_page_compares_the_tables_of_baseline_and_restoration() -> None:
    before = {"fingerprint": {"tables": {"public.patients": {"rows": 2000, "checksum": "a", "method": "m"}}}}
    after = {"tables": {"public.patients": {"rows": 1999, "checksum": "b", "method": "m"}}}
    observed = (Observation("baseline", "source", before), Observation("fingerprint", "restored", after))
    read = page(replace(drill(), observations=(*drill().observations, *observed)))
    assert "public.patients" in read.text
    assert "2,000" in read.text
    assert "1,999" in read.text
    assert "differs" in read.text


def test_page_says_what_became_of_every_planned_call() -> None:
    evidence = drill()
    kept = tuple(e for e in evidence.entries if not (e.call == "examine" and e.kind == "effect"))
    read = page(replace(evidence, entries=kept))
    assert "no effect" in read.text
    assert "rds restore_to_point_in_time" in read.text


def test_page_of_a_run_that_made_nothing_still_says_why() -> None:
    empty = replace(drill(), entries=(), observations=(), samples={}, markers={})
    judged = replace(verdict(), findings=(), phases=(), restored=None, status=Status.INCONCLUSIVE)
    assert "Nothing was asked of this run" in page(empty, judged).text


@pytest.mark.parametrize("since", [START, START - 7200.0])
def test_a_disaster_long_before_the_first_probe_does_not_dwarf_the_charts(since: float) -> None:
    evidence = on_call()
    request = replace(evidence.record.plan.request, since=since)
    record = replace(evidence.record, plan=replace(evidence.record.plan, request=request))
    entries = tuple(entry for entry in evidence.entries if entry.call != "vanish")
    source = html(
        replace(evidence, record=record, entries=entries, samples={"restored": samples("restored", COPY_UP, 12)}), met()
    )
    points = re.findall(r'class="middle" points="([^"]+)"', source)[0].split()
    xs = [float(point.split(",")[0]) for point in points]
    assert xs[-1] - xs[0] > 200


def test_a_hundred_thousand_samples_are_drawn_within_seconds_and_a_page_of_ordinary_size() -> None:
    evidence = replace(drill(), samples={"restored": samples("restored", COPY_UP, 100.0, rate=1000.0)})
    begin = time.monotonic()
    source = html(evidence, verdict())
    assert time.monotonic() - begin < 5
    assert len(source) < 200_000


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.sampled_from(["recovery-point", "configuration", "markers", "fingerprint"]), anything), anything
)
def test_page_survives_observations_and_results_of_any_shape(observed: dict[str, Any], at: Any) -> None:
    evidence = drill()
    observations = tuple(Observation(what, "restored", value) for what, value in observed.items())
    entries = tuple(replace(e, data={"at": at, "available_at": at, "recovery_point": at}) for e in evidence.entries)
    assert html(replace(evidence, observations=observations, entries=entries), verdict())


@settings(deadline=None, max_examples=30)
@given(st.floats(), st.floats(), st.floats(allow_nan=False))
def test_page_survives_any_number_that_was_measured(measured: float, low: float, high: float) -> None:
    finding = replace(FINDINGS[0], measured=measured, interval=(low, high))
    assert html(drill(), verdict(finding))


def test_page_of_samples_that_never_answered_is_all_failures() -> None:
    silent = samples("restored", DISASTER, 5, stall=(DISASTER, DISASTER + 10))
    read = page(replace(drill(), samples={"restored": silent}))
    assert "250 probes, 250 failed" in read.text
    assert len(read.of("rect", "failure")) == 1


def test_page_is_the_same_for_the_same_evidence() -> None:
    assert html(drill(), verdict()) == html(drill(), verdict())


def test_restoration_that_stands_is_given_with_a_command_to_connect() -> None:
    judged = replace(met(), restored=Restored("readmission-db-restored", "db.example.test", 5432, "readmission"))
    assert "psql 'host=db.example.test port=5432" in page(on_call(), judged).text


def test_probes_without_an_answer_time_are_failures() -> None:
    lost = samples("restored", COPY_UP, 1)
    unsent = replace(lost, samples=tuple(replace(s, done=0) for s in lost.samples), start=Stamp(COPY_UP, 0, "b"))
    assert "50 probes, 50 failed" in page(replace(drill(), samples={"restored": unsent})).text
