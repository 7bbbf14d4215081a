"""Ask Prometheus what it saw: range queries, and the alert rules as it has them.

The client-side samples decide; this says whether Prometheus agrees. Only here is its API spoken, over HTTP alone.

Prometheus shows a sample for up to five minutes after it was taken, and a rate for as long as its window: a target that
is dead, or a Prometheus that was down, goes on showing what was good. Hence ``scraped``: a figure counts only where the
scrapes just before it were made and succeeded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from dr.domain.errors import OddAnswerError, ProviderError
from dr.drivers.service.asking import get
from dr.host.bounded import persistently
from dr.host.clock import SystemClock
from dr.ports import Clock

PATIENCE = 10.0
"""Seconds for the answer to one query."""
ODD_SECONDS = 10.0
"""How long an odd answer is asked for again."""
RECENT = 3
"""Scrape intervals that a figure's freshness is judged by: one scrape may be late, and the next begun."""
EXPRESSIONS = {
    "latency": "histogram_quantile(0.95, sum by (le) (rate(readmission_api_request_duration_seconds_bucket@)))",
    "errors": "sum(rate(readmission_api_request_errors_total@)) / sum(rate(readmission_api_requests_total@))",
}
"""Objectives as Prometheus sees them, by the platform's own names; ``expression`` fills in what stands for @.

A quantile is interpolated within a bucket, and is the last bound where it lies beyond. Requests are all that the
service had, scrapes and probes of its health among them.
"""

Points = tuple[tuple[float, float], ...]
"""Wall-clock seconds, and the value there."""
_Kind = TypeVar("_Kind")


class Rule(msgspec.Struct, frozen=True):
    """An alert rule. ``held``: its ``for``, seconds. ``problem``: why Prometheus could not evaluate it, or ""."""

    name: str
    expression: str = msgspec.field(name="query")
    held: float = msgspec.field(name="duration")
    problem: str = msgspec.field(name="lastError", default="")


class Prometheus:
    """The Prometheus at ``url``. Everything raises ProviderError where it is down, slow, or answers something else."""

    def __init__(self, url: str, patience: float = PATIENCE, clock: Clock | None = None) -> None:
        self._url = url
        self._patience = patience
        self._clock = clock or SystemClock()

    def query_range(self, expression: str, start: float, end: float, step: float) -> Points:
        """The values of ``expression`` at ``start``, ``start + step``, ... up to ``end`` (wall clock, seconds), of one
        series after another.

        No data is a point that is not there, as is what is not a number (nothing was counted); never an error, and an
        error is never no data.
        """
        asked = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        found = self._ask(f"/api/v1/query_range?{urlencode(asked)}", _Matrix)
        try:
            points = tuple((at, float(value)) for one in found.result for at, value in one.values)
        except ValueError:
            raise ProviderError("Prometheus answered with a value that is no number.") from None
        return tuple(point for point in points if not math.isnan(point[1]))

    def alert_rules(self) -> tuple[Rule, ...]:
        """The alert rules that it evaluates."""
        return tuple(rule for group in self._ask("/api/v1/rules?type=alert", _Groups).groups for rule in group.rules)

    def _ask(self, path: str, kind: type[_Kind]) -> _Kind:
        return persistently(
            self._clock,
            lambda error: ODD_SECONDS if isinstance(error, OddAnswerError) else 0.0,
            lambda: self._ask_once(path, kind),
        )

    def _ask_once(self, path: str, kind: type[_Kind]) -> _Kind:
        status, body = get(self._url, path, patience=self._patience, whose="Prometheus")
        try:
            answer = msgspec.json.decode(body, type=_Answer)
            if answer.status == "success" and status == 200 and not _partial(answer.warnings):
                return msgspec.json.decode(answer.data, type=kind)
        except msgspec.DecodeError:
            odd = f"with something else than api/v1 of Prometheus does (status {status})"
            raise OddAnswerError(f"A query of the Prometheus at {self._url}", odd) from None
        because = answer.error or "; ".join(answer.warnings) or f"status {status}"
        raise ProviderError(
            f"The Prometheus at {self._url} did not answer a query: {because.rstrip('.')}.",
            code=answer.errorType,
            transient=status >= 500,
        )


def expression(objective: str, seconds: int, selector: str = "") -> str:
    """What Prometheus is asked for ``objective``, over the ``seconds`` before each point. Pure. ``selector``: labels
    that the service's series have (``job="readmission-api"``). Raises KeyError."""
    return EXPRESSIONS[objective].replace("@", f"{{{selector}}}[{seconds}s]")


def scraped(interval: float, selector: str = "") -> str:
    """An expression: 1 where the last scrapes succeeded, 0 where one failed, no data where none was made. Pure.
    ``interval``: seconds between two scrapes. A window does not look back beyond itself, as ``up`` alone does."""
    return f"min(min_over_time(up{{{selector}}}[{math.ceil(interval * RECENT)}s]))"


def _partial(warnings: Sequence[str]) -> bool:
    """Whether the data may be incomplete; remarks about the expression's style come as warnings, too."""
    return any(not warning.startswith("PromQL info") for warning in warnings)


class _Answer(msgspec.Struct):
    """What every answer of api/v1 is wrapped in."""

    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    errorType: str = ""  # noqa: N815  (its name there)
    warnings: tuple[str, ...] = ()


class _Range(msgspec.Struct):
    values: tuple[tuple[float, str], ...] = ()


class _Matrix(msgspec.Struct, tag_field="resultType", tag="matrix"):
    result: tuple[_Range, ...]


class _Group(msgspec.Struct):
    rules: tuple[Rule, ...]


class _Groups(msgspec.Struct):
    groups: tuple[_Group, ...]
