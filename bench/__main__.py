"""``make bench``: every figure that is claimed, as a ratio to its peer measured in the same run.

Each bench prints its figures and returns whether they hold. Names on the command line choose among them.
"""

from __future__ import annotations

import importlib
import sys

BENCHES = ("startup", "prober", "checksum", "restore")


def main(names: list[str]) -> int:
    """Run the benches; exit code 1 where a figure does not hold."""
    held = [importlib.import_module(f"bench.{name}").main() for name in names or BENCHES]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
