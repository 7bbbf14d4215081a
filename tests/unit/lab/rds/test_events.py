"""DescribeEvents selects by source, time and category as RDS does."""

from __future__ import annotations

from typing import Any

import pytest

from dr.lab.rds.errors import AwsError
from dr.lab.rds.events import KEPT, event, failure, select
from tests.unit.lab.rds.fakes import T0

HOUR = 3600.0
OLD = event("created", T0 - 2 * HOUR, "db-instance", "one", "arn")
NEW = event("backup-finished", T0 - 60, "db-instance", "one", "arn")
OTHER = event("manual-finished", T0 - 30, "db-snapshot", "snap", "arn")
ALL = [OLD, NEW, OTHER]


def found(**asked: Any) -> list[str]:
    return [one.message for one in select(ALL, asked, T0)]


def test_without_a_time_it_is_the_last_hour() -> None:
    assert found() == [NEW.message, OTHER.message]


def test_duration_is_in_minutes() -> None:
    assert found(Duration=180) == [OLD.message, NEW.message, OTHER.message]
    assert found(Duration=1) == [NEW.message, OTHER.message]


def test_start_and_end_bound_it_on_both_sides() -> None:
    assert found(StartTime=T0 - 3 * HOUR, EndTime=T0 - HOUR) == [OLD.message]


def test_an_end_alone_means_the_hour_before_it() -> None:
    assert found(EndTime=T0 - 1.5 * HOUR) == [OLD.message]


def test_source_and_category_narrow_it() -> None:
    assert found(SourceType="db-snapshot") == [OTHER.message]
    assert found(SourceType="db-instance", SourceIdentifier="ONE") == [NEW.message]
    assert found(EventCategories=["creation"]) == [OTHER.message]
    assert found(EventCategories=["failure"]) == []


def test_an_instances_own_failure_is_told_whatever_others_say_after_it() -> None:
    said = [
        event("failed", T0, "db-instance", "one", "arn", what="no room"),
        event("created", T0, "db-instance", "one", "arn"),
        event("failed", T0, "db-instance", "two", "arn", what="no port"),
        event("snapshot-failed", T0, "db-snapshot", "one", "arn"),
    ]
    assert failure(said, "one") == "The DB instance has failed: no room"
    assert failure(said, "two") == "The DB instance has failed: no port"
    assert failure(said, "three") == ""


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"SourceIdentifier": "one"}, "InvalidParameterCombination"),
        ({"SourceType": "db-planet"}, "InvalidParameterValue"),
        ({"Duration": 0}, "InvalidParameterValue"),
        ({"Duration": 10, "StartTime": T0}, "InvalidParameterCombination"),
        ({"StartTime": T0, "EndTime": T0 - 1}, "InvalidParameterCombination"),
        ({"StartTime": T0 - KEPT - 1}, "InvalidParameterValue"),
    ],
)
def test_what_rds_refuses_is_refused(asked: dict[str, Any], code: str) -> None:
    with pytest.raises(AwsError) as refused:
        select(ALL, asked, T0)
    assert refused.value.code == code
