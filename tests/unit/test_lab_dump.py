"""A plain dump without its owners and grants; rows, literals and functions untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.errors import ProviderError, UsageError
from dr.lab.platform.dump import failure, loadable, open_quote, reason


def cleaned(text: str) -> str:
    return "".join(loadable(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    "line",
    [
        "ALTER TABLE public.patients OWNER TO hospital;\n",
        "ALTER FUNCTION public.f(a integer) OWNER TO hospital;\n",
        "GRANT SELECT ON TABLE public.patients TO auditor;\n",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;\n",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;\n",
        "COMMENT ON EXTENSION amcheck IS 'functions for verifying relation integrity';\n",
        "SET SESSION AUTHORIZATION rds_superuser;\n",
        "RESET SESSION AUTHORIZATION;\n",
        "SET transaction_timeout = 0;\n",
    ],
)
def test_what_names_foreign_roles_is_left_out(line: str) -> None:
    assert cleaned(f"SELECT 1;\n{line}SELECT 2;\n") == "SELECT 1;\nSELECT 2;\n"


@pytest.mark.parametrize(
    "text",
    [
        "COPY public.t (a) FROM stdin;\nGRANT SELECT ON x TO y;\nit's\n\\.\n",
        "INSERT INTO t VALUES ('one\nGRANT SELECT ON x TO y;\n');\n",
        "CREATE FUNCTION f() AS $$\nGRANT SELECT ON x TO y;\n$$;\n",
        "CREATE FUNCTION f() AS $_$\nSELECT $$it's$$;\nGRANT SELECT ON x TO y;\n$_$;\n",
        "SET statement_timeout = 0;\nCREATE TABLE t (a int);\nALTER TABLE ONLY t ADD PRIMARY KEY (a);\n",
        "COMMENT ON TABLE t IS 'GRANT SELECT ON x TO y;';\n",
    ],
)
def test_everything_else_passes_as_it_is(text: str) -> None:
    assert cleaned(text) == text


def test_after_rows_literals_and_comments_it_looks_again() -> None:
    grant = "GRANT SELECT ON x TO y;\n"
    for before in ("COPY t FROM stdin;\nit's\n\\.\n", "INSERT INTO t VALUES ('it''s');\n", "-- the owner's table\n"):
        assert cleaned(before + grant) == before


def test_quotes_close_only_with_their_own_mark() -> None:
    assert open_quote("AS $a$ it's", "") == "$a$"
    assert open_quote("$$ ' $a$", "$a$") == ""
    assert open_quote("'it''s'", "") == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('psql:<stdin>:3: ERROR:  relation "x" does not exist\nLINE 1: ...', 'relation "x" does not exist'),
        ("ERROR:  duplicate key value\nDETAIL:  Key (id)=(Jane Doe) already exists.", "duplicate key value"),
        (
            "pg_restore: error: could not read from input file: end of file\n",
            "could not read from input file: end of file",
        ),
        ("", "it ended without a reason"),
    ],
)
def test_the_reason_is_the_first_error_without_its_row(said: str, why: str) -> None:
    assert reason(said) == why


@pytest.mark.parametrize("why", ['relation "x" does not exist', "could not read from input file: end of file"])
def test_a_broken_dump_is_a_wrong_input_and_says_what_to_do(why: str) -> None:
    error = failure(Path("own.sql"), why, 15)
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"The dump own.sql could not be loaded: {why}.")
    assert "correct it, or dump anew with pg_dump" in error.hint


@pytest.mark.parametrize(
    "why",
    [
        'could not extend file "base/5/16385": No space left on device',
        "terminating connection due to administrator command",
        "connection to server was lost",
    ],
)
def test_a_server_that_fails_under_a_dump_is_not_the_dumps_fault(why: str) -> None:
    assert isinstance(failure(Path("own.sql"), why, 15), ProviderError)
