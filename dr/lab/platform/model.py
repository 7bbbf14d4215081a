"""The readmission model: a logistic regression whose artifact is a JSON file, named and digested by the database."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from dr.domain.errors import RefusedError
from dr.host.decode import OBJECT, line_of

VERSION = "2.3.0"
ARTIFACT = Path(__file__).with_name(f"readmission-{VERSION}.json")
EMERGENCY = "emergency"
LOOK_BACK = timedelta(days=182)
"""How long before an admission earlier ones count."""
Z_95 = 1.959964
"""Standard errors on either side of a 95% confidence interval."""

# Which ICD-10 categories count as which condition.
CONDITIONS = {
    "heart_failure": ("I50",),
    "chronic_lung_disease": ("J43", "J44"),
    "kidney_disease": ("N17", "N18"),
    "diabetes": ("E10", "E11"),
    "cancer": ("C",),
    "dementia": ("F03", "G30"),
}


@dataclass(frozen=True, slots=True)
class Admission:
    """What the model needs to know of one admission. The JSON parts are as the database has them, or None."""

    demographics: Any
    admitted: datetime
    discharged: datetime | None
    primary_diagnosis: str | None
    diagnoses: Any
    medications: Any
    earlier: int
    """The patient's admissions within LOOK_BACK before this one."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """``risk`` and its 95% ``interval`` are probabilities; ``factors`` come with their share of the logit."""

    risk: float
    interval: tuple[float, float]
    factors: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded artifact."""

    version: str
    intercept: float
    coefficients: Mapping[str, float]
    errors: Mapping[str, float]

    def predict(self, admission: Admission) -> Prediction:
        """Pure: the same admission has the same risk."""
        values = features(admission)
        shares = {name: weight * values.get(name, 0.0) for name, weight in self.coefficients.items()}
        logit = self.intercept + sum(shares.values())
        variance = self.errors.get("intercept", 0.0) ** 2
        variance += sum((self.errors.get(name, 0.0) * values.get(name, 0.0)) ** 2 for name in self.coefficients)
        reach = Z_95 * math.sqrt(variance)
        ranked = sorted(((name, share) for name, share in shares.items() if share > 0), key=lambda pair: -pair[1])
        return Prediction(
            round(_logistic(logit), 6),
            (round(_logistic(logit - reach), 6), round(_logistic(logit + reach), 6)),
            tuple({"factor": name, "contribution": round(share, 4)} for name, share in ranked[:5]),
        )


def features(admission: Admission) -> dict[str, float]:
    """An admission as the model's numbers. What a foreign dump lacks, or has in another shape, counts as absent."""
    demographics = admission.demographics if isinstance(admission.demographics, dict) else {}
    codes = {code for code in (admission.primary_diagnosis, *_codes(admission.diagnoses)) if code}
    medications = _list(admission.medications)
    stay = (admission.discharged - admission.admitted).total_seconds() / 86400 if admission.discharged else 0.0
    values = {
        "age_decades_over_50": max(0.0, _age(demographics.get("birth_date"), admission.admitted.date()) - 50) / 10,
        "length_of_stay_log_days": math.log1p(max(0.0, stay)),
        "emergency_admission": float(_kind(admission.diagnoses) == EMERGENCY),
        "admissions_last_6_months": float(min(admission.earlier, 4)),
        "comorbidities": float(min(max(0, len(codes) - 1), 6)),
        "medications_over_5": float(max(0, len(medications) - 5)),
    }
    for name, prefixes in CONDITIONS.items():
        values[name] = float(any(code.startswith(prefixes) for code in codes))
    return values


def _codes(diagnoses: Any) -> list[str]:
    """The ICD-10 codes of a diagnoses column: a list of codes, or of objects with one."""
    listed = diagnoses.get("codes") if isinstance(diagnoses, dict) else diagnoses
    found = [entry.get("code") if isinstance(entry, dict) else entry for entry in _list(listed)]
    return [code for code in found if isinstance(code, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(diagnoses: Any) -> str | None:
    return diagnoses.get("admission_type") if isinstance(diagnoses, dict) else None


def _age(born: Any, on: date) -> int:
    try:
        birth = date.fromisoformat(str(born))
    except ValueError:
        return 0
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def digest(content: bytes) -> str:
    """What stands in model_versions for an artifact."""
    return hashlib.sha256(content).hexdigest()


def load(directory: Path, version: str, metrics: Any) -> Model:
    """The model that a row of model_versions names in its performance_metrics ("artifact", "sha256").

    Raises RefusedError where the row names none, or the artifact is not there, differs from its digest, or is no model.
    """
    metrics = metrics if isinstance(metrics, dict) else {}
    name, expected = str(metrics.get("artifact", "")), metrics.get("sha256")
    if not name or not expected or Path(name).name != name:
        raise RefusedError(f"Model version {version} names no artifact with a digest.")
    try:
        content = (directory / name).read_bytes()
    except OSError:
        raise RefusedError(f"The artifact {name} of model version {version} is not there.") from None
    if digest(content) != expected:
        raise RefusedError(f"The artifact {name} differs from the digest of model version {version}.")
    try:
        stored: Any = line_of(content, OBJECT)
        numbers = {key: {k: float(v) for k, v in stored[key].items()} for key in ("coefficients", "standard_errors")}
        return Model(version, float(stored["intercept"]), numbers["coefficients"], numbers["standard_errors"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise RefusedError(f"The artifact {name} of model version {version} is not a logistic regression.") from None
