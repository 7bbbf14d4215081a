"""What a run plants in its copy, and how that is asked for: golden requests under names of its own. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from dr.drivers.service.asking import name_of
from dr.drivers.service.config import Planting, ServiceConfig
from dr.evidence.answers import Names, renamed

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Variant(NamedTuple):
    """A request whose answer is to be that of the golden request called ``golden``, but for ``names``: what stands in
    the answer to what stands in that one's."""

    request: Mapping[str, Any]
    golden: str
    names: Names


def planted_names(planting: Planting, run: str) -> Names:
    """What identifies the rows that are copied to what identifies their copies, in the planting of ``run``."""
    values = dict.fromkeys(value for rows in planting.rows for value in rows.keys.values())
    return {value: _of_run(value, run) for value in values}


def _of_run(value: str | int, run: str) -> str | int:
    """As ``value``: a number where it is one, a UUID, or a text that begins as it does."""
    digest = hashlib.sha256(f"{run} {value}".encode()).hexdigest()
    if isinstance(value, int):
        return (1 << 30) + int(digest[:7], 16)  # fits a column of 32 bits, and lies beyond what is in use
    is_uuid = UUID.fullmatch(value) is not None
    return str(uuid.UUID(digest[:32], version=4)) if is_uuid else f"{value}-{digest[:8]}"


def variants(service: ServiceConfig, run: str, planted: bool) -> tuple[Variant, ...]:
    """What is asked of the copy under load: what was ``planted`` there, which is nowhere else; else the golden requests
    themselves."""
    if not planted or service.planted is None:
        return tuple(Variant(request, name_of(request), {}) for request in service.requests)
    names = planted_names(service.planted, run)
    back = {new: old for old, new in names.items()}
    asked = ((request, renamed(request, names)) for request in service.requests)
    return tuple(Variant(new, name_of(old), back) for old, new in asked if new != old)
