"""S3 on loopback, for the models' artifacts and for backups: moto's S3, in threads of the lab's own process.

What it holds goes with the lab.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from hmac import compare_digest
from typing import Any

from moto.core.request import Request
from moto.s3.responses import S3Response
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from dr.lab.background import Background
from dr.lab.loopback import stranger
from dr.lab.rds.signature import Account

log = logging.getLogger(__name__)
ARTIFACTS, BACKUPS = "readmission-models", "readmission-backups"
"""The platform's buckets."""
_KEY = re.compile(r"Credential=([^/,\s]+)/")
XML = {"Content-Type": "application/xml"}
Answer = tuple[int, Mapping[str, str], str | bytes]


class ObjectStore(Background):
    """The endpoint: ``url`` once made; serves in threads of its own between ``start`` and ``close``."""

    def __init__(self, account: Account, port: int = 0) -> None:
        self._account = account
        server = make_server("127.0.0.1", port, self._answered, threaded=True, request_handler=_Quiet)
        super().__init__(server)
        self._refused: frozenset[str] = frozenset()
        self.url = f"http://127.0.0.1:{server.server_port}"

    def refuse(self, methods: Iterable[str]) -> None:
        """Deny requests of these HTTP methods from now on, as a bucket does that may not be written, or read."""
        self._refused = frozenset(methods)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 reaches it. They hold the account's secret key."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self._account.access_key,
            "AWS_SECRET_ACCESS_KEY": self._account.secret_key,
            "AWS_DEFAULT_REGION": self._account.region,
        }

    def client(self) -> Any:
        """boto3's, for the lab itself."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self._account.region,
            aws_access_key_id=self._account.access_key,
            aws_secret_access_key=self._account.secret_key,
        )

    def furnish(self, artifacts: Mapping[str, bytes]) -> None:
        """Make the platform's buckets, and put the models' artifacts into theirs."""
        client = self.client()
        for bucket in (ARTIFACTS, BACKUPS):
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self._account.region})
        for name, content in artifacts.items():
            client.put_object(Bucket=ARTIFACTS, Key=name, Body=content)

    def _answered(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = _Received(environ)
        status, headers, content = self._denied(request) or _of_moto(request)
        answer = Response(content, status=status, headers=dict(headers))
        if request.method == "HEAD" and "content-length" in headers:
            answer.headers["Content-Length"] = headers["content-length"]
        return answer(environ, start_response)

    def _denied(self, request: Request) -> Answer | None:
        because = stranger({name.lower(): value for name, value in request.headers.items()})
        if not compare_digest(key_of(request).encode(), self._account.access_key.encode()):
            because = "This endpoint serves the lab's account alone."
        elif request.method in self._refused:
            because = "Refused by the lab."
        if because:
            log.warning("%s %s is denied: %s", request.method, request.path, because)
        body = f"<Error><Code>AccessDenied</Code><Message>{because}</Message></Error>"
        return (403, XML, body) if because else None


class _Received(Request):
    """A request as werkzeug's server has received it."""

    from_wsgi_server = True


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, _type: str, message: str, *args: Any) -> None:
        log.debug(message, *args)


def key_of(request: Request) -> str:
    """The id of the key that a request says it is signed with, in a header or in its URL. It is random, kept where the
    lab's user alone reads it, and so what lets somebody in: a signature is not computed again."""
    told = _KEY.search(request.headers.get("Authorization", ""))
    return told[1] if told else request.args.get("X-Amz-Credential", "").partition("/")[0]


def _of_moto(request: Request) -> Answer:
    """What moto answers to a request whose bucket is the first part of its path."""
    _, _, key = request.raw_path.lstrip("/").partition("/")
    try:
        answer = (S3Response.key_dispatch if key else S3Response.ambiguous_dispatch)(
            request, request.raw_url, dict(request.headers)
        )
    except Exception:
        # The boundary of the service: whatever breaks inside is answered as S3 would, and logged.
        log.exception("%s broke", request.method)
        return 500, XML, "<Error><Code>InternalError</Code></Error>"
    return answer if len(answer) == 3 else (200, {}, answer)
