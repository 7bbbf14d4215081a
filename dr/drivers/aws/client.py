"""The one door to AWS: a client that is pinned to its target, and whose errors are ``DrError``.

Answers hold plain JSON values: a time is seconds since the epoch. Each
answer has a deadline as a whole, and is held to botocore's model before anybody sees it, so that nothing deeper meets a
field that is missing, or of another type.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

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
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

from dr.config.model import Target
from dr.domain.errors import DrError, OddAnswerError, ProviderError, RefusedError, UsageError
from dr.domain.model import Grant
from dr.domain.refs import on_loopback
from dr.drivers.aws.config import AwsConfig, Credentials
from dr.drivers.aws.errors import from_code
from dr.host.bounded import NO_ANSWER, given_up, persistently, within
from dr.host.clock import SystemClock
from dr.ports import Clock

CONNECT_SECONDS = 5
READ_SECONDS = 30
"""For each piece of an answer."""
ANSWER_SECONDS = 60.0
"""For one answer, from the name's resolution to its last byte."""
ODD_SECONDS, BUSY_SECONDS = 30.0, 2.0
"""How long an odd answer, and one that AWS was too busy for, are asked for again within one call; the provider repeats
a whole step where that was not enough."""

_WAITED_FOR = (NO_ANSWER, ConnectTimeoutError.__name__, ReadTimeoutError.__name__)
"""The codes of what did not come in its time: nobody waits for it twice within one call."""
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError)
_UNREACHABLE = (HTTPClientError, NoConnectionError)
_UNREADABLE = (ResponseParserError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What botocore raises of an answer that is none: it expects one that is sound."""
_LAB = "'dr lab status' tells whether the lab runs, 'dr lab up' starts it."
_AS_AWS_WRITES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
"""A time."""
LONGEST = 160
"""Characters of its words on that which a sentence repeats; they may hold the whole answer."""


class AwsClient:
    """The services of one target's account. Ambient endpoints are ignored, and ambient profiles where it names its own.

    ``needed``: by the name of a structure in the models, which call no field required: what is never missing in it, nor
    empty where it is text. Without these nothing can be told. ``unspoken``: the parameter that no error repeats.
    ``section``: of the target, which says where. ``service``: which is asked, unless another one is named.
    """

    needed: ClassVar[Mapping[str, tuple[str, ...]]] = {"GetCallerIdentityResponse": ("Account",)}
    unspoken = ""
    section: type[AwsConfig] = AwsConfig
    service = "sts"

    def __init__(self, target: Target, clock: Clock | None = None) -> None:
        self._config, self._lab = target.of(self.section), Grant.DISPOSABLE in target.grants
        self.clock = clock or SystemClock()
        self._clients: dict[str, Any] = {}

    @property
    def where(self) -> str:
        """What is talked to, for people."""
        return f"{self._config.endpoint or 'AWS'} in {self._config.region}"

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
        service: str = "",
    ) -> dict[str, Any] | None:
        """The answer; None where it is an error whose code is in ``absent``. Raises RefusedError, ProviderError.
        ``once``: never sent a second time, since it would happen twice if only its answer was lost."""

        asked = service or self.service

        def step() -> dict[str, Any] | None:
            what = f"{operation} at {self.where}"
            return within(self.clock, ANSWER_SECONDS, what, lambda: self._ask(asked, operation, parameters, absent))

        return step() if once else persistently(self.clock, _patience, step)

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
                raise self.odd(operation, f"status {status} without the code of an error") from None
            message = self._without_secrets(str(told.get("Message", "")), parameters)
            raise self.error(code, message, f"{operation} at {self.where}", status) from None
        except BotoCoreError as error:
            raise self._from_botocore(error, operation, parameters) from None
        except _UNREADABLE as error:
            said = self._without_secrets(" ".join(str(error).split()), parameters)[:LONGEST]
            raise self.odd(operation, f"it cannot be read ({type(error).__name__}: {said})") from None
        answer.pop("ResponseMetadata", None)
        shape = client.meta.service_model.operation_model(operation).output_shape
        for strange in self.strange(shape, parameters, answer) if shape is not None else ():
            raise self.odd(operation, strange)
        return dict(_plain(answer))

    def odd(self, operation: str, what: str) -> OddAnswerError:
        return OddAnswerError(f"{operation} at {self.where}", what)

    def error(self, code: str, message: str, operation: str, status: int) -> DrError:
        """For an error's ``code``."""
        return from_code(code, message, operation, status)

    def unfit(self, said: str) -> DrError:
        """For parameters that the service's own model does not take."""
        return RefusedError(f"AWS takes no such parameter, or not this value of it ({said}).", "Correct the target.")

    def strange(self, shape: Any, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG002
        """What is odd about a parsed ``answer`` of the model's ``shape`` to ``parameters``."""
        if (errors := ParamValidator().validate(answer, shape)).has_errors():
            yield errors.generate_report()[:LONGEST]
            return
        yield from self._lacking(shape, answer, "it")

    def _lacking(self, shape: Any, value: Any, where: str) -> Iterator[str]:
        if shape.type_name == "list":
            for item in value:
                yield from self._lacking(shape.member, item, where)
        elif shape.type_name == "structure":
            needed = ("Port",) if shape.name == "Endpoint" and value.get("Address") else self.needed.get(shape.name, ())
            yield from (f"a {shape.name} in {where} has no {name}" for name in needed if value.get(name) in (None, ""))
            for name, member in shape.members.items():
                if name in value:
                    yield from self._lacking(member, value[name], name)

    def _without_secrets(self, text: str, parameters: Mapping[str, Any]) -> str:
        secret = parameters.get(self.unspoken)
        return text.replace(secret, "***") if secret else text

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = _session(self._config.credentials, self._config.region)
            endpoint = self._config.endpoint
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
            raise self.odd(name, f"status {status} with something else than a {name}Response")

    def _from_botocore(self, error: BotoCoreError, operation: str, parameters: Mapping[str, Any]) -> DrError:
        text = self._without_secrets(" ".join(str(error).split()), parameters).rstrip(".")
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
            return self.unfit(f"{operation}: {text}")
        return ProviderError(f"The AWS client failed ({operation}: {text}).", "Check the target's settings.")


def confirmed(client: AwsClient, config: AwsConfig, whose: str) -> str:
    """The account that the credentials belong to. Raises RefusedError where it is not the one of target ``whose``."""
    found = client.account()
    if found != config.account:
        raise RefusedError(
            f"The credentials belong to account {found}, not to {config.account} of target {whose!r} ({client.where}).",
            "Use credentials of the target's account, or name another --target.",
        )
    return found


def _patience(error: ProviderError) -> float:
    """Seconds from the first failure on for which what ended with ``error`` is asked for again."""
    if isinstance(error, OddAnswerError):
        return ODD_SECONDS
    return BUSY_SECONDS if error.transient and error.code not in _WAITED_FOR else 0.0


@cache
def models() -> Loader:
    """botocore's own models of the services, which take a while to read: once for all sessions."""
    return create_loader()


def _session(credentials: Credentials, region: str) -> boto3.session.Session:
    """With credentials of the target's own, nothing ambient is looked at: neither AWS_PROFILE nor AWS_ACCESS_KEY_ID."""
    profile = credentials.profile or ("default" if credentials.file else None)
    core = botocore.session.Session(profile=profile)
    core.register_component("data_loader", models())
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


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
