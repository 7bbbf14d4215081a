"""Streaming replication between the lab's servers: standbys made, watched, promoted and made anew.

All functions block until it is done, raise DrError with PostgreSQL's own reason, and keep nothing in memory: what a
server is, its directory says.

A standby connects as the superuser through a socket, and has a slot on its primary named as the standby names itself.
Whoever makes it goes on to remove both: ``Server.remove``, then ``drop_slot`` on the primary if that lives on.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.servers import process, settings
from dr.lab.servers.archive import next_segment, position, segment_name
from dr.lab.servers.backup import copy_live
from dr.lab.servers.postgres import Server, last_line
from dr.lab.servers.settings import ADMIN, SEGMENT_BYTES

STREAM_LIMIT = 30.0
"""Seconds until a standby that can follow its primary does so."""
PROMOTION_LIMIT = 60.0
PAGE = 8192
PAGE_HEADER, SEGMENT_HEADER = 24, 40
"""Bytes of WAL that begin a page, and a segment."""

_CONTROL = re.compile(r"^(.+?): +(.+)$", re.MULTILINE)
_RECORD = re.compile(r"len \(rec/tot\): +\d+/ *(\d+), .*?lsn: ([0-9A-F]+/[0-9A-F]+)")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a standby streams from.

    ``directory``, ``port``: of a socket that leads to its primary: the primary's own, or a link's. ``slot``: its name
    there, of lower-case letters, digits and underscores.
    """

    directory: Path
    port: int
    slot: str


@dataclass(frozen=True, slots=True)
class Sending:
    """A standby as its primary sees it. Places in the WAL are numbers: bytes since the cluster's beginning.

    ``streaming``: it is connected and has caught up once. ``synchronous``: COMMIT waits for it. ``present``: the
    primary's own end of WAL. ``received``: on the standby's disk. ``silent``: seconds since it last said anything, at
    most about 1 where all is well; a link that went silent shows here long before ``streaming`` ends.
    """

    streaming: bool
    synchronous: bool
    present: int
    sent: int
    received: int
    replayed: int
    silent: float


