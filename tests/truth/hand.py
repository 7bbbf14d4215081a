"""The hand beneath dr: does a case's acts to the source or to the copy, as superuser over the server's own socket.

``python -m tests.truth.hand CASE WHEN`` is a step of the case's experiment; DR_HOME and DR_RUN say whose. With LATER
for CASE it is what such a step leaves behind to act in a later one.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg

from dr.lab.control import SOURCE
from dr.lab.servers.settings import ADMIN
from tests.truth.table import Acts, When

DATABASE = "readmission"
PAGE = 8192
LATER = "--later"
CLOCK = "truth-clock"
"""In DR_HOME: seconds by which dr's wall clock is wrong; see clock/sitecustomize.py."""


@dataclass(frozen=True)
class Server:
    """A server of a lab: its instance, and where it stands. ``run``: during which something is done to it, in its
    ``database``."""

    home: Path
    identifier: str
    place: Path
    run: str = ""
    database: str = DATABASE

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        socket = next(path for path in (self.place / "socket").iterdir() if path.suffix != ".lock")
        with psycopg.connect(
            host=str(socket.parent),
            port=int(socket.name.rpartition(".")[2]),
            user=ADMIN,
            password=(self.home / "lab" / "rdsadmin.password").read_text().strip(),
            dbname=self.database,
            autocommit=True,
        ) as connection:
            yield connection

    def do(self, acts: Acts) -> None:
        """Each act, in its order. Raises whatever fails."""
        for act in acts:
            if act.startswith("!"):
                name, *words = shlex.split(act[1:])
                DOINGS[name](self, *words)
            else:
                with self.connect() as connection:
                    connection.execute(
                        act.replace("markers_RUN", f"markers_{self.run.replace(chr(45), chr(95))}").encode()
                    )

    def one(self, query: str) -> Any:
        with self.connect() as connection:
            return (connection.execute(query.encode()).fetchone() or (None,))[0]

    def file(self, relation: str) -> Path:
        """Of a table or an index, once all that it holds is on disk."""
        self.do(("CHECKPOINT",))
        return self.place / "data" / str(self.one(f"SELECT pg_relation_filepath('{relation}')"))


def source(home: Path, run: str = "") -> Server:
    return _server(home, SOURCE, run)


def copy(home: Path, run: str) -> Server:
    """The copy that the run's ledger names."""
    return _server(home, effect(home, run, "restore")["identifier"], run)


def _server(home: Path, identifier: str, run: str) -> Server:
    """An instance of the lab, where its own state says that it stands."""
    resource = json.loads((home / "lab" / "rds.json").read_text())["instances"][identifier]["resource_id"]
    return Server(home, identifier, home / "lab" / "instances" / resource / "a", run)


def effect(home: Path, run: str, call: str) -> dict[str, Any]:
    """What the run's ledger says that ``call`` came to."""
    entries = map(json.loads, (home / "runs" / run / "ledger.jsonl").read_text().splitlines())
    found: dict[str, Any] = next(e["data"] for e in entries if (e["kind"], e["call"]) == ("effect", call))
    return found


# -- what is no SQL


def _in(server: Server, database: str, sql: str) -> None:
    replace(server, database=database).do((sql,))


def _shut(server: Server, database: str) -> None:
    """Nobody gets into it by way of the network."""
    rules = Path(str(server.one("SHOW hba_file")))
    rules.write_text(f"host {database} all all reject\n{rules.read_text()}")
    server.do(("SELECT pg_reload_conf()",))


def _open(server: Server, database: str) -> None:
    """It is as it was before ``_shut``."""
    rules = Path(str(server.one("SHOW hba_file")))
    rules.write_text(rules.read_text().replace(f"host {database} all all reject\n", ""))
    server.do(("SELECT pg_reload_conf()",))


def _failing(server: Server, sql: str) -> None:
    """What is refused half-way, and leaves something behind."""
    with server.connect() as connection:
        try:
            connection.execute(sql.encode())
        except psycopg.Error:
            return
    raise AssertionError(f"it did not fail: {sql}")


def _reboot(server: Server) -> None:
    """Start it anew by the provider, so that it reads its files again."""
    from tests.labs import Lab

    lab = Lab(server.home)
    lab.rds.reboot_db_instance(DBInstanceIdentifier=server.identifier)
    lab.rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=server.identifier, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def _modify(server: Server, parameters: str) -> None:
    from tests.labs import Lab

    lab = Lab(server.home)
    lab.rds.modify_db_instance(DBInstanceIdentifier=server.identifier, ApplyImmediately=True, **json.loads(parameters))


def _hollow(server: Server, index: str, database: str = DATABASE) -> None:
    """In the place of an index's file, one that an index alike has over no rows: whoever asks it finds nothing."""
    server = replace(server, database=database)
    schema, _, name = index.partition(".")
    table = server.one(
        "SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname) FROM pg_index i"
        f" JOIN pg_class c ON c.oid = i.indrelid WHERE i.indexrelid = '{index}'::regclass"
    )
    definition = str(server.one(f"SELECT pg_get_indexdef('{index}'::regclass)"))
    server.do((f"CREATE TABLE {schema}.hollow (LIKE {table})",))
    empty = definition.replace(f" ON {table} ", f" ON {schema}.hollow ").replace(f" {name} ", " hollow_index ")
    server.do((empty,))
    content = server.file(f"{schema}.hollow_index").read_bytes()
    server.file(index).write_bytes(content)
    server.do((f"DROP TABLE {schema}.hollow",))
    _reboot(server)


