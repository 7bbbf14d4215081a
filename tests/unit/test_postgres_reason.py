"""What is said of a database's own errors."""

from __future__ import annotations

from psycopg import errors

from dr.drivers.postgres_connection import reason


def test_a_table_behind_a_policy_says_what_the_harness_lacks() -> None:
    hidden = errors.InsufficientPrivilege('query would be affected by row-level security policy for table "patients"')
    assert reason(hidden).startswith("query would be affected by row-level security policy")
    assert "give the harness's role BYPASSRLS" in reason(hidden)
    assert "BYPASSRLS" not in reason(errors.InsufficientPrivilege("permission denied for table patients"))
