"""What the guard has to know of a target."""

from __future__ import annotations

from dr.config.model import Target
from dr.engine.guard import Terms


def terms(target: Target) -> Terms:
    """The grants and the word of consent of ``target``, and what its sections pin and where they lead."""
    pins = {name: dict(section.pins()) for name, section in target.sections.items() if section.pins()}
    endpoints = [endpoint for section in target.sections.values() for endpoint in section.endpoints()]
    return Terms(target.grants, pins, endpoints, target.word)
