"""The synthetic population: the same for the same seed, and plausible to a clinician."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from dr.lab.platform.clinic import CONDITIONS, INFECTION, REASONS
from dr.lab.platform.population import (
    BY_CODE,
    MOST_ADMISSIONS,
    PROBE_REQUESTS,
    SEED,
    UNTIL,
    Population,
    population,
    probes,
)


@pytest.fixture(scope="module")
def people() -> Population:
    return population(SEED, 2000)


def test_the_same_seed_gives_the_same_people_and_another_seed_others(people: Population) -> None:
    assert population(SEED, 2000) == people
    assert population(SEED + 1, 2000).patients[:2000] != people.patients[:2000]


def test_more_patients_begin_with_the_same_ones(people: Population) -> None:
    assert population(SEED, 100).patients[:100] == people.patients[:100]


def test_ids_are_unique_and_every_admission_has_its_patient(people: Population) -> None:
    patients = Counter(patient.id for patient in people.patients)
    admissions = Counter(entry.id for entry in people.admissions)
    assert max(patients.values()) == max(admissions.values()) == 1
    assert {entry.patient for entry in people.admissions} == set(patients)


def test_there_is_about_one_and_a_half_admission_to_a_patient(people: Population) -> None:
    assert 1.3 < len(people.admissions) / len(people.patients) < 1.8
    assert max(Counter(entry.patient for entry in people.admissions).values()) <= MOST_ADMISSIONS


def test_ages_and_sexes_fit_the_diagnoses(people: Population) -> None:
    patients = {patient.id: patient.demographics for patient in people.patients}
    seen = set()
    for entry in people.admissions:
        reason = BY_CODE[entry.primary]
        seen.add(entry.primary)
        demographics = patients[entry.patient]
        age = (entry.admitted.date() - date.fromisoformat(demographics["birth_date"])).days / 365.25
        if entry.id.endswith("-1"):
            # Two years pass between the youngest and the oldest admission; the reason is drawn at one moment.
            assert reason.ages[0] - 1 <= age <= reason.ages[1] + 3, entry
        assert reason.sex in ("", demographics["sex"])
    assert seen == {reason.code for reason in REASONS}


def test_nobody_has_the_same_organ_removed_twice(people: Population) -> None:
    operated = {reason.code for reason in REASONS if reason.again and reason.code != INFECTION}
    counts = Counter((entry.patient, entry.primary) for entry in people.admissions if entry.primary in operated)
    assert max(counts.values()) == 1


def test_stays_are_in_order_and_of_a_plausible_length(people: Population) -> None:
    last: dict[str, object] = {}
    stays = []
    for entry in people.admissions:
        assert entry.admitted <= UNTIL
        if entry.discharged is not None:
            assert entry.admitted < entry.discharged <= UNTIL
            stays.append((entry.discharged - entry.admitted).total_seconds() / 86400)
        before = last.get(entry.patient)
        assert before is None or before < entry.admitted  # type: ignore[operator]
        last[entry.patient] = entry.discharged
    stays.sort()
    assert 3 < stays[len(stays) // 2] < 6
    assert stays[-1] < 60


def test_lasting_conditions_grow_with_age_and_bring_their_medications(people: Population) -> None:
    treated = {condition.code: condition.medications for condition in CONDITIONS}
    born = {patient.id: patient.demographics["birth_date"] for patient in people.patients}
    young, old = [], []
    for entry in people.admissions:
        lasting = [each["code"] for each in entry.diagnoses["codes"] if each["type"] == "secondary"]
        for code in lasting:
            assert set(treated[code]) <= set(entry.medications)
        assert set(BY_CODE[entry.primary].medications) <= set(entry.medications)
        (old if born[entry.patient] < "1955" else young).append(len(lasting))
    assert sum(old) / len(old) > 1.5 * sum(young) / len(young)


def test_probe_patients_are_plainly_synthetic_and_the_same_in_every_population(people: Population) -> None:
    patients, admissions = probes()
    assert all(patient.id.startswith("SYN-") for patient in patients)
    assert people.patients[-len(patients) :] == population(1, 3).patients[3:] == patients
    assert {request["admission_id"] for request in PROBE_REQUESTS} == {entry.id for entry in admissions}


def test_a_population_of_nobody_still_has_the_probe_patients() -> None:
    assert population(SEED, 0).patients == probes()[0]
