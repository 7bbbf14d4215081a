"""The saboteur beneath the server: one value altered in the copy's heap file, its row's xmin and count as they were.

``ADMISSION`` is the admission whose diagnosis gets another letter. Whatever SQL does to a row gives it a new xmin,
which puts it beyond the baseline's snapshot: then the count differs before any checksum is compared. The page's own
checksum no longer fits; the server is told to put up with it, as one without data checksums always does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import psycopg

from tests.sabotage.saboteur import connected, copy, home

ROW = rb"(%b.SYN-[0-9]+.{16,31}?)([A-Z])([0-9][0-9])"
"""admission_id, patient_id, two timestamps, primary_diagnosis: as a tuple holds them, each text after its length."""


def main(admission: str) -> None:
    server = home() / "lab" / "instances" / copy()["resource_id"] / "a"
    with connected() as connection:
        place, database = _one(connection, "SELECT pg_relation_filepath('admissions'), current_database()")
        _tolerate(server, str(database))
        _alter(server / "data" / str(place), admission)
    with connected() as connection:
        [seen] = _one(connection, f"SELECT primary_diagnosis FROM admissions WHERE admission_id = '{admission}'")
    assert str(seen).startswith("Z"), f"the server still sees {seen}: it had read the page before"


def _one(connection: psycopg.Connection[tuple[object, ...]], query: str) -> tuple[object, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def _tolerate(server: Path, database: str) -> None:
    password = (home() / "lab" / "rdsadmin.password").read_text().strip()
    [port] = [path.name.rpartition(".")[2] for path in (server / "socket").glob(".s.PGSQL.*[0-9]")]
    login = {"host": str(server / "socket"), "port": port, "user": "rdsadmin", "password": password}
    with psycopg.connect(**login, dbname=database, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} SET ignore_checksum_failure = on".encode())


def _alter(heap: Path, admission: str) -> None:
    content = heap.read_bytes()
    found = list(re.finditer(ROW % admission.encode(), content, re.DOTALL))
    assert found, f"{admission} is not in {heap}"
    with heap.open("r+b") as file:
        for row in found:
            assert row[2] != b"Z"
            file.seek(row.start(2))
            file.write(b"Z")


if __name__ == "__main__":
    main(sys.argv[1])
