"""The one door to AWS: a client that is pinned to its target, and whose errors are ``DrError``.

The only module that imports boto3 and botocore. Answers hold plain JSON values: a time is seconds since the epoch. Each
answer has a deadline as a whole, and is held to botocore's model before anybody sees it, so that nothing deeper meets a
field that is missing, or of another type.
"""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import boto3.session
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
    SSOError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

from dr.config.model import Target
from dr.domain.errors import DrError, OddAnswerError, ProviderError, RefusedError, UsageError
from dr.domain.model import Grant
from dr.domain.refs import on_loopback
from dr.drivers.rds.config import Credentials, RdsConfig
from dr.drivers.rds.errors import from_code
from dr.drivers.rds.naming import SET_BY, same
from dr.host.bounded import NO_ANSWER, given_up, persistently, within
from dr.host.clock import SystemClock
from dr.ports import Clock

CONNECT_SECONDS = 5
READ_SECONDS = 30
"""For each piece of an answer."""
ANSWER_SECONDS = 60.0
"""For one answer, from the name's resolution to its last byte."""
LISTING_SECONDS, LISTING_PAGES = 300.0, 1_000
"""The most that all pages of one listing may take, and be."""
ODD_SECONDS, BUSY_SECONDS = 30.0, 2.0
"""How long an odd answer, and one that AWS was too busy for, are asked for again within one call; the provider repeats
a whole step where that was not enough."""

METRIC_SECONDS, METRIC_PERIOD = 600.0, 60
"""CloudWatch has a value each minute, and some of them late."""

_WAITED_FOR = (NO_ANSWER, ConnectTimeoutError.__name__, ReadTimeoutError.__name__)
"""The codes of what did not come in its time: nobody waits for it twice within one call."""
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError)
_UNREACHABLE = (HTTPClientError, NoConnectionError)
_UNREADABLE = (ResponseParserError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What botocore raises of an answer that is none: it expects one that is sound."""
_LAB = "'dr lab status' tells whether the lab runs, 'dr lab up' starts it."
_AS_AWS_WRITES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
"""A time."""
_LONGEST = 160
"""Characters of its words on that which a sentence repeats; they may hold the whole answer."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "DBInstanceMessage": ("DBInstances",),
    "DBSnapshotMessage": ("DBSnapshots",),
    "DBInstanceAutomatedBackupMessage": ("DBInstanceAutomatedBackups",),
    "EventsMessage": ("Events",),
    "DescribeDBLogFilesResponse": ("DescribeDBLogFiles",),
    "GetCallerIdentityResponse": ("Account",),
    "GetMetricDataOutput": ("MetricDataResults",),
    "RestoreDBInstanceFromDBSnapshotResult": ("DBInstance",),
    "RestoreDBInstanceToPointInTimeResult": ("DBInstance",),
    "DBInstance": ("DBInstanceIdentifier", "DBInstanceStatus", "DBInstanceArn"),
    "DBSnapshot": ("DBSnapshotIdentifier", "Status"),
    "DBInstanceAutomatedBackup": ("DbiResourceId",),
    "Event": ("Date", "Message"),
    "DescribeDBLogFilesDetails": ("LogFileName",),
    "DBParameterGroupStatus": ("DBParameterGroupName",),
    "DBSubnetGroup": ("DBSubnetGroupName",),
    "OptionGroupMembership": ("OptionGroupName",),
    "VpcSecurityGroupMembership": ("VpcSecurityGroupId",),
    "DBInstanceRole": ("RoleArn",),
    "Tag": ("Key",),
}
"""By the name of a structure in the models, which call no field required: what is never missing in it, nor empty where
it is text. Without these nothing can be told."""


