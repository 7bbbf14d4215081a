"""What a target says of its prediction service."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dr.config.model import Amount, Asked, Login, Section, check_reference, without_login
from dr.drivers.measuring.paths import SOURCE, Path
from dr.evidence.answers import renamed, standing


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of ``table`` (with its schema; without one: public): those whose columns ``keys`` have these values."""

    table: str
    keys: dict[str, str | int]


class Planting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How synthetic patients of a run come into its copy: ``rows`` are copied there, in this order, by ``login``. Each
    value of their keys is replaced by one of the run's own, there and in the request that is asked for it."""

    login: Login
    rows: Annotated[tuple[Rows, ...], msgspec.Meta(min_length=1)]


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the service stores a row for each prediction: in ``table``, where ``column`` holds one of the values that
    are keys of what was planted. ``values``: fields of an answer, each with the column that holds it."""

    table: str
    column: str
    values: dict[str, str] = {}


class ServiceConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The prediction service: where the source's is, and how one is put on a restored database."""

    url: str
    """Base URL of the service on the source."""
    command: tuple[str, ...]
    """Started against a restored database, to which it connects, with DATABASE_URL, HOST, PORT, and API_TOKEN where the
    target names a token, in its environment."""
    login: str
    """The role among ``postgres.roles`` the service connects as."""
    requests: tuple[dict[str, object], ...]
    """Bodies of /predict for synthetic patients: probes send them in turn; their answers are the golden ones."""
    artifacts: str = ""
    """Directory of model artifacts; passed on as MODEL_DIR, and digested against model_versions."""
    expected: tuple[str, ...] = ()
    """Fields that a good answer has; empty: any JSON object is one."""
    volatile: tuple[str, ...] = ("prediction_id", "created_at")
    """Fields of an answer that differ every time and are left out when answers are compared."""
    tolerance: Amount = 0.0
    """By how much a number of an answer may differ from the golden one's; 0: not at all."""
    planted: Planting | None = None
    """How a synthetic patient and admission of the run's own are planted in a copy; None: nobody knows, and then
    nothing proves that the service works on that copy alone."""
    stored: Stored | bool | None = None
    """Where the service stores its predictions. False: it stores none. None: nobody knows, and then nothing can be
    planted, since it could not be taken away again."""
    token: str = ""
    """Where the token is found that is sent with each request to /predict (``Authorization: Bearer``), and that the
    command gets as API_TOKEN; empty: none is sent, and none given."""
    ways: dict[Path, str] = {}
    """Base URLs of other ways to it, such as through a cluster's ingress: each is measured on a path of its name."""

    copies: str = ""
    """Base URL of the service in a namespace that was restored beside production, which stands in it as {namespace}."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL with a login, for one of copies that are all the same, for a token that is no
        reference, for rows to plant that no request names, or names more often than a row does, and where it is not
        said, or not where, predictions of them are stored."""
        for url in (self.url, *self.ways.values(), self.copies):
            without_login("service.url", url)
        if self.copies and "{namespace}" not in self.copies:
            raise ValueError("service.copies has to hold {namespace}: each copy is another service")
        if self.stored is True or (self.planted and self.stored is None):
            raise ValueError(
                "service.stored has to say where predictions are stored (table, column), or false: nowhere"
            )
        named = [[*rows.keys.values()] for rows in self.planted.rows] if self.planted else []
        keys = {value for values in named for value in values}
        if self.planted and all(renamed(request, dict.fromkeys(keys)) == request for request in self.requests):
            raise ValueError("service.planted has no key that stands in one of service.requests")
        for value in keys:
            most = max(values.count(value) for values in named)
            if any(standing(request, value) > most for request in self.requests):
                raise ValueError(
                    f"the key {value!r} of service.planted stands in a request more often than in a row, and each place"
                    " would be replaced: choose synthetic rows whose keys are no other value of their requests"
                )
        if self.token:
            check_reference("token of the service", self.token)

    def ways_round(self) -> tuple[str, ...]:
        return tuple(self.ways)

    def way_into(self, namespace: str) -> str:
        return self.copies.replace("{namespace}", namespace)

    def endpoints(self) -> tuple[str, ...]:
        return (self.url, *self.ways.values())

    def way(self, path: str) -> str:
        """The URL of the path ``source``, or of one of ``ways``; "" of any other."""
        return self.url if path == SOURCE else self.ways.get(path, "")

    def asked(self, path: str) -> Asked | None:
        url = self.way(path)
        return Asked(f"{url.rstrip('/')}/predict", self.requests, self.expected, self.token) if url else None
