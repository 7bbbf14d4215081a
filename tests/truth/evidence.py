"""What is done to the evidence of a run that has been judged: each alters its directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path


def elsewhere(run: Path) -> None:
    """The directory has the name of another run."""
    run.rename(run.with_name("20200101-000000-0000"))


def swapped(run: Path, name: str, old: str, new: str) -> None:
    """One value in one file."""
    content = (run / name).read_text()
    assert old in content, f"{name} holds no {old}"
    (run / name).write_text(content.replace(old, new))


def resealed(run: Path, name: str, old: str, new: str) -> None:
    """The same, and a seal that fits it."""
    swapped(run, name, old, new)
    seal = json.loads((run / "seal.json").read_text())
    seal["files"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / "seal.json").write_text(json.dumps(seal))


def shortened(run: Path, name: str) -> None:
    """The last whole line is gone."""
    lines = (run / name).read_bytes().splitlines(keepends=True)
    (run / name).write_bytes(b"".join(lines[:-1]))


def doubled(run: Path, name: str) -> None:
    lines = (run / name).read_bytes().splitlines(keepends=True)
    (run / name).write_bytes(b"".join([*lines, lines[-1]]))


def emptied(run: Path, name: str) -> None:
    (run / name).write_bytes(b"")


def removed(run: Path, name: str) -> None:
    (run / name).unlink()


def a_directory(run: Path, name: str) -> None:
    (run / name).unlink()
    (run / name).mkdir()


def begun(run: Path, name: str, line: bytes) -> None:
    """Another first line."""
    rest = (run / name).read_bytes().partition(b"\n")[2]
    (run / name).write_bytes(line + b"\n" + rest)


def ended(run: Path, name: str, line: bytes) -> None:
    """One more line."""
    with (run / name).open("ab") as file:
        file.write(line + b"\n")


NO_TEXT, NO_END, NO_SHAPE = b'{"what": "\xff\xfe"}', b'{"at": 1e999, "what": 1e999}', b'[1, null, "x"]'
DEEP = b"[" * 5000 + b"]" * 5000
LEDGER, SEEN, SAMPLES, MARKERS = "ledger.jsonl", "observations.jsonl", "samples-source.jsonl", "markers-source.jsonl"

DOINGS: Mapping[str, Callable[[Path], None]] = {
    "another-runs": elsewhere,
    "observation-altered": partial(swapped, name=SEEN, old='"orphans":0', new='"orphans":1'),
    "observation-resealed": partial(resealed, name=SEEN, old='"ok":true', new='"ok":false'),
    "observation-gone": partial(shortened, name=SEEN),
    "observation-twice": partial(doubled, name=SEEN),
    "observations-gone": partial(removed, name=SEEN),
    "ledger-altered": partial(swapped, name=LEDGER, old='"kind": "effect"', new='"kind": "effekt"'),
    "ledger-short": partial(shortened, name=LEDGER),
    "ledger-gone": partial(removed, name=LEDGER),
    "ledger-empty": partial(emptied, name=LEDGER),
    "plan-loosened": partial(swapped, name="run.json", old='"demands"', new='"demands_"'),
    "verdict-altered": partial(swapped, name="verdict.json", old='"missed"', new='"met"'),
    "seal-gone": partial(removed, name="seal.json"),
    "seal-empty": partial(emptied, name="seal.json"),
    "journal-gone": partial(removed, name="journal.json"),
    "baseline-gone": partial(removed, name="baseline.json"),
    "samples-gone": partial(removed, name=SAMPLES),
    "samples-short": partial(shortened, name=SAMPLES),
    "markers-gone": partial(removed, name=MARKERS),
    "markers-short": partial(shortened, name=MARKERS),
    **{
        f"{what}-{name}": partial(how, name=name, line=line)
        for what, how, line in (
            ("no-text", ended, NO_TEXT),
            ("no-end", ended, NO_END),
            ("no-shape", begun, NO_SHAPE),
            ("deep", ended, DEEP),
        )
        for name in (LEDGER, SEEN, SAMPLES, MARKERS, "run.json", "seal.json", "baseline.json", "journal.json")
    },
    **{f"directory-{name}": partial(a_directory, name=name) for name in (LEDGER, SEEN, "seal.json")},
}
