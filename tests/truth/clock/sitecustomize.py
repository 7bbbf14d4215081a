"""Read by every Python that has this directory in PYTHONPATH: its wall clock is wrong by the seconds that the file
TRUTH_CLOCK says, its monotonic clock as it is."""

import os
import time

_true = time.time


def _wrong() -> float:
    try:
        with open(os.environ["TRUTH_CLOCK"]) as file:
            return _true() + float(file.read())
    except (KeyError, OSError, ValueError):
        return _true()


time.time = _wrong
