"""Replay time from PostgreSQL's log."""

from datetime import UTC, datetime

import pytest

from dr.drivers.rds.log import reached, replay_seconds

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


TO_A_TIME = """2026-11-23 07:00:00.250 UTC [12] LOG:  starting point-in-time recovery to 2026-11-23 06:45:00+00
2026-11-23 07:00:00.300 UTC [12] LOG:  restored log file "000000010000000000000019" from archive
2026-11-23 07:00:00.400 UTC [10] LOG:  database system is ready to accept read-only connections
2026-11-23 07:00:01.250 UTC [12] LOG:  recovery stopping before commit of transaction 7, time 2026-11-23 06:45:00.25+00
2026-11-23 07:00:01.350 UTC [12] LOG:  redo done at 0/30303B0 system usage: CPU: user: 0.00 s, elapsed: 0.03 s
2026-11-23 07:00:01.360 UTC [12] LOG:  last completed transaction was at log time 2026-11-23 06:44:59.123456+00
2026-11-23 07:00:01.370 UTC [12] LOG:  selected new timeline ID: 2
2026-11-23 07:00:01.380 UTC [12] LOG:  archive recovery complete
"""
CRASHED = """2026-11-23 08:00 [9] LOG:  database system was not properly shut down; automatic recovery in progress
2026-11-23 08:00:00 UTC [9] LOG:  redo starts at 0/4000028
2026-11-23 08:00:00 UTC [9] LOG:  last completed transaction was at log time 2026-11-23 07:59:59.5+00
"""


def at(second: int, micros: int) -> float:
    return datetime(2026, 11, 23, 6, 44 + second // 60, second % 60, micros, UTC).timestamp()


def test_a_recovery_to_a_time_tells_that_time_its_last_transaction_and_the_first_it_left_out() -> None:
    assert reached(TO_A_TIME) == {
        "target": at(60, 0),
        "replayed_to": at(59, 123456),
        "stopped_before": at(60, 250000),
    }


def test_times_are_read_in_their_own_zone() -> None:
    india = TO_A_TIME.replace("06:44:59.123456+00", "12:14:59.123456+05:30").replace("06:45:00.25+00", "23:45:00.25-07")
    far = reached(india)
    assert far is not None
    assert far["replayed_to"] == at(59, 123456)
    assert far["stopped_before"] == datetime(2026, 11, 24, 6, 45, 0, 250000, UTC).timestamp()


def test_the_recovery_of_a_later_crash_is_another() -> None:
    assert reached(TO_A_TIME + CRASHED) == reached(TO_A_TIME)
    assert reached(CRASHED) is None


def test_the_recovery_of_a_snapshot_is_to_no_time() -> None:
    assert reached(TO_A_TIME.replace("point-in-time recovery to 2026-11-23 06:45:00+00", "archive recovery")) is None


def test_a_recovery_that_began_again_counts_from_its_last_beginning() -> None:
    begun = TO_A_TIME[: TO_A_TIME.index("redo done")]
    assert reached(begun) is None, "it did not end"
    again = reached(begun + "\n" + TO_A_TIME.replace("06:45:00.25+00", "06:45:00.5+00"))
    assert again == {"target": at(60, 0), "replayed_to": at(59, 123456), "stopped_before": at(60, 500000)}


@pytest.mark.parametrize("level", ["ERROR", "STATEMENT", "WARNING"])
def test_only_the_servers_own_messages_count(level: str) -> None:
    assert reached(TO_A_TIME.replace("LOG:", f"{level}:")) is None


def test_a_recovery_to_the_archives_end_names_its_last_transaction_only() -> None:
    lines = [line for line in TO_A_TIME.splitlines() if "stopping" not in line]
    assert reached("\n".join(lines)) == {
        "target": at(60, 0),
        "replayed_to": at(59, 123456),
        "stopped_before": None,
    }