@dataclass(frozen=True, slots=True)
class Receiving:
    """A readable standby as it sees itself. ``age``: seconds since the last commit that it replayed; None: none yet."""

    streaming: bool
    received: int
    replayed: int
    age: float | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How a server became a standby again: ``how`` is "followed", "rewound" or "copied"; ``because`` says why not the
    quicker way, and is empty for the quickest."""

    how: str
    because: str = ""


# ---- making


def make_standby(primary: Server, standby: Server, upstream: Upstream, readable: bool) -> None:
    """Copy ``primary`` to ``standby``'s empty directory, start it, and return when it streams.

    ``readable``: it takes sessions that read (a read replica); else it takes none (the standby of Multi-AZ).
    Raises RefusedError where its directory is not empty or the name of the slot is taken, ProviderError where it fails;
    neither directory nor slot stays behind then.
    """
    if _has_slot(primary, upstream.slot):
        raise RefusedError(f"There is a standby {upstream.slot} already.", "Choose another name, or remove that one.")
    standby.prepare_directory()
    try:
        _copy(primary, standby, upstream, readable)
        standby.mark_ready()
    except BaseException:
        standby.remove()
        with suppress(ProviderError):
            drop_slot(primary, upstream.slot)
        raise


def _copy(primary: Server, standby: Server, upstream: Upstream, readable: bool) -> None:
    _hold(primary, upstream.slot)
    copy_live(primary, standby.data, (upstream.directory, upstream.port), upstream.slot)
    _let_follow(standby, upstream, readable)
    standby.start()
    if not _streams(primary, standby, upstream.slot):
        raise ProviderError(f"The standby {upstream.slot} does not stream: {_reason(standby)}.")


def _let_follow(standby: Server, upstream: Upstream, readable: bool) -> None:
    """Write what makes a stopped server a standby. Slots that it brings along would hold back WAL for nobody."""
    _write_role(standby, upstream, readable)
    for slot in (standby.data / "pg_replslot").iterdir():
        shutil.rmtree(slot)
    standby.site.write(standby.data / "standby.signal", "")


def _write_role(standby: Server, upstream: Upstream, readable: bool) -> None:
    site, passfile = standby.site, standby.directory / "replication.pass"
    site.write(passfile, f"*:*:*:{ADMIN}:{site.admin_password()}\n")
    role = settings.stream_from(upstream.directory, upstream.port, upstream.slot, passfile, readable)
    site.write(standby.role, settings.render(role))


# ---- slots


def _has_slot(primary: Server, slot: str) -> bool:
    with primary.connect() as session:
        return (
            session.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,)).fetchone() is not None
        )


def _hold(primary: Server, slot: str) -> None:
    """Have the primary keep the WAL from now on for ``slot``. A slot that has lost its WAL is made anew."""
    with primary.connect() as session:
        session.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = %s AND NOT active AND wal_status = 'lost'",
            (slot,),
        )
        session.execute(
            "SELECT pg_create_physical_replication_slot(%(slot)s, true)"
            " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)",
            {"slot": slot},
        )


def drop_slot(primary: Server, slot: str) -> None:
    """Let the primary forget a standby that is gone; what is left of its connection ends. Harmless where there is none.

    Raises ProviderError, also where the standby still lives and connects again and again.
    """
    slots = "FROM pg_replication_slots WHERE slot_name = %s"
    with primary.connect() as session:

        def dropped() -> bool:
            session.execute(f"SELECT pg_terminate_backend(active_pid) {slots} AND active", (slot,))
            session.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active", (slot,))
            return session.execute(f"SELECT 1 {slots}", (slot,)).fetchone() is None

        if not _until(primary, dropped, 10.0):
            raise ProviderError(f"The slot {slot} is still in use.", "End its standby first.")


# ---- synchronous or not


def set_synchronous(primary: Server, name: str) -> None:
    """From the return on every COMMIT waits until standby ``name`` has it on disk. It outlasts a restart.

    "" ends that, also for those that wait now: they return without a warning. Raises RefusedError on a standby, and
    where ``name`` does not stream (each COMMIT would wait for good); ProviderError.
    """
    if (primary.data / "standby.signal").exists():
        raise RefusedError("A standby has no synchronous standby.", "Promote it first.")
    if name and not _is_streaming(primary, name):
        raise RefusedError(f"The standby {name} does not stream.", "Wait until it does.")
    wanted = settings.synchronous(name)
    primary.site.write(primary.role, settings.render(wanted) if name else "")
    primary.reload()
    shown = wanted["synchronous_standby_names"]
    if not _until(primary, lambda: _shown(primary, shown), 10.0):
        raise ProviderError(f"PostgreSQL on port {primary.port} did not take synchronous_standby_names.")
    if name:
        # Sessions wait as the checkpointer says, which has surely read the setting when it made a checkpoint after it.
        with primary.connect() as session:
            session.execute("CHECKPOINT")
        if not _until(primary, lambda: _is_synchronous(primary, name), STREAM_LIMIT):
            raise ProviderError(f"The standby {name} did not become synchronous.")


def _shown(primary: Server, names: str) -> bool:
    """Whether sessions that begin now have the setting."""
    with primary.connect() as session:
        return session.execute("SHOW synchronous_standby_names").fetchone() == (names,)


def _is_synchronous(primary: Server, name: str) -> bool:
    found = sending(primary, name)
    return found is not None and found.streaming and found.synchronous


def _is_streaming(primary: Server, name: str) -> bool:
    found = sending(primary, name)
    return found is not None and found.streaming


# ---- state


def sending(primary: Server, name: str) -> Sending | None:
    """What a primary sends to a standby now; None: it is not connected. Raises ProviderError."""
    with primary.connect() as session:
        return ask_sending(session, name)


def ask_sending(session: psycopg.Connection[Any], name: str) -> Sending | None:
    """As ``sending``, over a session of the primary's superuser."""
    row = session.execute(
        "SELECT state = 'streaming', sync_state IN ('sync', 'quorum'), pg_current_wal_lsn() - '0/0',"
        " sent_lsn - '0/0', flush_lsn - '0/0', replay_lsn - '0/0',"
        " extract(epoch FROM clock_timestamp() - coalesce(reply_time, backend_start))::float8"
        " FROM pg_stat_replication WHERE application_name = %s ORDER BY backend_start DESC LIMIT 1",
        (name,),
    ).fetchone()
    if row is None:
        return None
    streaming, synchronous, *places, silent = row
    present, sent, received_, replayed = (int(place or 0) for place in places)
    return Sending(streaming, synchronous, present, sent, received_, replayed, max(0.0, silent))


