"""Put the platform into a database of the lab: tables, roles, model, people; or what a loaded dump lacks of these."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from dr.domain.errors import RefusedError
from dr.lab.platform import model
from dr.lab.platform.population import SEED, Admission, Patient, Population, population, probes
from dr.lab.platform.roles import install_roles
from dr.lab.servers.access import Access

SCHEMA = Path(__file__).with_name("schema.sql")
TRAINED = datetime(2025, 2, 1, tzinfo=UTC)
NEEDED = {
    "patients": {"patient_id", "demographics"},
    "admissions": {
        *("admission_id", "patient_id", "admission_date", "discharge_date"),
        *("primary_diagnosis", "diagnoses", "procedures", "medications"),
    },
    "predictions": {
        *("prediction_id", "patient_id", "admission_id", "readmission_risk"),
        *("confidence_interval", "risk_factors", "model_version"),
    },
    "model_versions": {"model_version", "model_type", "training_date", "performance_metrics", "active"},
}
"""The columns the service reads or writes."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What is in the database now. ``added``: sentences on what a loaded dump lacked."""

    patients: int
    admissions: int
    model_version: str
    added: tuple[str, ...] = ()


def install(access: Access, patients: int, artifacts: Path, secrets: Path, seed: int = SEED) -> Installed:
    """Fill an empty database with a synthetic population. All of it, or nothing.

    ``access``: the master user's. ``artifacts``, ``secrets``: directories for the model and the roles' passwords.
    Raises ProviderError, and RefusedError where a directory cannot be written.
    """
    people = population(seed, patients)
    loaded = _place_artifact(artifacts)
    _closed(secrets)
    with access.connect() as connection:
        _schema(connection)
        _register(connection)
        _copy_people(connection, people)
        _copy_predictions(connection, people, loaded, seed)
        install_roles(connection, secrets)
    with access.connect() as connection:
        connection.execute("ANALYZE")
    return Installed(len(people.patients), len(people.admissions), model.VERSION)


def complete(access: Access, artifacts: Path, secrets: Path) -> Installed:
    """Add to a loaded dump what the service needs and the dump lacks. All of it, or nothing.

    Raises RefusedError where a table of the platform's name has not the columns that the service uses.
    """
    _place_artifact(artifacts)
    _closed(secrets)
    with access.connect() as connection:
        lacking = [table for table in NEEDED if not _columns(connection, table)]
        _schema(connection)
        for table, needed in NEEDED.items():
            missing = sorted(needed - _columns(connection, table))
            if missing:
                raise RefusedError(
                    f"The dump's table {table} lacks what the service reads: {', '.join(missing)}.",
                    "Add the columns before dumping, or rehearse without --load.",
                )
        added = [f"the table {table}" for table in lacking]
        version, change = _active_version(connection, artifacts)
        added += [change] if change else []
        added += ["the synthetic patients for probes"] if _add_probes(connection) else []
        install_roles(connection, secrets)
        counts = [connection.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("patients", "admissions")]  # noqa: S608
    with access.connect() as connection:
        connection.execute("ANALYZE")
    held = [int(row[0]) if row else 0 for row in counts]
    return Installed(held[0], held[1], version, tuple(added))


