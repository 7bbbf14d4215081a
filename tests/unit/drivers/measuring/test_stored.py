"""What of a run's predictions is counted, from when on, and how long it is waited for. Virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dr.config.model import Login
from dr.domain.errors import ProviderError, UnreachableError
from dr.domain.model import Progress
from dr.drivers.measuring.stored import LATER, counted
from dr.drivers.service import rows
from dr.drivers.service.config import Planting, Rows, Stored
from dr.evidence.samples import header, sample_line, samples_file
from tests.integration.meters import context
from tests.virtual import VirtualClock

COPY, SOURCE = ({"host": host, "port": 1} for host in ("copy", "source"))


class Count:
    """A count of the copy's and of the source's predictions: each as often as it is asked for, the last for good."""

    def __init__(self, run: Path, monkeypatch: pytest.MonkeyPatch, good: int) -> None:
        planting = Planting(Login("admin", "env:A"), (Rows("patients", {"id": "a"}),))
        made = context(run, planted=planting, stored=Stored("predictions", "id"))
        self.clock = VirtualClock()
        self.context = replace(made, clock=self.clock)
        self.holds: dict[str, list[int | Exception]] = {"copy": [good], "source": [0]}
        self.asked = {"copy": 0, "source": 0}
        monkeypatch.setattr(rows, "count_stored", self._count)
        lines = [sample_line(n, n, n, n + 1, 200 if n < good else 500, "", 0) for n in range(good + 3)]
        samples_file(run, "restored").write_bytes(header("restored", 10.0, 1.0, self.clock.now()) + b"".join(lines))

    def _count(self, server: Any, *_: object) -> Counter[tuple[str, str]]:
        self.asked[server.host] += 1
        held = self.holds[server.host]
        found = held.pop(0) if len(held) > 1 else held[0]
        if isinstance(found, Exception):
            raise found
        return Counter({("a-run", "form"): found})

    def polls(self, **args: Any) -> Iterator[Progress]:
        """Each a second after the other, up to the last."""
        told = {
            "copy": COPY,
            "source": SOURCE,
            "run": "r",
            "planted": 1,
            "first": 0,
            "before": {"good": 0, "planting": 1.0},
            "planting": 1.0,
            "asked_at": self.clock.now().at,
            **args,
        }
        while True:
            yield (progress := counted(self.context, told))
            if progress.done:
                return
            self.clock.sleep(1.0)

    def end(self, **args: Any) -> dict[str, Any]:
        (seen,) = [*self.polls(**args)][-1].observations
        assert (seen.what, seen.path) == ("stored", "restored")
        return dict(seen.value)


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(tmp_path, monkeypatch, 20)


KNOWN = {"copy": 20, "source": 0, "because": "", "silent": False, "first": 0, "last": 22, "before": 0, "sent": 0}


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({}, {}),
        ({"a-run": ["form", "other"]}, {"compared": 5, "unlike": 0}),
        ({"a-run": ["other"]}, {"compared": 5, "unlike": 5}),
        ({"b-run": ["other"]}, {"compared": 0, "unlike": 0}),
    ],
)
def test_what_the_copy_holds_is_held_against_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: dict[str, list[str]], told: dict[str, int]
) -> None:
    found = Count(tmp_path, monkeypatch, 5).end(before={"good": 0, "planting": 1.0, "kept": kept})
    assert {name: found[name] for name in ("compared", "unlike") if name in found} == told


def test_both_are_counted(count: Count) -> None:
    assert count.end() == KNOWN
    assert count.clock.slept == []


def test_a_prediction_may_come_after_its_answer_and_those_before_the_load_are_waited_for_too(count: Count) -> None:
    """The source is counted once, however often the copy is."""
    count.holds["copy"] = [19, 20, 21, 22]
    assert count.end(before={"good": 2, "sent": 3, "planting": 1.0}) == {**KNOWN, "copy": 22, "before": 2, "sent": 3}
    assert count.asked == {"copy": 4, "source": 1}


def test_it_is_not_waited_for_longer_than_a_service_may_take(count: Count) -> None:
    count.holds["copy"] = [19]
    assert count.end()["copy"] == 19
    assert LATER < sum(count.clock.slept) <= LATER + 1.0


def test_what_was_planted_and_taken_away_again_does_not_count(count: Count) -> None:
    count.holds["copy"] = [12]
    found = count.end(first=8, before={"good": 2, "planting": 1.0}, planting=2.0)
    assert (found["copy"], found["first"], found["before"]) == (12, 8, 0)
    assert count.clock.slept == []


def test_where_nothing_was_planted_nothing_is_counted(count: Count) -> None:
    assert count.end(planted=0)["because"] == "nothing was planted there"
    assert count.asked == {"copy": 0, "source": 0}


@pytest.mark.parametrize(
    ("source", "error", "silent"),
    [
        (SOURCE, UnreachableError("It is gone."), True),
        (SOURCE, ProviderError("It is busy."), False),
        (None, None, True),
    ],
)
def test_a_source_that_does_not_answer_is_told_from_one_that_does_not_say(
    count: Count, source: object, error: Exception | None, silent: bool
) -> None:
    if error is not None:
        count.holds["source"] = [error]
    told = {"source": None, "silent": silent, "because": "" if error is None else str(error)}
    assert count.end(source=source) == {**KNOWN, **told}


def test_a_copy_that_does_not_say_is_not_waited_for(count: Count) -> None:
    count.holds["copy"] = [UnreachableError("It is gone.")]
    found = count.end()
    assert (found["copy"], found["source"], found["because"], found["silent"]) == (None, 0, "It is gone.", False)
    assert count.clock.slept == []