def receiving(standby: Server) -> Receiving:
    """What a readable standby has. Raises ProviderError, also where it cannot be read."""
    with standby.connect() as session:
        found = ask_receiving(session)
    if found is None:
        raise ProviderError(f"PostgreSQL on port {standby.port} is no standby.")
    return found


def ask_receiving(session: psycopg.Connection[Any]) -> Receiving | None:
    """As ``receiving``, over a session of its superuser; None: it is no standby."""
    row = session.execute(
        "SELECT coalesce((SELECT status = 'streaming' FROM pg_stat_wal_receiver), false),"
        " pg_last_wal_receive_lsn() - '0/0', pg_last_wal_replay_lsn() - '0/0',"
        " extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8"
    ).fetchone()
    if row is None or row[2] is None:
        return None
    streaming, received_, replayed, age = row
    # It has received nothing since its start: what it replayed was on its disk.
    return Receiving(streaming, max(int(received_ or 0), int(replayed)), int(replayed), age)


def lag_seconds(present: int | None, found: Receiving) -> float | None:
    """How old a standby's data are, as RDS's ReplicaLag reckons it; 0 where it has all that its primary has. Pure.

    ``present``: the primary's end of WAL, read *before* ``found``; None: unknown. That the standby replayed all that it
    received does not make it 0: what is still under way counts, too. None: it has replayed no commit since its start.
    """
    if present is not None and found.replayed >= present:
        return 0.0
    return max(0.0, found.age) if found.age is not None else None


def received(server: Server) -> int:
    """The end of the last whole record in a server's own WAL: what a promotion would keep. It need not run.

    Read from its files, since a standby that takes no session cannot be asked, and a dead one neither.
    Raises ProviderError.
    """
    control = _control(server)
    place = position(control["Minimum recovery ending location"])
    timeline = int(control["Min recovery ending loc's timeline"])
    if not place:
        place = position(control["Latest checkpoint's REDO location"])
        timeline = int(control["Latest checkpoint's TimeLineID"])
    wal = server.data / "pg_wal"
    newest = _newest_segment(wal, segment_name(timeline, place))
    # The newest may hold nothing but the middle of a record: look from the one before it.
    begin = max(place, _segment_start(newest) - SEGMENT_BYTES)
    arguments = ["--path", str(wal), "--timeline", str(timeline), "--start", f"{begin >> 32:X}/{begin & 0xFFFFFFFF:X}"]
    # It always ends with an error: the end of WAL is where no valid record follows.
    ends = [
        record_end(position(match[2]), int(match[1]))
        for match in _RECORD.finditer(server.site.binaries.run("pg_waldump", arguments).stdout)
    ]
    return max([place, *ends[-1:]])


def record_end(start: int, length: int) -> int:
    """Where the record after one of ``length`` bytes begins: headers of the pages it crosses lie between. Pure."""
    place, left = start, length
    while left > PAGE - place % PAGE:
        left -= PAGE - place % PAGE
        place += PAGE - place % PAGE
        place += PAGE_HEADER if place % SEGMENT_BYTES else SEGMENT_HEADER
    return (place + left + 7) & ~7


