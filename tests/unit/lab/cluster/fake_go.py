"""A ``go`` for tests: a real script that lists, says and writes what Go would, or fails as a file beside it says."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = """\
#!{python} -ISu
import json, os, sys, time
from pathlib import Path

here = Path(__file__).parent
told = json.loads((here / "told.json").read_text())
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]) + "\\n")
what = sys.argv[1]
if what == "env":
    print(told["version"])
elif what == "list":
    print("go: downloading example.org/one v1.0.0", file=sys.stderr)
    print("\\n".join(f"example.org/package{{n}}" for n in range(20)))
elif what == "build":
    output = sys.argv[sys.argv.index("-o") + 1]
    for n in range(20):
        print(f"example.org/package{{n}}", file=sys.stderr, flush=True)
        time.sleep(told["seconds"] / 20)
    names = [""] if not output.endswith("/") else told["programs"]
    for name in names:
        program = Path(output + name)
        program.write_text("#!/bin/sh\\necho " + told["says"] + "\\n")
        program.chmod(0o755)
if what in told["fails"]:
    print(told["fails"][what], file=sys.stderr)
    sys.exit(1)
"""


def write(folder: Path) -> Path:
    """The script, in ``folder``; ``told.json`` beside it says how it behaves, and ``calls.jsonl`` what it was asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "go"
    path.write_text(SCRIPT.format(python=sys.executable))
    path.chmod(0o755)
    return path
