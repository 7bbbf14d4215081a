"""The model: deterministic, ordered as medicine has it, and loaded only when its digest holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dr.domain.errors import RefusedError
from dr.lab.platform import model

ADMITTED = datetime(2025, 3, 1, tzinfo=UTC)
METRICS = {"artifact": model.ARTIFACT.name, "sha256": model.digest(model.ARTIFACT.read_bytes())}


@pytest.fixture(scope="module")
def loaded() -> model.Model:
    return model.load(model.ARTIFACT.parent, model.VERSION, METRICS)


def admission(**changes: Any) -> model.Admission:
    values: dict[str, Any] = {
        "demographics": {"birth_date": "1955-01-01"},
        "admitted": ADMITTED,
        "discharged": ADMITTED + timedelta(days=3),
        "primary_diagnosis": "J18.9",
        "diagnoses": {"admission_type": "elective", "codes": [{"code": "J18.9", "type": "primary"}]},
        "medications": ["a", "b"],
        "earlier": 0,
    }
    return model.Admission(**(values | changes))


def test_the_risk_is_the_logistic_of_the_named_coefficients() -> None:
    simple = model.Model("1", -1.0, {"emergency_admission": 0.5}, {"intercept": 0.1, "emergency_admission": 0.2})
    said = simple.predict(admission(diagnoses={"admission_type": "emergency"}))
    assert said.risk == pytest.approx(0.377541, abs=1e-6)
    assert said.interval == pytest.approx((0.281252, 0.484570), abs=1e-6)
    assert said.factors == ({"factor": "emergency_admission", "contribution": 0.5},)


@pytest.mark.parametrize(
    "worse",
    [
        {"demographics": {"birth_date": "1930-01-01"}},
        {"discharged": ADMITTED + timedelta(days=12)},
        {"diagnoses": {"admission_type": "emergency", "codes": []}},
        {"diagnoses": {"codes": [{"code": "I50.9"}, {"code": "N18.30"}]}},
        {"diagnoses": ["J18.9", "C34.90"]},
        {"medications": [str(n) for n in range(12)]},
        {"earlier": 2},
    ],
)
def test_what_makes_patients_sicker_raises_the_risk(loaded: model.Model, worse: dict[str, Any]) -> None:
    before, after = loaded.predict(admission()), loaded.predict(admission(**worse))
    assert after.risk > before.risk
    assert after.interval[0] < after.risk < after.interval[1]


@pytest.mark.parametrize(
    "odd",
    [
        {"demographics": None},
        {"demographics": ["x"]},
        {"demographics": {"birth_date": "unknown"}},
        {"demographics": {"birth_date": 1950}},
        {"discharged": None},
        {"discharged": ADMITTED - timedelta(days=1)},
        {"primary_diagnosis": None},
        {"diagnoses": 7},
        {"diagnoses": {"codes": "J18.9"}},
        {"diagnoses": [None, 3, {"code": None}, {}]},
        {"medications": {"a": 1}},
    ],
)
def test_data_of_another_shape_still_get_a_risk(loaded: model.Model, odd: dict[str, Any]) -> None:
    assert 0 < loaded.predict(admission(**odd)).risk < 1


def test_every_coefficient_has_a_feature_and_a_standard_error(loaded: model.Model) -> None:
    assert set(loaded.coefficients) == set(model.features(admission()))
    assert set(loaded.errors) == {*loaded.coefficients, "intercept"}


def write(directory: Path, content: bytes) -> dict[str, str]:
    (directory / "m.json").write_bytes(content)
    return {"artifact": "m.json", "sha256": model.digest(content)}


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        (None, "names no artifact"),
        ({}, "names no artifact"),
        ({"artifact": "m.json"}, "names no artifact"),
        ({"artifact": "../m.json", "sha256": "x"}, "names no artifact"),
        ({"artifact": "gone.json", "sha256": "x"}, "is not there"),
        ({"artifact": "m.json", "sha256": "0" * 64}, "differs from the digest"),
    ],
)
def test_a_row_that_names_no_proper_artifact_is_refused(tmp_path: Path, metrics: Any, why: str) -> None:
    write(tmp_path, b"{}")
    with pytest.raises(RefusedError, match=why):
        model.load(tmp_path, "1", metrics)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps({"intercept": "high", "coefficients": {}, "standard_errors": {}}).encode(),
        json.dumps({"intercept": 1, "coefficients": [], "standard_errors": {}}).encode(),
        json.dumps({"intercept": 1, "coefficients": {"a": None}, "standard_errors": {}}).encode(),
    ],
)
def test_an_artifact_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedError, match="is not a logistic regression"):
        model.load(tmp_path, "1", write(tmp_path, content))
