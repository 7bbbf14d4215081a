"""A lab without PostgreSQL: servers that only remember, and a clock that stands still until told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Stamp
from dr.lab.rds.account import initial_state
from dr.lab.rds.faults import Faults
from dr.lab.rds.records import Store
from dr.lab.rds.servers import Condition, LogFile, Standby
from dr.lab.rds.service import Lab
from dr.lab.rds.signature import Account
from dr.lab.rds.work import Work

ACCOUNT = Account("123456789012", "eu-central-1", "AKIALAB0000000000000", "secret")
T0 = 1_700_000_000.0


class FakeClock:
    def __init__(self, at: float = T0) -> None:
        self.at = at

    def now(self) -> Stamp:
        return Stamp(self.at, int(self.at * 1e9), "boot")

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class FakeServers:
    """Remembers every call; ``broken`` makes the named method fail; ``archived`` is how far each archive covers."""

    version = "15.8"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[object, ...]] = []
        self.up: set[str] = set()
        self.archived: float | None = None
        self.broken = ""
        self.standbys: dict[str, Standby] = {}
        self.fenced: set[str] = set()
        self.conditions: dict[str, Condition] = {}
        self.lags: dict[str, float] = {}

    def _call(self, name: str, *args: object) -> None:
        self.calls.append((name, *args))
        if name == self.broken:
            raise ProviderError(f"{name} is broken.")

    def create(self, key: str, port: int, master: str, password: str, database: str | None) -> None:
        self._call("create", key, master, database)
        self.up.add(key)

    def restore(self, key: str, port: int, backup: str) -> None:
        self._call("restore", key, backup)
        self.up.add(key)

    def restore_to(self, key: str, port: int, backup: str, source: str, at: float) -> None:
        self._call("restore_to", key, backup, source, at)
        self.up.add(key)

    def start(self, key: str) -> None:
        self._call("start", key)
        self.up.add(key)

    def stop(self, key: str) -> None:
        self._call("stop", key)
        self.up.discard(key)

    def running(self, key: str) -> bool:
        return key in self.up

    def delete(self, key: str) -> None:
        self._call("delete", key)
        self.up.discard(key)

    def add_standby(self, key: str) -> None:
        self._call("add_standby", key)
        self.fenced.discard(key)
        self.standbys[key] = Standby(streaming=True, synchronous=True, silent=0.0)

    def drop_standby(self, key: str) -> None:
        self._call("drop_standby", key)
        del self.standbys[key]

    def standby(self, key: str) -> Standby | None:
        return self.standbys.get(key)

    def degrade(self, key: str) -> None:
        self._call("degrade", key)
        self.standbys[key] = Standby(streaming=False, synchronous=False, silent=self.standbys[key].silent)

    def condition(self, key: str) -> Condition:
        return self.conditions.get(key) or ("running" if key in self.up else "dead")

    def fail_over(self, key: str) -> float:
        self._call("fail_over", key)
        standby = self.standbys.get(key)
        if standby is None or not standby.synchronous:
            raise RefusedError("No standby is synchronous.")
        del self.standbys[key]
        self.fenced.add(key)
        self.conditions.pop(key, None)
        self.up.add(key)
        return 1.5

    def rejoin(self, key: str) -> None:
        self._call("rejoin", key)
        if key not in self.fenced:
            raise RefusedError("Its host is not back.")
        self.fenced.discard(key)
        self.standbys[key] = Standby(streaming=True, synchronous=True, silent=0.0)

    def replicate(self, key: str, port: int, source: str) -> None:
        self._call("replicate", key, source)
        self.up.add(key)
        self.lags[key] = 0.0

    def promote(self, key: str) -> None:
        self._call("promote", key)
        del self.lags[key]

    def follow(self, key: str, source: str) -> None:
        self._call("follow", key, source)

    def lag(self, key: str) -> float | None:
        return self.lags.get(key)

    def delete_archive(self, key: str) -> None:
        self._call("delete_archive", key)

    def trim_archive(self, key: str, backup: str | None) -> None:
        self._call("trim_archive", key, backup)

    def set_password(self, key: str, user: str, password: str) -> None:
        self._call("set_password", key, user)

    def backup(self, key: str, name: str) -> float:
        self._call("backup", key, name)
        return self.clock.at

    def delete_backup(self, name: str) -> None:
        self._call("delete_backup", name)

    def complete_archive(self, key: str) -> None:
        self._call("complete_archive", key)

    def archive_now(self, key: str) -> None:
        self._call("archive_now", key)

    def restorable(self, key: str, backup: str) -> float | None:
        return self.archived

    def logs(self, key: str) -> Sequence[LogFile]:
        return [LogFile("error/postgresql.log", 12, T0)]

    def read_log(self, key: str, name: str, offset: int) -> bytes:
        if name != "error/postgresql.log":
            raise FileNotFoundError(name)
        return b"one\ntwo\nsix\n"[offset:]


def fake_lab(directory: Path, begin_at_once: bool = True) -> tuple[Lab, FakeServers, FakeClock]:
    """A lab whose jobs run within the call that begins them, or, if asked, wait in ``lab.work.waiting``."""
    clock = FakeClock()
    servers = FakeServers(clock)
    store = Store(directory / "rds.json", ACCOUNT, initial_state(servers.version))
    enlarge = partial(servers._call, "enlarge")
    work = Work(store, servers, clock, Faults(), enlarge)
    waiting: list[object] = []
    work.begin = (lambda job: job()) if begin_at_once else waiting.append  # type: ignore[method-assign]
    work.waiting = waiting  # type: ignore[attr-defined]
    return Lab(store, work, clock), servers, clock
