"""The meters of a run: processes of its own, each found again by its pid file in the run directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dr.config.context import Context
from dr.domain.errors import ProviderError
from dr.host import children
from dr.host.children import Held


class Meters:
    """Those of ``context``'s run, by the id of the call that starts each."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def pidfile(self, name: str) -> Path:
        return self._context.run / f"meter-{name}.pid"

    def running(self, name: str) -> Held | None:
        """One that runs already. One that belongs to another owner is ending, and is ended."""
        held = children.running(self.pidfile(name))
        if held is not None and held.owner == self._context.owner:
            return held
        children.stop(self.pidfile(name))
        return None

    def known(self, name: str) -> bool:
        """Whether it was ever started."""
        return self.pidfile(name).exists()

    def begin(self, name: str, work: Callable[[], int]) -> Held:
        """Raises ProviderError where it does not start."""
        return children.begin(work, self.pidfile(name), self._log(name))

    def check_alive(self, name: str) -> None:
        """Raises ProviderError that says why the process ended."""
        if children.running(self.pidfile(name)) is not None:
            return
        held = children.held(self.pidfile(name))
        why = held.ended if held is not None and held.ended else children.last_words(self._log(name))
        raise ProviderError(f"{name} ended early: {why}", f"See meter-{name}.log in the run directory.")

    def stop(self, name: str) -> None:
        children.stop(self.pidfile(name), grace=self._context.settings.meter.timeout + 3.0)

    def document(self, name: str) -> dict[str, str]:
        """What any meter has to be told: where it writes, whose it is, and which pid file it holds."""
        own = self._context
        return {"run": str(own.run), "owner": own.owner, "pidfile": str(self.pidfile(name))}

    def _log(self, name: str) -> Path:
        return self._context.run / f"meter-{name}.log"
