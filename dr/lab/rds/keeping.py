"""What RDS itself does to keep an instance there: restarts, failovers, standbys lost and found, a full disk said.

What is to be done is decided by ``availability``; here it is carried out, each step in a job of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from dr.domain.errors import DrError
from dr.lab.rds.availability import History, Look, Step, decide
from dr.lab.rds.jobs import Jobs
from dr.lab.rds.records import Instance, Store
from dr.lab.rds.replicas import Replicas
from dr.lab.rds.servers import Condition, Servers
from dr.ports import Clock

log = logging.getLogger(__name__)
IDLE = ("available", "storage-full")
"""Statuses in which a step may be begun."""
WATCHED = (*IDLE, "backing-up", "modifying", "rebooting")
"""Statuses in which a server is to run: what goes wrong in them is remembered."""
ZONES_LAG = 2.0
"""Seconds after a failover until the API shows the zones swapped; minutes in RDS."""
BECAUSE = {"gone": "because-gone", "hung": "because-hung"}
"""The reason of a failover by the condition that it is for; any other is "because-dead"."""


class Keeper:
    """Looks and steps, by instance. ``look`` is called by one thread."""

    def __init__(self, work: Jobs, replicas: Replicas, store: Store, servers: Servers, clock: Clock) -> None:
        self._work, self._replicas = work, replicas
        self._store = store
        self._servers = servers
        self._clock = clock
        self._histories: dict[str, History] = {}
        self._failed_starts: dict[str, int] = {}
        self._stepping: set[str] = set()
        self._partial: set[str] = set()
        """Instances whose last failover broke off."""
        self._zones: dict[str, float] = {}
        """When an instance's zones are to be shown swapped."""

    # Looking

    def look(self) -> None:
        """One look at every instance that should run; begins what is to be done."""
        self._show_zones()
        with self._store.reading() as state:
            watched = [one for one in state.instances.values() if one.created is not None and one.status in WATCHED]
        for one in watched:
            try:
                self._look_at(one)
            except DrError as error:
                log.warning("instance %s could not be looked at: %s", one.identifier, error)

    def _look_at(self, one: Instance) -> None:
        key, multi_az = one.resource_id, bool(one.attributes["MultiAZ"])
        condition = self._servers.condition(key)
        look = Look(
            at=self._clock.now().mono_ns / 1e9,
            condition=condition,
            standby=self._servers.standby(key) if multi_az else None,
            multi_az=multi_az,
            busy=self._busy(one),
            failed_starts=self._failed_starts.get(key, 0),
        )
        self._histories[key], step = decide(self._histories.get(key, History()), look)
        if condition == "running" and not look.busy:
            self._settle(one)
        act = self._acts(condition).get(step)
        if act is not None:
            self._begin(one, act)

    def _busy(self, one: Instance) -> bool:
        """Whether something is under way with it: a job holds its lock, or is about to."""
        lock = self._work.lock(one.resource_id)
        if one.status not in IDLE or one.resource_id in self._stepping or not lock.acquire(blocking=False):
            return True
        lock.release()
        return False

    def _acts(self, condition: Condition) -> dict[Step, Callable[[Instance], None]]:
        return {
            Step.RESTART: self._restart,
            Step.FAIL_OVER: lambda one: self.fail_over(one, BECAUSE.get(condition, "because-dead")),
            Step.DEGRADE: self._degrade,
            Step.REJOIN: self._rejoin,
            Step.REBUILD: self._rebuild,
            Step.STORAGE_FULL: self._storage_full,
            Step.GIVE_UP: lambda one: self._work.fail(one, "failed", "its database does not start"),
        }

    def _begin(self, one: Instance, act: Callable[[Instance], None]) -> None:
        self._stepping.add(one.resource_id)

        def job() -> None:
            try:
                with self._work.lock(one.resource_id):
                    if one.status in IDLE:
                        act(one)
            except DrError as error:
                log.warning("instance %s: %s", one.identifier, error)
            finally:
                self._stepping.discard(one.resource_id)

        self._work.begin(job)

    def _settle(self, one: Instance) -> None:
        """It runs: what was said of it before is over."""
        key = one.resource_id
        self._failed_starts.pop(key, None)
        if one.status == "storage-full":
            self._servers.complete_archive(key)
            self._turn(one, "available", *IDLE)
        if key in self._partial:
            self._partial.discard(key)
            self._say(one, "failover-recovered")

    def _turn(self, one: Instance, status: str, *before: str, said: str = "") -> bool:
        """Give ``one`` a status where its own is still one of ``before``: it may be deleted or modified meanwhile."""
        with self._store.changing() as state:
            if one.status not in before:
                return False
            one.status = status
            if said:
                self._work.say(state, said, one)
        return True

    def _say(self, one: Instance, *names: str) -> None:
        with self._store.changing() as state:
            for name in names:
                self._work.say(state, name, one)

    # Steps

    def _restart(self, one: Instance) -> None:
        """Start the server where it is, as RDS does for an engine that died."""
        key = one.resource_id
        failed = self._failed_starts.get(key, 0)
        if not failed:
            self._say(one, "recovery-started")
        try:
            self._servers.start(key)
        except DrError:
            self._failed_starts[key] = failed + 1
            raise
        self._failed_starts.pop(key, None)
        self._say(one, "restarted", "recovery-complete")

    def _degrade(self, one: Instance) -> None:
        self._servers.degrade(one.resource_id)
        self._say(one, "standby-lost")

    def _rejoin(self, one: Instance) -> None:
        self._servers.rejoin(one.resource_id)
        self._say(one, "standby-back")

    def _rebuild(self, one: Instance) -> None:
        self._servers.add_standby(one.resource_id)
        self._say(one, "standby-back")

    def _storage_full(self, one: Instance) -> None:
        self._turn(one, "storage-full", "available", said="storage-full")

    # Failovers

    def reboot(self, one: Instance) -> None:
        """A reboot with a failover: abandoned, and nothing done, where no standby holds every acknowledged write."""
        with self._work.lock(one.resource_id):
            standby = self._servers.standby(one.resource_id)
            if standby is None or not standby.takes_all:
                self._turn(one, "available", "rebooting", said="failover-abandoned")
            else:
                self.fail_over(one, "because-asked")

    def fail_over(self, one: Instance, because: str) -> None:
        """To the standby, then a backup: a point in time after it is restored from that. The lock is held."""
        again = one.resource_id in self._partial
        if not self._turn(one, "rebooting", "rebooting", *IDLE, said="" if again else "failover-started"):
            return
        try:
            took = self._servers.fail_over(one.resource_id)
        except DrError as error:
            if not again:
                log.error("instance %s: its failover broke off: %s", one.identifier, error)
            self._partial.add(one.resource_id)
            self._turn(one, "available", "rebooting")
            return
        log.info("instance %s failed over in %.1f s", one.identifier, took)
        self._say(one, "restarted", "failover-to-standby", "failover-completed", because)
        self._swap_zones(one)
        self._replicas.follow(one)
        self._work.back_up_or_leave(one)

    def _swap_zones(self, one: Instance) -> None:
        # Twice within the lag is not at all.
        if self._zones.pop(one.resource_id, None) is None:
            self._zones[one.resource_id] = self._clock.now().at + ZONES_LAG

    def _show_zones(self) -> None:
        now = self._clock.now().at
        for key in [key for key, at in list(self._zones.items()) if at <= now]:
            del self._zones[key]
            with self._store.changing() as state:
                for one in state.instances.values():
                    a = one.attributes
                    if one.resource_id == key and a["SecondaryAvailabilityZone"]:
                        first, second = a["AvailabilityZone"], a["SecondaryAvailabilityZone"]
                        a["AvailabilityZone"], a["SecondaryAvailabilityZone"] = second, first

    # Conversions

    def convert(self, one: Instance, *, multi_az: bool) -> None:
        """To Multi-AZ or from it; the change stays pending where it fails. The lock is held."""
        word = "multi-az" if multi_az else "single-az"
        self._say(one, f"{word}-started")
        try:
            (self._servers.add_standby if multi_az else self._servers.drop_standby)(one.resource_id)
        except DrError as error:
            log.error("instance %s could not be converted: %s", one.identifier, error)
            return
        with self._store.changing() as state:
            one.pending.pop("MultiAZ", None)
            here = one.attributes["AvailabilityZone"]
            other = f"{here[:-1]}{'a' if here.endswith('b') else 'b'}"
            one.attributes |= {"MultiAZ": multi_az, "SecondaryAvailabilityZone": other if multi_az else None}
            self._work.say(state, f"{word}-finished", one)
