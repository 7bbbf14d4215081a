"""Answers of AWS that are none: asked for again, in virtual time, and then named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr.domain.errors import DrError, FailedError, OddAnswerError, ProviderError, RefusedError
from dr.domain.model import Purpose, Request
from dr.drivers.aws.client import ANSWER_SECONDS, ODD_SECONDS
from dr.drivers.rds.client import LISTING_PAGES
from dr.drivers.rds.instances import GONE, GONE_SECONDS, PATIENCE_SECONDS, Instances
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.rds.restore import LISTED_SECONDS
from tests.unit.drivers.rds.support import ACCOUNT, VirtualClock, context
from tests.unit.transport import Answer, Say, error, instance, wired, xml

LISTING = xml("DescribeDBInstances", f"<DBInstances>{instance('a')}</DBInstances>")
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome<br></body></html>"


def listing(inner: str) -> Answer:
    return xml("DescribeDBInstances", f"<DBInstances>{instance('a', inner)}</DBInstances>")


def edited(old: bytes, new: bytes) -> Answer:
    assert old in LISTING.body
    return Answer(LISTING.body.replace(old, new))


ODD: dict[str, Answer] = {
    "truncated": Answer(LISTING.body[:-40]),
    "truncated early": Answer(LISTING.body[:60]),
    "empty": Answer(b""),
    "blank": Answer(b"  \n"),
    "html": Answer(HTML, headers={"Content-Type": "text/html"}),
    "xhtml": Answer(b"<html><body/></html>"),
    "json": Answer(b'{"DBInstances": []}'),
    "no utf-8": Answer(LISTING.body.replace(b"available", b"\xff\xfe")),
    "another operation's": xml("DescribeDBSnapshots", "<DBSnapshots/>"),
    "without its wrapper": Answer(b"<DescribeDBInstancesResponse><x/></DescribeDBInstancesResponse>"),
    "without its list": xml("DescribeDBInstances"),
    "of nobody": edited(b"<DBInstanceIdentifier>a</DBInstanceIdentifier>", b""),
    "of an empty name": edited(b"<DBInstanceIdentifier>a<", b"<DBInstanceIdentifier><"),
    "without a status": edited(b"<DBInstanceStatus>available</DBInstanceStatus>", b""),
    "with two statuses": edited(b"</DBInstanceStatus>", b"</DBInstanceStatus><DBInstanceStatus>x</DBInstanceStatus>"),
    "a bad date": listing("<InstanceCreateTime>yesterday</InstanceCreateTime>"),
    "a date beyond the calendar": listing("<InstanceCreateTime>99999-01-01T00:00:00Z</InstanceCreateTime>"),
    "a word for a number": listing("<AllocatedStorage>lots</AllocatedStorage>"),
    "an address without a port": listing("<Endpoint><Address>a.example</Address></Endpoint>"),
    "a tag without a key": listing("<TagList><Tag><Value>v</Value></Tag></TagList>"),
    "a group without a name": listing("<DBParameterGroups><DBParameterGroup/></DBParameterGroups>"),
    "of another instance": xml("DescribeDBInstances", f"<DBInstances>{instance('b')}</DBInstances>"),
    "an error in html": Answer(HTML, 403),
    "an error without a code": Answer(b"<ErrorResponse><Error/></ErrorResponse>", 404),
    "an error of several codes": Answer(
        b"<ErrorResponse><Error><Code>A</Code><Code>B</Code></Error></ErrorResponse>", 400
    ),
    "a redirection": Answer(b"", 302),
}


def describe(tmp_path: Path, clock: VirtualClock, say: Say) -> dict[str, Any] | None:
    return wired(tmp_path, clock, say)[0].call("DescribeDBInstances", {"DBInstanceIdentifier": "a"}, GONE)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_answer_is_asked_for_again_and_the_sound_one_counts(tmp_path: Path, kind: str) -> None:
    told = iter([ODD[kind], ODD[kind], LISTING])
    found = describe(tmp_path, clock := VirtualClock(), lambda *_: next(told))
    assert found is not None
    assert found["DBInstances"][0]["DBInstanceIdentifier"] == "a"
    assert sum(clock.slept) == 0.5 + 1.0


@pytest.mark.parametrize("kind", ODD)
def test_one_that_stays_odd_is_named_once_the_patience_is_over(tmp_path: Path, kind: str) -> None:
    clock = VirtualClock()
    with pytest.raises(OddAnswerError, match=r"^DescribeDBInstances at .* was answered oddly: .*\. See ") as caught:
        describe(tmp_path, clock, lambda *_: ODD[kind])
    assert caught.value.transient
    assert ODD_SECONDS / 2 < sum(clock.slept) <= ODD_SECONDS
    assert "own-secret" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "told",
    [
        Answer(HTML),
        xml("GetCallerIdentity", "<Arn>x</Arn>"),
        xml("GetCallerIdentity", "<Account></Account>"),
        Answer(b""),
    ],
)
def test_an_identity_that_is_none_is_odd_and_never_another_account(tmp_path: Path, told: Answer) -> None:
    sound = xml("GetCallerIdentity", f"<Account>{ACCOUNT}</Account>")
    answers = iter([told, sound])
    assert wired(tmp_path, VirtualClock(), lambda *_: next(answers))[0].account() == ACCOUNT
    with pytest.raises(OddAnswerError, match="GetCallerIdentity"):
        wired(tmp_path, VirtualClock(), lambda *_: told)[0].account()


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        b"",
        b"[]",
        b"{}",
        b'{"MetricDataResults": [{"Values": ["high"]}]}',
        b'{"MetricDataResults": [{"Values": [NaN]}]}',
    ],
)
def test_a_metric_that_is_none_is_odd(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(OddAnswerError, match="GetMetricData"):
        wired(tmp_path, VirtualClock(), lambda *_: Answer(body))[0].metric("ReplicaLag", "r", 1e9)


def test_html_is_no_success_of_what_answers_with_nothing(tmp_path: Path) -> None:
    client, wire = wired(tmp_path, VirtualClock(), lambda *_: Answer(b"<html></html>"))
    with pytest.raises(OddAnswerError, match="AddTagsToResource"):
        client.call("AddTagsToResource", {"ResourceName": "arn", "Tags": []})
    told = iter([Answer(b"<AddTagsToResourceResponse/>")])
    wire.say = lambda *_: next(told)
    assert client.call("AddTagsToResource", {"ResourceName": "arn", "Tags": []}) == {}


def test_what_must_not_happen_twice_is_sent_once_whatever_is_answered(tmp_path: Path) -> None:
    for told in (Answer(b""), error("Throttling"), error("InternalFailure", 500)):
        client, wire = wired(tmp_path, VirtualClock(), lambda *_, told=told: told)
        with pytest.raises(ProviderError) as caught:
            client.call("RebootDBInstance", {"DBInstanceIdentifier": "a"}, once=True)
        assert caught.value.transient
        assert wire.sent == ["RebootDBInstance"]


def test_a_busy_aws_is_asked_again_a_little_and_a_refusal_never(tmp_path: Path) -> None:
    told = iter([error("Throttling"), error("ServiceUnavailable", 503), LISTING])
    assert describe(tmp_path, VirtualClock(), lambda *_: next(told)) is not None
    client, wire = wired(tmp_path, VirtualClock(), lambda *_: error("AccessDenied"))
    with pytest.raises(RefusedError):
        client.call("DescribeDBInstances", {})
    assert len(wire.sent) == 1


# -- pages


def page(marker: str) -> Answer:
    return xml("DescribeDBInstances", f"<DBInstances>{instance('a')}</DBInstances><Marker>{marker}</Marker>")


@pytest.mark.parametrize("markers", [["m"], ["m", "n"], ["m", "n", "o", "p"]])
def test_a_marker_that_comes_again_ends_the_listing_and_is_named(tmp_path: Path, markers: list[str]) -> None:
    pages = iter([page(m) for m in (*markers, markers[0])])
    client, _ = wired(tmp_path, VirtualClock(), lambda *_: next(pages))
    with pytest.raises(OddAnswerError, match="'m' comes a second time"):
        client.pages("DescribeDBInstances", "DBInstances", {})


def test_a_listing_without_an_end_is_ended(tmp_path: Path) -> None:
    client, wire = wired(tmp_path, VirtualClock(), lambda *_: page(f"m{len(wire.sent)}"))
    with pytest.raises(OddAnswerError, match="is not the end"):
        client.pages("DescribeDBInstances", "DBInstances", {})
    assert len(wire.sent) <= LISTING_PAGES + 2
    clock = VirtualClock()
    slow, wire = wired(tmp_path, clock, lambda *_: (clock.sleep(50), page(f"m{len(wire.sent)}"))[1])
    with pytest.raises(OddAnswerError, match="is not the end"):
        slow.pages("DescribeDBInstances", "DBInstances", {})
    assert len(wire.sent) < 10


# -- an answer that does not come


def test_an_answer_that_takes_too_long_is_given_up_and_named_with_its_seconds(tmp_path: Path) -> None:
    clock = VirtualClock()
    client, wire = wired(tmp_path, clock, lambda *_: (clock.sleep(ANSWER_SECONDS + 1), LISTING)[1])
    with pytest.raises(ProviderError, match=r"DescribeDBInstances at http://127.0.0.1:9 .* within 60 s") as caught:
        client.call("DescribeDBInstances", {})
    assert caught.value.transient
    assert len(wire.sent) == 1


# -- what a poll concludes of them


def restoring(tmp_path: Path, clock: VirtualClock, say: Say) -> Callable[[], Any]:
    provider = RdsProvider(context(tmp_path, clock), wired(tmp_path, clock, say)[0])
    call = type("C", (), {"operation": "RestoreDBInstanceFromDBSnapshot"})()
    return lambda: provider.poll(call, {"identifier": "a", "asked_at": clock.at - 10 * LISTED_SECONDS})


NOTHING = xml("DescribeDBInstances", "<DBInstances/>")


def test_empty_listings_of_a_restoration_are_no_proof_that_it_is_gone(tmp_path: Path) -> None:
    clock = VirtualClock()
    poll = restoring(tmp_path, clock, lambda *_: NOTHING)
    for _ in range(5):
        progress = poll()
        assert not progress.done
        assert "it lists nothing, and a was asked for" in progress.note
        clock.sleep(1_000)


def test_a_restoration_is_gone_where_rds_says_so_again_after_a_while_and_not_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    told = error("DBInstanceNotFound", 404)
    current = [told]
    poll = restoring(tmp_path, clock, lambda *_: current[0])
    assert "not listed yet" in poll().note
    current[0] = LISTING  # it was a mistake
    assert "not listed" not in poll().note
    clock.sleep(1_000)
    current[0] = told
    assert "not listed yet" in poll().note
    clock.sleep(GONE_SECONDS)
    with pytest.raises(FailedError, match="a is gone while it was being restored"):
        poll()


def test_what_was_there_is_missed_only_once_it_is_surely_gone(tmp_path: Path) -> None:
    clock = VirtualClock()
    told = [error("DBInstanceNotFound", 404)]
    here = context(tmp_path, clock)
    instances = Instances(here, wired(tmp_path, clock, lambda *_: told[0])[0])
    with pytest.raises(ProviderError, match="does not show a now") as caught:
        instances.await_shown("a")
    assert caught.value.transient
    assert not isinstance(caught.value, FailedError)  # which would break what the call promised
    told[0] = LISTING
    assert instances.await_shown("a").ref.name == "a"
    told[0] = error("DBInstanceNotFound", 404)
    before = clock.at
    with pytest.raises(ProviderError, match="There is no instance a"):
        instances.patiently(lambda: instances.await_shown("a"))
    assert GONE_SECONDS <= clock.at - before < PATIENCE_SECONDS


@pytest.mark.parametrize("kind", ODD)
def test_planning_on_odd_answers_ends_with_a_sentence_and_no_defect(tmp_path: Path, kind: str) -> None:
    clock = VirtualClock()
    identity = xml("GetCallerIdentity", f"<Account>{ACCOUNT}</Account>")
    client, _ = wired(tmp_path, clock, lambda op, _: identity if op == "GetCallerIdentity" else ODD[kind])
    provider = RdsProvider(context(tmp_path, clock), client)
    with pytest.raises(DrError):
        provider.look(Request("prod", (), Purpose.RESTORE))
