"""The tags of what a run has made in a cluster: labels, by which it is found, and an annotation of them all. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dr.domain.errors import EvidenceError, RefusedError
from dr.host.decode import json_of

TAGS = "dr/tags"
"""The annotation of what a run has made: its tags, as JSON."""
LABELS = {"dr:run": "dr/run", "dr:purpose": "dr/purpose"}
"""Tags that are labels, too, and are there from the beginning."""


def tags_in(one: Mapping[str, Any]) -> dict[str, str]:
    """The tags that an object bears; empty where none of dr's made it. Somebody may have altered them."""
    metadata = one.get("metadata") or {}
    labels, held = metadata.get("labels") or {}, (metadata.get("annotations") or {}).get(TAGS)
    found = {tag: str(labels[label]) for tag, label in LABELS.items() if label in labels}
    if held is None or not found:
        return found
    try:
        return {**found, **json_of(str(held).encode(), dict[str, str], "its tags")}
    except EvidenceError:
        return found


def check_whose(found: Mapping[str, Any] | None, run: str, what: str) -> None:
    """Raises RefusedError where an object is there and not the run's. ``what``: it, as a sentence begins with it."""
    if found is not None and tags_in(found).get("dr:run") != run:
        raise RefusedError(f"{what} is not of run {run}, and is left alone.")


def labels(tags: Mapping[str, str]) -> dict[str, str]:
    """The labels of what bears these tags."""
    return {label: tags[tag] for tag, label in LABELS.items()}


def packed(tags: Mapping[str, str]) -> str:
    return json.dumps(dict(tags), sort_keys=True)