def _newest_segment(wal: Path, first: str) -> str:
    """The last segment from ``first`` on that was written under its name: old ones wait under names to come."""
    found = first
    while _is_written(wal / (following := next_segment(found))):
        found = following
    return found


def _is_written(segment: Path) -> bool:
    try:
        with segment.open("rb") as file:
            _, _, timeline, address = struct.unpack("<HHIQ", file.read(16))
    except (OSError, struct.error):
        return False
    return segment_name(timeline, address) == segment.name and address % SEGMENT_BYTES == 0


def _segment_start(name: str) -> int:
    return (int(name[8:16], 16) << 32) + int(name[16:24], 16) * SEGMENT_BYTES


def _control(server: Server) -> dict[str, str]:
    """pg_control as pg_controldata prints it."""
    answer = server.site.binaries.run("pg_controldata", [str(server.data)])
    if answer.returncode:
        raise ProviderError(f"The state in {server.data} cannot be read: {last_line(answer.stderr)}.")
    return dict(_CONTROL.findall(answer.stdout))


# ---- promoting


def promote(standby: Server, limit: float = PROMOTION_LIMIT) -> int:
    """Make a running standby a primary with an archive of its own, and return the timeline that it begins.

    It returns when the server takes sessions that write. Raises RefusedError where it is no standby or does not run,
    ProviderError where it is not done within ``limit`` seconds.
    """
    if standby.pid() is None or not (standby.data / "standby.signal").exists():
        raise RefusedError(f"PostgreSQL on port {standby.port} is no running standby.", "Choose another one.")
    clock = standby.site.clock
    deadline = clock.now().mono_ns + round(limit * 1e9)
    arguments = ["promote", "-D", str(standby.data), "-s", "-w", "-t", f"{limit:.0f}"]
    answer = standby.site.binaries.run("pg_ctl", arguments, limit=limit + 10)
    # One that took no sessions takes them only a moment after it has become a primary.
    if answer.returncode or not standby.recovers(deadline):
        reason = last_line(answer.stderr) or "it takes no sessions"
        raise ProviderError(f"PostgreSQL on port {standby.port} was not promoted: {reason}.")
    standby.site.write(standby.role, "")
    (standby.directory / "replication.pass").unlink(missing_ok=True)
    standby.reload()
    with standby.connect() as session:
        row = session.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
    if row is None:
        raise ProviderError(f"PostgreSQL on port {standby.port} does not say its timeline.")
    return int(row[0][:8], 16)


# ---- making anew


def rebuild(server: Server, primary: Server, upstream: Upstream, readable: bool) -> Rebuilt:
    """Make a server, whatever state it is in, a standby of ``primary``, and return when it streams.

    It is rewound to where their ways parted, or else copied afresh; what it alone had is gone. A primary that runs is
    killed, not stopped: it must write nothing more.

    Raises ProviderError where it cannot be made; it is not ready then (``Server.is_ready``), and this may be repeated.
    """
    if (server.data / "standby.signal").exists():
        # It has nothing of its own to write, and can be rewound only from a clean end.
        with suppress(ProviderError):
            server.stop(limit=10.0)
    server.kill()
    (server.directory / "ready").unlink(missing_ok=True)
    done = _rebuilt(server, primary, upstream, readable)
    server.mark_ready()
    return done


def _rebuilt(server: Server, primary: Server, upstream: Upstream, readable: bool) -> Rebuilt:
    _hold(primary, upstream.slot)
    try:
        _rewind(server, primary, upstream)
        _let_follow(server, upstream, readable)
        server.start(limit=STREAM_LIMIT)
        if _streams(primary, server, upstream.slot):
            return Rebuilt("rewound")
        because = _reason(server)
    except (DrError, OSError) as error:
        because = str(error)
    server.kill()
    # A disk that went away is not given back to a server that got a new one.
    for path in (server.data, server.lost):
        process.unshare(path / "postmaster.pid")
        shutil.rmtree(path, ignore_errors=True)
    drop_slot(primary, upstream.slot)
    _copy(primary, server, upstream, readable)
    return Rebuilt("copied", because)


