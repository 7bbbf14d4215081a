"""What a fault makes of the wires through which an instance's servers stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr.domain.errors import RefusedError
from dr.lab.rds.wires import Wires, streams


class Network:
    """``modes``: what each open link is in."""

    def __init__(self) -> None:
        self.modes: dict[str, tuple[str, float]] = {}

    def start(self) -> None:
        pass

    keep = start

    def open(self, name: str, address: str, backend: str) -> None:
        self.modes[name] = ("pass", 0.0)

    def mode(self, name: str, mode: str, seconds: float) -> None:
        self.modes[name] = (mode, seconds)

    def close(self, name: str) -> None:
        del self.modes[name]


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Wires]:
    def make_directory(path: Path) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        return path

    site: Any = SimpleNamespace(directory=tmp_path, make_directory=make_directory)
    made = Wires(site)
    made.network = Network()  # type: ignore[assignment]
    yield made
    for key in ("db", "other"):  # their sockets' directories stand in /tmp where ``tmp_path`` is long
        made.forget(key)
        assert not streams(site, key).exists()


SERVER: Any = SimpleNamespace(socket="/run/.s.PGSQL.5432", port=5432)


def modes(wires: Wires) -> dict[str, tuple[str, float]]:
    return dict(wires.network.modes)  # type: ignore[attr-defined]


def test_a_fault_of_replication_ends_for_a_stream_that_nothing_uses_yet(wires: Wires) -> None:
    """A standby that is being made has its wire long before it is one."""
    wires.disturb_streams("db", "delay", 1.0)
    wires.stream("db", SERVER)
    assert modes(wires) == {"db/1": ("delay", 1.0)}
    wires.disturb_streams("db", "pass", 0.0)
    assert modes(wires) == {"db/1": ("pass", 0.0)}


def test_a_fault_of_replication_is_of_that_instance_and_of_wires_that_are_there(wires: Wires) -> None:
    wires.close(wires.stream("db", SERVER).wire)
    wires.stream("db", SERVER)
    wires.stream("other", SERVER)
    wires.disturb_streams("db", "delay", 1.0)
    assert modes(wires) == {"db/2": ("delay", 1.0), "other/3": ("pass", 0.0)}


def test_a_stream_through_a_link_that_is_cut_is_refused(wires: Wires) -> None:
    wires.disturb_streams("db", "silent", 0.0)
    with pytest.raises(RefusedError, match="replication link of db is cut"):
        wires.stream("db", SERVER)
