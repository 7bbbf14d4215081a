"""The model server: ``python -m dr.lab.service.model_server``. It loads one artifact, warms up, and predicts.

It reads its environment:

    HOST, PORT           where it listens (127.0.0.1, 8001)
    MODEL_ARTIFACT       the artifact's name
    MODEL_BUCKET         the S3 bucket that has it, asked as boto3 does: AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, ...;
                         empty: it lies in MODEL_DIR
    MODEL_DIR            where it is kept
    MODEL_WARM_UP_S      seconds that it warms up for at least (0)
    SERVED_AS            further hosts by which it may be asked, separated by commas
    NVIDIA_VISIBLE_DEVICES, DR_LAB_GPU_FAULTS
                         its GPUs, and the directory that has a file for each that is broken (the lab's fault): with one
                         of them no prediction works, and /readyz does not notice, as the driver tells nobody else

/startupz says whether the artifact is loaded, /readyz whether it is warm, too. A prediction by another artifact than
its own is refused (409).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from dr.domain.errors import RefusedError
from dr.lab.loopback import stranger
from dr.lab.platform.model import Admission, Model, digest, load
from dr.lab.service import log
from dr.lab.service.http import HEAD_LIMIT, Connections, Request, Response, answer
from dr.lab.service.models import ASKED

GPU_FAULTS = "DR_LAB_GPU_FAULTS"
PAUSE = 2.0
"""Seconds until an artifact that could not be loaded is tried again."""
ROUNDS = 1000
"""Predictions of a warm-up."""
FINISH_LIMIT = 5.0


class ModelServer:
    """Answers requests. ``state``: why it is not ready; "" where it is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._names = (environment.get("HOST", "127.0.0.1"), *environment.get("SERVED_AS", "").split(","))
        self._artifact = Path(environment.get("MODEL_DIR", ".")) / environment.get("MODEL_ARTIFACT", "")
        self._model: Model | None = None
        self._digest = ""
        self.state = "The artifact is not loaded yet."

    async def prepare(self) -> None:
        """Load the artifact and warm up; try again until that is done."""
        while self.state:
            began = time.monotonic()
            try:
                await self._fetch()
                self._load()
            except (RefusedError, OSError) as error:
                self.state = f"The artifact cannot be loaded: {error}"
                log.write("ERROR", self.state)
                await asyncio.sleep(PAUSE)
                continue
            log.write("INFO", "Artifact loaded", seconds=round(time.monotonic() - began, 3))
            self.state = "It is warming up."
            await self._warm_up(float(self._environment.get("MODEL_WARM_UP_S", "0")))
            self.state = ""
            log.write("INFO", "Warm", seconds=round(time.monotonic() - began, 3))

    async def _fetch(self) -> None:
        """Get the artifact from its bucket. Another process does, which takes with it what the client needs in memory.

        Raises RefusedError.
        """
        if not self._environment.get("MODEL_BUCKET"):
            return
        command = (sys.executable, "-m", "dr.lab.service.artifact", self._environment["MODEL_BUCKET"])
        fetching = await asyncio.create_subprocess_exec(
            *command, self._artifact.name, str(self._artifact), stderr=asyncio.subprocess.PIPE
        )
        _, said = await fetching.communicate()
        if fetching.returncode:
            raise RefusedError(said.decode(errors="replace").strip()[-300:] or "The bucket could not be asked.")

    def _load(self) -> None:
        """Raises OSError, and RefusedError where it is no model."""
        content = self._artifact.read_bytes()
        self._digest = digest(content)
        named = {"artifact": self._artifact.name, "sha256": self._digest}
        self._model = load(self._artifact.parent, self._artifact.stem, named)

    async def _warm_up(self, seconds: float) -> None:
        assert self._model is not None  # noqa: S101 - it is loaded
        then = datetime(2026, 1, 1, tzinfo=UTC)
        until = time.monotonic() + seconds
        for _ in range(ROUNDS):
            self._model.predict(Admission({}, then, then + timedelta(days=3), "I50", [], [], 0))
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    async def handle(self, request: Request) -> Response:
        because = stranger(request.headers, *self._names)
        if because:
            return answer(403, {"error": because})
        if request.path == "/healthz":
            return answer(200, {"status": "alive"})
        if request.path not in ("/startupz", "/readyz", "/predict"):
            return answer(404, {"error": "There is no such path."})
        if request.path == "/startupz" and self._model is not None:
            return answer(200, {"status": "loaded", "sha256": self._digest})
        if self.state or self._model is None:
            return answer(503, {"error": self.state})
        if request.path == "/readyz":
            return answer(200, {"status": "ready", "sha256": self._digest})
        return self._predict(self._model, request)

    def _broken(self) -> str:
        """One of its GPUs that is broken; "" for none."""
        gpus = self._environment.get("NVIDIA_VISIBLE_DEVICES", "").split(",")
        faults = Path(self._environment.get(GPU_FAULTS, "/dev/null"))
        return next((gpu for gpu in gpus if gpu and (faults / gpu).exists()), "")

    def _predict(self, model: Model, request: Request) -> Response:
        if gpu := self._broken():
            log.write("ERROR", "Xid 79: GPU has fallen off the bus.", gpu=gpu)
            return answer(500, {"error": "The GPU has fallen off the bus (Xid 79)."})
        try:
            asked = ASKED.decode(request.body)
        except msgspec.MsgspecError:
            return answer(400, {"error": "The body asks for no prediction."})
        if asked.sha256 != self._digest:
            why = f"The active version {asked.version} has another artifact than {self._artifact.name}, loaded here."
            return answer(409, {"error": why})
        said = model.predict(asked.admission)
        return Response(200, msgspec.json.encode(said))


async def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError where it cannot listen."""
    service = ModelServer(environment)
    connections = Connections(service.handle)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    host, port = environment.get("HOST", "127.0.0.1"), int(environment.get("PORT", "8001"))
    server = await asyncio.start_server(connections.serve, host, port, limit=HEAD_LIMIT)
    preparing = asyncio.create_task(service.prepare())
    try:
        await over.wait()
    finally:
        preparing.cancel()
        server.close()
        await connections.close(FINISH_LIMIT)
        log.write("INFO", "Stopped")


if __name__ == "__main__":
    log.SERVICE = "readmission-model"
    asyncio.run(run(os.environ))
