"""The service itself: what each route answers, and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import hmac
import json
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dr.lab.loopback import stranger
from dr.lab.service import log
from dr.lab.service.http import HEAD_LIMIT, Connections, Request, Response, answer
from dr.lab.service.metrics import Metrics
from dr.lab.service.models import Elsewhere, Here, Models, Unfit
from dr.lab.service.store import Found, Store, Unavailable

FINISH_LIMIT = 5.0
"""Seconds that requests under way have after SIGTERM."""
ID_LIMIT = 50
"""platform.md: admission_id VARCHAR(50)."""


@dataclass(frozen=True, slots=True)
class Options:
    """The environment, read. ``delay``: seconds that every prediction is made slower. ``stubborn``: see Store.
    ``token``: what a POST has to show, "" for nothing. ``model_url``: the model server that predicts; "": it is done
    here, with the artifacts in ``models``. ``names``: hosts by which it is asked beside its own."""

    url: str
    host: str
    port: int
    models: Path
    delay: float
    stubborn: bool
    token: str = field(default="", repr=False)
    model_url: str = ""
    names: tuple[str, ...] = ()


ASKING = ("WWW-Authenticate", "Bearer")


class Rejected(Exception):  # noqa: N818 - an answer, not a failure of ours
    """What a request gets instead of a prediction."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Service:
    """Answers requests."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.metrics = Metrics()
        self.store = Store(options.url, self.metrics.query_seconds, options.stubborn)
        self._models: Models = Elsewhere(options.model_url) if options.model_url else Here(options.models)
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/predict": ("POST", self._predict),
            "/healthz": ("GET", self._health),
            "/readyz": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
        }

    async def handle(self, request: Request) -> Response:
        """The answer to one request, counted and timed."""
        started = time.perf_counter()
        method, route = self._routes.get(request.path, ("", None))
        because = stranger(request.headers, self._options.host, *self._options.names)
        if because:
            response = answer(403, {"error": because})
        elif route is None:
            response = answer(404, {"error": "There is no such path."})
        elif request.method != method:
            response = answer(405, {"error": f"Use {method}."}, ("Allow", method))
        elif method == "POST" and not shows(request.headers, self._options.token):
            response = answer(401, {"error": "Show the token: Authorization: Bearer TOKEN."}, ASKING)
        else:
            response = await self._guarded(route, request)
        path = request.path if route else "other"
        verb = request.method if request.method in ("GET", "POST") else "other"
        self.metrics.requests.add(verb, path, str(response.status))
        if response.status >= 500:
            self.metrics.errors.add()
        self.metrics.request_seconds.observe(time.perf_counter() - started)
        return response

    async def _guarded(self, route: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        try:
            return await route(request)
        except Rejected as why:
            return answer(why.status, {"error": str(why)})
        except (Unavailable, Unfit) as why:
            return answer(503, {"error": str(why)})
        except Exception as error:
            log.write("ERROR", "Request failed", error=type(error).__name__)
            return answer(500, {"error": "The request failed."})

    async def _health(self, _: Request) -> Response:
        return answer(200, {"status": "alive"})

    async def _ready(self, _: Request) -> Response:
        version = await self._models.check(await self.store.active())
        return answer(200, {"status": "ready", "model_version": version})

    async def _metrics(self, _: Request) -> Response:
        return Response(200, self.metrics.render().encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _predict(self, request: Request) -> Response:
        started = time.perf_counter()
        trace = request.headers.get("x-request-id", "")[:32]
        admission = wanted(request.body)
        found: Found | None = None
        try:
            if self._options.delay:
                await asyncio.sleep(self._options.delay)
            async with self.store.session(request.gone) as session:
                found = await self.store.look_up(session, admission)
                if found is None:
                    raise Rejected(404, "There is no such admission.")
                version, said, took = await self._models.predict(found.active, found.admission)
                self.metrics.prediction_seconds.observe(took + self._options.delay)
                identity = await self.store.keep(session, found, admission, version, said)
        except (Rejected, Unavailable, Unfit) as why:
            status = why.status if isinstance(why, Rejected) else 503
            if status >= 500:
                self.metrics.prediction_errors.add()
            self._log("ERROR" if status >= 500 else "WARNING", str(why), started, trace, found, status=status)
            raise
        self._log(
            "INFO",
            "Prediction request processed successfully",
            started,
            trace,
            found,
            prediction=round(said.risk, 2),
            model_version=version,
        )
        return answer(
            200,
            {
                "prediction_id": identity,
                "patient_id": found.patient,
                "admission_id": admission,
                "readmission_risk": said.risk,
                "confidence_interval": list(said.interval),
                "risk_factors": list(said.factors),
                "model_version": version,
            },
        )

    @staticmethod
    def _log(level: str, message: str, started: float, trace: str, found: Found | None, **details: Any) -> None:
        took = round((time.perf_counter() - started) * 1000, 1)
        log.write(level, message, trace=trace, patient=found.patient if found else None, **details, duration_ms=took)


def shows(headers: Mapping[str, str], token: str) -> bool:
    """Whether a request may write: it shows the token, or there is none. How long that takes tells nothing of it. Pure.

    ``headers``: by names in lower case, as ``parse_head`` reads them.
    """
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(shown.strip().encode("latin-1"), token.encode())
    return not token or (scheme.lower() == "bearer" and right)


def wanted(body: bytes) -> str:
    """The admission that a request's body names. Pure. Raises Rejected (400)."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Rejected(400, "The body is not JSON.") from None
    admission = asked.get("admission_id") if isinstance(asked, dict) else None
    if not isinstance(admission, str) or not 0 < len(admission) <= ID_LIMIT or not admission.isprintable():
        raise Rejected(400, f'The body must be {{"admission_id": "..."}}, of at most {ID_LIMIT} characters.')
    return admission


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError where it cannot listen."""
    service = Service(options)
    connections = Connections(service.handle)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    server = await asyncio.start_server(connections.serve, options.host, options.port, limit=HEAD_LIMIT)
    try:
        state = await service.handle(Request("GET", "/readyz", {"host": "localhost"}, b""))
        log.write("INFO", "Listening", host=options.host, port=options.port, ready=state.status == 200)
        await over.wait()
    finally:
        server.close()
        await connections.close(FINISH_LIMIT)
        await service.store.close()
        log.write("INFO", "Stopped")
