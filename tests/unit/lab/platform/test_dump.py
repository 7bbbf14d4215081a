"""A plain dump without its owners and grants; rows, literals and functions untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.domain.errors import ProviderError, UsageError
from dr.lab.platform.dump import failure, reason
from dr.lab.platform.script import loadable, open_quote

AGAIN = 'SET SESSION AUTHORIZATION "clinic_admin";'


def cleaned(text: str) -> str:
    return "".join(loadable(text.splitlines(keepends=True), "clinic_admin"))


@pytest.mark.parametrize(
    "line",
    [
        "ALTER TABLE public.patients OWNER TO hospital;\n",
        "ALTER FUNCTION public.f(a integer) OWNER TO hospital;\n",
        "GRANT SELECT ON TABLE public.patients TO auditor;\n",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;\n",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;\n",
        "SET SESSION AUTHORIZATION rds_superuser;\n",
        "RESET SESSION AUTHORIZATION;\n",
        "SET transaction_timeout = 0;\n",
        'GRANT SELECT ON TABLE public."Patient\'s" TO "it\'s";\n',
        "GRANT rds_superuser TO hospital;\n",
        'ALTER TABLE public.patients OWNER TO "former owner";\n',
        "\\restrict 5JbQ\n",
        "BEGIN;\n",
    ],
)
def test_what_names_foreign_roles_is_left_out_and_its_line_stays(line: str) -> None:
    assert cleaned(f"SELECT 1;\n{line}SELECT 2;\n") == "SELECT 1;\n\nSELECT 2;\n"


def test_a_statement_is_left_out_to_its_end() -> None:
    assert cleaned('GRANT SELECT ON TABLE "two\nlines;\n" TO a;\nSELECT 2;\n') == "\n\n\nSELECT 2;\n"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMENT ON EXTENSION amcheck IS 'functions for verifying relation integrity';",
        "CREATE EVENT TRIGGER watch ON ddl_command_end\n   EXECUTE FUNCTION public.watch();",
        "ALTER EVENT TRIGGER watch DISABLE;",
        "CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert');",
        "ALTER PUBLICATION some ADD TABLES IN SCHEMA public;",
    ],
)
def test_what_rds_lets_its_master_do_the_superuser_does_for_him(statement: str) -> None:
    assert cleaned(f"SELECT 1;\n{statement}\nSELECT 2;\n") == (
        f"SELECT 1;\nRESET SESSION AUTHORIZATION; {statement} {AGAIN}\nSELECT 2;\n"
    )


def test_only_an_extension_of_rdss_list_is_made_by_the_superuser_and_its_wrapper_lent() -> None:
    made = cleaned("CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public;\n")
    assert made.startswith(
        "RESET SESSION AUTHORIZATION; CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public; "
    )
    assert "GRANT USAGE ON FOREIGN DATA WRAPPER" in made
    assert made.endswith(f"{AGAIN}\n")
    for others in ("CREATE EXTENSION citext;\n", "CREATE EXTENSION file_fdw;\n", 'CREATE EXTENSION "postgres""fdw";\n'):
        assert cleaned(others) == others


@pytest.mark.parametrize(
    ("statement", "roles"),
    [
        ("CREATE POLICY p ON public.t FOR SELECT TO auditor USING ((a = 1));", ["auditor"]),
        ('CREATE POLICY "x TO y" ON public."t\'s" TO "it\'s", b USING (true);', ['"it\'s"', "b"]),
        ("CREATE POLICY p ON public.t AS RESTRICTIVE FOR ALL TO PUBLIC, a;", ["a"]),
        ("CREATE USER MAPPING FOR alice SERVER s OPTIONS (\n    password 'x'\n);", ["alice"]),
    ],
)
def test_roles_that_a_dump_names_are_made_where_they_are_absent(statement: str, roles: list[str]) -> None:
    before, _, after = cleaned(f"{statement}\n").partition(f"{AGAIN} ")
    assert after == f"{statement}\n"
    assert [part.split(" NOLOGIN")[0] for part in before.split("CREATE ROLE ")[1:]] == roles


@pytest.mark.parametrize(
    "statement", ["CREATE POLICY p ON t USING (a = 'x TO y');", "CREATE USER MAPPING FOR PUBLIC SERVER s;"]
)
def test_what_names_no_role_makes_none(statement: str) -> None:
    assert cleaned(f"{statement}\n") == f"{statement}\n"


def test_a_command_of_psqls_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"Line 2 of the dump is a command of psql's, \\connect"):
        cleaned("SELECT 1;\n\\connect elsewhere\n")


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
        assert cleaned(before + grant) == f"{before}\n"


def test_quotes_close_only_with_their_own_mark() -> None:
    assert open_quote("AS $a$ it's", "") == "$a$"
    assert open_quote("$$ ' $a$", "$a$") == ""
    assert open_quote("'it''s'", "") == ""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('psql:<stdin>:3: ERROR:  relation "x" does not exist\nLINE 1: ...', 'line 3: relation "x" does not exist'),
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
