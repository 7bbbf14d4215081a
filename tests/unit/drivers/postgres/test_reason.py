"""What is said of a database's own errors, and what a password that is refused keeps from being planned."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from dr.domain.errors import (
    DrError,
    HiddenStandbyError,
    NoDatabaseError,
    PasswordError,
    ProviderError,
    RefusedError,
    UnreachableError,
)
from dr.domain.model import Facts, Grant, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.drivers.postgres.connection import connect, reason
from dr.drivers.postgres.provider import PostgresProvider
from dr.drivers.rds.look import resource
from dr.evidence import profiles
from tests.unit.drivers.rds.support import ACCOUNT, NOW, REGION, SOURCE, context, description, run, target

STALE = 'connection to server at "h", port 5432 failed: FATAL:  password authentication failed for user "dr"'
NO_CA = (
    'connection to server at "h", port 5432 failed: root certificate file "/nope" does not exist\nEither provide it.'
)
GONE = 'connection to server at "h", port 5432 failed: Connection refused'
FATAL = 'connection to server at "h", port 5432 failed: FATAL:  the database system is '
NO_DATABASE = 'connection to server at "h", port 5432 failed: FATAL:  database "readmission" does not exist'


class Within(errors.UndefinedColumn):
    """Of a statement that a function made."""

    diag = SimpleNamespace(context="PL/pgSQL function own.ward(text) line 1 at EXECUTE", internal_query=None)  # type: ignore[assignment]


def saying(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Every connection fails with what libpq or the server ``said``."""

    def fail(_what: str, **_: Any) -> None:
        raise psycopg.OperationalError(said)

    monkeypatch.setenv("DR_SECRET", "hush")
    monkeypatch.setattr("dr.drivers.postgres.connection.opened", fail)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidTextRepresentation('invalid input syntax for type integer: "Jane Roe"'),
        errors.UniqueViolation("Key (name)=(Jane Roe) already exists"),
        errors.RaiseException("Jane Roe has no ward"),
        errors.SyntaxError('syntax error in tsquery: "Jane Roe"'),
        Within('column "Jane Roe" does not exist'),
        psycopg.DataError("can't parse date 'Jane Roe'"),
    ],
)
def test_an_error_that_may_hold_a_rows_values_is_told_by_its_state_alone(error: psycopg.Error) -> None:
    assert reason(error) == f"SQLSTATE {error.sqlstate or 'unknown'}, whose text may hold a row's values"


def test_an_error_of_rights_or_locks_is_told_in_its_own_words() -> None:
    assert reason(errors.InsufficientPrivilege("permission denied for table t")) == "permission denied for table t"
    assert reason(errors.LockNotAvailable("canceling statement due to lock timeout")).endswith("lock timeout")


def test_a_table_behind_a_policy_says_what_the_harness_lacks() -> None:
    hidden = errors.InsufficientPrivilege('query would be affected by row-level security policy for table "patients"')
    assert reason(hidden).startswith("query would be affected by row-level security policy")
    assert "give the harness's role BYPASSRLS" in reason(hidden)
    assert "BYPASSRLS" not in reason(errors.InsufficientPrivilege("permission denied for table patients"))


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        (STALE, PasswordError, "The secret env:DR_SECRET is stale, wrong or empty"),
        ("failed: fe_sendauth: no password supplied", PasswordError, "env:DR_SECRET"),
        (NO_CA, RefusedError, "postgres.ca"),
        (NO_DATABASE, NoDatabaseError, "Correct the target's database or role."),
        (GONE, UnreachableError, "See whether the server runs"),
        ("failed: timeout expired", UnreachableError, "See whether the server runs"),
        ("failed: SSL SYSCALL error: EOF detected", UnreachableError, "See whether the server runs"),
        ("failed: SSL error: unexpected eof while reading", UnreachableError, "See whether the server runs"),
        ("failed: SSL error: certificate verify failed", RefusedError, "postgres.ca"),
        (f"{FATAL}not accepting connections\nDETAIL:  Hot standby mode is disabled.", HiddenStandbyError, "See"),
        (f"{FATAL}not yet accepting connections", ProviderError, "See whether the server runs"),
        (f"{FATAL}starting up", ProviderError, "See whether the server runs"),
        (f"{FATAL}in recovery mode", ProviderError, "See whether the server runs"),
        ("failed: FATAL:  sorry, too many clients already", ProviderError, "See whether the server runs"),
    ],
)
def test_a_login_that_fails_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, said: str, kind: type[DrError], hint: str
) -> None:
    saying(monkeypatch, said)
    with pytest.raises(kind) as caught, connect(Endpoint("h", 5432), target().postgres):
        pass
    assert type(caught.value) is kind
    assert hint in caught.value.hint


@pytest.mark.parametrize("said", ["SSL SYSCALL error: EOF detected", "server closed the connection unexpectedly"])
def test_a_login_that_breaks_may_pass(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    saying(monkeypatch, f"failed: {said}")
    with pytest.raises(UnreachableError) as caught, connect(Endpoint("h", 5432), target().postgres):
        pass
    assert caught.value.transient


def planned(home: Path, monkeypatch: pytest.MonkeyPatch, said: str, verb: str, who: RunIdentity, there: bool) -> None:
    """Look at a source whose server ``said`` that, and plan ``verb``. ``there``: RDS still shows the instance."""
    saying(monkeypatch, said)
    at = context(home, grants=(Grant.MARKERS,))
    seen = {"account": ACCOUNT, "region": REGION, "instance": SOURCE, "source": description()}
    profiles.store(home, at.name, seen)
    provider = PostgresProvider(at)
    extra = provider.look(Request("prod", (), who.purpose)).extra
    shown = (resource(description()),) if there else ()
    provider.propose(Verb(verb), Facts(NOW, resources=shown, extra=extra), who)


@pytest.mark.parametrize(
    ("verb", "who", "spared"),
    [("examine", run(Purpose.RESTORE), True), ("examine", run(), False), ("baseline", run(), False)],
)
def test_a_password_that_the_live_source_refuses_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, who: RunIdentity, spared: bool
) -> None:
    with pytest.raises(RefusedError, match="does not take the password of dr that env:DR_SECRET refers to") as caught:
        planned(tmp_path, monkeypatch, STALE, verb, who, there=True)
    assert ("--no-verify" in caught.value.hint) is spared


@pytest.mark.parametrize(
    ("said", "verb", "there"),
    [
        (STALE, "declare", True),
        (STALE, "examine", False),
        (GONE, "examine", True),
        (NO_DATABASE, "examine", True),
    ],
)
def test_a_source_that_is_lost_or_damaged_keeps_nobody_from_restoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, verb: str, there: bool
) -> None:
    planned(tmp_path, monkeypatch, said, verb, run(Purpose.RESTORE), there)
