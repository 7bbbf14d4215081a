"""Copies whose content is bad, one act each: a physical copy of a source is altered, examined and judged.

What a drill makes of such a copy, from argv to verdict, is in test_sabotage.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from dr.domain.model import Finding, Grant, Status
from dr.evidence.samples import markers_file
from tests.integration.test_postgres_provider import MODEL, PLATFORM, VICTIMS, Drill, drill, examine
from tests.servers import DATABASE, PASSWORD, LocalServer, local_server, physical_copy
from tests.unit.judge.objectives import test_equality as equality
from tests.unit.judge.objectives import test_loss as loss

MARKERS = VICTIMS.replace("victims", "markers")
HELD = range(31)
"""The markers of ``loss.WRITTEN`` that a copy of its point holds."""
EQUAL = ("data", "schema", "foreign-keys", "model", "logins")
SOUGHT = (*EQUAL, "loss", "exact-point")


@dataclass
class Night:
    """A source whose rows have vanished, ``before`` it as it was at ``point``, and what examines copies of that."""

    source: Drill
    before: LocalServer
    point: float

    def judged(self, act: Callable[[LocalServer], None]) -> dict[str, Finding]:
        """What is found in a copy of the point to which ``act`` was done, by objective."""
        with physical_copy(self.before) as copy:
            act(copy)
            _, seen = examine(self.source, copy, self.point)
        return {objective: _judged(objective, seen) for objective in SOUGHT}


def by_sql(act: str) -> Callable[[LocalServer], None]:
    def done(copy: LocalServer) -> None:
        with copy.superuser() as saboteur:
            saboteur.execute("set session_replication_role = replica")
            saboteur.execute(act.encode())

    return done


def beneath(copy: LocalServer) -> None:
    """One value altered in the heap file, its row's xmin and count as they were: whatever SQL does to a row gives it a
    new xmin, which puts it beyond the baseline's snapshot. The page's own checksum, where it has one, no longer fits;
    the server is told to put up with it, as one without data checksums always does."""
    with copy.superuser() as saboteur:
        saboteur.execute(f"alter database {DATABASE} set ignore_checksum_failure = on".encode())
        (place,) = saboteur.execute("select pg_relation_filepath('admissions')").fetchone() or ("",)
    heap = copy.data / place
    row = struct.pack("=i", 37) + b"\x09P37"  # a short text is led by its length
    content = heap.read_bytes()
    assert content.count(row + struct.pack("=i", 3)) == 1
    heap.write_bytes(content.replace(row + struct.pack("=i", 3), row + struct.pack("=i", 9)))
    with copy.superuser() as saboteur:
        seen = saboteur.execute("select days from admissions where admission_id = 37").fetchone()
    assert seen == (9,), "the server had read the page before"


def _judged(objective: str, seen: Mapping[str, Any]) -> Finding:
    if objective not in EQUAL:
        present = seen["markers"]["present"]
        return loss.judge(objective, present)
    observed = []
    for name, value in seen.items():
        what, of_source = name.removesuffix(" after"), name == "baseline" or name.endswith(" after")
        observed.append(equality.seen(what, msgspec.to_builtins(value), "source" if of_source else "restored"))
    return equality.judged(objective, *observed)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with local_server() as server:
        with server.superuser() as connection:
            connection.execute(PLATFORM)
            metrics = json.dumps({"artifact": "m.json", "sha256": hashlib.sha256(MODEL).hexdigest()})
            connection.execute("insert into model_versions values ('2.3.0', %s, true)", (metrics,))
            connection.execute(f"create role app login password '{PASSWORD}'")
            connection.execute(f"create table {MARKERS} (n bigint, attempt smallint)")
            connection.execute(f"insert into {MARKERS} select n, 0 from generate_series(0, {HELD[-1]}) n")
        source = drill(server, tmp_path_factory.mktemp("night"), Grant.MARKERS)
        source.run("baseline")
        markers_file(source.context.run, "source").write_text("")
        with physical_copy(server) as before:
            point = source.run("disaster")["vanish"]["recovery_point"]
            yield Night(source, before, point)


def test_a_copy_that_nobody_touched_is_met(night: Night) -> None:
    assert {name: found.status for name, found in night.judged(by_sql("select")).items()} == dict.fromkeys(
        SOUGHT, Status.MET
    )


@pytest.mark.parametrize(
    ("act", "missed"),
    [
        ("drop table admissions", {"data": r"public\.admissions.*missing", "schema": r"public\.admissions.*missing"}),
        ("drop index admissions_patient", {"schema": r"public\.admissions_patient"}),
        (
            "update admissions set days = 9 where admission_id = 1",
            {"data": r"public\.admissions: 1 row written, altered or deleted on the copy itself.*, 1 row missing"},
        ),
        (
            "update patients set demographics = '{}' where patient_id = 'P1'",
            {"data": r"public\.patients: 1 row written, altered or deleted on the copy itself.*, 1 row missing"},
        ),
        ("delete from admissions where admission_id = 50", {"data": r"public\.admissions: .*1 row missing"}),
        (
            "insert into admissions values (51, 'P1', 3)",
            {"data": r"public\.admissions: 1 row written, altered or deleted on the copy itself"},
        ),
        ("delete from patients where patient_id = 'P1'", {"data": r"public\.patients", "foreign-keys": "1"}),
        (
            "update model_versions set active = false",
            {"data": r"public\.model_versions", "model": "0 model versions are active"},
        ),
        (f"delete from {VICTIMS}", {"data": "0 of 200 that vanished are back"}),
        (f"delete from {VICTIMS} where n = 7", {"data": "199 of 200 that vanished are back"}),
        ("alter role app password 'another'", {"logins": "app", "schema": "password or limits of role app"}),
        (f"delete from {MARKERS} where n = 3", {"loss": "3", "exact-point": "3"}),
        (f"insert into {MARKERS} select n, 0 from generate_series(31, 49) n", {"exact-point": "more"}),
        (f"drop table {MARKERS}", {"loss": "", "exact-point": ""}),
    ],
)
def test_what_is_bad_in_a_copy_is_missed_and_nothing_else_is(night: Night, act: str, missed: dict[str, str]) -> None:
    found = night.judged(by_sql(act))
    told = {name: one.because for name, one in found.items() if one.status is not Status.MET}
    assert {name for name, one in found.items() if one.status is Status.MISSED} == set(missed), told
    assert set(told) == set(missed), told
    for name, words in missed.items():
        assert re.search(words, told[name]), told[name]


def test_one_value_altered_beneath_the_server_is_missed_by_its_checksum(night: Night) -> None:
    found = night.judged(beneath)
    assert {name for name, one in found.items() if one.status is not Status.MET} == {"data", "schema"}
    assert "ignore_checksum_failure" not in found["data"].because, "a setting of the database, which it took, is no row"
    assert (found["data"].status, found["data"].because[:32]) == (Status.MISSED, "public.admissions: 1 row altered")
