"""Run directories that were forged: one to three places of any file, altered at random, and sealed anew or not.

Whatever they hold, judging and reporting them ends in a verdict or in an error of dr's own; and none of them is met,
since the chain of seals knows what was sealed. DR_TEST_FORGED says how many.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dr.domain.model import Stamp
from dr.evidence.directory import RunDirectory
from dr.evidence.ledger import GENESIS, _digest
from dr.evidence.samples import header, marker_line, sample_line
from dr.evidence.seals import seal
from tests.support import many
from tests.unit.cli.test_damaged_runs import dr
from tests.unit.recoveries import drill

FORGED, PARTS = int(os.environ.get("DR_TEST_FORGED") or many(200)), 4
FORMS = ("text", "html", "markdown", "junit")
PATIENCE = 60
"""Seconds that one may take to be judged on a busy machine: no number in it makes that for ever."""
GONE = object()
WILD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 0.0, 1e308, -1e308, 1e-320, 5e18, 2**62, 2**70, -(10**30), 10**400),
    *("", "x", "\0", "é", "NaN", [], {}, [[]], {"a": 1}, [1, "a", None], GONE),
)
BYTES = (b"\xff", b"\xed\xa0\x80", b"\0", b"\n", b"1e999", b"Infinity", b'"', b"}")


class Told:
    """The clock of the drill that is written down."""

    def __init__(self) -> None:
        self.stamp = drill().record.started

    def now(self) -> Stamp:
        return self.stamp

    def sleep(self, seconds: float) -> None: ...


def written(home: Path) -> RunDirectory:
    """A whole drill as a run leaves it behind, sealed."""
    evidence, clock = drill(), Told()
    run = RunDirectory(home / "runs" / evidence.record.plan.run.id)
    digest, ledger = run.create(evidence.record), run.ledger(clock)
    for entry in evidence.entries:
        clock.stamp = entry.stamp
        data = {"run.json": digest} if entry.kind == "accepted" else entry.data
        ledger.append(entry.kind, entry.call, data, entry.milestones, entry.components)
    run.observe(evidence.observations, clock.now().at)
    for path, of in evidence.samples.items():
        lines = [sample_line(s.n, s.due, s.sent, s.done, s.status, s.error, s.late) for s in of.samples[::5]]
        (run.path / f"samples-{path}.jsonl").write_bytes(header(path, of.rate / 5, 2.0, of.start) + b"".join(lines))
    for path, writes in evidence.markers.items():
        rows = [marker_line(m.n, m.due, m.sent, m.done, m.outcome) for m in writes.markers]
        whole = header(path, writes.rate, 2.0, writes.start, 0.0004, 0.0002) + b"".join(rows)
        (run.path / f"markers-{path}.jsonl").write_bytes(whole)
    (run.path / "journal.json").write_text(json.dumps(evidence.journal))
    run.write_verdict({"verdict": "met"})
    assert seal(home, run, clock) == ""
    return run


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in it, itself included."""
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*place, key))


def altered(draw: random.Random, value: Any) -> Any:
    """The same with another value, or none, in one place."""
    place, new = draw.choice([*places(value)]), draw.choice(WILD)
    if not place:
        return None if new is GONE else new
    here = value
    for key in place[:-1]:
        here = here[key]
    if new is GONE:
        del here[place[-1]]
    else:
        here[place[-1]] = new
    return value


def forge(draw: random.Random, path: Path) -> None:
    """Alter a file in one place, or in many."""
    found, how = path.read_bytes(), draw.random()
    at = draw.randrange(len(found) + 1)
    if how < 0.15:
        path.write_bytes(found[:at] + draw.choice(BYTES) + found[at:])
    elif how < 0.2:
        path.write_bytes(found[:at])
    elif how < 0.22:
        path.unlink()
    else:
        lines = found.splitlines() if path.suffix == ".jsonl" else [found]
        line = draw.randrange(min(len(lines), draw.choice([3, 30, 3000]))) if lines else 0
        try:
            lines[line] = json.dumps(altered(draw, json.loads(lines[line]))).encode()
        except (IndexError, ValueError):  # forged already
            return
        path.write_bytes(b"\n".join(lines) + b"\n")


def seal_anew(run: RunDirectory) -> None:
    """As somebody does who knows how: the ledger's acceptance and its hashes, and the seal, fit again."""
    record, ledger, prev, lines = run.path / "run.json", run.path / "ledger.jsonl", GENESIS, []
    digest = hashlib.sha256(record.read_bytes() if record.exists() else b"").hexdigest()
    for line in ledger.read_bytes().splitlines() if ledger.exists() else ():
        try:
            entry = json.loads(line)
            if entry["kind"] == "accepted":
                entry["data"]["run.json"] = digest
            body = {**{key: part for key, part in entry.items() if key != "hash"}, "prev": prev}
            prev = _digest(prev, body)
            lines.append(json.dumps({**body, "hash": prev}).encode())
        except (LookupError, TypeError, ValueError):
            lines.append(line)
    ledger.write_bytes(b"".join(line + b"\n" for line in lines))
    run.seal(Told().now(), run.digests())


def content(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".json", ".jsonl")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DR_HOME", str(tmp_path))

    def too_long(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_forged_run_ends_in_no_traceback_and_is_never_met(part: int, home: Path) -> None:
    run = written(home)
    kept, judged = shutil.copytree(run.path, home / "kept"), 0
    sound = content(kept)
    for number in range(part, FORGED, PARTS):
        draw = random.Random(number)  # noqa: S311  (nothing is to be kept secret)
        shutil.rmtree(run.path)
        shutil.copytree(kept, run.path)
        for _ in range(draw.randint(1, 3)):
            forge(draw, draw.choice(sorted(path for path in run.path.iterdir() if path.suffix in (".json", ".jsonl"))))
        if content(run.path) == sound:
            continue
        if draw.random() < 0.7:
            seal_anew(run)
        signal.alarm(PATIENCE)
        code, out, err = dr("verify", run.id, "--output", "json")
        nameless = 2 if not (run.path / "run.json").exists() else 4
        assert code == nameless, (number, out, err)
        if "findings" in out:
            judged += 1
            assert dr("report", run.id, "--format", FORMS[number // PARTS % len(FORMS)])[0] == 0, number
        assert dr("history")[0] == 0
    assert judged > FORGED / PARTS / 2, "most of them can be read, and are judged"


def test_the_drill_that_is_forged_is_judged_by_its_demands_as_it_stands(home: Path) -> None:
    code, out, err = dr("verify", written(home).id, "--output", "json")
    assert code == 1
    assert {one["objective"] for one in json.loads(out)["findings"] if one["status"] == "missed"} >= {"loss"}
    assert "altered" not in err
