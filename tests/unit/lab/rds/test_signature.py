"""Requests are believed only with the lab's own key, for its region, and fresh."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dr.lab.rds.errors import AwsError
from dr.lab.rds.signature import SignedRequest, verify
from tests.unit.lab.rds.fakes import ACCOUNT

BODY = b"Action=DescribeDBInstances&Version=2014-10-31"


def signed(secret: str = ACCOUNT.secret_key, service: str = "rds") -> tuple[SignedRequest, float]:
    url = "http://127.0.0.1:8000/"
    request = AWSRequest(method="POST", url=url, data=BODY, headers={"Host": "127.0.0.1:8000"})
    SigV4Auth(Credentials(ACCOUNT.access_key, secret), service, ACCOUNT.region).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return SignedRequest("POST", "/", headers, BODY), at


def refusal(request: SignedRequest, at: float, service: str = "rds") -> AwsError:
    with pytest.raises(AwsError) as refused:
        verify(request, ACCOUNT, service, at)
    return refused.value


def test_a_request_signed_with_the_accounts_key_is_believed() -> None:
    request, at = signed()
    verify(request, ACCOUNT, "rds", at)


def test_a_changed_body_is_not_believed() -> None:
    request, at = signed()
    assert refusal(replace(request, body=BODY + b"&MaxRecords=20"), at).code == "SignatureDoesNotMatch"


def test_a_changed_header_that_was_signed_is_not_believed() -> None:
    request, at = signed()
    headers = {**request.headers, "host": "127.0.0.1:9000"}
    assert refusal(replace(request, headers=headers), at).code == "SignatureDoesNotMatch"


def test_another_secret_is_not_believed() -> None:
    assert refusal(*signed(secret="other")).code == "SignatureDoesNotMatch"


def test_a_signature_for_another_service_is_named() -> None:
    request, at = signed(service="sts")
    assert "correct service: 'rds'" in refusal(request, at).message


@pytest.mark.parametrize(("later", "word"), [(901.0, "expired"), (-901.0, "not yet current")])
def test_a_stale_or_future_request_is_refused(later: float, word: str) -> None:
    request, at = signed()
    assert word in refusal(request, at + later).message
    verify(request, ACCOUNT, "rds", at + later - (1 if later > 0 else -1))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "MissingAuthenticationToken"),
        ("Basic abc", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/b", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/rds/aws4_request", "IncompleteSignature"),
    ],
)
def test_a_header_that_is_no_signature_is_refused(header: str, code: str) -> None:
    request, at = signed()
    headers: dict[str, Any] = {**request.headers, "authorization": header}
    assert refusal(replace(request, headers=headers), at).code == code
