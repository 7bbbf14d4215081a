"""A run as JUnit XML, for whoever reads the results of tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from dr.domain.model import Status, Verdict
from dr.evidence.model import Evidence
from dr.report import words
from dr.report.summary import unverified


class Refused(NamedTuple):
    """A drill that a guard refused before it had a run."""

    drill: str
    target: str
    because: str


def junit(runs: Sequence[tuple[Evidence, Verdict]], refused: Sequence[Refused] = ()) -> str:
    """JUnit XML: a suite a run, a case a demand. Missed is a failure; inconclusive and refused are errors. A second
    case of the same name, as of a drill that ran twice, is numbered: readers keep one of each name."""
    xml = JUnitXml("dr")
    seen: Counter[tuple[str, str]] = Counter()
    for suite in [*(_suite(*run) for run in runs), *map(_refused, refused)]:
        for case in suite:
            seen[case.classname, case.name] += 1
            if (often := seen[case.classname, case.name]) > 1:
                case.name = f"{case.name} #{often}"
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    return str(xml.tostring().decode())  # type: ignore[no-untyped-call]


def _refused(refusal: Refused) -> TestSuite:
    suite = TestSuite(words.printable(refusal.drill))
    suite.add_property("target", words.printable(refusal.target))
    suite.add_testcase(_case(refusal.drill, "guard", Error, refusal.because, "refused"))
    return suite


def _suite(evidence: Evidence, verdict: Verdict) -> TestSuite:
    name = verdict.drill or evidence.record.plan.what
    suite = TestSuite(words.printable(f"{name} {verdict.run}"))
    for key, value in (("run", verdict.run), ("target", verdict.target), ("emulated", evidence.record.emulated)):
        suite.add_property(key, words.printable(value))
    if because := unverified(evidence):
        suite.add_testcase(_case(name, "verified", Error, because, "not verified"))
    for finding in verdict.findings:
        values = [f"measured {words.measured(finding)}"] if words.measured(finding) else []
        values += [f"limit {words.limit(finding)}"] if finding.limit is not None else []
        because = f"{finding.because} ({', '.join(values)})" if values else finding.because
        kind = {Status.MET: None, Status.MISSED: Failure, Status.INCONCLUSIVE: Error}[finding.status]
        case = f"{finding.objective} [{finding.path}]" if finding.path else finding.objective
        suite.add_testcase(_case(name, case, kind, because, finding.status))
    if not verdict.findings:
        suite.add_testcase(_case(name, "demands", Error, "Nothing was asked of this run.", "inconclusive"))
    return suite


def _case(drill: str, name: str, kind: type[Failure | Error] | None, because: str, status: str) -> TestCase:
    case = TestCase(words.printable(name), classname=words.printable(drill))
    case.result = [kind(words.printable(because), str(status))] if kind is not None else []
    return case
