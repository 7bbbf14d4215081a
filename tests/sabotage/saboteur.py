"""What a sabotaged drill runs between its restore and its examination: one act against the copy.

``ACT`` is SQL, executed as the copy's master user.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import yaml

from dr.config.plugins import target_type
from dr.config.secrets import secret


def home() -> Path:
    return Path(os.environ["DR_HOME"])


def copy() -> dict[str, Any]:
    """What the run's ledger says of its copy."""
    entries = map(json.loads, (home() / "runs" / os.environ["DR_RUN"] / "ledger.jsonl").read_text().splitlines())
    found: dict[str, Any] = next(e["data"] for e in entries if (e["kind"], e["call"]) == ("effect", "restore"))
    return found


def connected() -> psycopg.Connection[Any]:
    """A connection to the copy as its master user."""
    target = msgspec.convert(yaml.safe_load((home() / "lab" / "target.yaml").read_text()), target_type())
    master = target.postgres.master
    assert master is not None
    return psycopg.connect(
        host=copy()["host"],
        port=copy()["port"],
        dbname=target.postgres.name,
        user=master.user,
        password=secret(master.secret),
        sslmode="verify-full",
        sslrootcert=target.postgres.ca,
        autocommit=True,
    )


def main(act: str) -> None:
    with connected() as connection:
        connection.execute(act.replace("RUN", os.environ["DR_RUN"].replace("-", "_")).encode())


if __name__ == "__main__":
    main(sys.argv[1])
