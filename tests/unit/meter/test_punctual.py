"""A meter goes before others only where what it measures is another machine's."""

from __future__ import annotations

import gc
import os

import pytest

from dr.meter.punctual import _take_short_turns, be_punctual, is_here


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        (["192.0.2.7"], True),
        (["127.0.0.1"], False),
        (["localhost"], False),
        (["/run/postgresql"], False),
        (["192.0.2.7", "127.0.0.1"], False),
    ],
)
def test_beside_what_it_measures_a_meter_takes_its_turn(
    monkeypatch: pytest.MonkeyPatch, hosts: list[str], first: bool
) -> None:
    asked: list[str] = []
    for name in ("setpriority", "sched_setaffinity", "sched_setscheduler"):
        monkeypatch.setattr(os, name, lambda *_, name=name: asked.append(name))
    for name in ("freeze", "disable"):
        monkeypatch.setattr(gc, name, lambda: None)
    be_punctual(hosts)
    assert asked == (["setpriority", "sched_setaffinity", "sched_setscheduler"] if first else [])


def test_a_name_that_leads_nowhere_is_no_place_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    assert not is_here("db.example")


def test_short_turns_are_no_higher_a_priority() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)
    _take_short_turns()
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)) == before
