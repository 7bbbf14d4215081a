"""The lab's RDS keeps a Multi-AZ instance there: hosts are lost, engines crash and disks fill up, over real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from dr.domain.errors import RefusedError
from dr.host.clock import WallClock
from dr.lab.rds.account import initial_state
from dr.lab.rds.actions import ACTIONS
from dr.lab.rds.faults import Faults
from dr.lab.rds.postgres import PostgresServers
from dr.lab.rds.rebuilding import rebuild
from dr.lab.rds.records import Store
from dr.lab.rds.service import Lab, dispatch
from dr.lab.rds.trouble import Trouble
from dr.lab.rds.work import Work
from dr.lab.servers.site import Site
from tests.lab_servers import DATABASE, MASTER, copied, lab_site
from tests.support import eventually
from tests.unit.lab.rds.fakes import ACCOUNT

PASSWORD = "long-enough-1"
ONE = {"DBInstanceIdentifier": "one"}


class Kept:
    """An account with one Multi-AZ instance, looked at as the daemon does."""

    def __init__(self, site: Site) -> None:
        clock = WallClock()
        self.site, self.servers = site, PostgresServers(site)
        self.trouble = Trouble(self.servers)
        self.store = store = Store(site.directory / "rds.json", ACCOUNT, initial_state(self.servers.version))
        work = Work(store, self.servers, clock, Faults(), lambda key: self.trouble.fill_disk(key, full=False))
        self.lab = Lab(store, work, clock)
        self.known = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(0.3):
            self.lab.work.watch()
            self.lab.work.survey()

    def close(self) -> None:
        self._over.set()
        self._thread.join(10.0)
        self.lab.work.close(10.0)
        self.trouble.stop()
        self.servers.close()

    def __call__(self, action: str, **asked: Any) -> dict[str, Any]:
        return dispatch(ACTIONS, self.lab, action, asked)

    @property
    def one(self) -> dict[str, Any]:
        found: dict[str, Any] = self("DescribeDBInstances", **ONE)["DBInstances"][0]
        return found

    @property
    def key(self) -> str:
        return str(self.one["DbiResourceId"])

    def said(self, text: str) -> bool:
        """Whether an event of this test's has ``text``."""
        return any(text in event["Message"] for event in self._events()[self.known :])

    def listen(self) -> None:
        """From here on is the next test's."""
        self.known = len(self._events())

    def _events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("DescribeEvents")["Events"]
        return found

    def is_synchronous(self) -> bool:
        standby = self.servers.standby(self.key)
        return standby is not None and standby.streaming and standby.synchronous

    def write(self, number: int) -> bool:
        with suppress(psycopg.Error), self._log_in() as session:
            session.execute("CREATE TABLE IF NOT EXISTS written (n bigint)")
            session.execute("INSERT INTO written VALUES (%s)", (number,))
            return True
        return False

    def rows(self, port: int = 0) -> set[int]:
        with self._log_in(port) as session:
            return {n for (n,) in session.execute("SELECT n FROM written").fetchall()}

    def instances(self) -> dict[str, dict[str, Any]]:
        return {one["DBInstanceIdentifier"]: one for one in self("DescribeDBInstances")["DBInstances"]}

    def rebuild(self) -> None:
        """As the lab's daemon does, with every replica that there ever was."""
        with self.store.reading() as state:
            one = state.instances["one"]
            replicas = [other for name, other in state.instances.items() if name != "one"]
        rebuild(self.lab.work, self.store, one, replicas)

    def _log_in(self, port: int = 0) -> psycopg.Connection:
        return psycopg.connect(
            host="localhost",
            port=port or self.one["Endpoint"]["Port"],
            user=MASTER,
            password=PASSWORD,
            dbname=DATABASE,
            sslmode="verify-full",
            sslrootcert=str(self.site.ca),
            connect_timeout=3,
            autocommit=True,
        )


@pytest.fixture(scope="module")
def instance() -> Iterator[Kept]:
    with lab_site("system") as site:
        kept = Kept(site)
        try:
            with copied():
                kept(
                    "CreateDBInstance",
                    **ONE,
                    DBInstanceClass="db.t3.micro",
                    Engine="postgres",
                    AllocatedStorage=20,
                    DBName=DATABASE,
                    MasterUsername=MASTER,
                    MasterUserPassword=PASSWORD,
                    BackupRetentionPeriod=1,
                    MultiAZ=True,
                )
                eventually(lambda: kept.one["DBInstanceStatus"] == "available", 60)
            yield kept
        finally:
            kept.close()


@pytest.fixture
def kept(instance: Kept) -> Kept:
    """The instance, with its standby."""
    eventually(lambda: instance.is_synchronous() and instance.one["DBInstanceStatus"] == "available", 90)
    instance.listen()
    return instance


