"""What the judge says was lost, against the truth, in kills of a primary whose standby lags, and of one whose does not.

Real servers, a real writer, a host lost under it, a real promotion. The truth is what the killed primary holds and the
promoted one does not, of all that was acknowledged: both are asked. Where every commit waited for the standby, nothing
may be lost.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import figure
from bench.markers import meter
from dr.config.model import Login as Account
from dr.domain.model import Observation, Plan, Purpose, Request, RunIdentity, Stamp
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.meter.login import Login
from dr.drivers.postgres.meter.mark import create_table, marker_table
from dr.drivers.postgres.servers import read_markers
from dr.evidence.model import Evidence, RunRecord
from dr.evidence.samples import load_markers, markers_file
from dr.judge.objectives.survival import Survived, survived
from dr.lab.rds.postgres import PostgresServers
from dr.lab.rds.trouble import Trouble
from dr.lab.servers import postgres
from dr.lab.servers.site import free_port
from tests.lab_servers import DATABASE, MASTER, PASSWORD, lab_site

KILLS, KEY, PATH = 100, "db-BENCH", "bench"
RATE, TIMEOUT = 200.0, 1.0
LAGS = 0.05, 0.3
"""Seconds by which the standby's stream is late, each way."""
BEFORE, LONGER, AFTER = 40, 0.3, 20
"""Writes acknowledged before a kill, seconds more at the most, and writes acknowledged after it."""
PATIENCE = 30.0
Key = tuple[int, int]
"""A write: its number and attempt."""


@dataclass(frozen=True)
class Round:
    """One kill: what was acknowledged, what is truly lost, and what the judge says of it."""

    acknowledged: int
    lost: frozenset[Key]
    judged: Survived

    @property
    def exact(self) -> bool:
        said = {(m.n, m.attempt) for m in self.judged.lost}
        return said == self.lost and len(self.judged.acknowledged) == self.acknowledged and not self.judged.unexpected


class Stage:
    """An instance with a standby, and a writer of its own for every kill."""

    def __init__(self, servers: PostgresServers, ca: Path, folder: Path) -> None:
        self.servers, self.trouble, self.port = servers, Trouble(servers), free_port()
        self._folder, self._ca, self._count = folder, ca, 0
        secret = folder / "secret"
        secret.write_text(f"{PASSWORD}\n")
        self._secret = f"file:{secret}"
        servers.create(KEY, self.port, MASTER, PASSWORD, DATABASE)

    def kill(self, lag: float | None) -> Round:
        """Lose the primary's host under a writer, promote the standby, and compare; then be as before.

        ``lag``: seconds by which an asynchronous standby is late; None: it is synchronous.
        """
        self._count += 1
        run, folder = f"kill{self._count}", self._folder / str(self._count)
        folder.mkdir()
        self.servers.add_standby(KEY)
        if lag is not None:
            self.trouble.forget_sync(KEY)
            self.trouble.replication_link(KEY, mode="delay", seconds=lag)
        with self._writing(run, folder) as acknowledged:
            _until(lambda: len(acknowledged()) > BEFORE)
            time.sleep(random.uniform(0.0, LONGER))
            disaster = time.time()
            self.trouble.lose_host(KEY)
            self.trouble.replication_link(KEY)
            self.servers.fail_over(KEY)
            known = len(acknowledged())
            _until(lambda: len(acknowledged()) > known + AFTER)
        result = self._compare(run, folder, acknowledged(), disaster)
        self.servers.rejoin(KEY)
        return result

    @contextmanager
    def _writing(self, run: str, folder: Path) -> Iterator[Callable[[], set[Key]]]:
        login = {
            "host": "localhost", "port": self.port, "database": DATABASE, "user": MASTER,
            "password": self._secret, "ca": str(self._ca), "pooled": False,
        }  # fmt: skip
        create_table(Login(**login), run, PATH)
        process = meter("mark", folder, login=login, run_id=run, rate=RATE, timeout=TIMEOUT)
        try:
            yield lambda: _acknowledged(markers_file(folder, PATH))
        finally:
            process.terminate()
            process.wait()

    def _compare(self, run: str, folder: Path, acknowledged: set[Key], disaster: float) -> Round:
        table = marker_table(run, PATH)
        login = Account(MASTER, self._secret)
        database = PostgresConfig(DATABASE, login, (), ca=str(self._ca))
        read = time.time()
        present = read_markers(Endpoint("localhost", self.port), database, table)
        markers = load_markers(markers_file(folder, PATH))
        assert markers is not None
        at = Stamp(disaster, 0, markers.start.boot)
        plan = Plan(
            Request("bench", (), Purpose.DRILL, since=disaster), RunIdentity(run, "", Purpose.DRILL, ""), (), ()
        )
        seen = Observation("markers", PATH, {**present, "at": read}, read)
        judged = survived(Evidence(RunRecord(plan, at, "", {}, 1.0), (), (seen,), markers={PATH: markers}), PATH)
        return Round(len(acknowledged), frozenset(acknowledged & self._only_on_the_old(table)), judged)

    def _only_on_the_old(self, table: str) -> set[Key]:
        """Start the killed primary where it is, and ask both: what the new one does not hold."""
        self.trouble.lose_host(KEY, lost=False)
        nodes = self.servers.nodes(KEY)
        assert nodes.aside is not None
        old = nodes.aside.server
        old.start()
        try:
            return _rows(old, table) - _rows(nodes.primary.server, table)
        finally:
            old.kill()


def _rows(server: postgres.Server, table: str) -> set[Key]:
    with server.connect(DATABASE) as connection:
        return set(connection.execute(f"SELECT n, attempt FROM dr.{table}").fetchall())


def _acknowledged(file: Path) -> set[Key]:
    """Read from the writer's record, line by line: the newest line of a write holds."""
    outcomes: dict[Key, str] = {}
    for line in file.read_bytes().split(b"\n")[1:-1] if file.exists() else ():
        row = json.loads(line)
        if "n" in row:
            outcomes[row["n"], row["attempt"]] = row["outcome"]
    return {key for key, outcome in outcomes.items() if outcome == "acknowledged"}


def _until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "the writer gets no answers"
        time.sleep(0.02)


def main() -> bool:
    """Print the figures; returns whether all hold."""
    with lab_site() as site, tempfile.TemporaryDirectory() as folder:
        servers = PostgresServers(site)
        try:
            stage = Stage(servers, site.ca, Path(folder))
            late = [stage.kill(random.uniform(*LAGS)) for _ in range(KILLS)]
            synchronous = [stage.kill(None) for _ in range(KILLS)]
        finally:
            servers.close()
    for title, rounds in (("asynchronous", late), ("synchronous", synchronous)):
        written, lost = sum(r.acknowledged for r in rounds), sum(len(r.lost) for r in rounds)
        print(f"{title}: {len(rounds)} kills, {written} writes acknowledged, {lost} truly lost")
    losing = sum(bool(one.lost) for one in late)
    return all(
        [
            figure("kills of an asynchronous primary that lost writes", losing, KILLS / 2, "", at_least=True),
            figure("of those kills judged exactly", sum(one.exact for one in late), KILLS, "", at_least=True),
            figure("kills of a synchronous primary judged exactly", sum(o.exact for o in synchronous), KILLS, "", True),
            figure("writes lost with a synchronous standby", sum(len(o.judged.lost) for o in synchronous), 0, ""),
        ]
    )