def _rewind(server: Server, primary: Server, upstream: Upstream) -> None:
    # It believes the primary's control file, which names the new timeline from the first checkpoint on.
    with primary.connect() as session:
        session.execute("CHECKPOINT")
    source = settings.conninfo(
        {"host": str(upstream.directory), "port": str(upstream.port), "user": ADMIN, "dbname": "postgres"}
    )
    (server.data / "postmaster.pid").unlink(missing_ok=True)
    arguments = ["--target-pgdata", str(server.data), "--source-server", source, "--no-sync"]
    secret = {"PGPASSWORD": server.site.admin_password()}
    answer = server.site.binaries.run("pg_rewind", arguments, secret, limit=600.0)
    if answer.returncode:
        # What it says last is the command that failed; before it stands why.
        bad = [line.split(": ", 1)[1] for line in answer.stderr.splitlines() if re.search("error: |FATAL: ", line)]
        reason = bad[0].strip().rstrip(".") if bad else last_line(answer.stderr)
        raise ProviderError(f"PostgreSQL on port {server.port} could not be rewound: {reason}.")


def follow(standby: Server, primary: Server, upstream: Upstream, readable: bool) -> Rebuilt:
    """Point a standby to another primary, and return when it streams.

    It goes on where it is if the new primary's history holds that place, else it is rebuilt. Raises as ``rebuild``.
    """
    _hold(primary, upstream.slot)
    if standby.pid() is None or not (standby.data / "standby.signal").exists():
        return rebuild(standby, primary, upstream, readable)
    parted = _parted(standby, primary)
    if parted is not None and received(standby) > parted:
        return rebuild(standby, primary, upstream, readable)
    _write_role(standby, upstream, readable)
    standby.reload()
    if _streams(primary, standby, upstream.slot):
        return Rebuilt("followed")
    return rebuild(standby, primary, upstream, readable)


def _parted(standby: Server, primary: Server) -> int | None:
    """Where the primary's history left the timeline that the standby is on; None: it is on it still."""
    on = max((int(path.name[:8], 16) for path in (standby.data / "pg_wal").glob("?" * 24)), default=0)
    own, theirs = (server.data / "pg_wal" / f"{on:08X}.history" for server in (standby, primary))
    if own.exists() and theirs.exists() and own.read_text() != theirs.read_text():
        # Two servers that were promoted apart began the same number.
        return 0
    histories = sorted(theirs.parent.glob("????????.history"))
    lines = histories[-1].read_text().splitlines() if histories else []
    parts = {int(words[0]): position(words[1]) for line in lines if len(words := line.split("\t")) > 1}
    return parts.get(on)


# ---- waiting


def _streams(primary: Server, standby: Server, name: str) -> bool:
    """Whether a standby came to stream; one that has ended never will."""

    with primary.connect() as session:

        def decided() -> bool:
            found = ask_sending(session, name)
            return standby.pid() is None or (found is not None and found.streaming)

        return _until(primary, decided, STREAM_LIMIT) and standby.pid() is not None


def _until(server: Server, condition: Callable[[], bool], limit: float) -> bool:
    clock = server.site.clock
    deadline = clock.now().mono_ns + round(limit * 1e9)
    while not condition():
        if clock.now().mono_ns >= deadline:
            return False
        clock.sleep(0.05)
    return True


def _reason(standby: Server) -> str:
    """The last thing that went wrong, in PostgreSQL's words."""
    lines = standby.log.read_text(errors="replace").splitlines() if standby.log.exists() else []
    bad = [line for line in lines if "FATAL:" in line or "PANIC:" in line or "ERROR:" in line]
    return bad[-1].split(": ", 1)[1].strip().rstrip(".") if bad else "it says nothing about it"
