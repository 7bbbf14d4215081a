"""What a target says of its database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from dr.config.model import Login, Section

Sample = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not compared, since it is too large; by names as SQL has them, with their schema. Verdicts say so."""

    exclude: tuple[str, ...] = ()
    sample: Mapping[str, Sample] = {}
    """So large a share of the rows of these is compared, chosen by the rows' identities: all rows are read."""


class PostgresConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The source's database."""

    name: str
    harness: Login
    """The harness's own role: reads every table (pg_read_all_data, BYPASSRLS), owns schema ``dr``, nothing else.

    With pg_read_all_stats it also sees whether the source's standby is synchronous."""
    roles: tuple[Login, ...] = ()
    """The application's roles, each with the secret the service really uses: a restore proves that they log in."""
    master: Login | None = None
    """Whose password ``--reset-master-secret`` sets on a restoration."""
    ca: str = ""
    """CA bundle for sslmode=verify-full; empty: the system's."""
    amcheck: bool = True
    """Whether the database has the extension that checks indexes; without it, nothing is demanded of them."""

    connections: Annotated[int, msgspec.Meta(ge=1, le=32)] = 2
    """So many tables are summed side by side, each in a session of its own."""
    tables: Tables = Tables()
    databases: tuple[str, ...] = ()
    """Others of its server that are looked at, too: rows, definitions and state."""
    expendable: tuple[str, ...] = ()
    """Unlogged tables, by names as SQL has them, whose rows nobody misses after a recovery."""

    @property
    def first(self) -> Login:
        """As whom a person connects: as the application does, where one of its roles is named."""
        return (*self.roles, self.harness)[0]