class RdsClient:
    """RDS, CloudWatch and STS of one target. Ambient endpoints are ignored, and ambient profiles where it names its
    own."""

    def __init__(self, target: Target, clock: Clock | None = None) -> None:
        self._rds, self._lab = target.of(RdsConfig), Grant.DISPOSABLE in target.grants
        self._clock = clock or SystemClock()
        self._clients: dict[str, Any] = {}

    @property
    def where(self) -> str:
        """What is talked to, for people."""
        return f"{self._rds.endpoint or 'AWS'} in {self._rds.region}"

    def account(self) -> str:
        """The account that the credentials belong to, as STS says. Raises RefusedError, ProviderError."""
        return str((self.call("GetCallerIdentity", {}, service="sts") or {}).get("Account", ""))

    def call(
        self,
        operation: str,
        parameters: Mapping[str, Any],
        absent: tuple[str, ...] = (),
        *,
        once: bool = False,
        service: str = "rds",
    ) -> dict[str, Any] | None:
        """The answer; None where it is an error whose code is in ``absent``. Raises RefusedError, ProviderError.
        ``once``: never sent a second time, since it would happen twice if only its answer was lost."""

        def step() -> dict[str, Any] | None:
            what = f"{operation} at {self.where}"
            return within(self._clock, ANSWER_SECONDS, what, lambda: self._ask(service, operation, parameters, absent))

        return step() if once else persistently(self._clock, _patience, step)

    def metric(self, name: str, identifier: str, now: float) -> float | None:
        """CloudWatch's newest value of an instance's metric; None where it had none in the last minutes. Raises as
        ``call``."""
        of = [{"Name": "DBInstanceIdentifier", "Value": identifier}]
        metric = {"Namespace": "AWS/RDS", "MetricName": name, "Dimensions": of}
        query = {"Id": "newest", "MetricStat": {"Metric": metric, "Period": METRIC_PERIOD, "Stat": "Maximum"}}
        span = {"StartTime": now - METRIC_SECONDS, "EndTime": now, "ScanBy": "TimestampDescending"}
        answer = self.call("GetMetricData", {"MetricDataQueries": [query], **span}, service="cloudwatch")
        values = [value for row in (answer or {}).get("MetricDataResults", ()) for value in row.get("Values", ())]
        if not all(map(math.isfinite, values)):
            raise self._odd("GetMetricData", "a value is no number")
        return float(values[0]) if values else None

    def pages(
        self, operation: str, key: str, parameters: Mapping[str, Any], absent: tuple[str, ...] = ()
    ) -> tuple[dict[str, Any], ...]:
        """Everything under ``key`` from all pages of a listing. Raises as ``call``, and OddAnswerError for a listing
        that does not end."""
        rows: list[dict[str, Any]] = []
        seen: list[str] = []
        until = self._clock.now().mono_ns + LISTING_SECONDS * 1e9
        while True:
            marker = {"Marker": seen[-1]} if seen else {}
            answer = self.call(operation, {**parameters, **marker}, absent) or {}
            rows += answer.get(key, [])
            following = answer.get("Marker")
            if not following:
                return tuple(rows)
            if following in seen:
                raise self._odd(operation, f"the marker {following[:_LONGEST]!r} comes a second time")
            seen.append(following)
            if len(seen) > LISTING_PAGES or self._clock.now().mono_ns > until:
                raise self._odd(operation, f"the marker after {len(seen)} pages is not the end")

    def _ask(
        self, service: str, operation: str, parameters: Mapping[str, Any], absent: tuple[str, ...]
    ) -> dict[str, Any] | None:
        """Ask once. Raises RefusedError, ProviderError."""
        try:
            client = self._client(service)
            answer = getattr(client, botocore.xform_name(operation))(**parameters)
        except ClientError as error:
            told = error.response.get("Error", {})
            if (code := told.get("Code")) in absent:
                return None
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
            if not isinstance(code, str) or not code:
                raise self._odd(operation, f"status {status} without the code of an error") from None
            message = _without_secrets(str(told.get("Message", "")), parameters)
            raise from_code(code, message, f"{operation} at {self.where}", status) from None
        except BotoCoreError as error:
            raise self._from_botocore(error, operation, parameters) from None
        except _UNREADABLE as error:
            said = _without_secrets(" ".join(str(error).split()), parameters)[:_LONGEST]
            raise self._odd(operation, f"it cannot be read ({type(error).__name__}: {said})") from None
        answer.pop("ResponseMetadata", None)
        shape = client.meta.service_model.operation_model(operation).output_shape
        for strange in _strange(shape, parameters, answer) if shape is not None else ():
            raise self._odd(operation, strange)
        return dict(_plain(answer))

    def _odd(self, operation: str, what: str) -> OddAnswerError:
        return OddAnswerError(f"{operation} at {self.where}", what)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = _session(self._rds.credentials, self._rds.region)
            endpoint = self._rds.endpoint
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 1},  # what may be sent again is decided here
                ignore_configured_endpoint_urls=True,
                proxies={} if on_loopback(endpoint) else None,
            )
            try:
                client = session.client(service, endpoint_url=endpoint or None, config=config)
            except ValueError:
                raise UsageError(f"The endpoint {endpoint!r} is not a URL.", "Correct the target's endpoint.") from None
            client.meta.events.register("before-send", self._still_wanted)
            client.meta.events.register("before-parse", self._look_into)
            self._clients[service] = client
        return self._clients[service]

    def _still_wanted(self, **_: Any) -> None:
        """Credentials may come so late that nobody waits any more: what would then be done, nobody would know of."""
        if given_up():
            raise ProviderError("Nobody waits for this answer any more.", code=NO_ANSWER, transient=True)

    def _look_into(self, operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
        """botocore takes any XML for the success of what answers with nothing else."""
        name, status = str(operation_model.name), int(response_dict["status_code"])
        in_xml = operation_model.service_model.resolved_protocol == "query"
        sign = rb"<(\w+:)?" + name.encode() + rb"Response[\s>/]"  # whole or torn
        if status < 300 and in_xml and not re.search(sign, response_dict["body"]):
            raise self._odd(name, f"status {status} with something else than a {name}Response")

    def _from_botocore(self, error: BotoCoreError, operation: str, parameters: Mapping[str, Any]) -> DrError:
        text = _without_secrets(" ".join(str(error).split()), parameters).rstrip(".")
        if isinstance(error, ProfileNotFound):
            return RefusedError(f"{text}.", "Name another profile in the target's credentials, or unset AWS_PROFILE.")
        if isinstance(error, _NO_CREDENTIALS):
            return RefusedError(f"No AWS credentials can be used: {text}.", "Set the target's credentials, or sign in.")
        if isinstance(error, SSLError):
            return ProviderError(
                f"{self.where} has no certificate that is trusted here: {text}.", "Check its endpoint."
            )
        if isinstance(error, _UNREACHABLE):
            unreached = f"{self.where} cannot be reached ({operation}: {text})."
            hint = _LAB if self._lab else "Check the network and the target's endpoint and region."
            return ProviderError(unreached, hint, code=type(error).__name__, transient=True)
        if isinstance(error, ParamValidationError):
            said = f"RDS takes no such setting, or not this value of it ({operation}: {text})."
            return RefusedError(said, f"Correct it {SET_BY}.")
        return ProviderError(f"The AWS client failed ({operation}: {text}).", "Check the target's settings.")


def _patience(error: ProviderError) -> float:
    """Seconds from the first failure on for which what ended with ``error`` is asked for again."""
    if isinstance(error, OddAnswerError):
        return ODD_SECONDS
    return BUSY_SECONDS if error.transient and error.code not in _WAITED_FOR else 0.0


def _strange(shape: Any, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """What is odd about a parsed ``answer`` of the model's ``shape`` to ``parameters``."""
    if (errors := ParamValidator().validate(answer, shape)).has_errors():
        yield errors.generate_report()[:_LONGEST]
        return
    yield from _lacking(shape, answer, "it")
    wanted = parameters.get("DBInstanceIdentifier")
    for row in answer["DBInstances"] if shape.name == "DBInstanceMessage" and wanted else ():
        if not same(row["DBInstanceIdentifier"], str(wanted)):
            yield f"it lists {row['DBInstanceIdentifier']}, and {wanted} was asked for"


def _lacking(shape: Any, value: Any, where: str) -> Iterator[str]:
    if shape.type_name == "list":
        for item in value:
            yield from _lacking(shape.member, item, where)
    elif shape.type_name == "structure":
        needed = ("Port",) if shape.name == "Endpoint" and value.get("Address") else _NEEDED.get(shape.name, ())
        yield from (f"a {shape.name} in {where} has no {name}" for name in needed if value.get(name) in (None, ""))
        for name, member in shape.members.items():
            if name in value:
                yield from _lacking(member, value[name], name)


def wanted_instead(operation: str, parameter: str, value: Any) -> str:
    """The type that ``operation``'s ``parameter`` has in RDS's own model, where ``value`` has another; else ""."""
    shape = _model().operation_model(operation).input_shape.members[parameter]
    return str(shape.type_name) if ParamValidator().validate(value, shape).has_errors() else ""


@cache
def _models() -> Loader:
    """botocore's own models of the services, which take a while to read: once for all sessions."""
    return create_loader()


@cache
def _model() -> ServiceModel:
    """RDS's own model."""
    return ServiceModel(_models().load_service_model("rds", "service-2"), "rds")


def _session(credentials: Credentials, region: str) -> boto3.session.Session:
    """With credentials of the target's own, nothing ambient is looked at: neither AWS_PROFILE nor AWS_ACCESS_KEY_ID."""
    profile = credentials.profile or ("default" if credentials.file else None)
    core = botocore.session.Session(profile=profile)
    core.register_component("data_loader", _models())
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    if credentials.file:
        path = Path(credentials.file).expanduser()
        if not os.access(path, os.R_OK):
            raise RefusedError(f"The credentials file {path} cannot be read.", "Correct the target's credentials.")
        core.set_config_variable("credentials_file", str(path))
        core.set_config_variable("config_file", os.devnull)
    return boto3.session.Session(botocore_session=core, region_name=region)


def _moment(given: Any) -> datetime.datetime:
    """As botocore reads a time, which tries every form there is; the one that AWS writes takes it a hundred times as
    long as it needs."""
    if isinstance(given, str) and _AS_AWS_WRITES.fullmatch(given):
        with suppress(ValueError):
            return datetime.datetime.fromisoformat(given)
    read: datetime.datetime = parse_timestamp(given)
    return read


def _without_secrets(text: str, parameters: Mapping[str, Any]) -> str:
    secret = parameters.get("MasterUserPassword")
    return text.replace(secret, "***") if secret else text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
