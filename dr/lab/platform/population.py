"""A synthetic population: clinically plausible, and the same for the same seed. Nobody in it exists. Pure.

The probe patients (``SYN-...``) are the ones whose admissions golden requests name; they are made by hand and are the
same whatever the seed.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from dr.lab.platform.clinic import CONDITIONS, REASONS, Condition, Reason
from dr.lab.platform.model import EMERGENCY

SEED = 20250424
UNTIL = datetime(2025, 4, 24, tzinfo=UTC)
"""Nobody is admitted after it, so that a population does not depend on the day it is made."""
SPAN_DAYS = 540
ADULT, OLDEST = 18, 99
LANGUAGES = (("en", 80), ("es", 12), ("zh", 4), ("vi", 2), ("ar", 2))
PAYERS = ("commercial", "medicaid", "self-pay")
RETURNS = 0.28
"""Chance of one more admission for the healthiest; each lasting condition adds a little."""
MORE_PER_CONDITION = 0.06
AFTER_A_PROCEDURE = 0.12
MOST_ADMISSIONS = 5
BIRTH = "O80"


@dataclass(frozen=True, slots=True)
class Patient:
    id: str
    demographics: dict[str, Any]
    created: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """``discharged``: None while still in hospital. ``diagnoses``: {"admission_type", "codes": [{"code", "type"}]}."""

    id: str
    patient: str
    admitted: datetime
    discharged: datetime | None
    primary: str
    diagnoses: dict[str, Any]
    procedures: list[dict[str, str]]
    medications: list[str]


@dataclass(frozen=True, slots=True)
class Population:
    patients: tuple[Patient, ...]
    admissions: tuple[Admission, ...]


def population(seed: int, count: int) -> Population:
    """``count`` patients with about one and a half admissions each, beside the probe patients."""
    dice = random.Random(seed)  # noqa: S311
    patients, admissions = [], []
    for number in range(1, count + 1):
        patient, theirs = _person(dice, number)
        patients.append(patient)
        admissions.extend(theirs)
    probe_patients, probe_admissions = probes()
    return Population((*patients, *probe_patients), (*admissions, *probe_admissions))


def _person(dice: random.Random, number: int) -> tuple[Patient, list[Admission]]:
    identity = f"P{number:07d}"
    sex = dice.choice(("female", "male"))
    reason = _reason(dice)
    while reason.sex not in ("", sex):
        reason = _reason(dice)
    low, high = reason.ages
    # Within a reason's range, towards its older half.
    age = min(OLDEST, max(ADULT, round(dice.triangular(low, high, low + 0.65 * (high - low)))))
    born = date(UNTIL.year - age - 2, 1, 1) + timedelta(days=dice.randrange(365))
    lasting = [c for c in CONDITIONS if dice.random() < _share(c.at_40, c.at_80, age)]
    demographics = {
        "birth_date": born.isoformat(),
        "sex": sex,
        "language": _weighted(dice, LANGUAGES),
        "payer": "medicare" if age >= 65 else dice.choice(PAYERS),
        "lives_alone": dice.random() < (0.3 if age >= 75 else 0.15),
    }
    admitted = UNTIL - timedelta(minutes=dice.randrange(30 * 1440, SPAN_DAYS * 1440))
    patient = Patient(identity, demographics, admitted - timedelta(minutes=dice.randrange(5, 240)))
    made: list[Admission] = []
    while True:
        admission = _stay(dice, f"A{number:07d}-{len(made) + 1}", identity, reason, [c.code for c in lasting], admitted)
        made.append(admission)
        if admission.discharged is None or len(made) == MOST_ADMISSIONS or dice.random() > _returns(reason, lasting):
            return patient, made
        admitted = admission.discharged + timedelta(minutes=int(dice.expovariate(1 / 45) * 1440) + 600)
        if admitted > UNTIL:
            return patient, made
        reason = BY_CODE[reason.again or reason.code]


def _returns(reason: Reason, lasting: Sequence[Condition]) -> float:
    """The chance of one more admission after one for ``reason``."""
    if reason.code == BIRTH:
        return 0.0
    return AFTER_A_PROCEDURE if reason.again else min(0.7, RETURNS + MORE_PER_CONDITION * len(lasting))


def _stay(
    dice: random.Random, identity: str, patient: str, reason: Reason, lasting: Sequence[str], admitted: datetime
) -> Admission:
    days = reason.stay * math.exp(dice.gauss(0.05 * len(lasting), 0.45))
    end = admitted + timedelta(minutes=int(days * 1440))
    codes = [reason.code, *(code for code in lasting if code.split(".")[0] != reason.code.split(".")[0])]
    treated = (c.medications for c in CONDITIONS if c.code in lasting)
    return Admission(
        identity,
        patient,
        admitted,
        None if end > UNTIL else end,
        reason.code,
        {
            "admission_type": EMERGENCY if dice.random() < reason.emergency else "elective",
            "codes": [{"code": code, "type": "secondary" if n else "primary"} for n, code in enumerate(codes)],
        },
        [
            {"code": code, "date": (admitted + timedelta(hours=4 + 20 * n)).date().isoformat()}
            for n, code in enumerate(reason.procedures)
        ],
        list(dict.fromkeys((*reason.medications, *itertools.chain.from_iterable(treated)))),
    )


BY_CODE = {reason.code: reason for reason in REASONS}
_BOUNDS = list(itertools.accumulate(reason.weight for reason in REASONS))


def _reason(dice: random.Random) -> Reason:
    return REASONS[bisect.bisect(_BOUNDS, dice.random() * _BOUNDS[-1])]


def _weighted(dice: random.Random, choices: Sequence[tuple[str, int]]) -> str:
    return dice.choices([value for value, _ in choices], [weight for _, weight in choices])[0]


def _share(at_40: float, at_80: float, age: int) -> float:
    return max(0.0, at_40 + (at_80 - at_40) * (age - 40) / 40)


# Name, born, sex, reason, lasting conditions, days in hospital, emergency.
_PROBES = (
    ("SYN-0001", "1944-02-11", "female", "I50.9", ("I10", "N18.30", "I48.91"), 6, True),
    ("SYN-0002", "1957-08-30", "male", "J44.1", ("J44.9", "F17.210"), 4, True),
    ("SYN-0003", "1989-05-17", "female", "O80", (), 2, False),
    ("SYN-0004", "1951-11-03", "male", "C34.90", ("E11.9", "E78.5", "I10"), 8, False),
    ("SYN-0005", "1938-06-21", "female", "S72.001A", ("F03.90", "I10"), 7, True),
)
PROBE_REQUESTS: tuple[dict[str, str], ...] = tuple({"admission_id": f"{name}-1"} for name, *_ in _PROBES)
"""Bodies of /predict for the probe patients."""


def probes() -> tuple[tuple[Patient, ...], tuple[Admission, ...]]:
    """The probe patients, each with one admission; plainly synthetic, and the same in every lab."""
    admitted = UNTIL - timedelta(days=60)
    patients, admissions = [], []
    for name, born, sex, code, lasting, days, emergency in _PROBES:
        demographics = {"birth_date": born, "sex": sex, "language": "en", "payer": "synthetic", "lives_alone": False}
        patients.append(Patient(name, demographics, admitted))
        treated = itertools.chain.from_iterable(c.medications for c in CONDITIONS if c.code in lasting)
        codes = [{"code": each, "type": "secondary" if n else "primary"} for n, each in enumerate((code, *lasting))]
        admissions.append(
            Admission(
                f"{name}-1",
                name,
                admitted,
                admitted + timedelta(days=days),
                code,
                {"admission_type": EMERGENCY if emergency else "elective", "codes": codes},
                [{"code": each, "date": admitted.date().isoformat()} for each in BY_CODE[code].procedures],
                list(dict.fromkeys((*BY_CODE[code].medications, *treated))),
            )
        )
    return tuple(patients), tuple(admissions)
