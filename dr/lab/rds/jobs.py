"""Jobs on servers, each in a thread of its own: making one, backing one up, and what is said of it.

An action puts the resource into its transitional state; the job brings it to the next. Jobs of one instance follow one
another (a lock each), and a job that finds its instance gone or deleted leaves it alone.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from dr.domain.errors import DrError
from dr.lab.rds import events
from dr.lab.rds.faults import Faults
from dr.lab.rds.records import Instance, Snapshot, State, Store
from dr.lab.rds.servers import Servers
from dr.ports import Clock

log = logging.getLogger(__name__)
GLANCE = 0.1
"""Seconds between two looks at how far something is."""


class _Locks:
    """A lock each for whatever has a key."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.RLock] = {}

    def of(self, key: str) -> threading.RLock:
        return self._locks.setdefault(key, threading.RLock())


class Jobs:
    """Thread-safe."""

    def __init__(self, store: Store, servers: Servers, clock: Clock, faults: Faults) -> None:
        self.servers = servers
        self.faults = faults
        self._store = store
        self._clock = clock
        self._locks = _Locks()
        self._jobs: set[threading.Thread] = set()
        self._closing = False

    def lock(self, key: str) -> threading.RLock:
        """Held by whatever job works on an instance."""
        return self._locks.of(key)

    def begin(self, job: Callable[[], None]) -> None:
        """Run ``job`` in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._jobs.add(thread)
        thread.start()

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            self._jobs.discard(threading.current_thread())

    def close(self, seconds: float) -> None:
        """Begin nothing more and wait up to ``seconds`` for what runs."""
        self._closing = True
        for thread in list(self._jobs):
            thread.join(seconds)

    def say(self, state: State, name: str, one: Instance | Snapshot, **words: str) -> None:
        kind, part = ("db-instance", "db") if isinstance(one, Instance) else ("db-snapshot", "snapshot")
        now = self._clock.now().at
        state.events = [e for e in state.events if e.at >= now - events.KEPT]
        arn = self._store.arn(part, one.identifier)
        state.events.append(events.event(name, now, kind, one.identifier, arn, **words))

    def bring_up(
        self, one: Instance, make: Callable[[], None], said: str, words: dict[str, str], first_backup: bool
    ) -> None:
        with self.lock(one.resource_id):
            try:
                make()
                if one.attributes["MultiAZ"]:
                    self.servers.add_standby(one.resource_id)
            except DrError as error:
                self.fail(one, "incompatible-restore" if said == "restored" else "failed", str(error))
                return
            with self._store.changing() as state:
                if not self.present(state, one):
                    return
                one.created = one.created or self._clock.now().at
                backs_up = first_backup and bool(one.attributes["BackupRetentionPeriod"])
                one.status = "backing-up" if backs_up else "available"
                self.say(state, said, one, **words)
            if backs_up:
                self._back_up(one, self._automated(one))

    def _bear(self, delay: Callable[[], float]) -> None:
        """Take as much longer as a fault says, which may be undone meanwhile."""
        began = self._clock.now().at
        while self._clock.now().at - began < delay():
            self._clock.sleep(GLANCE)

    def fail(self, one: Instance, status: str, why: str) -> None:
        log.error("instance %s: %s: %s", one.identifier, status, why)
        with self._store.changing() as state:
            if self.present(state, one):
                one.status = status
                self.say(state, "failed", one, what=why)

    @staticmethod
    def present(state: State, one: Instance) -> bool:
        """Whether ``one`` is still there and nobody deletes it."""
        return state.instances.get(one.identifier) is one and one.status != "deleting"

    def _automated(self, one: Instance) -> Snapshot:
        """Enter an automated snapshot; its name has the minute, and the second where that minute is taken."""
        with self._store.changing() as state:
            at = datetime.fromtimestamp(self._clock.now().at, UTC)
            name = f"rds:{one.identifier}-{at:%Y-%m-%d-%H-%M}"
            snapshot = new_snapshot(name if name not in state.snapshots else f"{name}-{at:%S}", "automated", one, at)
            state.snapshots[snapshot.identifier] = snapshot
            return snapshot

    def back_up_or_leave(self, one: Instance) -> None:
        """An automated backup now where ``one`` keeps any; then it is available. Its lock is held."""
        backs_up = bool(one.attributes["BackupRetentionPeriod"])
        with self._store.changing() as state:
            if not self.present(state, one):
                return
            one.status = "backing-up" if backs_up else "available"
        if backs_up:
            self._back_up(one, self._automated(one))

    def _back_up(self, one: Instance, snapshot: Snapshot) -> None:
        with self.lock(one.resource_id):
            with self._store.changing() as state:
                self.say(state, "backup-started", one)
            made = self._take(one, snapshot)
            with self._store.changing() as state:
                if self.present(state, one):
                    one.status = "available"
                    if made:
                        self.say(state, "backup-finished", one)

    def _take(self, one: Instance, snapshot: Snapshot) -> bool:
        """The physical backup itself. False where it failed; the snapshot says so."""
        with self._store.changing() as state:
            self.say(state, f"{snapshot.kind}-started", snapshot)
        try:
            self._bear(self.faults.take_backup_delay)
            covers = self.servers.backup(one.resource_id, snapshot.backup)
        except DrError as error:
            log.error("snapshot %s: %s", snapshot.identifier, error)
            with self._store.changing() as state:
                snapshot.status = "failed"
                self.say(state, "snapshot-failed", snapshot)
            return False
        with self._store.changing() as state:
            snapshot.status, snapshot.progress = "available", 100
            snapshot.created = snapshot.original = self._clock.now().at
            snapshot.database_time = covers
            self.say(state, f"{snapshot.kind}-finished", snapshot)
        return True


def new_snapshot(name: str, kind: str, one: Instance, at: datetime) -> Snapshot:
    """A snapshot of ``one`` that is being made."""
    a = one.attributes
    same = ("Engine", "AllocatedStorage", "AvailabilityZone", "MasterUsername", "EngineVersion", "LicenseModel", "Iops")
    attributes = {
        **{key: a.get(key) for key in (*same, "StorageType", "StorageThroughput", "KmsKeyId", "OptionGroupName")},
        "Encrypted": a["StorageEncrypted"],
        "Port": one.port,
        "InstanceCreateTime": one.created,
        "IAMDatabaseAuthenticationEnabled": a["IAMDatabaseAuthenticationEnabled"],
        "BackupRetentionPeriod": a["BackupRetentionPeriod"],
        "PreferredBackupWindow": a["PreferredBackupWindow"],
        "DBInstanceClass": a["DBInstanceClass"],
        "DBName": a["DBName"],
    }
    tags = dict(one.tags) if a["CopyTagsToSnapshot"] else {}
    return Snapshot(
        identifier=name,
        kind=kind,
        status="creating",
        progress=0,
        source=one.identifier,
        resource_id=one.resource_id,
        attributes=attributes,
        tags=tags,
        backup=f"{one.resource_id.lower()}-{secrets.token_hex(6)}",
        asked=at.timestamp(),
    )