def test_a_crashed_engine_is_started_in_place(kept: Kept) -> None:
    assert kept.write(1)
    kept.trouble.crash(kept.key)
    eventually(lambda: kept.said("Recovery of the DB instance is complete."), 30)
    eventually(lambda: kept.write(2), 30)
    assert not kept.said("failover")


def test_a_lost_host_is_failed_over_from_and_becomes_the_standby_when_it_is_back(kept: Kept) -> None:
    before = kept.one["AvailabilityZone"]
    assert kept.write(3)
    kept.trouble.lose_host(kept.key)
    eventually(lambda: kept.said("unreachable due to loss of network connectivity"), 60)
    eventually(lambda: kept.write(4), 30)
    assert {3, 4} <= kept.rows()
    eventually(lambda: kept.one["AvailabilityZone"] != before, 30)
    kept.trouble.lose_host(kept.key, lost=False)
    eventually(kept.is_synchronous, 90)
    assert kept.said("The Multi-AZ standby is synchronous again.")


def test_a_lost_standby_is_said_and_does_not_stop_writes(kept: Kept) -> None:
    kept.trouble.lose_host(kept.key, standby=True)
    eventually(lambda: kept.said("The Multi-AZ standby is lost"), 30)
    eventually(lambda: kept.write(5), 10)
    kept.trouble.lose_host(kept.key, lost=False)
    eventually(kept.is_synchronous, 90)


def test_a_full_disk_ends_when_more_is_allocated(kept: Kept) -> None:
    kept.trouble.fill_disk(kept.key)
    eventually(lambda: kept.one["DBInstanceStatus"] == "storage-full", 30)
    eventually(lambda: not kept.write(60), 30)
    kept("ModifyDBInstance", **ONE, AllocatedStorage=40, ApplyImmediately=True)
    eventually(lambda: kept.one["DBInstanceStatus"] == "available", 60)
    eventually(lambda: kept.write(6), 30)
    assert kept.one["AllocatedStorage"] == 40
    # What it wrote last before it ended is archived, too: nothing that comes after is restored without it.
    written = time.time()
    eventually(lambda: (kept.one["LatestRestorableTime"] or 0.0) > written, 30)


def test_an_instance_lost_for_good_is_rebuilt_with_its_standby_and_the_replica_that_took_its_place(kept: Kept) -> None:
    kept("CreateDBInstanceReadReplica", DBInstanceIdentifier="two", SourceDBInstanceIdentifier="one")
    eventually(lambda: kept.instances()["two"]["DBInstanceStatus"] == "available", 60)
    assert kept.write(7)
    written, key = time.time(), kept.key
    covered = "LatestRestorableTime"
    eventually(lambda: kept.one[covered] and kept.one[covered] > written + 1, 60)
    kept.trouble.lose_host(key, standby=True)
    kept.trouble.lose_host(key)
    assert not kept.write(8)
    kept("PromoteReadReplica", DBInstanceIdentifier="two", BackupRetentionPeriod=1)
    eventually(lambda: kept.instances()["two"]["DBInstanceStatus"] == "available", 60)
    ports = {name: one["Endpoint"]["Port"] for name, one in kept.instances().items()}
    kept.rebuild()
    found = kept.instances()
    assert {name: one["Endpoint"]["Port"] for name, one in found.items()} == ports
    assert {name: one["DBInstanceStatus"] for name, one in found.items()} == {"one": "available", "two": "available"}
    assert found["two"]["ReadReplicaSourceDBInstanceIdentifier"] == "one"
    assert found["two"]["BackupRetentionPeriod"] == 0
    assert kept.is_synchronous()
    assert 7 in kept.rows(), "what the archive covered is there"
    assert kept.write(9)
    eventually(lambda: 9 in kept.rows(ports["two"]), 30)
    backups = kept("DescribeDBSnapshots", SnapshotType="automated")["DBSnapshots"]
    assert {one["DBInstanceIdentifier"] for one in backups} == {"one"}, "a replica's backups ended with its promotion"
    kept("DeleteDBInstance", DBInstanceIdentifier="two", SkipFinalSnapshot=True)
    eventually(lambda: set(kept.instances()) == {"one"}, 60)


def test_what_has_no_backup_is_not_rebuilt(kept: Kept) -> None:
    kept("ModifyDBInstance", **ONE, BackupRetentionPeriod=0, ApplyImmediately=True)
    try:
        eventually(lambda: not kept("DescribeDBSnapshots", SnapshotType="automated")["DBSnapshots"], 60)
        with pytest.raises(RefusedError, match="one has no automated backup"):
            kept.rebuild()
    finally:  # others want to be rebuilt; the first backup is taken at once
        kept("ModifyDBInstance", **ONE, BackupRetentionPeriod=1, ApplyImmediately=True)
        eventually(lambda: kept("DescribeDBSnapshots", SnapshotType="automated")["DBSnapshots"], 60)
