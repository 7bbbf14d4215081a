"""Read replicas: made, promoted, led to another primary, their lag sampled.

A replica's record names its source by ``Instance.source``; both of the API's links are derived from it.
"""

from __future__ import annotations

import logging
import math

from dr.domain.errors import DrError
from dr.lab.rds.jobs import Jobs
from dr.lab.rds.metrics import Metrics
from dr.lab.rds.records import Instance, Store
from dr.lab.rds.servers import Servers
from dr.ports import Clock

log = logging.getLogger(__name__)
RETRY = 5.0
"""Seconds until a replica that could not be led to another primary is led there again."""
SAMPLED = ("available", "backing-up", "modifying", "storage-full")
"""Statuses in which a replica's lag is measured."""


class Replicas:
    """Jobs on replicas, and what their lag was last. Thread-safe; ``sample`` is called by one thread."""

    def __init__(self, work: Jobs, store: Store, servers: Servers, clock: Clock) -> None:
        self.metrics = Metrics()
        self._work = work
        self._store = store
        self._servers = servers
        self._clock = clock
        self._lags: dict[str, float] = {}
        self._astray: dict[str, float] = {}
        """Replicas that could not be led to their source's new primary, and when that is tried again."""

    def streams(self, key: str) -> bool:
        """Whether a replica streamed when it was looked at last."""
        return self._lags.get(key, 0.0) >= 0.0

    def create(self, one: Instance) -> None:
        """Make ``one``'s server from its source's."""
        self._work.bring_up(
            one, lambda: self._servers.replicate(one.resource_id, one.port, one.source), "created", {}, False
        )

    def promote(self, one: Instance, retention: int, window: str) -> None:
        """Make ``one`` an ordinary instance: it restarts, its links end, its first backup is taken."""
        with self._work.lock(one.resource_id):
            with self._store.changing() as state:
                if not self._work.present(state, one) or not one.source:
                    return
                one.status = "rebooting"
            try:
                self._servers.promote(one.resource_id)
            except DrError as error:
                log.error("replica %s could not be promoted: %s", one.identifier, error)
                with self._store.changing() as state:
                    if not self._work.present(state, one):
                        return
                    one.status = "available"
                    one.pending.pop("BackupRetentionPeriod", None)
                    self._work.say(state, "replication-stopped", one)
                return
            self._lags.pop(one.resource_id, None)
            with self._store.changing() as state:
                one.source = ""
                one.attributes |= {"BackupRetentionPeriod": retention, "PreferredBackupWindow": window}
                one.pending.pop("BackupRetentionPeriod", None)
                self._work.say(state, "replication-ended", one)
                self._work.say(state, "restarted", one)
            self._work.back_up_or_leave(one)

    def end_all(self, source: Instance) -> None:
        """Promote every replica of an instance that is gone, as RDS does; each keeps its own retention."""
        for one in self.of(source):
            a = one.attributes
            self._work.begin(
                lambda one=one, a=a: self.promote(  # type: ignore[misc]
                    one, a["BackupRetentionPeriod"], a["PreferredBackupWindow"]
                )
            )

    def follow(self, source: Instance) -> None:
        """Lead every replica of ``source`` to its new primary."""
        for one in self.of(source):
            self._work.begin(lambda one=one: self._follow(one))  # type: ignore[misc]

    def _follow(self, one: Instance) -> None:
        with self._work.lock(one.resource_id):
            if not one.source:
                return
            try:
                self._servers.follow(one.resource_id, one.source)
            except DrError as error:
                log.error("replica %s does not follow its source: %s", one.identifier, error)
                self._astray[one.resource_id] = self._clock.now().at + RETRY

    def of(self, source: Instance) -> list[Instance]:
        with self._store.reading() as state:
            return [one for one in state.instances.values() if one.source == source.resource_id]

    def sample(self) -> None:
        """Measure every replica's lag, and say where replication stopped or went on."""
        with self._store.reading() as state:
            present = [one for one in state.instances.values() if one.source and one.status in SAMPLED]
        for one in present:
            if self._astray.get(one.resource_id, math.inf) <= self._clock.now().at:
                del self._astray[one.resource_id]
                self._work.begin(lambda one=one: self._follow(one))  # type: ignore[misc]
            try:
                lag = self._servers.lag(one.resource_id)
            except DrError as error:
                log.warning("the lag of %s is unknown: %s", one.identifier, error)
                continue
            if lag is not None:
                self._note(one, lag)

    def _note(self, one: Instance, lag: float) -> None:
        streamed = self.streams(one.resource_id)
        self._lags[one.resource_id] = lag
        self.metrics.record("ReplicaLag", one.identifier, self._clock.now().at, lag)
        if streamed != (lag >= 0.0):
            with self._store.changing() as state:
                self._work.say(state, "replication-resumed" if lag >= 0.0 else "replication-stopped", one)
