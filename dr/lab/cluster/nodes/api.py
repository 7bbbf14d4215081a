"""What a node's agent and the router ask of the API server: lists that are followed, and a client that forks share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn

from dr.domain.errors import ProviderError
from dr.drivers.kubernetes.api import Api

log = logging.getLogger(__name__)
PAUSE = 1.0
"""Seconds until a list that failed is asked for again."""


def preload() -> None:
    """Import the client, for whoever forks: so that the forks share it."""
    from kubernetes import client, config  # noqa: F401


def follow(
    api: Api,
    path: str,
    listed: Callable[[list[dict[str, Any]]], object],
    changed: Callable[[str, dict[str, Any]], object],
) -> NoReturn:
    """List what is at ``path`` and watch it, again and again: what a watch missed is in the next list."""
    while True:
        try:
            found = api.get(path) or {}
            listed(found.get("items", []))
            for event in api.watch(path, found["metadata"]["resourceVersion"]):
                if event["type"] == "ERROR":  # too much has happened since the list
                    break
                if event["type"] != "BOOKMARK":
                    changed(event["type"], event["object"])
        except ProviderError as error:
            log.warning("%s", error)
            time.sleep(PAUSE)
