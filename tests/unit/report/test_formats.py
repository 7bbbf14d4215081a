"""Text, JSON, Markdown and JUnit of a run."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml

from dr.domain.model import Component, Finding, Observation, Phase, Status, Verdict
from dr.domain.refs import Endpoint, Ref
from dr.evidence.model import Evidence
from dr.report.formats import as_json, coloured, document, plain, style_for, text
from dr.report.junit import Refused, junit
from dr.report.page import html, markdown
from tests.support import many
from tests.unit.recoveries import COPY, FINDINGS, drill, met, on_call, verdict

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "copy'; rm -rf ~ <script>alert(1)</script> \x1b[2J | `x`\nsecond"


def hostile() -> tuple[Evidence, Verdict]:
    """A restoration whose names, and a finding whose reason, try to break out."""
    evidence = on_call()
    bad = [{"name": HOSTILE, "source": HOSTILE, "restored": HOSTILE, "expected": False, "because": HOSTILE}]
    observations = (*evidence.observations, Observation("configuration", "restored", bad))
    finding = Finding(HOSTILE, "restored", Status.MISSED, HOSTILE)
    result = replace(
        verdict(finding),
        restored=(
            Component(
                HOSTILE, Ref(HOSTILE, HOSTILE, HOSTILE), Endpoint(HOSTILE, 1), HOSTILE, (HOSTILE,), HOSTILE, HOSTILE
            ),
        ),
    )
    return replace(evidence, observations=observations, problems=(HOSTILE,)), result


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_text_begins_and_ends_with_the_verdict() -> None:
    lines = text(drill(), verdict()).splitlines()
    assert lines[0].startswith("MISSED  rds-pitr on lab")
    assert lines[-2] == "MISSED  readmission-db-dr-7f3a, in 16.2 s, 1 s not covered, 10 markers lost"


def test_text_answers_a_strangers_four_questions_in_its_first_eight_lines() -> None:
    top = "\n".join(text(drill(), verdict()).splitlines()[:8])
    assert "Restored  readmission-db-dr-7f3a from a point in time of readmission-db" in top
    assert "Took      16.2 s (15.9 to 16.3 s) from the disaster to a verified copy, limit 1 h: met" in top
    assert "Back to   2026-11-23 07:00:29 UTC, exposure 1 s (1 to 2 s), limit 10 min: met" in top
    assert "Lost      10 markers, limit 0 markers: missed" in top


def unverified() -> Evidence:
    """What ``dr restore --no-verify`` leaves."""
    whole = on_call()
    return replace(whole, entries=tuple(entry for entry in whole.entries if entry.call != "examine"))


def test_a_copy_that_nobody_read_is_never_called_met_to_a_person() -> None:
    said = text(unverified(), met())
    assert said.startswith("NOT VERIFIED  ")
    assert said.splitlines()[-2].startswith("NOT VERIFIED  ")
    assert "Not verified, since nobody has read it: database readmission-db-dr-7f3a." in " ".join(said.split())
    assert "1. Not verified, since nobody has read it:" in said
    assert markdown(unverified(), met()).startswith("# NOT VERIFIED: ")
    assert json.loads(as_json(unverified(), met()))["verified"] is False
    assert JUnitXml.fromstring(junit([(unverified(), met())]).encode()).errors == 1
    page = html(unverified(), met())
    assert "<title>NOT VERIFIED: " in page
    assert 'class="hero inconclusive"' in page
    assert text(on_call(), met()).startswith("MET  ")


def test_a_run_that_restored_nothing_has_no_copy_to_be_verified() -> None:
    nothing = tuple(entry for entry in on_call().entries if not entry.components)
    broken_off = replace(on_call(), entries=nothing)
    assert json.loads(as_json(broken_off, verdict()))["verified"] is None
    assert "nobody has read it" not in text(broken_off, verdict())


def test_text_says_what_is_emulated() -> None:
    assert "RDS emulated" in text(drill(), verdict()).splitlines()[0]


def test_what_measuring_took_is_told_in_every_form_and_nothing_where_it_is_not_known() -> None:
    of = drill()
    told = replace(of, samples={path: replace(s, processor=0.025) for path, s in of.samples.items()})
    share = f"{0.025 * len(of.samples):.1%} of one processor"
    for form in (text, markdown, html):
        assert share in re.sub(r"\s+", " ", form(told, verdict())), form
        assert "of one processor" not in form(of, verdict())


def test_text_lists_the_worst_findings_first_with_their_whole_reason() -> None:
    rows = text(drill(), verdict(), width=60)
    order = [line.split()[0] for line in rows.splitlines() if re.match(r"  (met|missed|inconclusive) ", line)]
    assert order == ["missed", "inconclusive", "met", "met", "met", "met"]
    assert "Table admissions changed while the baseline was repeated." in re.sub(r"\s+", " ", rows)


def test_the_reason_of_a_finding_without_numbers_takes_their_room() -> None:
    counted = Finding("foreign-keys", "restored", Status.MET, "All 3 foreign keys hold in the whole of the copy.")
    said = text(drill(), verdict(*FINDINGS, counted), 80)
    assert "  met           foreign-keys  All 3 foreign keys hold in the whole of the copy.\n" in said


def test_text_names_the_path_of_a_finding_where_there_are_several() -> None:
    several = (*FINDINGS, replace(FINDINGS[-1], path="source"))
    assert "errors [source]" in text(drill(), verdict(*several))
    assert "[restored]" not in text(drill(), verdict())


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_text_keeps_to_the_width_of_the_terminal_but_for_commands_to_paste(width: int) -> None:
    lines = [*text(drill(), verdict(), width).splitlines(), *text(on_call(), met(), width).splitlines()]
    long = [line for line in lines if len(line) > width]
    command = ("psql", "dr adopt", "aws rds")
    assert all(
        any(one in line for one in (*command, "limit")) or line.startswith(("MET", "MISSED")) for line in long
    ), long
    if width >= 100:
        assert long == []


def test_the_last_lines_keep_to_the_width_even_with_a_long_name() -> None:
    long = replace(
        verdict(),
        restored=(Component("database", Ref("rds", "instance", "readmission-db-restored-20261123-075323-ce89")),),
    )
    last = text(drill(), long, 80).splitlines()[-3:]
    assert max(len(line) for line in last) <= 80


def test_text_of_a_restore_says_how_to_connect_what_differs_and_how_to_cut_over() -> None:
    said = text(on_call(), met())
    assert "psql 'host=127.0.0.1 port=54123 dbname=readmission user=readmission_api sslmode=require'" in said
    unsaid = "does not verify the server's certificate"
    assert unsaid in " ".join(said.split())
    assert unsaid in " ".join(markdown(on_call(), met()).split())
    assert "DBParameterGroupName readmission-pg15 -> default.postgres15 (not expected)" in said
    assert f"\n{' ' * 12}dr adopt 20261123-070000-7f3a --confirm readmission-db-dr-7f3a\n" in said
    assert "<br><code>dr adopt 20261123-070000-7f3a --confirm readmission-db-dr-7f3a</code>" in markdown(
        on_call(), met()
    )
    assert "<pre>dr adopt 20261123-070000-7f3a --confirm readmission-db-dr-7f3a</pre>" in html(on_call(), met())


def test_text_says_settings_as_people_write_them() -> None:
    tags = [{"name": "Tags", "source": {"env": "prod", "team": "ml"}, "restored": {}, "expected": True, "because": ""}]
    groups = [{"name": "Groups", "source": ["sg-1", "sg-2"], "restored": False, "expected": True, "because": ""}]
    observed = Observation("configuration", "restored", tags + groups)
    said = text(replace(drill(), observations=(observed,)), verdict())
    assert "Differs   Tags env=prod, team=ml -> unset; Groups sg-1, sg-2 -> off" in said


def test_of_many_tags_those_that_differ_are_told() -> None:
    source = {"env": "prod", **{f"cost:{n}": "v" for n in range(46)}}
    restored = {**source, "cost:1": "w"}
    del restored["env"]
    tags = [{"name": "Tags", "source": source, "restored": restored, "expected": True, "because": ""}]
    said = text(replace(drill(), observations=(Observation("configuration", "restored", tags),)), verdict())
    assert "Differs   Tags env=prod, cost:1=v -> cost:1=w\n" in said


def test_text_warns_before_a_cut_over_to_what_is_not_proven() -> None:
    assert "The verdict is missed" in text(on_call(), verdict())
    assert "The verdict is" not in text(on_call(), met())


def test_text_of_a_drill_offers_no_connection_to_a_copy_that_is_gone() -> None:
    said = text(drill(), verdict())
    assert "psql" not in said
    assert "dr adopt" not in said
    assert "The copy was removed" in said


def test_text_labels_a_time_that_counts_from_the_commands_start() -> None:
    evidence = on_call()
    entries = tuple(entry for entry in evidence.entries if entry.call != "vanish")
    request = replace(evidence.record.plan.request, since=None)
    record = replace(evidence.record, plan=replace(evidence.record.plan, request=request))
    assert "no --since was given" in " ".join(text(replace(evidence, record=record, entries=entries), met()).split())


def test_text_says_why_a_time_is_not_known() -> None:
    unknown = Finding("time-to-copy", "restored", Status.INCONCLUSIVE, "No probe was sent.", unit="s", limit=3600.0)
    assert "Took      not known. No probe was sent." in text(drill(), verdict(unknown))


def test_text_says_not_recovered_where_that_is_known() -> None:
    never = Finding("time-to-copy", "restored", Status.MISSED, "Never within the SLO.", unit="s", limit=3600.0)
    assert "Took      not recovered. Never within the SLO." in text(drill(), verdict(never))


def test_text_adds_up_a_phase_that_comes_twice() -> None:
    phases = (Phase("verify", 0.0, 1.0), Phase("warm-up", 1.0, 2.0), Phase("verify", 3.0, 4.0))
    assert "Phases    verify 5 s, warm-up 2 s" in text(drill(), replace(verdict(), phases=phases))


def test_text_of_a_run_that_was_asked_nothing_says_so() -> None:
    empty = replace(verdict(), findings=(), status=Status.INCONCLUSIVE)
    assert "Nothing was asked of this run" in text(drill(), empty)


def test_text_of_a_run_that_did_not_complete_begins_with_why() -> None:
    stopped = Finding("completed", "", Status.INCONCLUSIVE, "The call 'examine' failed: no route.")
    lines = text(drill(), verdict(stopped, *FINDINGS)).splitlines()
    assert lines[1] == "  The run did not complete. The call 'examine' failed: no route."


def test_text_names_every_problem_of_the_evidence() -> None:
    said = text(replace(drill(), problems=("The seal is missing.", "Entry 3 was altered.")), verdict())
    assert "The seal is missing." in said
    assert "Entry 3 was altered." in said


def test_colour_changes_nothing_but_the_colour() -> None:
    colourful = text(drill(), verdict(), style=coloured)
    assert colourful != text(drill(), verdict())
    assert ESCAPE.sub("", colourful) == text(drill(), verdict())


def test_colour_is_for_terminals_alone() -> None:
    assert style_for(Terminal(), {}) is coloured
    assert style_for(io.StringIO(), {}) is plain
    assert style_for(Terminal(), {"NO_COLOR": "1"}) is plain
    assert style_for(Terminal(), {"TERM": "dumb"}) is plain


def test_no_name_can_steer_the_terminal() -> None:
    assert "\x1b" not in text(*hostile())


def test_json_has_the_form_of_verdict_json() -> None:
    read = json.loads(as_json(drill(), verdict()))
    assert list(read) == [
        *("run", "drill", "target", "emulated", "verdict", "verified", "findings", "phases", "restored"),
        "remains",
    ]
    assert (read["emulated"], read["verified"]) == ("RDS emulated", True)
    assert list(read["findings"][0]) == [
        "objective",
        "path",
        "status",
        "measured",
        "unit",
        "limit",
        "interval",
        "because",
    ]
    assert read["verdict"] == "missed"
    assert read["findings"][0]["interval"] == [15.9, 16.3]
    assert read["phases"][0] == {"name": "detect", "started": 1_795_417_230.0, "seconds": 0.4}
    assert read["restored"] == [
        {
            "role": "database",
            "provider": "rds",
            "kind": "instance",
            "identifier": "readmission-db-dr-7f3a",
            "host": "127.0.0.1",
            "port": 54123,
            "connect": COPY.connect,
            "cut_over": list(COPY.cut_over),
            "origin": "a point in time of readmission-db",
            "note": COPY.note,
        }
    ]


def test_json_says_null_for_a_bound_without_end_and_for_nothing_restored() -> None:
    endless = replace(FINDINGS[0], measured=None, interval=(3600.0, math.inf))
    read = document(drill(), replace(verdict(endless), restored=()))
    assert read["findings"][0]["interval"] == [3600.0, None]
    assert read["restored"] == []


def test_markdown_shows_hostile_names_as_plain_text() -> None:
    said = markdown(*hostile())
    lines = said.splitlines()
    assert not [line for line in lines if "<script>" in line and not line.startswith("    ")]
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 4, 6}


def test_markdown_begins_with_the_verdict_and_holds_every_finding() -> None:
    said = markdown(drill(), verdict())
    assert said.startswith("# MISSED: rds-pitr on lab (RDS emulated)")
    assert all(f"| **{finding.status}** | {finding.objective} |" in said for finding in FINDINGS)


def cases(xml: str) -> dict[str, Any]:
    return {case.name: case.result for suite in JUnitXml.fromstring(xml.encode()) for case in suite}


def test_junit_has_a_case_for_each_demand_missed_as_failure_and_inconclusive_as_error() -> None:
    found = cases(junit([(drill(), verdict())]))
    assert set(found) == {f"{finding.objective} [restored]" for finding in FINDINGS}
    assert isinstance(found["loss [restored]"][0], Failure)
    assert "250 to 259" in found["loss [restored]"][0].message
    assert isinstance(found["data [restored]"][0], Error)
    assert found["exposure [restored]"] == []


def test_junit_names_are_unique_even_where_a_demand_is_repeated() -> None:
    suite = next(iter(JUnitXml.fromstring(junit([(drill(), verdict(FINDINGS[0], FINDINGS[0]))]).encode())))
    assert [case.name for case in suite] == ["time-to-copy [restored]", "time-to-copy [restored] #2"]


def test_junits_names_are_unique_also_of_a_drill_that_ran_or_was_refused_twice() -> None:
    twice = [Refused("rds-pitr", "prod", "No consent.")] * 2
    xml = JUnitXml.fromstring(junit([(drill(), verdict())] * 2, twice).encode())
    names = [(case.classname, case.name) for suite in xml for case in suite]
    assert len(set(names)) == len(names)
    assert ("rds-pitr", "guard #2") in names
    assert xml.failures == 2 * JUnitXml.fromstring(junit([(drill(), verdict())]).encode()).failures > 0


def test_junit_counts_a_refused_drill_and_a_run_that_was_asked_nothing_as_errors() -> None:
    empty = replace(verdict(), findings=(), status=Status.INCONCLUSIVE)
    xml = JUnitXml.fromstring(junit([(drill(), empty)], [Refused("rds-pitr", "prod", "No consent.")]).encode())
    assert (xml.tests, xml.errors, xml.failures) == (2, 2, 0)


def test_junit_of_hostile_names_is_well_formed() -> None:
    assert len(cases(junit([hostile()], [Refused(HOSTILE, HOSTILE, HOSTILE)]))) == 2


def test_junit_says_what_is_emulated() -> None:
    assert 'name="emulated" value="RDS emulated"' in junit([(drill(), verdict())])


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "user", "ok", "covers", "kind"]), inner),
)


@settings(deadline=None, max_examples=many(50))
@given(st.dictionaries(st.sampled_from(["recovery-point", "configuration", "logins", "markers"]), anything), anything)
def test_reports_survive_observations_and_results_of_any_shape(observed: dict[str, Any], at: Any) -> None:
    evidence = on_call()
    observations = tuple(Observation(what, "restored", value) for what, value in observed.items())
    when = {"disaster": at, "available": at, "correct": at}
    entries = tuple(replace(e, data={"replay_seconds": at}, milestones=when) for e in evidence.entries)
    broken = replace(evidence, observations=observations, entries=entries)
    assert text(broken, verdict())
    assert markdown(broken, verdict())


def test_text_of_a_failover_says_how_long_each_path_was_out_and_what_was_lost() -> None:
    failed_over = verdict(
        Finding("outage", "source", Status.MET, "Out for 4.3 s.", 4.3, "s", 120.0, (4.28, 4.32)),
        Finding("outage", "reads", Status.MISSED, "It never came back.", None, "s", 120.0),
        Finding("acknowledged", "writes", Status.MISSED, "25 are gone.", 25.0),
        Finding("loss-seconds", "writes", Status.INCONCLUSIVE, "Not read.", None, "s", 60.0),
        drill="db-failover",
    )
    lines = text(drill(), failed_over).splitlines()
    top = "\n".join(lines[:8])
    assert "Out       4.3 s [source], never back [reads], limit 2 min: missed" in top
    assert "Lost      25 acknowledged writes [writes]: missed. 25 are gone." in top
    assert "Lost      not known. Not read." in top
    assert "Restored" not in top
    assert lines[-2].startswith("MISSED  out 4.3 s [source], never back [reads], lost 25 acknowledged writes")


def namespaces(*findings: Finding) -> tuple[Evidence, Verdict]:
    """What a drill that lost and restored a namespace leaves."""
    held, component = drill(), Component("namespace", Ref("velero", "namespace", "small"), origin="backup nightly")
    entries = tuple(replace(one, components=(component,) if one.components else ()) for one in held.entries)
    return replace(held, entries=entries), replace(verdict(*findings, drill="n"), restored=(component,))


def test_a_drill_whose_path_was_out_and_that_restored_something_tells_both() -> None:
    out = Finding("outage", "cluster", Status.MET, "Out for 4.3 s.", 4.3, "s", 120.0, (4.28, 4.32))
    took = Finding("time-to-namespace", "restored", Status.MET, "It came.", 9.0, "s", 3600.0, (8.0, 9.0))
    said = " ".join(text(*namespaces(out, took)).split())
    for fact in ("Out 4.3 s [cluster]", "Restored small from backup nightly", "Took 9 s", "Back to 2026-11-23"):
        assert fact in said, said


def test_no_copy_is_said_to_be_removed_where_none_was_made() -> None:
    took = Finding("time-to-namespace", "restored", Status.MET, "It came.", 9.0, "s", 3600.0, (8.0, 9.0))
    said = text(*namespaces(took))
    assert "copy was removed" not in said
    assert "What the run made was removed when it unwound." in said
