"""Asking a prediction service over HTTP: its answers as forms, its readiness, its histograms.

Proxies of the environment are not used: what answers must be the service itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dr.domain.errors import ProviderError, UsageError
from dr.domain.refs import Ref
from dr.evidence.answers import canonical, form_of
from dr.host.bounded import within
from dr.host.clock import SystemClock
from dr.host.decode import OBJECT, line_of
from dr.meter.bearer import authorization, check_taken

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

PATIENCE = 10.0
"""Seconds for one answer; the first of a cold service takes longer than any later one."""
LARGEST = 16 << 20
"""Bytes of one answer: a Prometheus of thousands of points takes one."""

Histograms = dict[str, dict[str, Any]]
"""A metric's name to {count, buckets: {upper bound: cumulative count}}, all label sets added up."""


def predictions(instance: Ref) -> Ref:
    """The rows that a service writes into its database, ``instance``, when it is asked for synthetic patients."""
    return Ref("service", "predictions", "of synthetic patients", instance)


def service(url: str) -> Ref:
    """A prediction service that this run did not start."""
    return Ref("service", "service", url)


def get(
    url: str,
    path: str,
    body: object = None,
    patience: float = PATIENCE,
    whose: str = "service",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """GET ``url`` + ``path``, or POST ``body`` as JSON. Returns status and body. Raises ProviderError, UsageError.

    ``patience``: seconds for the whole answer. ``whose``: what answers, for the sentence. ``headers``: a POST's own.
    """
    from http.client import HTTPException

    from urllib3.connection import HTTPConnection, HTTPSConnection  # no pool: it would hide the socket to be shut
    from urllib3.exceptions import HTTPError

    parts = urlsplit(url)
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise UsageError(f"{url!r} is not the URL of a {whose}.", f"Correct the target's {whose.lower()}.url.")
    path = parts.path.rstrip("/") + path
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=patience)
    wires: list[socket.socket] = []

    def ask() -> tuple[int, bytes]:
        if body is None:
            connection.request("GET", path, preload_content=False)
        else:
            sent = {"Content-Type": "application/json", **(headers or {})}
            connection.request("POST", path, json.dumps(body).encode(), sent, preload_content=False)
        wires.append(connection.sock)  # the connection forgets it with the answer's head
        response = connection.getresponse()
        return response.status, response.read(LARGEST + 1)

    try:
        status, content = within(SystemClock(), patience, f"{path or '/'} of the {whose} at {url}", ask)
    except (OSError, HTTPException, HTTPError) as error:
        cause = error.__cause__ or error
        raise ProviderError(
            f"The {whose} at {url} does not answer: {getattr(cause, 'strerror', None) or type(cause).__name__}.",
            "See whether it runs and can be reached from here.",
            transient=True,
        ) from None
    finally:
        for wire in wires:  # so that an asking that was given up ends, too
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        connection.close()
    if len(content) > LARGEST:
        raise ProviderError(
            f"{path or '/'} of the {whose} at {url} answers with more than {LARGEST >> 20} MiB.",
            "See whether something else answers in its place.",
        )
    return status, content


def name_of(request: object) -> str:
    """What a synthetic request is called: an abbreviated digest, so that no content stands in the evidence."""
    return hashlib.sha256(canonical(request)).hexdigest()[:12]


def predict(url: str, request: object, token: str = "") -> tuple[int, bytes]:
    """POST ``request`` to /predict, with the token of that reference. Returns status and body.

    Raises RefusedError where the service refuses the token, or asks for one; ProviderError and UsageError as ``get``.
    """
    status, body = get(url, "/predict", request, headers=authorization(token))
    check_taken(f"at {url}", status, token)
    return status, body


def answer_to(url: str, request: object, token: str = "") -> dict[str, Any]:
    """The answer to ``request``. Raises ProviderError without one, and RefusedError as ``predict``."""
    status, body = predict(url, request, token)
    if status != 200:
        raise ProviderError(f"The service at {url} answered request {name_of(request)} with status {status}.")
    answer = line_of(body, OBJECT)
    if answer is None:
        raise ProviderError(f"The service at {url} answered request {name_of(request)} with something else than JSON.")
    return answer


def ask_golden(
    url: str, requests: Sequence[Mapping[str, object]], volatile: Sequence[str], token: str = "", tolerance: float = 0.0
) -> dict[str, str]:
    """Each request's name to the form of its answer. Raises as ``answer_to`` where one is not answered."""
    return {name_of(request): form_of(answer_to(url, request, token), volatile, tolerance, {}) for request in requests}


def metrics(url: str) -> list[Sample]:
    """What the service's /metrics shows, sample by sample; none where it has no such page. Raises ProviderError."""
    status, body = get(url, "/metrics")
    try:
        return samples(body.decode(errors="replace")) if status == 200 else []
    except ValueError:
        raise ProviderError(f"The service at {url} shows metrics that are not in Prometheus' text format.") from None


def samples(text: str) -> list[Sample]:
    """The samples of Prometheus' text format. Pure. Raises ValueError for any other."""
    from prometheus_client.parser import text_string_to_metric_families

    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def histograms(shown: Iterable[Sample], names: Sequence[str]) -> Histograms:
    """The histograms called ``names`` among what is shown; a count that is no number is none. Pure."""
    found: Histograms = {}
    for sample in shown:
        name, _, part = sample.name.rpartition("_")
        if name not in names or part not in ("count", "bucket") or not math.isfinite(sample.value):
            continue
        metric = found.setdefault(name, {"count": 0, "buckets": {}})
        if part == "count":
            metric["count"] += round(sample.value)
        elif bound := sample.labels.get("le"):
            metric["buckets"][bound] = metric["buckets"].get(bound, 0) + round(sample.value)
    return found


def between(before: Histograms, after: Histograms) -> Histograms:
    """What was counted between two readings; a metric whose service was started anew in between is left out. Pure."""
    grown: Histograms = {}
    for name, late in after.items():
        early = before.get(name, {"count": 0, "buckets": {}})
        if late["count"] >= early["count"]:
            buckets = {bound: count - early["buckets"].get(bound, 0) for bound, count in late["buckets"].items()}
            grown[name] = {"count": late["count"] - early["count"], "buckets": buckets}
    return grown
