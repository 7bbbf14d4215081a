"""``python -m dr.lab.fault NAME [ARGUMENTS]``: put a fault into the lab, or take it back, as ``dr.lab.control.inject``.

ARGUMENTS is a JSON object; a JSON object is printed. A fault is undone by its neutral value: ``{"instance": "x",
"lost": false}``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dr.domain.errors import DrError, UsageError
from dr.host.decode import OBJECT, line_of
from dr.lab import control

USAGE = "Give a fault's name and its arguments as a JSON object."


def main(words: Sequence[str]) -> int:
    """Returns the exit code; what went wrong stands on standard error."""
    try:
        if not 1 <= len(words) <= 2:
            raise UsageError("This is not how a fault is put into the lab.", USAGE)
        found = control.inject(words[0], **parse(words[1] if len(words) == 2 else "{}"))
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found if isinstance(found, dict) else {"result": found}) + "\n")
    return 0


def parse(text: str) -> Mapping[str, Any]:
    """A fault's arguments. Pure. Raises UsageError."""
    found = line_of(text.encode("utf-8", "replace"), OBJECT)
    if found is None:
        raise UsageError(f"{text[:200]!r} is no JSON object.", USAGE)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
