"""A sentence for whoever watches, from below the command line: of what cannot wait until a command ends."""

from __future__ import annotations

import os
from contextlib import suppress


def say(sentence: str) -> None:
    """To stderr, past its buffer: a signal's handler may interrupt who writes to that."""
    with suppress(OSError):  # nobody reads it
        os.write(2, f"dr: {sentence}\n".encode())
