"""What a target says of its faults."""

from __future__ import annotations

from dr.config.model import Section


class FaultsConfig(Section, frozen=True, forbid_unknown_fields=True):
    """What puts faults into the target."""

    command: tuple[str, ...]
    """It is given a fault's name and its arguments, as a JSON object. The neutral value of an argument takes the fault
    back. It prints a JSON object."""
