"""What the driver makes of an instance's status."""

import pytest

from dr.drivers.rds.naming import State, classify, remedy

WAITER_SPINS_ON = [
    "incompatible-network",
    "insufficient-capacity",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "restore-error",
    "storage-full",
    "stopped",
]
WAITER_FAILS_ON = ["deleted", "deleting", "failed", "incompatible-restore", "incompatible-parameters"]


@pytest.mark.parametrize("status", WAITER_SPINS_ON + WAITER_FAILS_ON + ["incompatible-something-new"])
def test_a_status_that_cannot_become_available_fails_with_a_remedy(status: str) -> None:
    assert classify(status) is State.FAILED
    assert remedy(status).endswith(".")


def test_where_another_setting_helps_a_drill_and_somebody_on_call_are_told_where_to_say_it() -> None:
    said = remedy("insufficient-capacity")
    assert "--set NAME=VALUE" in said
    assert "'restored:'" in said


@pytest.mark.parametrize("status", ["creating", "rebooting", "upgrading", "renaming"])
def test_a_status_on_the_way_is_waited_for(status: str) -> None:
    assert classify(status) is State.PROGRESS


@pytest.mark.parametrize("status", ["backing-up", "modifying", "configuring-log-exports", "maintenance"])
def test_a_status_in_which_the_database_may_answer_is_told_from_one_in_which_it_does_not(status: str) -> None:
    assert classify(status) is State.SERVING


@pytest.mark.parametrize("status", ["available", "storage-optimization", "storage-initialization"])
def test_a_fully_operational_status_is_usable(status: str) -> None:
    assert classify(status) is State.USABLE


@pytest.mark.parametrize("status", ["", "quantum-entangling", "Available "])
def test_an_unknown_status_is_never_success(status: str) -> None:
    assert classify(status) is State.UNKNOWN
