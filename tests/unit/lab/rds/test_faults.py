"""Which calls of the API a fault makes fail."""

from __future__ import annotations

from dr.lab.rds.faults import Failing, Faults


def test_as_many_calls_fail_as_were_armed_and_of_that_action_alone() -> None:
    faults = Faults()
    faults.fail(Failing("Throttling", 2, "DescribeDBInstances"))
    assert faults.take_failure("DescribeDBSnapshots") == ""
    assert [faults.take_failure("DescribeDBInstances") for _ in range(3)] == ["Throttling", "Throttling", ""]


def test_no_call_fails_once_none_is_to_fail() -> None:
    faults = Faults()
    faults.fail(Failing("ExpiredToken", 5))
    assert faults.take_failure("DescribeDBInstances") == "ExpiredToken"
    faults.fail(Failing("ExpiredToken", 0))
    assert faults.take_failure("DescribeDBInstances") == ""
