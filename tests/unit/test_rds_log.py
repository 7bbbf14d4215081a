"""Replay time from PostgreSQL's log."""

from dr.drivers.rds_log import replay_seconds

FIFTEEN = """2026-11-23 07:00:00 UTC::@:[12]:LOG:  redo starts at 0/2000028
2026-11-23 07:00:09 UTC::@:LOG:  redo done at 0/3000110 system usage: CPU: user: 0.0 s, system: 0.1 s, elapsed: 8.25 s
"""
FOURTEEN = """2026-11-23 07:00:00.250 UTC [12] LOG:  redo starts at 0/2000028
2026-11-23 07:00:09.750 UTC [12] LOG:  redo done at 0/3000110
"""


def test_the_elapsed_time_that_the_server_states_is_taken() -> None:
    assert replay_seconds(FIFTEEN) == 8.25


def test_without_it_the_stamps_tell() -> None:
    assert replay_seconds(FOURTEEN) == 9.5


def test_the_last_replay_counts() -> None:
    assert replay_seconds(FOURTEEN + FIFTEEN) == 8.25


def test_a_log_without_replay_says_nothing() -> None:
    assert replay_seconds("LOG:  database system is ready\n") is None
    assert replay_seconds("LOG:  redo done at 0/3000110\n") is None
