"""The HTML page: whole, self-contained, harmless, and drawn from the evidence."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.domain.model import (
    Demand,
    Finding,
    Observation,
    Phase,
    Stamp,
    Status,
)
from dr.evidence.model import Evidence
from dr.judge.findings import judged
from dr.judge.former import Baseline, Fingerprint, Repeat, TableSum
from dr.judge.objectives.loss import loss
from dr.report import words
from dr.report.page import html
from dr.wiring import objectives
from tests.support import many
from tests.unit.recoveries import (
    COPY,
    COPY_UP,
    DISASTER,
    FINDINGS,
    PHASES,
    START,
    drill,
    met,
    on_call,
    samples,
    verdict,
)
from tests.unit.report.test_formats import anything, hostile

KNOWN = objectives()
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


def test_page_names_every_finding_with_its_value_and_interval() -> None:
    read = page(drill())
    assert all(finding.because in read.text for finding in FINDINGS)
    measured = [finding for finding in FINDINGS if finding.measured is not None]
    assert all(words.value(one) in read.text and words.bounds(one) in read.text for one in measured)
    assert len(read.of("rect", "range")) == len(read.of("line", "edge")) == len(measured)


def test_a_count_without_a_limit_is_left_to_its_reason() -> None:
    counted = Finding("foreign-keys", "restored", Status.MET, "3 foreign keys hold.", 0, "foreign keys")
    read = page(drill(), verdict(counted))
    assert "0 foreign keys" not in read.text
    assert read.of("rect", "range") == []


def test_a_measured_value_is_drawn_on_its_side_of_the_limit() -> None:
    for measured, beyond in ((1.4, True), (0.7, False)):
        one = replace(FINDINGS[4], status=Status.MISSED, measured=measured, interval=(measured - 0.1, measured + 0.1))
        read = page(drill(), verdict(one))
        limit, low = float(read.of("line", "edge")[0]["x1"] or 0), float(read.of("rect", "range")[0]["x"] or 0)
        assert (limit < low) is beyond


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


def test_an_outage_of_a_failover_is_shaded_from_its_own_beginning() -> None:
    out = replace(drill(), samples={"service": samples("service", START, 60, stall=(DISASTER + 5, DISASTER + 15))})
    read = page(out, verdict(judged(KNOWN["outage"].judge, out, Demand("outage", "service", 120.0, "s"))))
    (outage,) = read.of("rect", "outage")
    disaster = float(read.of("line", "line")[0]["x1"] or 0)
    second = (944.0 - 70.0) / 60
    assert 4 * second < float(outage["x"] or 0) - disaster < 6 * second
    assert 9 * second < float(outage["width"] or 0) < 11 * second


def test_page_draws_latency_of_every_path_and_marks_failed_probes() -> None:
    read = page(drill())
    assert len(read.of("polyline", "middle")) == 2
    assert len(read.of("rect", "failure")) == 1
    assert "600 probes, 10 failed" in read.text


def test_page_lists_marker_gaps_and_tells_which_count_as_lost() -> None:
    read = page(drill())
    assert len(read.of("rect", "lost")) == 2
    assert len(read.of("rect", "uncounted")) == 1
    assert "800 acknowledged, 231 of them not in the restoration" in read.text


def test_a_gap_across_the_recovery_point_is_shown_as_two() -> None:
    observed = Observation("markers", "restored", {"table": True, "present": [[0, 499]]})
    read = page(replace(drill(), observations=(*drill().observations, observed)))
    assert (len(read.of("rect", "lost")), len(read.of("rect", "uncounted"))) == (1, 1)


def test_no_marker_is_called_lost_that_the_judge_does_not_count_as_lost() -> None:
    """Acknowledged from the recovery point on, or of a point that was not observed."""
    near = Observation("markers", "restored", {"table": True, "present": [[0, 579]]})
    whole = replace(drill(), observations=(*drill().observations, near))
    unobserved = replace(drill(), observations=(replace(near, value={"table": True, "present": [[0, 99]]}),))
    for found, status, uncounted in ((whole, Status.MET, 1), (unobserved, Status.INCONCLUSIVE, 0)):
        assert judged(loss, found, Demand("loss", "restored", 0.0, "markers")).status is status
        read = page(found)
        assert (len(read.of("rect", "lost")), len(read.of("rect", "uncounted"))) == (0, uncounted)


def test_page_lists_every_phase_and_adds_up_what_comes_twice() -> None:
    twice = (*PHASES, Phase("verify", DISASTER + 20, 3.0))
    read = page(drill(), replace(verdict(), phases=twice))
    assert all(f"{phase.name}" in read.text for phase in PHASES)
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


SUM = TableSum(2000, "a", "hash-15/1", 2000)


@pytest.mark.parametrize(
    ("copy", "repeat", "said", "status"),
    [
        (SUM, Repeat(2.0, ()), "equal", Status.MET),
        (replace(SUM, total=2007), Repeat(2.0, (), {"t": 2007}), "equal", Status.MET),
        (replace(SUM, total=2007), Repeat(2.0, (), {"t": 2006}), "differs", Status.MISSED),
        (replace(SUM, rows=1999), Repeat(2.0, ()), "differs", Status.MISSED),
        (replace(SUM, checksum="b"), Repeat(2.0, ()), "differs", Status.MISSED),
        (None, Repeat(2.0, ()), "differs", Status.MISSED),
        (replace(SUM, checksum="b"), Repeat(2.0, ("t",)), "not comparable", Status.INCONCLUSIVE),
        (replace(SUM, method="md5/1"), Repeat(2.0, ()), "not comparable", Status.INCONCLUSIVE),
        (TableSum(0, "", "unreadable: denied"), Repeat(2.0, ()), "not comparable", Status.INCONCLUSIVE),
    ],
)
def test_page_says_of_a_table_what_the_finding_says(
    copy: TableSum | None, repeat: Repeat, said: str, status: Status
) -> None:
    source = Fingerprint(1.0, 15, "10:10:", {}, {"t": SUM})
    baseline = Baseline(source, (repeat,))
    here = replace(source, tables={} if copy is None else {"t": copy})
    observed = (
        Observation("baseline", "source", msgspec.to_builtins(baseline)),
        Observation("fingerprint", "restored", msgspec.to_builtins(here)),
    )
    found = replace(drill(), observations=observed)
    assert judged(KNOWN["data"].judge, found, Demand("data", "restored")).status is status
    tables = page(found).text.split("Tables")[1].split("Evidence")[0]
    assert [word for word in ("equal", "differs", "not comparable") if word in tables] == [said]
    assert "2,000" in tables


def test_page_compares_no_tables_that_the_finding_does_not() -> None:
    fingerprint = msgspec.to_builtins(Fingerprint(1.0, 15, "10:10:", {}, {"t": SUM}))
    never_repeated = {"fingerprint": fingerprint, "id": "b", "target": "lab", "source": "db", "resource_id": "r"}
    observed = (
        Observation("baseline", "source", never_repeated),
        Observation("fingerprint", "restored", fingerprint),
    )
    found = replace(drill(), observations=observed)
    assert judged(KNOWN["data"].judge, found, Demand("data", "restored")).status is Status.INCONCLUSIVE
    assert "Tables" not in page(found).text


def test_a_probe_that_was_answered_badly_is_drawn_as_a_failure() -> None:
    of = samples("restored", COPY_UP, 1)
    unavailable = replace(of, samples=tuple(replace(s, status=503) for s in of.samples))
    assert "50 probes, 50 failed" in page(replace(drill(), samples={"restored": unavailable})).text


def test_page_says_what_became_of_every_planned_call() -> None:
    evidence = drill()
    kept = tuple(e for e in evidence.entries if not (e.call == "examine" and e.kind == "effect"))
    read = page(replace(evidence, entries=kept))
    assert "no effect" in read.text
    assert "rds restore_to_point_in_time" in read.text


def test_page_of_a_run_that_made_nothing_still_says_why() -> None:
    empty = replace(drill(), entries=(), observations=(), samples={}, markers={})
    judged = replace(verdict(), findings=(), phases=(), restored=(), status=Status.INCONCLUSIVE)
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


def test_a_hundred_thousand_samples_are_drawn_on_a_page_of_ordinary_size() -> None:
    evidence = replace(drill(), samples={"restored": samples("restored", COPY_UP, 100.0, rate=1000.0)})
    assert len(html(evidence, verdict())) < 200_000


@settings(deadline=None, max_examples=many(50))
@given(
    st.dictionaries(
        st.sampled_from(["recovery-point", "configuration", "markers", "fingerprint", "baseline"]), anything
    ),
    anything,
)
def test_page_survives_observations_and_results_of_any_shape(observed: dict[str, Any], at: Any) -> None:
    evidence = drill()
    paths = {"baseline": "source"}
    observations = tuple(Observation(what, paths.get(what, "restored"), value) for what, value in observed.items())
    when = {"disaster": at, "available": at, "correct": at}
    entries = tuple(replace(e, data={"replay_seconds": at}, milestones=when) for e in evidence.entries)
    assert html(replace(evidence, observations=observations, entries=entries), verdict())


@settings(deadline=None, max_examples=many(30))
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
    assert COPY.connect in page(on_call(), met()).text


def test_probes_without_an_answer_time_are_failures() -> None:
    lost = samples("restored", COPY_UP, 1)
    unsent = replace(lost, samples=tuple(replace(s, done=0) for s in lost.samples), start=Stamp(COPY_UP, 0, "b"))
    assert "50 probes, 50 failed" in page(replace(drill(), samples={"restored": unsent})).text
