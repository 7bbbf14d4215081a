"""Where the trace of a defect of dr's own goes: a person at 3 a.m. gets a sentence."""

from __future__ import annotations

import os
import traceback


def noted(error: Exception) -> str:
    """Append the trace of a defect to a file that its user alone can read. Returns where it is, in a sentence."""
    from dr.config.load import home
    from dr.domain.errors import DrError

    try:
        path = home() / "defects.log"
    except DrError as failed:
        return f"Its trace could not be written: {failed}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            traceback.print_exception(error, file=file)
    except OSError as failed:
        return f"Its trace could not be written to {path}: {failed.strerror}."
    return f"The trace is in {path}."
