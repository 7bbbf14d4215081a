"""What a target says of its Velero."""

from __future__ import annotations

from dr.config.model import Section


class VeleroConfig(Section, frozen=True, forbid_unknown_fields=True):
    """Velero of the cluster that the section ``kubernetes`` pins, which is its identity, too."""

    namespace: str = "velero"
    """Velero's own."""
    program: str = "velero"
    """Its command line."""
    database: str = ""
    """Where the workloads of a copy beside production find their database, HOST:PORT: one of the drill's own."""
    instead: dict[str, str] = {}
    """Texts in a copy's objects that name production, each with what stands in their place there."""
    production: tuple[str, ...] = ()
    """Further addresses that no copy may name: hosts, IP addresses, numbers of accounts."""
