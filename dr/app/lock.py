"""One run at a time on each target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dr.config.load import home
from dr.domain.errors import RefusedError
from dr.evidence.directory import RunDirectory
from dr.host import locks


@contextmanager
def locked(target: str) -> Iterator[None]:
    """Hold a target for one run. Raises RefusedError where another run holds it, which it names."""
    path = home() / "locks" / f"{target}.lock"
    locks.directory(path.parent)

    def refusal(holder: str) -> RefusedError:
        return RefusedError(
            f"Another run is under way on target {target!r}: {holder}.",
            "Wait for it, or stop it with 'dr abort'. If it does not stop, end its process by the number.",
        )

    with locks.holding(path, "a command", 0.0, refusal):
        yield


def busy(directory: RunDirectory) -> bool:
    """Whether a run is under way on the target of ``directory``'s run; Chaos Toolkit by itself holds no target."""
    if not directory.readable():
        return False
    try:
        with locked(directory.record().plan.request.target):
            return False
    except RefusedError:
        return True
