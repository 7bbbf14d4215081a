"""What takes its time: servers made, backed up, restored, stopped; each job in a thread of its own.

An action puts the resource into its transitional state; the job brings it to the next. Jobs of one instance follow one
another (a lock each), and a job that finds its instance gone or deleted leaves it alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress

from dr.domain.errors import DrError, RefusedError
from dr.lab.rds import retention, views
from dr.lab.rds.faults import Faults
from dr.lab.rds.jobs import GLANCE, Jobs
from dr.lab.rds.keeping import Keeper
from dr.lab.rds.records import Instance, Retained, Snapshot, State, Store
from dr.lab.rds.replicas import Replicas
from dr.lab.rds.servers import Servers
from dr.ports import Clock

log = logging.getLogger(__name__)
GLANCES = 100
"""How often it is looked how far an archive reaches."""
PAST = 1.0
"""Seconds by which last night's archive reaches past last night's backup at the least."""


class Work(Jobs):
    """All of them. Thread-safe."""

    def __init__(
        self,
        store: Store,
        servers: Servers,
        clock: Clock,
        faults: Faults,
        enlarge: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``enlarge``: gives an instance's servers the disk that AllocatedStorage now says, by DbiResourceId."""
        super().__init__(store, servers, clock, faults)
        self._latest: dict[str, float | None] = {}
        self._spent: set[str] = set()
        """Backups, and archives by key, that no record names any more: to be removed by ``sweep``."""
        self._closed: set[str] = set()
        self._trimmed: dict[str, str | None] = {}
        """The backup up to which an archive, by key, was trimmed last."""
        self.replicas = Replicas(self, store, servers, clock)
        self.keeper = Keeper(self, self.replicas, store, servers, clock)
        self._enlarge = enlarge

    # Beginning and ending jobs

    # Events

    # Instances

    def create(self, one: Instance, password: str, first_backup: bool = True) -> None:
        """Make ``one``'s server; then its first backup, where it keeps any."""
        a = one.attributes

        def make() -> None:
            self.servers.create(one.resource_id, one.port, a["MasterUsername"], password, a["DBName"])

        self.bring_up(one, make, "created", {}, first_backup)

    def restore(self, one: Instance, make: Callable[[], None], what: str) -> None:
        """Make ``one``'s server by ``make``, a restore; ``what``: from where, for the event."""

        def slowly() -> None:
            self._bear(self.faults.take_delay)
            make()

        self.bring_up(one, slowly, "restored", {"what": what}, True)

    def _act(self, one: Instance, act: Callable[[], None], status: str, *said: str) -> None:
        """Do ``act`` on ``one``'s server, then give it ``status``."""
        with self.lock(one.resource_id):
            try:
                act()
            except DrError as error:
                self.fail(one, "failed", str(error))
                return
            with self._store.changing() as state:
                if self.present(state, one):
                    one.status = status
                    for name in said:
                        self.say(state, name, one)

    def stop(self, one: Instance, snapshot: Snapshot | None) -> None:
        """Shut ``one`` down, after a snapshot where one was asked for."""
        if snapshot is not None:
            with self.lock(one.resource_id):
                self._take(one, snapshot)
        self._act(one, lambda: self.servers.stop(one.resource_id), "stopped", "shutdown", "stopped")

    def start(self, one: Instance) -> None:
        self._act(one, lambda: self.servers.start(one.resource_id), "available", "restarted", "started")

    def reboot(self, one: Instance) -> None:
        def again() -> None:
            self.servers.stop(one.resource_id)
            self.servers.start(one.resource_id)

        self._act(one, again, "available", "shutdown", "restarted")

    def modify(
        self,
        one: Instance,
        password: str | None,
        identifier: str | None,
        *,
        multi_az: bool | None = None,
        grown: bool = False,
    ) -> None:
        """What a modification needs beyond the record: a password, a name, a standby, more disk, a first backup."""
        with self.lock(one.resource_id):
            if password is not None:
                user = one.attributes["MasterUsername"]
                self._act(
                    one, lambda: self.servers.set_password(one.resource_id, user, password), "modifying", "password"
                )
            if grown:
                self._act(one, lambda: self._grow(one), "modifying", "storage-finished")
            if multi_az is not None and one.status == "modifying":
                self.keeper.convert(one, multi_az=multi_az)
            with self._store.changing() as state:
                if not self.present(state, one) or one.status != "modifying":
                    return
                one.pending.pop("MasterUserPassword", None)
                if not one.attributes["BackupRetentionPeriod"]:
                    self.disable_backups(state, one)
                if identifier is not None:
                    del state.instances[one.identifier]
                    one.identifier = identifier
                    one.pending.pop("DBInstanceIdentifier", None)
                    state.instances[identifier] = one
                first = bool(one.attributes["BackupRetentionPeriod"]) and views.earliest(state, one.resource_id) is None
                one.status = "backing-up" if first else "available"
                self.say(state, "modified", one, what="DB instance")
            self.sweep()
            if first:
                self._back_up(one, self._automated(one))

    def _grow(self, one: Instance) -> None:
        with self._store.changing() as state:
            self.say(state, "storage-started", one)
        self._enlarge(one.resource_id)

    def disable_backups(self, state: State, one: Instance) -> None:
        """Retention 0: the automated backups are gone, and with them every point in time."""
        if retention.automated(state, one.resource_id):
            self._forget_backups(state, one.resource_id)
            self.say(state, "backups-disabled", one)

    def delete(self, one: Instance, final: Snapshot | None, *, keep_backups: bool) -> None:
        key = one.resource_id
        with self.lock(key):
            if final is not None and not self._take(one, final):
                with self._store.changing() as state:
                    one.status = "available"
                    self.say(state, "failed", one, what="the final snapshot could not be made")
                return
            try:
                self.servers.delete(key)
            except DrError as error:
                log.error("instance %s: its server could not be removed: %s", one.identifier, error)
            self.survey()
            with self._store.changing() as state:
                latest = self.latest(key)
                state.instances.pop(one.identifier, None)
                self.say(state, "deleted", one)
                if keep_backups and one.attributes["BackupRetentionPeriod"]:
                    state.retained[key] = Retained(one, latest)
                else:
                    self._forget_backups(state, key)
                    self._closed.add(key)
            self.sweep()
        self.replicas.end_all(one)

    # Backups

    def automated_backup(self, one: Instance) -> str:
        """Last night's backup, now: blocks until it is there and the archive reaches past it, as it had all night to.

        Returns the snapshot's identifier. Raises RefusedError where ``one`` is not available.
        """
        with self._store.changing():
            if one.status != "available":
                raise RefusedError(f"{one.identifier} is {one.status}.", "Wait until it is available.")
            one.status = "backing-up"
        snapshot = self._automated(one)
        self._back_up(one, snapshot)
        if snapshot.database_time is not None:
            self._cover(one, snapshot.database_time + PAST)
        return snapshot.identifier

    def _cover(self, one: Instance, at: float) -> None:
        """Wait until ``at`` can be restored: a commit in a later second has to be archived for that."""
        self._clock.sleep(max(0.0, math.floor(at) + 1 - self._clock.now().at))
        with suppress(DrError):
            self.servers.archive_now(one.resource_id)
        for _ in range(GLANCES):
            self.survey()
            if (self.latest(one.resource_id) or 0.0) > at:
                break
            self._clock.sleep(GLANCE)

    def snapshot(self, one: Instance, snapshot: Snapshot) -> None:
        self._back_up(one, snapshot)

    def copy(self, source: Snapshot, copied: Snapshot) -> None:
        with self._store.changing() as state:
            copied.status, copied.progress = "available", 100
            copied.created, copied.original = self._clock.now().at, source.original
            copied.database_time = source.database_time
            self.say(state, "copied", copied, what=source.identifier)

    def forget_backups(self, key: str) -> None:
        """Remove the retained automated backups of an instance that is gone."""
        with self._store.changing() as state:
            state.retained.pop(key, None)
            self._forget_backups(state, key)
            self._closed.add(key)
        self.sweep()

    def _forget_backups(self, state: State, key: str) -> None:
        """Take the automated backups of an instance off the record."""
        for one in [s for s in state.snapshots.values() if s.resource_id == key and s.kind == "automated"]:
            self.forget(state, one)
        self._latest.pop(key, None)

    def forget(self, state: State, one: Snapshot) -> None:
        """Take a snapshot off the record; its files go with the last that shares them."""
        del state.snapshots[one.identifier]
        if all(other.backup != one.backup for other in state.snapshots.values()):
            self._spent.add(one.backup)

    def retain(self) -> None:
        """Let expire what is older than it is to be kept, backups and WAL."""
        now = self._clock.now().at
        with self._store.reading() as state:
            over, expired = retention.over(state, now), retention.expired(state, now)
        for key in over:
            self.forget_backups(key)
        if expired:
            with self._store.changing() as state:
                for one in expired:
                    if state.snapshots.get(one.identifier) is one:
                        self.say(state, "snapshot-deleted", one, kind=one.kind)
                        self.forget(state, one)
        self.sweep()
        self._trim_archives()

    def sweep(self) -> None:
        """Remove the files that no record names any more, unless a restore may still read them."""
        with self._store.reading() as state:
            if self._restoring(state):
                return
            backups, archives = self._spent, self._closed
            self._spent, self._closed = set(), set()
        with suppress(DrError):
            for name in backups:
                self.servers.delete_backup(name)
            for key in archives:
                self.servers.delete_archive(key)

    @staticmethod
    def _restoring(state: State) -> bool:
        return any(one.status == "creating" for one in state.instances.values())

    def _trim_archives(self) -> None:
        """Keep WAL as far back as the oldest automated backup, and none where there are to be no backups."""
        with self._store.reading() as state:
            present = list(state.instances.values())
        for one in present:
            lock = self.lock(one.resource_id)
            # A job that holds it may be taking the very backup whose WAL comes next.
            if not lock.acquire(blocking=False):
                continue
            try:
                self._trim(one)
            finally:
                lock.release()

    def _trim(self, one: Instance) -> None:
        with self._store.reading() as state:
            backups = retention.automated(state, one.resource_id)
            oldest = backups[0].backup if backups else None
            wanted = bool(one.attributes["BackupRetentionPeriod"])
            kept = wanted and (oldest is None or self._trimmed.get(one.resource_id) == oldest)
            if kept or not self.present(state, one) or self._restoring(state):
                return
        try:
            self.servers.trim_archive(one.resource_id, oldest)
        except DrError as error:
            log.warning("the archive of %s could not be trimmed: %s", one.identifier, error)
            return
        self._trimmed[one.resource_id] = oldest

    def due(self) -> list[Instance]:
        """Instances whose daily backup is to be taken now."""
        with self._store.reading() as state:
            return retention.due(state, self._clock.now().at)

    # How far archives reach

    def latest(self, key: str) -> float | None:
        """LatestRestorableTime as last surveyed; None: there is none. Never blocks."""
        return self._latest.get(key)

    def survey(self) -> None:
        """Read from the archives themselves how far each covers."""
        with self._store.reading() as state:
            backups = {one.resource_id: retention.automated(state, one.resource_id) for one in state.instances.values()}
        for key, mine in backups.items():
            if not mine:
                continue
            try:
                self._latest[key] = self.servers.restorable(key, mine[-1].backup)
            except DrError as error:
                log.warning("how far the archive of %s reaches is unknown: %s", key, error)

    # Servers in trouble

    def watch(self) -> None:
        """One look at every server: what is wrong is set right as RDS does, and replicas' lag is sampled."""
        if not self._closing:
            self.keeper.look()
            self.replicas.sample()
