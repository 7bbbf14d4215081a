"""The application's roles, each with the least it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from dr.lab.servers.postgres import verifier
from dr.lab.servers.site import kept_secret

API, ANALYST, HARNESS = "readmission_api", "readmission_analyst", "dr_harness"
ROLES = (API, ANALYST, HARNESS)

GRANTS = {
    API: (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT ON patients, admissions, model_versions TO {role}",
        "GRANT SELECT, INSERT ON predictions TO {role}",
    ),
    ANALYST: (
        "GRANT USAGE ON SCHEMA public TO {role}",
        "GRANT SELECT ON patients, admissions, predictions, model_versions TO {role}",
    ),
    # Reads every table, and may make a schema of its own; nothing else.
    HARNESS: ("GRANT pg_read_all_data TO {role}", "GRANT CREATE ON DATABASE {database} TO {role}"),
}


def secret_file(directory: Path, role: str) -> Path:
    """Where a role's password stands."""
    return directory / f"{role}.password"


def password(directory: Path, role: str) -> str:
    """A role's password, as ``kept_secret``."""
    return kept_secret(secret_file(directory, role))


def install_roles(connection: psycopg.Connection[Any], directory: Path) -> None:
    """Make the roles, with their passwords from ``directory``; what was granted to everybody is taken back first."""
    (database,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    names = {"database": sql.Identifier(database)}
    for closed in ("REVOKE ALL ON DATABASE {database} FROM PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"):
        connection.execute(sql.SQL(closed).format(**names))
    for role in ROLES:
        named = names | {"role": sql.Identifier(role)}
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE ROLE {role} LOGIN").format(**named))
        secret = sql.Literal(verifier(connection, role, password(directory, role)))
        connection.execute(sql.SQL("ALTER ROLE {role} LOGIN PASSWORD {secret}").format(**named, secret=secret))
        for grant in ("GRANT CONNECT ON DATABASE {database} TO {role}", *GRANTS[role]):
            connection.execute(sql.SQL(grant).format(**named))
    _offer_amcheck(connection)


def show_all(connection: psycopg.Connection[Any]) -> None:
    """Let the harness read tables with row-level security, and see who streams from the server.

    ``connection``: a superuser's; others may not give that.
    """
    for grant in ("ALTER ROLE {} BYPASSRLS", "GRANT pg_read_all_stats TO {}"):
        connection.execute(sql.SQL(grant).format(sql.Identifier(HARNESS)))


def _offer_amcheck(connection: psycopg.Connection[Any]) -> None:
    """Let the harness check indexes, where the database has the extension."""
    checks = connection.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid"
        " JOIN pg_extension e ON e.oid = d.refobjid"
        " WHERE e.extname = 'amcheck' AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'"
    ).fetchall()
    for (signature,) in checks:
        connection.execute(
            sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(signature), sql.Identifier(HARNESS))
        )
