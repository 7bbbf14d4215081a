"""What exists in the lab's account, and its file.

``attributes`` hold the API's own names and values, as botocore's model has them; what AWS derives (endpoint, restorable
times, ARNs, tag lists) is derived in ``views``. Times are epoch seconds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from dr.lab.rds.signature import Account


class Instance(msgspec.Struct):
    """A DBInstance and the server behind it, whose directory is named by ``resource_id``."""

    identifier: str
    resource_id: str
    status: str
    port: int
    attributes: dict[str, Any]
    tags: dict[str, str]
    created: float | None = None
    """When it first became reachable; None while creating: no endpoint yet."""
    pending: dict[str, Any] = {}
    """Changes that wait for the maintenance window, or for ApplyImmediately."""
    source: str = ""
    """DbiResourceId of what it is a read replica of; "" where it is none."""
    forced: str = ""
    """A status put on by fault injection; shown instead of ``status`` until it is taken off."""


class Snapshot(msgspec.Struct):
    """A DBSnapshot. ``backup`` names the physical backup; copies share it."""

    identifier: str
    kind: str
    """manual or automated."""
    status: str
    progress: int
    source: str
    resource_id: str
    attributes: dict[str, Any]
    tags: dict[str, str]
    backup: str
    asked: float
    created: float | None = None
    original: float | None = None
    database_time: float | None = None
    restorable_to: list[str] = []
    """Accounts it is shared with; "all" is public."""


class Retained(msgspec.Struct):
    """Automated backups of an instance that is gone: what its description was, and how far its archive goes."""

    instance: Instance
    latest: float | None


class Event(msgspec.Struct):
    at: float
    source_type: str
    source: str
    arn: str
    categories: list[str]
    message: str


class SubnetGroup(msgspec.Struct):
    name: str
    description: str
    vpc: str
    subnets: list[str]
    tags: dict[str, str] = {}


class ParameterGroup(msgspec.Struct):
    name: str
    family: str
    description: str
    tags: dict[str, str] = {}


class State(msgspec.Struct):
    """Everything; written whole."""

    engine_version: str
    quota: int = 40
    instances: dict[str, Instance] = {}
    snapshots: dict[str, Snapshot] = {}
    retained: dict[str, Retained] = {}
    """By DbiResourceId."""
    subnet_groups: dict[str, SubnetGroup] = {}
    parameter_groups: dict[str, ParameterGroup] = {}
    security_groups: dict[str, str] = {}
    """Security group to its VPC: EC2's, of which the lab knows only that they exist."""
    events: list[Event] = []


class Store:
    """The state, one writer at a time, each change in its file before the lock is let go."""

    def __init__(self, path: Path, account: Account, state: State) -> None:
        self.account = account
        self._path = path
        self._state = state
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[State]:
        """The state, held still. Do not change it."""
        with self._lock:
            yield self._state

    @contextmanager
    def changing(self) -> Iterator[State]:
        """The state, to be changed. An exception leaves the file as it was; checks come before changes."""
        with self._lock:
            yield self._state
            self._write()

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self._state))
        fresh.replace(self._path)

    def arn(self, kind: str, name: str) -> str:
        """``kind`` as RDS writes it in ARNs: db, snapshot, subgrp, pg, auto-backup, ..."""
        return f"arn:aws:rds:{self.account.region}:{self.account.id}:{kind}:{name}"
