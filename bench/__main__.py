"""``make bench``: every figure that is claimed, as a ratio to its peer measured in the same run.

Each bench prints its figures and returns whether they hold. Names on the command line choose among them:
``python -m bench checksum``.
"""

from __future__ import annotations

import importlib
import os
import sys
import time

from bench.figures import Machine

BENCHES = (
    *("startup", "prober", "markers", "outages", "losses", "checksum", "restore", "processor"),
    *("cluster", "gpus", "namespaces"),
)


def main(names: list[str]) -> int:
    """Run the benches; exit code 1 where a figure does not hold, 2 for an unknown name."""
    os.environ["DR_LAB_WITHOUT"] = "kubernetes"  # what they time is the databases'
    if unknown := sorted({*names} - {*BENCHES}):
        print(f"There is no bench {', '.join(unknown)}; choose among {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    held = [_held(name) for name in names or BENCHES]  # all of them, whatever came of the first
    return 0 if all(held) else 1


def _held(name: str) -> bool:
    """Run one bench, with what the machine did right before and meanwhile beside its figures."""
    before = Machine()
    time.sleep(1.0)
    print(f"{name}; before: {before.told()}", flush=True)
    meanwhile = Machine()
    held: bool = importlib.import_module(f"bench.{name}").main()
    print(f"{name}; meanwhile, itself included: {meanwhile.told()}\n", flush=True)
    return held


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
