"""Every kind of bad answer at every call of a drill, in virtual time: nothing is left, and nothing false is said."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from botocore.awsrequest import AWSPreparedRequest

from dr.domain.errors import DrError
from dr.domain.model import Status
from tests.attack.answers import ATTACKS, NOT_FOUND, Answer, Attack, Break
from tests.attack.figures import FIGURES
from tests.attack.rehearsal import Cloud, Theatre, Wiretap

DRILL = "rds-snapshot-restore"
LASTING = 12
"""Requests in a row that a lasting attack spoils: more than botocore's own attempts."""

LASTING_EACH = 3
"""Of how many places a lasting attack begins at one."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The numbers of a healthy drill's requests: the first and the last of each stretch of equal ones."""
    with pytest.MonkeyPatch.context() as patch:
        theatre = Theatre(tmp_path_factory.mktemp("healthy"), patch)
        tap = theatre.tap()
        assert theatre.rehearse(DRILL).verdict.status is Status.MET
    numbered = enumerate(tap.asked)
    stretches = [[number for number, _ in group] for _, group in groupby(numbered, key=lambda one: one[1])]
    return sorted({number for stretch in stretches for number in (stretch[0], stretch[-1])})


class Course:
    """Attacked drills, one after another, and what went wrong, a sentence each."""

    def __init__(self, theatre: Theatre, attack: Attack) -> None:
        self.wrong: list[str] = []
        self._theatre, self._attack = theatre, attack

    def once(self, at: int) -> None:
        """A single bad answer: dr asks again, and the drill is met, unless it was told something plainly."""
        what = f"{self._attack.name} at request {at}"
        status = self._attacked(what, at, at + 1)
        excused = self._attack.refusal or (self._attack.slow and status == "refused")  # nobody waits for it twice
        if status is not Status.MET and status != "" and not excused:
            self.wrong.append(f"{what}: dr does not get over it: {status}")
        self._theatre.forget()

    def lasting(self, at: int) -> None:
        """More than dr may get over."""
        self._attacked(f"{self._attack.name} from request {at} on", at, at + LASTING)

    def undisturbed(self) -> None:
        """A drill that follows is met."""
        after = self._theatre.rehearse(DRILL).verdict.status
        if after is not Status.MET:
            self.wrong.append(f"{self._attack.name}: the drill after it is {after}")

    def _attacked(self, what: str, at: int, until: int) -> str:
        """How an attacked drill ended, "" where nothing was attacked; then it is cleaned up."""
        tap, status = self._theatre.tap(self._attack, at, until), "refused"
        with suppress(DrError):  # nothing was made
            status = self._theatre.rehearse(DRILL).verdict.status
        if not tap.struck:
            return ""
        FIGURES.tried["bad answers"] += 1
        if status != "refused":
            FIGURES.verdicts[status] += 1
        if status is Status.MISSED:
            FIGURES.false.append(what)
            self.wrong.append(f"{what}: a healthy recovery is missed")
        self._theatre.tap()
        self._theatre.clean()
        for orphan in self._theatre.orphans():
            FIGURES.orphans.append(f"{what}: {orphan}")
            self.wrong.append(f"{what}: {orphan} is left")
        return status


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_bad_answer_makes_no_verdict_false_and_leaves_nothing(
    attack: Attack, places: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = Course(Theatre(tmp_path, monkeypatch), attack)
    for at in places:
        course.once(at)
    for at in places[::LASTING_EACH]:
        course.lasting(at)
    course.undisturbed()
    assert not course.wrong, "\n".join(course.wrong)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_bad_answer_makes_no_recovery_met_that_is_too_slow(
    attack: Attack, places: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre, statuses = Theatre(tmp_path, monkeypatch), set[Status]()
    theatre.slow = True
    for at in places[:: 4 * LASTING_EACH]:
        tap = theatre.tap(attack, at, at + 1)
        with suppress(DrError):  # nothing was made
            status = theatre.rehearse(DRILL).verdict.status
            statuses.add(status)
            FIGURES.tried["bad answers"] += bool(tap.struck)
            FIGURES.verdicts[status] += 1
            FIGURES.false += [f"{attack.name} at request {at}: too slow"] if status is Status.MET else []
        theatre.tap()
        theatre.clean()
        theatre.forget()
    assert Status.MET not in statuses
    assert Status.MISSED in statuses, "else this proves nothing"


class Twofold(Wiretap):
    """The first request for a restoration is done and its answer lost, the second is refused; what is made is unknown
    to RDS for a minute."""

    made: float | None = None
    asked_for = 0

    def pass_on(self, cloud: Cloud, request: AWSPreparedRequest) -> Answer | Break:
        said = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        if "Action=RestoreDBInstance" in said:
            self.asked_for += 1
            if self.asked_for > 1:
                return _told("InstanceQuotaExceeded", 400)
            super().pass_on(cloud, request)
            self.made = cloud.clock.at
            return Break.RESET
        late = self.made is not None and cloud.clock.at < self.made + 60.0
        if late and "Identifier=readmission-db-restored-" in said:
            return _told("DBInstanceNotFound", 404)
        true = super().pass_on(cloud, request)
        if not late or "Action=DescribeDBInstances" not in said or not isinstance(true, Answer):
            return true
        for row in re.findall(rb"<DBInstance>.*?</DBInstance>", true.body, re.DOTALL):
            if b"-restored-" in row:
                true = replace(true, body=true.body.replace(row, b""))
        return true


def _told(code: str, status: int) -> Answer:
    return Answer(status, {"Content-Type": "text/xml"}, NOT_FOUND.format(code=code, message="Injected.").encode())


def test_a_refusal_of_what_an_earlier_request_has_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre = Theatre(tmp_path, monkeypatch)
    theatre.put(tap := Twofold())
    outcome = theatre.rehearse(DRILL)
    FIGURES.tried["bad answers"] += 1
    FIGURES.verdicts[outcome.verdict.status] += 1
    assert tap.asked_for > 1
    assert theatre.orphans() == []
    assert outcome.verdict.status is Status.INCONCLUSIVE
