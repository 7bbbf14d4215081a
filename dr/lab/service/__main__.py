"""``python -m dr.lab.service``: read the environment, serve, end cleanly; exit codes as everywhere."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dr.domain.errors import DrError, RefusedError, UsageError
from dr.lab.service.app import Options, run


def read(environment: Mapping[str, str]) -> Options:
    """The environment as options. Pure. Raises UsageError that names the variable."""
    for name in ("DATABASE_URL", *(() if environment.get("MODEL_URL") else ("MODEL_DIR",))):
        if not environment.get(name):
            raise UsageError(f"{name} is not set.", "See the documentation of dr.lab.service.")
    try:
        port = int(environment.get("PORT", "8000"))
        delay = float(environment.get("DR_SERVICE_DELAY_MS", "0")) / 1000
    except ValueError:
        raise UsageError("PORT and DR_SERVICE_DELAY_MS must be numbers.") from None
    if not 0 < port < 65536 or not 0 <= delay < 3600:
        raise UsageError("PORT or DR_SERVICE_DELAY_MS is out of range.")
    stubborn = environment.get("DR_SERVICE_STUBBORN", "0")
    if stubborn not in ("0", "1"):
        raise UsageError("DR_SERVICE_STUBBORN must be 0 or 1.")
    return Options(
        url=environment["DATABASE_URL"],
        host=environment.get("HOST", "127.0.0.1"),
        port=port,
        models=Path(environment.get("MODEL_DIR", "")),
        delay=delay,
        stubborn=stubborn == "1",
        token=environment.get("API_TOKEN", ""),
        model_url=environment.get("MODEL_URL", ""),
        names=tuple(filter(None, environment.get("SERVED_AS", "").split(","))),
    )


def main() -> int:
    try:
        options = read(os.environ)
        try:
            asyncio.run(run(options))
        except OSError as error:
            raise RefusedError(f"Nothing can listen on {options.host}:{options.port}: {error.strerror}.") from None
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