def _damage(server: Server, table: str, page: str = "0") -> None:
    """Garbage in the middle of one page of a table's file."""
    with server.file(table).open("r+b") as heap:
        heap.seek(PAGE * int(page) + 4000)
        heap.write(os.urandom(200))
    _reboot(server)


def _damage_toast(server: Server, table: str) -> None:
    _damage(server, str(server.one(f"SELECT reltoastrelid::regclass FROM pg_class WHERE oid = '{table}'::regclass")))


def _lose(server: Server, table: str) -> None:
    """A table's file holds nothing any more: no transaction wrote that."""
    server.file(table).write_bytes(b"")
    _reboot(server)


def _forge(server: Server, table: str, old: str, new: str) -> None:
    """A value exchanged in the table's file, by one as long: no transaction wrote it. Checksums are not looked at."""
    assert len(old) == len(new)
    server.do((f"ALTER DATABASE {DATABASE} SET ignore_checksum_failure = on",))
    heap = server.file(table)
    content = heap.read_bytes()
    assert old.encode() in content
    heap.write_bytes(content.replace(old.encode(), new.encode()))
    _reboot(server)


def _clock(server: Server, seconds: str) -> None:
    (server.home / CLOCK).write_text(seconds)


def _stop(server: Server, whom: str, seconds: str, after: str = "0") -> None:
    """Let processes stand still for ``seconds``, beginning ``after`` so many, while dr goes on with its next step."""
    pids = _pids(server, whom)
    assert pids, f"there is no {whom}"
    each = " ".join(map(str, pids))
    script = f"sleep {after}; kill -STOP {each}; sleep {seconds}; kill -CONT {each}"
    nowhere = subprocess.DEVNULL  # else this step would last until the end of it
    subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, stdin=nowhere, stdout=nowhere, stderr=nowhere)


def _stop_later(server: Server, call: str, whom: str, seconds: str, after: str) -> None:
    """The same, ``after`` so many seconds after a later step has done ``call``."""
    nowhere = subprocess.DEVNULL
    if whom == "harness":  # by then it is no child of it any more
        whom = ",".join(map(str, _pids(server, whom)))
    words = [sys.executable, "-m", "tests.truth.hand", LATER, call, whom, seconds, after]
    subprocess.Popen(words, start_new_session=True, stdin=nowhere, stdout=nowhere, stderr=nowhere)


def _await(home: Path, run: str, words: list[str]) -> None:
    """Do a ``_stop_later`` once the call is done; or not at all where the run ends before that."""
    while not (home / "runs" / run / "seal.json").exists():
        with suppress(StopIteration, ValueError):  # a line that is being written is none yet
            effect(home, run, words[0])
            _stop(source(home, run), *words[1:])
            return
        time.sleep(0.1)


def _pids(server: Server, whom: str) -> list[int]:
    """``harness``: dr and its Chaos Toolkit; ``machine``: all that works for the run; numbers: these; else what a call
    has started."""
    if whom.replace(",", "").isdigit():
        return [int(pid) for pid in whom.split(",")]
    mine = [one for one in psutil.Process().parents() if "truth.yaml" in _words(one)]
    match whom:
        case "harness":
            return [one.pid for one in mine]
        case "machine":
            roots = [one for one in psutil.process_iter() if _words(one) == _words(mine[-1])]  # each is a fork of it
            theirs = {child.pid for root in roots for child in root.children(recursive=True)}
            return sorted(({root.pid for root in roots} | theirs) - {os.getpid()})
    main = psutil.Process(int(effect(server.home, server.run, whom)["pid"]))
    return [main.pid, *(child.pid for child in main.children(recursive=True))]


def _words(one: psutil.Process) -> str:
    try:
        return " ".join(one.cmdline())
    except psutil.Error:
        return ""


def _end_prepared(server: Server) -> None:
    """What a case has prepared and not ended: its locks would keep the sweep waiting."""
    with server.connect() as connection:
        for (name,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            connection.execute(f"ROLLBACK PREPARED '{name}'".encode())


def _forget_baselines(server: Server) -> None:
    (server.home / "baselines").rename(server.home / "baselines-aside")


def _remember_baselines(server: Server) -> None:
    """Those of before, in the place of what has come since."""
    shutil.rmtree(server.home / "baselines", ignore_errors=True)
    (server.home / "baselines-aside").rename(server.home / "baselines")


DOINGS: Mapping[str, Callable[..., None]] = {
    "in": _in,
    "shut": _shut,
    "open": _open,
    "failing": _failing,
    "reboot": _reboot,
    "modify": _modify,
    "hollow": _hollow,
    "damage": _damage,
    "damage-toast": _damage_toast,
    "lose": _lose,
    "forge": _forge,
    "clock": _clock,
    "stop": _stop,
    "stop-later": _stop_later,
    "end-prepared": _end_prepared,
    "forget-baselines": _forget_baselines,
    "remember-baselines": _remember_baselines,
}


def main(home: Path, run: str, name: str, when: When) -> None:
    from tests.truth.cases import CASES

    server = copy(home, run) if when is When.COPY else source(home, run)
    server.do(CASES[name].acts(when))


if __name__ == "__main__":
    HOME, RUN = Path(os.environ["DR_HOME"]), os.environ["DR_RUN"]
    if sys.argv[1] == LATER:
        _await(HOME, RUN, sys.argv[2:])
    else:
        main(HOME, RUN, sys.argv[1], When(sys.argv[2]))
