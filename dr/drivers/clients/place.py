"""Where clients are led, and what leads them."""

from __future__ import annotations

from dataclasses import dataclass, field

from dr.domain.errors import RefusedError
from dr.domain.refs import Endpoint, Ref
from dr.drivers.clients.config import PoolerConfig, SecretConfig

DRIVER = "clients"
DEFAULT_PORT = 5432
"""Where none is written."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients are led."""

    host: str
    port: int
    written: tuple[str, str] | None = field(default=None, compare=False)
    """Host and port as they are written, where that is not as anybody would write them: led back, they are again. A
    port that stands nowhere, and so is the usual one, is written as ""."""

    def __str__(self) -> str:
        return str(Endpoint(self.host, self.port))


def entry(config: PoolerConfig) -> Ref:
    return Ref(DRIVER, "PgBouncer entry", config.entry)


def secret(config: SecretConfig) -> Ref:
    return Ref(DRIVER, "Secret", f"{config.namespace}/{config.name}")


class NotTakenError(RefusedError):
    """What leads clients was changed, and they are led where they were: the change is taken back."""
