"""What came of a statement: certain where it is, and doubtful everywhere else."""

from __future__ import annotations

import pytest

from dr.drivers.postgres.meter.answers import Answer, opening_failed, outcome

DONE = Answer(True)


def error(sqlstate: str, said: str = "", severity: str = "ERROR") -> Answer:
    return Answer(False, severity, sqlstate, said)


def pooler(said: str) -> Answer:
    return error("08P01", said, "FATAL")


@pytest.mark.parametrize(
    ("answers", "warned", "usable", "expected"),
    [
        ([DONE], False, True, ("acknowledged", "")),
        ([DONE], True, True, ("indeterminate", "sync-cancelled")),
        ([], False, False, ("indeterminate", "broken")),
        ([error("25006")], False, True, ("failed", "read-only")),
        ([error("53100")], False, True, ("failed", "disk-full")),
        ([error("57014")], False, True, ("failed", "cancelled")),
        ([error("23505")], False, True, ("failed", "rejected")),
        ([error("25006")], False, False, ("indeterminate", "read-only")),
        ([error("57P01", severity="FATAL")], False, False, ("indeterminate", "terminated")),
        ([error("57P01", severity="FATAL")], False, True, ("indeterminate", "terminated")),
        ([error("", severity="")], False, True, ("indeterminate", "broken")),
        ([DONE, error("57P01", severity="FATAL")], False, False, ("indeterminate", "terminated")),
    ],
)
def test_only_what_is_certain_has_failed(
    answers: list[Answer], warned: bool, usable: bool, expected: tuple[str, str]
) -> None:
    assert outcome(answers, warned, usable) == expected


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("server login has been failing, try again later (server_login_retry)", "pooler-login"),
        ("server login has been failing, cached error: connection refused (server_login_retry)", "pooler-login"),
        ("query_wait_timeout", "pooler-wait"),
        ("query_timeout", "pooler-wait"),
        ("client_login_timeout (server down)", "pooler-wait"),
        ("no more connections allowed (max_client_conn)", "pooler-full"),
    ],
)
def test_what_the_pooler_kept_to_itself_has_failed(said: str, word: str) -> None:
    assert outcome([pooler(said)], False, False) == ("failed", word)
    assert opening_failed(f'connection to server at "localhost", port 6432 failed: FATAL:  {said}') == word


@pytest.mark.parametrize("said", ["query timeout", "server conn crashed?", "client disconnect", "unexpected"])
def test_what_a_server_had_been_given_is_doubtful(said: str) -> None:
    assert outcome([pooler(said)], False, False)[0] == "indeterminate"
    assert outcome([pooler(said)], False, True)[0] == "indeterminate"


def test_a_server_that_uses_the_poolers_words_is_not_believed() -> None:
    assert outcome([error("57P01", "query_wait_timeout", "FATAL")], False, False)[0] == "indeterminate"
    assert outcome([DONE, pooler("query_wait_timeout")], False, False)[0] == "indeterminate"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ('connection to server at "127.0.0.1", port 9 failed: Connection refused\n\tIs the server', "refused"),
        ('could not translate host name "x" to address: Name or service not known', "unreachable"),
        ("failed: No route to host", "unreachable"),
        ("FATAL:  the database system is starting up", "not-ready"),
        ("FATAL:  sorry, too many clients already", "crowded"),
        ('FATAL:  password authentication failed for user "x"', "denied"),
        ("SSL error: certificate verify failed", "untrusted"),
        ("server closed the connection unexpectedly", "broken"),
    ],
)
def test_why_a_connection_could_not_be_opened_is_a_word(said: str, word: str) -> None:
    assert opening_failed(said) == word
