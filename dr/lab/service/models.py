"""Who predicts: this process, with the active model's artifact, or a model server (``dr.lab.service.model_server``)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from dr.domain.errors import RefusedError
from dr.lab.platform.model import Admission, Model, Prediction, load
from dr.lab.service.http import Malformed, status_of
from dr.lab.service.names import found

ANSWER_LIMIT = 2.0
"""Seconds for a model server's answer: clients leave after two."""
SIZE_LIMIT = 64 * 1024


class Unfit(Exception):  # noqa: N818 - a state that becomes a 503
    """No model can be asked now. The text may be shown."""


class Models(Protocol):
    """``active``: the rows of model_versions that are, as the store has them."""

    async def check(self, active: list[list[Any]]) -> str:
        """The version that would predict. Raises Unfit."""

    async def predict(self, active: list[list[Any]], admission: Admission) -> tuple[str, Prediction, float]:
        """The version that predicted, what, and the seconds that it took. Raises Unfit."""


def only(active: list[list[Any]]) -> tuple[str, Any]:
    """The one active version, and its performance_metrics. Pure. Raises Unfit."""
    if len(active) != 1:
        raise Unfit(f"{len(active)} model versions are active; it must be exactly one.")
    return str(active[0][0]), active[0][1]


class Here:
    """Predicts in this process. Holds the model that is active, verified against its digest when it became so."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._model: Model | None = None
        self._known: list[list[Any]] | None = None

    async def check(self, active: list[list[Any]]) -> str:
        return self._serving(active).version

    async def predict(self, active: list[list[Any]], admission: Admission) -> tuple[str, Prediction, float]:
        model = self._serving(active)
        began = time.perf_counter()
        said = model.predict(admission)
        return model.version, said, time.perf_counter() - began

    def _serving(self, active: list[list[Any]]) -> Model:
        if active == self._known and self._model is not None:
            return self._model
        self._model = None
        version, metrics = only(active)
        try:
            self._model = load(self._directory, version, metrics)
        except RefusedError as error:
            raise Unfit(str(error)) from None
        self._known = active
        return self._model


class Asked(msgspec.Struct):
    """What a model server is asked: a prediction by the version that the database says is active, and by no other."""

    version: str
    sha256: str
    admission: Admission


ASKED = msgspec.json.Decoder(Asked)
SAID = msgspec.json.Decoder(Prediction)


class Elsewhere:
    """Asks the model server at ``url``, over a connection for each request: so it goes to whoever is ready now."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80

    async def check(self, active: list[list[Any]]) -> str:
        """Whether the server is ready is its own affair: else all of this service would be called unready with it."""
        return only(active)[0]

    async def predict(self, active: list[list[Any]], admission: Admission) -> tuple[str, Prediction, float]:
        version, metrics = only(active)
        digest = metrics.get("sha256", "") if isinstance(metrics, Mapping) else ""
        asked = Asked(version, str(digest), admission)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                status, body = await self._post(msgspec.json.encode(asked))
            if status != 200:
                raise Unfit(f"The model server refused: {_why(body, status)}")
            said = SAID.decode(body)
        except TimeoutError:
            raise Unfit("The model server does not answer.") from None
        except (OSError, asyncio.IncompleteReadError, Malformed) as error:
            raise Unfit(f"The model server cannot be asked ({type(error).__name__}).") from None
        except msgspec.MsgspecError:
            raise Unfit("The model server's answer is no prediction.") from None
        return version, said, time.perf_counter() - began

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        host = f"{self._host}:{self._port}"
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection(found(self._host), self._port)
        try:
            writer.write(head.encode() + body)
            status = status_of(await reader.readuntil(b"\r\n\r\n"))
            return status, await reader.read(SIZE_LIMIT)
        finally:
            writer.close()


def _why(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return f"HTTP {status}."
