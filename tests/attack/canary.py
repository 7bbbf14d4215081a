"""A canary's writer, played in virtual time over the played cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dr.config.context import Context
from dr.drivers.kubernetes import canary
from dr.evidence.samples import ACKNOWLEDGED, FAILED, header, marker_line, markers_file
from dr.host.children import Held
from tests.attack.cluster import PlayedCluster
from tests.virtual import VirtualClock


class PlayedMeters:
    """In the place of ``Meters``, whichever run's: a process that writes whenever a second has passed."""

    def __init__(self, clock: VirtualClock, cluster: PlayedCluster) -> None:
        self._clock, self._cluster = clock, cluster
        self._told: dict[str, Any] | None = None
        self._next = 0

    def of(self, context: Context) -> PlayedMeters:
        self._run = context.run
        return self

    def running(self, name: str) -> Held | None:
        return None

    def known(self, name: str) -> bool:
        return markers_file(self._run, "source").exists()

    def document(self, name: str) -> dict[str, str]:
        return {"run": str(self._run)}

    def begin(self, name: str, work: Callable[[], int]) -> Held:
        assert isinstance(work, partial)
        self._told, self._next = work.args[1], 0
        self._write(header(self._told["path"], canary.RATE, self._told["timeout"], self._clock.now(), 0.0, 0.1))
        return Held("1:1", "")

    def check_alive(self, name: str) -> None:
        assert self._told is not None

    def stop(self, name: str) -> None:
        self._told = None

    def tick(self) -> None:
        if self._told is None or not Path(self._told["run"]).exists():
            return
        path = f"/api/v1/namespaces/{self._told['namespace']}/configmaps/{self._told['name']}"
        one, at = self._cluster.found.get(path), self._clock.now().mono_ns
        there = one is not None and one["metadata"]["uid"] == self._told["uid"]
        if one is not None and there:
            one["data"] = {canary.NUMBER: str(self._next)}
        self._write(marker_line(self._next, at, at, at + 1_000_000, ACKNOWLEDGED if there else FAILED))
        self._next += 1

    def left(self) -> list[str]:
        return [] if self._told is None else ["a canary's writer"]

    def _write(self, line: bytes) -> None:
        assert self._told is not None
        with markers_file(Path(self._told["run"]), "source").open("ab") as file:
            file.write(line)
