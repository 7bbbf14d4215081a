"""The databases of a server that are looked at beside its main one, each asked the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect, one, translated
from dr.host.hearing import Steps

T = TypeVar("T")


def holds(server: Connection, database: str) -> bool:
    """Whether the server has such a database. Raises ProviderError."""
    with translated("reading the copy's databases"):
        return one(server, "select oid from pg_database where datname = %s", (database,)) is not None


def everywhere(
    server: Endpoint, database: PostgresConfig, main: Connection, ask: Callable[[Connection, str], Steps[T]]
) -> Steps[dict[str, T | str]]:
    """What ``ask`` finds by way of ``main``, under "", and in each other database, which it is given the name of; where
    that could not be asked, why. One that is not there holds nothing, and is left out. Raises what ``ask`` raises of
    ``main``."""
    found: dict[str, T | str] = {"": (yield from ask(main, ""))}
    for name in database.databases:
        if not holds(main, name):
            continue
        try:
            with connect(server, msgspec.structs.replace(database, name=name)) as connection:
                found[name] = yield from ask(connection, name)
        except (ProviderError, RefusedError) as error:
            found[name] = str(error)
    return found


def joined_keys(found: Mapping[str, list[dict[str, Any]] | str]) -> list[dict[str, Any]]:
    """The foreign keys of all databases; one that could not be asked stands there as a key without a name."""
    keys = []
    for database, theirs in found.items():
        if isinstance(theirs, str):
            keys.append({"name": "", "table": f"database {database}", "orphans": None, "because": theirs.rstrip(".")})
        else:
            keys += theirs
    return keys


def joined_indexes(found: Mapping[str, dict[str, Any] | str]) -> dict[str, Any]:
    """What was seen of the indexes of all databases, in the form of one; what could not be asked is unchecked."""
    parts = {database: seen for database, seen in found.items() if not isinstance(seen, str)}
    if list(found) == [""]:
        return parts[""]
    unchecked = {f"database {database}": why.rstrip(".") for database, why in found.items() if isinstance(why, str)}
    for database, seen in parts.items():
        unchecked |= seen.get("unchecked", {})
        if database and not seen["available"]:
            unchecked[f"{database}: B-trees"] = seen["because"]
    return {
        **parts.get("", {}),
        **{what: sum(seen.get(what, 0) for seen in parts.values()) for what in ("checked", "probed")},
        **{
            what: [one for seen in parts.values() for one in seen.get(what, ())]
            for what in ("failed", "invalid", "lost", "collations")
        },
        "unprobed": {name: why for seen in parts.values() for name, why in seen["unprobed"].items()},
        "unchecked": unchecked,
    }
