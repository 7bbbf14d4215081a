"""Signature Version 4, checked the way AWS checks it, with botocore's own signer.

Pure but for nothing: the time is passed in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from dr.lab.rds.errors import AwsError

SKEW = 900.0
"""Seconds a request's own date may differ from the service's: AWS refuses more than fifteen minutes."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the lab's API serves."""

    id: str
    region: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came in. ``headers`` have lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def verify(request: SignedRequest, account: Account, service: str, now: float) -> None:
    """Raise AwsError unless the request is signed with the account's key for ``service`` in the account's region."""
    header = request.headers.get("authorization", "")
    if not header:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token")
    scheme, _, rest = header.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    date = request.headers.get("x-amz-date", "")
    scope = fields.get("Credential", "").split("/")
    if scheme != "AWS4-HMAC-SHA256" or len(scope) != 5 or not {"SignedHeaders", "Signature"} <= set(fields) or not date:
        raise AwsError(
            "IncompleteSignature",
            "Authorization header requires 'Credential', 'Signature', 'SignedHeaders' and an X-Amz-Date header.",
        )
    key, _, region, scoped_service, _ = scope
    if key != account.access_key or "x-amz-security-token" in request.headers:
        raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.")
    if region != account.region:
        raise AwsError("SignatureDoesNotMatch", "Credential should be scoped to a valid region. ")
    if scoped_service != service:
        raise AwsError("SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{service}'. ")
    _check_date(date, now)
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != hashlib.sha256(request.body).hexdigest():
        raise AwsError("SignatureDoesNotMatch", "The provided x-amz-content-sha256 does not match the request's body.")
    expected = _signature(request, account, service, date, fields["SignedHeaders"].split(";"))
    if not hmac.compare_digest(expected, fields["Signature"]):
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )


def _check_date(date: str, now: float) -> None:
    try:
        sent = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise AwsError("IncompleteSignature", "Date must be in ISO-8601 'basic format'.") from None
    if abs(now - sent) > SKEW:
        word = "expired" if sent < now else "not yet current"
        served = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        raise AwsError("SignatureDoesNotMatch", f"Signature {word}: {date} is more than 15 minutes from {served}.")


def _signature(request: SignedRequest, account: Account, service: str, date: str, signed: list[str]) -> str:
    host = request.headers.get("host", "")
    headers = {name: request.headers[name] for name in signed if name in request.headers}
    again = AWSRequest(method=request.method, url=f"http://{host}{request.target}", headers=headers, data=request.body)
    again.context["timestamp"] = date
    signer = SigV4Auth(BotoCredentials(account.access_key, account.secret_key), service, account.region)
    return str(signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again))
