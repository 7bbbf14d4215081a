"""A script of pg_dump's as RDS's master user may load it into a database of his own. Pure.

Owners and grants are left out, as RDS's own advice has it: the roles of its origin are not here. What RDS lets members
of rds_superuser do although PostgreSQL asks for a superuser, the lab's superuser does for them: extensions of RDS's
list that PostgreSQL does not trust, event triggers, publications of all tables, subscriptions. Roles that policies and
user mappings name are made where they are absent; they cannot log in.

A line of the script is a line of what it becomes, so that an error's line is the script's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from psycopg import sql

from dr.domain.errors import UsageError

UNTRUSTED = frozenset(
    (
        *("address_standardizer", "address_standardizer_data_us", "amcheck", "autoinc", "aws_commons", "aws_lambda"),
        *("aws_s3", "bloom", "dblink", "dict_xsyn", "earthdistance", "h3-pg", "hll", "hypopg", "insert_username"),
        *("intagg", "ip4r", "log_fdw", "moddatetime", "mysql_fdw", "oracle_fdw", "orafce", "pageinspect", "pg_bigm"),
        *("pg_buffercache", "pg_cron", "pg_freespacemap", "pg_hint_plan", "pg_partman", "pg_prewarm", "pg_proctab"),
        *("pg_repack", "pg_similarity", "pg_stat_statements", "pg_tle", "pg_transport", "pg_visibility"),
        *("pg_walinspect", "pgaudit", "pglogical", "pgrouting", "pgrowlocks", "pgstattuple", "pgtap", "plprofiler"),
        *("plrust", "plv8", "postgis", "postgis_raster", "postgis_tiger_geocoder", "postgis_topology", "postgres_fdw"),
        *("prefix", "rdkit", "rds_tools", "refint", "sslinfo", "tds_fdw", "test_parser", "vector"),
    )
)
"""Extensions that RDS for PostgreSQL lets its master create, and PostgreSQL itself only a superuser."""

_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_COPY = re.compile(r"COPY .* FROM stdin;\s*$", re.IGNORECASE | re.DOTALL)
_QUOTE = re.compile(r"\$(?:[A-Za-z_]\w*)?\$|['\"]")
_LEFT_OUT = re.compile(
    r"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|(?:RE)?SET SESSION AUTHORIZATION)\b"
    rf"|ALTER .* OWNER TO {_IDENTIFIER};"
    r"|(?:BEGIN|COMMIT);"  # round large objects: here everything is one transaction
    r"|SET transaction_timeout = ",  # of a newer pg_dump, which an older server does not know
    re.DOTALL,
)
_EXTENSION = re.compile(rf"CREATE EXTENSION (?:IF NOT EXISTS )?({_IDENTIFIER})")
_BY_SUPERUSER = re.compile(
    r"COMMENT ON (?:EXTENSION|EVENT TRIGGER|PUBLICATION|SUBSCRIPTION) "
    r"|(?:CREATE|ALTER) (?:EVENT TRIGGER|SUBSCRIPTION) "
    r"|ALTER PUBLICATION |CREATE PUBLICATION .* FOR (?:ALL TABLES|TABLES IN SCHEMA)",
    re.DOTALL,
)
_FOR_ROLES = re.compile(
    rf"CREATE USER MAPPING FOR ({_IDENTIFIER}) SERVER "
    rf"|CREATE POLICY {_IDENTIFIER} ON {_IDENTIFIER}(?:\.{_IDENTIFIER})?(?: AS \w+)?(?: FOR \w+)?"
    rf" TO ({_IDENTIFIER}(?:, {_IDENTIFIER})*)"
)
_NO_ROLES = {"public", "user", "current_user", "current_role", "session_user"}

_RESET = "RESET SESSION AUTHORIZATION;"
_MAKE_ROLE = "DO $dr$BEGIN CREATE ROLE {} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$dr$;"
_LEND_WRAPPERS = (
    "DO $dr$DECLARE w name; BEGIN FOR w IN SELECT fdwname FROM pg_catalog.pg_foreign_data_wrapper LOOP"
    " EXECUTE pg_catalog.format('GRANT USAGE ON FOREIGN DATA WRAPPER %I TO %I', w, {}); END LOOP; END$dr$;"
)
"""A server is made by whom its wrapper lets."""


def loadable(lines: Iterable[str], master: str) -> Iterator[str]:
    """The script for a session of ``master``'s that a superuser began. Rows, literals and functions pass as they are.

    Raises UsageError for a command of psql's.
    """
    in_rows, quote, statement = False, "", ""
    for number, line in enumerate(lines, 1):
        if in_rows:
            in_rows = line.rstrip("\r\n") != r"\."
            yield line
        elif not quote and line.startswith("\\"):
            _check_command(line, number)
            yield "\n"
        elif not statement and (not line.strip() or line.startswith("--")):
            yield line
        else:
            statement += line
            quote = open_quote(line, quote)
            if not quote and line.rstrip().endswith(";"):
                in_rows = _COPY.match(statement) is not None
                yield _loaded(statement, master)
                statement = ""
    yield statement


def _check_command(line: str, number: int) -> None:
    if not line.startswith(("\\restrict ", "\\unrestrict ")):  # of pg_dump's own, for what is refused here
        raise UsageError(
            f"Line {number} of the dump is a command of psql's, {line.split()[0]}.",
            "Leave it out; where it connects elsewhere, dump anew without --create.",
        )


def _loaded(statement: str, master: str) -> str:
    """One statement as it is loaded, in as many lines."""
    if _LEFT_OUT.match(statement):
        return "\n" * statement.count("\n")
    become = sql.SQL("SET SESSION AUTHORIZATION {};").format(sql.Identifier(master)).as_string()
    extension = _EXTENSION.match(statement)
    if extension and _named(extension[1]) in UNTRUSTED:
        lend = sql.SQL(_LEND_WRAPPERS).format(sql.Literal(master)).as_string()
        return f"{_RESET} {statement.rstrip()} {lend} {become}\n"
    if _BY_SUPERUSER.match(statement):
        return f"{_RESET} {statement.rstrip()} {become}\n"
    named = _FOR_ROLES.match(statement)
    roles = re.findall(_IDENTIFIER, named[1] or named[2]) if named else []
    absent = [_MAKE_ROLE.format(role) for role in roles if role.lower() not in _NO_ROLES]
    return f"{_RESET} {' '.join(absent)} {become} {statement}" if absent else statement


def _named(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier.lower()


def open_quote(line: str, quote: str) -> str:
    """The quote that is open after ``line``, if ``quote`` was before it; empty: none."""
    for mark in _QUOTE.findall(line):
        if not quote:
            quote = mark
        elif mark == quote:
            quote = ""
    return quote
