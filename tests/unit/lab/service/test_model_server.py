"""The model server, and the service that asks one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.lab.platform.model import ARTIFACT, Admission
from dr.lab.service.__main__ import read
from dr.lab.service.http import Connections, Malformed, Request, Response, status_of
from dr.lab.service.model_server import ModelServer
from dr.lab.service.models import Elsewhere, Here, Unfit, only
from dr.lab.service.names import VARIABLE, found, looked_up

DIGEST = hashlib.sha256(ARTIFACT.read_bytes()).hexdigest()
ACTIVE = [["2.3.0", {"artifact": ARTIFACT.name, "sha256": DIGEST}]]
THEN = datetime(2026, 1, 1, tzinfo=UTC)
ADMISSION = Admission({"birth_date": "1950-02-03"}, THEN, None, "I50.9", ["I50.9", "E11"], ["a"] * 7, 2)


def server(directory: Path, **environment: str) -> ModelServer:
    return ModelServer({"MODEL_DIR": str(directory), "MODEL_ARTIFACT": ARTIFACT.name, **environment})


@pytest.fixture
def ready(tmp_path: Path) -> ModelServer:
    (tmp_path / ARTIFACT.name).write_bytes(ARTIFACT.read_bytes())
    one = server(tmp_path)
    asyncio.run(one.prepare())
    return one


def get(one: ModelServer, path: str) -> Response:
    return asyncio.run(one.handle(Request("GET", path, {"host": "127.0.0.1"}, b"")))


def test_it_is_alive_at_once_and_ready_when_it_has_loaded_and_is_warm(tmp_path: Path, ready: ModelServer) -> None:
    before = server(tmp_path)
    assert get(before, "/healthz").status == 200
    assert get(before, "/readyz").status == 503
    assert get(ready, "/readyz").status == 200


def test_an_artifact_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    one = server(tmp_path)

    async def tried() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await one.prepare()

    asyncio.run(tried())
    assert get(one, "/readyz").status == 503
    assert "cannot be loaded" in one.state


def test_strangers_are_not_answered(ready: ModelServer) -> None:
    answer = asyncio.run(ready.handle(Request("GET", "/readyz", {"host": "rebound.example"}, b"")))
    assert answer.status == 403


async def _asked(one: ModelServer | bytes, active: list[list[Any]]) -> Any:
    """What ``Elsewhere`` gets of a model server, or of one that answers with these bytes."""

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert isinstance(one, bytes)
        writer.write(one)
        writer.close()

    handler = raw if isinstance(one, bytes) else Connections(one.handle).serve
    listening = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        return await Elsewhere(f"http://127.0.0.1:{port}").predict(active, ADMISSION)
    finally:
        listening.close()


def test_a_model_server_predicts_what_the_service_itself_would(tmp_path: Path, ready: ModelServer) -> None:
    here = asyncio.run(Here(tmp_path).predict(ACTIVE, ADMISSION))
    assert asyncio.run(_asked(ready, ACTIVE))[:2] == here[:2]


def test_another_artifact_than_the_active_version_s_is_refused(ready: ModelServer) -> None:
    other = [["2.3.0", {"artifact": ARTIFACT.name, "sha256": "0" * 64}]]
    with pytest.raises(Unfit, match=r"active version 2\.3\.0 has another artifact"):
        asyncio.run(_asked(ready, other))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "cannot be asked"),
        (b"what\r\n\r\n", "cannot be asked"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "no prediction"),
        (b"HTTP/1.1 500 No\r\n\r\n", "HTTP 500"),
    ],
)
def test_odd_answers_of_a_model_server_are_told_apart(said: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        asyncio.run(_asked(said, ACTIVE))


def test_no_model_server_is_told_as_such() -> None:
    with pytest.raises(Unfit, match="cannot be asked"):
        asyncio.run(Elsewhere("http://127.0.0.1:1").predict(ACTIVE, ADMISSION))


@pytest.mark.parametrize("active", [[], [*ACTIVE, *ACTIVE]])
def test_exactly_one_version_has_to_be_active(active: list[list[Any]]) -> None:
    with pytest.raises(Unfit, match="exactly one"):
        only(active)


def test_a_broken_gpu_fails_predictions_while_readiness_does_not_notice(tmp_path: Path) -> None:
    (tmp_path / ARTIFACT.name).write_bytes(ARTIFACT.read_bytes())
    one = server(tmp_path, NVIDIA_VISIBLE_DEVICES="GPU-0,GPU-1", DR_LAB_GPU_FAULTS=str(tmp_path))
    asyncio.run(one.prepare())
    (tmp_path / "GPU-7").touch()
    assert asyncio.run(_asked(one, ACTIVE))
    (tmp_path / "GPU-1").touch()
    with pytest.raises(Unfit, match="Xid 79"):
        asyncio.run(_asked(one, ACTIVE))
    assert get(one, "/readyz").status == 200


def test_a_body_that_asks_for_nothing_is_refused(ready: ModelServer) -> None:
    answer = asyncio.run(ready.handle(Request("POST", "/predict", {"host": "localhost"}, b"{}")))
    assert answer.status == 400
    assert json.loads(answer.body)["error"]


def test_the_service_needs_no_artifacts_where_a_model_server_predicts() -> None:
    options = read({"DATABASE_URL": "x", "MODEL_URL": "http://m:8001", "SERVED_AS": "a.example,b.example"})
    assert options.model_url == "http://m:8001"
    assert options.names == ("a.example", "b.example")


def test_a_status_is_read_from_a_head_alone() -> None:
    assert status_of(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n") == 404
    with pytest.raises(Malformed):
        status_of(b"SSH-2.0\r\n\r\n")


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hosts"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_names_are_looked_up_in_the_file_and_are_themselves_elsewhere(hosts: Path) -> None:
    assert found("model.svc") == "model.svc"
    hosts.write_text("# names\n127.96.0.7 model.svc model  # the model\n")
    assert found("Model.svc") == "127.96.0.7"
    assert found("other") == "other"
    assert looked_up("", "model") == ""
