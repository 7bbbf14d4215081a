"""What a target says of its Velero."""

from __future__ import annotations

from dr.config.model import Section


class VeleroConfig(Section, frozen=True, forbid_unknown_fields=True):
    """Velero of the cluster that the section ``kubernetes`` pins, which is its identity, too."""

    namespace: str = "velero"
    """Velero's own."""
    program: str = "velero"
    """Its command line."""