def _closed(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError(f"{directory} cannot be made: {error.strerror}.") from None


def _place_artifact(directory: Path) -> model.Model:
    """Copy the model's artifact to where the service finds it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / model.ARTIFACT.name).write_bytes(model.ARTIFACT.read_bytes())
    except OSError as error:
        raise RefusedError(f"The model cannot be placed in {directory}: {error.strerror}.") from None
    return model.load(directory, model.VERSION, _metrics())


def _metrics() -> dict[str, Any]:
    return {"artifact": model.ARTIFACT.name, "sha256": model.digest(model.ARTIFACT.read_bytes())}


def _schema(connection: psycopg.Connection[Any]) -> None:
    connection.execute(SCHEMA.read_bytes())


def _register(connection: psycopg.Connection[Any]) -> None:
    """Make the lab's model the one active version."""
    connection.execute("UPDATE model_versions SET active = false WHERE active")
    connection.execute(
        "INSERT INTO model_versions (model_version, model_type, training_date, performance_metrics, active)"
        " VALUES (%s, 'logistic_regression', %s, %s, true)"
        " ON CONFLICT (model_version) DO UPDATE SET performance_metrics = excluded.performance_metrics, active = true",
        (model.VERSION, TRAINED, Jsonb(_metrics())),
    )


def _active_version(connection: psycopg.Connection[Any], artifacts: Path) -> tuple[str, str]:
    """The version that serves, and what had to be changed for it: a dump brings no artifacts."""
    active = connection.execute("SELECT model_version, performance_metrics FROM model_versions WHERE active").fetchall()
    if len(active) == 1:
        version = str(active[0][0])
        try:
            model.load(artifacts, version, active[0][1])
            return version, ""
        except RefusedError:
            pass
    _register(connection)
    why = "no active model version" if not active else "no active model version whose artifact is here"
    return model.VERSION, f"model version {model.VERSION} (the dump has {why})"


def _columns(connection: psycopg.Connection[Any], table: str) -> set[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (f"public.{table}",),
    ).fetchall()
    return {str(name) for (name,) in rows}


def _patient_row(patient: Patient) -> tuple[Any, ...]:
    return patient.id, Jsonb(patient.demographics), patient.created, patient.created


def _admission_row(entry: Admission) -> tuple[Any, ...]:
    parts = (Jsonb(entry.diagnoses), Jsonb(entry.procedures), Jsonb(entry.medications))
    seen = entry.discharged or entry.admitted
    return entry.id, entry.patient, entry.admitted, entry.discharged, entry.primary, *parts, entry.admitted, seen


PATIENT_COLUMNS = ("patient_id", "demographics", "created_at", "updated_at")
ADMISSION_COLUMNS = (
    *("admission_id", "patient_id", "admission_date", "discharge_date", "primary_diagnosis"),
    *("diagnoses", "procedures", "medications", "created_at", "updated_at"),
)
PREDICTION_COLUMNS = (
    *("prediction_id", "patient_id", "admission_id", "readmission_risk", "confidence_interval", "risk_factors"),
    *("model_version", "created_at"),
)


def _copy(
    connection: psycopg.Connection[Any], table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    target = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(target) as stream:
        for row in rows:
            stream.write_row(row)


def _copy_people(connection: psycopg.Connection[Any], people: Population) -> None:
    _copy(connection, "patients", PATIENT_COLUMNS, map(_patient_row, people.patients))
    _copy(connection, "admissions", ADMISSION_COLUMNS, map(_admission_row, people.admissions))


def _copy_predictions(connection: psycopg.Connection[Any], people: Population, loaded: model.Model, seed: int) -> None:
    """What the service said at each discharge since the model was trained."""
    dice = random.Random(seed)  # noqa: S311
    demographics = {patient.id: patient.demographics for patient in people.patients}
    stays: dict[str, list[datetime]] = {}
    rows = []
    for entry in people.admissions:
        before = stays.setdefault(entry.patient, [])
        earlier = sum(entry.admitted - model.LOOK_BACK <= at < entry.admitted for at in before)
        before.append(entry.admitted)
        if entry.discharged is None or entry.discharged < TRAINED:
            continue
        known = model.Admission(
            demographics[entry.patient],
            entry.admitted,
            entry.discharged,
            entry.primary,
            entry.diagnoses,
            entry.medications,
            earlier,
        )
        said = loaded.predict(known)
        identity = UUID(int=dice.getrandbits(128), version=4)
        factors = Jsonb(list(said.factors))
        at = entry.discharged + timedelta(minutes=dice.randrange(5, 90))
        rows.append((identity, entry.patient, entry.id, said.risk, list(said.interval), factors, loaded.version, at))
    _copy(connection, "predictions", PREDICTION_COLUMNS, rows)


def _add_probes(connection: psycopg.Connection[Any]) -> bool:
    """The synthetic patients that golden requests name; whether any was missing."""
    patients, admissions = probes()
    added = 0
    for table, columns, rows in (
        ("patients", PATIENT_COLUMNS[:2], [_patient_row(patient)[:2] for patient in patients]),
        ("admissions", ADMISSION_COLUMNS[:8], [_admission_row(entry)[:8] for entry in admissions]),
    ):
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        )
        for row in rows:
            added += connection.execute(statement, row).rowcount
    return added > 0
