"""Commands of ``dr`` that begin at once: each is a fork of a process that has imported what they need.

That takes most of what a short command asks of a processor. ``python -m dr`` itself is what tests/unit/cli/test_cli.py,
tests/integration/test_signals.py and ``Lab.begin`` run.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.imported"])


def dr(args: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` of ``python -m dr``. Raises subprocess.TimeoutExpired."""
    with TemporaryDirectory(prefix="dr-said-") as place:
        out, err = Path(place) / "stdout", Path(place) / "stderr"
        fork = _forks.Process(target=_be, args=(tuple(args), dict(env), str(cwd), str(out), str(err)))
        fork.start()
        fork.join(timeout)
        if fork.exitcode is None:
            fork.kill()
            fork.join()
            raise subprocess.TimeoutExpired(args, timeout)
        return subprocess.CompletedProcess(args, fork.exitcode, out.read_text(), err.read_text())


def _be(args: tuple[str, ...], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    from dr.cli import main
    from tests import imported  # noqa: F401 - there already: a process that could not import it began without a word

    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["dr", *args]
    main()
