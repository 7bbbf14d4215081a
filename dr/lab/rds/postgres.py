"""The servers behind the API, by instance: what ``dr.lab.servers`` makes, backs up and replicates.

Under the lab's directory: instances/KEY/NODE, archives/KEY (it outlives its instance, and is that of whichever node is
the primary), backups/NAME. Clients come through the instance's endpoint, a wire of the lab's network; servers listen on
ports of their own.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.rds import nodes as instances
from dr.lab.rds import wires as network
from dr.lab.rds.nodes import Node, Nodes, new_node, next_name
from dr.lab.rds.servers import Condition, LogFile, Standby
from dr.lab.rds.wires import Wires
from dr.lab.servers import backup as backups
from dr.lab.servers import replication
from dr.lab.servers.archive import Coverage, complete, hand_over, trim
from dr.lab.servers.postgres import Server
from dr.lab.servers.site import Site

LOG_NAME = "error/postgresql.log"
"""As RDS names PostgreSQL's logs: error/postgresql.log.DATE."""
PATIENCE = 1.0
"""Seconds to wait for what a server says of its replication."""


class PostgresServers:
    """See ``dr.lab.rds.servers.Servers``. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.wires = Wires(site)
        self._instances: dict[str, Nodes] = {}
        self._coverage: dict[str, Coverage] = {}
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        return self._site.binaries.version

    def nodes(self, key: str) -> Nodes:
        """What stands behind an instance. Raises RefusedError."""
        if key not in self._instances:
            raise RefusedError(f"There is no server for {key}.")
        return self._instances[key]

    def server(self, key: str) -> Server:
        """The primary of an instance. Raises RefusedError."""
        return self.nodes(key).primary.server

    # ---- making and ending

    def create(self, key: str, port: int, master: str, password: str, database: str | None) -> None:
        self._enter(key, port, lambda nodes: nodes.primary.server.create(master, password, database or ""))

    def restore(self, key: str, port: int, backup: str) -> None:
        taken = backups.load(self._backup(backup))

        def make(nodes: Nodes) -> None:
            server = nodes.primary.server
            backups.restore(self._site, taken, server.directory, server.port, server.archive)

        self._enter(key, port, make)

    def restore_to(self, key: str, port: int, backup: str, source: str, at: float) -> None:
        taken = backups.load(self._backup(backup))

        def make(nodes: Nodes) -> None:
            server, archive = nodes.primary.server, self.archive(source)
            backups.restore_to_time(self._site, taken, archive, server.directory, server.port, int(at), server.archive)

        self._enter(key, port, make)

    def _enter(self, key: str, port: int, make: Callable[[Nodes], None]) -> None:
        """An instance whose first node ``make`` makes; nothing stays behind where that fails.

        One that is there has all its nodes replaced, and keeps its endpoint.
        """
        if key in self._instances:
            self._replace(self._instances[key], make)
            return
        first = new_node(self._site, key, "a", self.archive(key))
        nodes = Nodes(key, self.wires.endpoint(key, port, first.server), first)
        try:
            make(nodes)
        except BaseException:
            self._remove(nodes)
            raise
        self._instances[key] = nodes
        self._open(nodes)

    def _replace(self, nodes: Nodes, make: Callable[[Nodes], None]) -> None:
        """What fails leaves an instance whose server is dead."""
        with nodes.lock:
            nodes.hush(0.0)
            if nodes.endpoint.down is None:
                self.wires.take_down(nodes.endpoint, "refuse")
            former, source = list(nodes), nodes.source
            nodes.primary = new_node(self._site, nodes.key, next_name(nodes), self.archive(nodes.key))
            nodes.standby, nodes.aside, nodes.is_synchronous, nodes.source = None, None, False, None
            for node in former:
                self._remove_node(node)
            self._drop_slot(source, former[0].slot)
            make(nodes)
            self.wires.lead(nodes.endpoint, nodes.primary.server)
            self._open(nodes)

    def _open(self, nodes: Nodes) -> None:
        """Let clients in."""
        self.wires.lift(nodes.endpoint)
        if nodes.source is None:
            nodes.beat()

    def start(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            if nodes.primary.condition() in ("gone", "hung"):
                raise RefusedError(f"The host of {nodes.primary.slot} does not answer.", "Wait until it is back.")
            nodes.primary.server.start()
            if nodes.standby is not None and nodes.standby.condition() == "dead":
                # Without it the primary runs all the same; who watches goes on without it.
                with suppress(DrError):
                    nodes.standby.server.start()
            self._open(nodes)
            if nodes.source is None:
                self.complete_archive(key)

    def stop(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            nodes.hush()
            self.wires.take_down(nodes.endpoint, "refuse")
            # The primary first: it waits until the standby has all that it wrote.
            nodes.primary.server.stop()
            if nodes.standby is not None:
                nodes.standby.server.stop()

    def running(self, key: str) -> bool:
        return key in self._instances and self.server(key).is_running()

    def delete(self, key: str) -> None:
        nodes = self._instances.pop(key, None)
        if nodes is not None:
            if nodes.source is not None:
                self._unlink(nodes)
            self._remove(nodes)

    def _remove(self, nodes: Nodes) -> None:
        nodes.hush()
        nodes.asking.close()
        self.wires.close(nodes.endpoint)
        for node in nodes:
            self._remove_node(node)
        self.wires.forget(nodes.key)
        instances.remove(self._site, nodes.key)

    def _remove_node(self, node: Node) -> None:
        self._close_stream(node)
        if node.stands_still():
            # It would not hear that it is to stop.
            node.server.kill()
        node.server.remove()

    def _close_stream(self, node: Node) -> None:
        stream, node.stream = node.stream, None
        if stream is not None:
            self.wires.close(stream.wire)

    def set_password(self, key: str, user: str, password: str) -> None:
        self.server(key).set_password(user, password)

    # ---- backups and archives

    def delete_archive(self, key: str) -> None:
        with self._lock:
            self._coverage.pop(key, None)
        shutil.rmtree(self.archive(key), ignore_errors=True)

    def trim_archive(self, key: str, backup: str | None) -> None:
        trim(self.archive(key), backups.load(self._backup(backup)).first if backup else None)

    def backup(self, key: str, name: str) -> float:
        return backups.take(self.server(key), self._backup(name)).covers

    def delete_backup(self, name: str) -> None:
        shutil.rmtree(self._backup(name), ignore_errors=True)

    def complete_archive(self, key: str) -> None:
        server = self.server(key)
        with server.connect() as session:
            row = session.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
        if row is not None:
            complete(server.data, row[0], self._site.own)

    def archive_now(self, key: str) -> None:
        self.server(key).switch_wal()

    def restorable(self, key: str, backup: str) -> float | None:
        with self._lock:
            coverage = self._coverage.setdefault(key, Coverage(self._site.binaries, self.archive(key)))
        until = coverage.until(backups.load(self._backup(backup)).first)
        # PostgreSQL reaches a target only where a later commit follows it.
        return None if until is None else float(math.ceil(until) - 1)

    # ---- logs

    def logs(self, key: str) -> Sequence[LogFile]:
        path = self._log(key)
        if path is None or not path.exists():
            return ()
        status = path.stat()
        return (LogFile(LOG_NAME, status.st_size, status.st_mtime),)

    def read_log(self, key: str, name: str, offset: int) -> bytes:
        path = self._log(key)
        if name != LOG_NAME or path is None:
            raise FileNotFoundError(name)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()

    def _log(self, key: str) -> Path | None:
        return self.server(key).log if key in self._instances else None

    # ---- Multi-AZ

    def condition(self, key: str) -> Condition:
        # A wire that cannot be had again is tried again at the next look.
        with suppress(DrError):
            self.wires.keep()
        return self.nodes(key).primary.condition()

    def standby(self, key: str) -> Standby | None:
        nodes = self.nodes(key)
        node = nodes.standby
        if node is None:
            return None
        seen = None
        if nodes.primary.condition() == "running":
            slot = node.slot
            seen = nodes.asking.ask(nodes.primary.server, lambda it: (replication.ask_sending(it, slot),), PATIENCE)
        if seen is None:
            return Standby(nodes.seen.streaming, nodes.is_synchronous, nodes.seen.silent)
        sending = seen[0]
        if sending is not None:
            nodes.seen_at = instances.monotonic() - sending.silent
        silent = instances.monotonic() - nodes.seen_at
        nodes.seen = Standby(sending is not None and sending.streaming, nodes.is_synchronous, silent)
        return nodes.seen

    def add_standby(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            if nodes.is_synchronous:
                return
            node = nodes.standby or nodes.aside
            if node is not None and (node.is_lost or node.stands_still()):
                self._discard(nodes, node)
                node = None
            if node is not None:
                node.require_host()
                self._reuse(nodes, node)
            else:
                self._make_standby(nodes)

    def rejoin(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            if nodes.aside is None:
                raise RefusedError(f"No server of {key} is fenced.", "Add a standby.")
            nodes.aside.require_host()
            self._reuse(nodes, nodes.aside)

    def _make_standby(self, nodes: Nodes) -> None:
        node = new_node(self._site, nodes.key, next_name(nodes), self.archive(nodes.key))
        replication.drop_slot(nodes.primary.server, node.slot)
        node.stream = self.wires.stream(nodes.key, nodes.primary.server)
        try:
            replication.make_standby(nodes.primary.server, node.server, node.upstream, readable=False)
        except BaseException:
            self._close_stream(node)
            raise
        self._trust(nodes, node)

    def _reuse(self, nodes: Nodes, node: Node) -> None:
        """What is there becomes the standby, through a new wire: the old one may lead elsewhere, or be silent."""
        stream = self.wires.stream(nodes.key, nodes.primary.server)
        self._close_stream(node)
        node.stream = stream
        if node is nodes.standby:
            replication.follow(node.server, nodes.primary.server, node.upstream, readable=False)
        else:
            replication.rebuild(node.server, nodes.primary.server, node.upstream, readable=False)
        self._trust(nodes, node)

    def _trust(self, nodes: Nodes, node: Node) -> None:
        """From here on COMMITs wait for it, and it may be promoted."""
        nodes.aside = None if nodes.aside is node else nodes.aside
        nodes.standby, node.is_full = node, False
        replication.set_synchronous(nodes.primary.server, node.slot)
        nodes.seen, nodes.seen_at = Standby(True, True, 0.0), instances.monotonic()
        nodes.is_synchronous = True

    def degrade(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            if nodes.primary.condition() != "running":
                raise RefusedError(f"The primary of {key} does not run.", "Fail over, or start it.")
            # In this order: what is confirmed from the next moment on may be on the primary alone.
            nodes.is_synchronous = False
            replication.set_synchronous(nodes.primary.server, "")

    def drop_standby(self, key: str) -> None:
        nodes = self.nodes(key)
        with nodes.lock:
            self.degrade(key)
            for node in (nodes.standby, nodes.aside):
                if node is not None:
                    self._discard(nodes, node)

    def _discard(self, nodes: Nodes, node: Node) -> None:
        """Remove a standby, or what was fenced, for good."""
        nodes.standby = None if nodes.standby is node else nodes.standby
        nodes.aside = None if nodes.aside is node else nodes.aside
        self._remove_node(node)
        self._drop_slot(nodes.key, node.slot)

    def fail_over(self, key: str) -> float:
        nodes = self.nodes(key)
        with nodes.lock:
            old, new = nodes.primary, nodes.standby
            if new is None or not nodes.is_synchronous or new.condition() != "running":
                raise RefusedError(f"{key} has no synchronous standby to fail over to.", "Wait until it has one.")
            begun = instances.monotonic()
            nodes.hush(0.0)
            self._fence(nodes)
            timeline = replication.promote(new.server)
            self._close_stream(new)
            hand_over(new.server.data, self.archive(key), timeline, self._site.own)
            nodes.primary, nodes.standby, nodes.aside, nodes.is_synchronous = new, None, old, False
            self.wires.lead(nodes.endpoint, new.server)
            self.wires.lift(nodes.endpoint)
            nodes.beat()
            return instances.monotonic() - begun

    def _fence(self, nodes: Nodes) -> None:
        """See to it that the primary confirms nothing more, to anybody.

        On a host that does not answer it cannot be killed; it is cut off, and killed when the host is back.
        """
        old = nodes.primary
        old.is_spared, nodes.keeps_old_primary = nodes.keeps_old_primary, False
        if old.is_spared:
            # No standby will confirm to it what it writes. One that hangs reads this when it goes on.
            self._site.write(old.server.role, "")
            old.server.reload()
        elif old.is_lost or old.stands_still():
            self.silence(nodes)
        else:
            self.wires.take_down(nodes.endpoint, "refuse")
            old.server.kill()

    def silence(self, nodes: Nodes) -> None:
        """Let nothing reach a primary any more, nor come from it."""
        self.wires.take_down(nodes.endpoint, "silent")
        for node in self.streaming_from(nodes):
            if node.stream is not None:
                self.wires.take_down(node.stream.wire, "silent")

    def streaming_from(self, nodes: Nodes) -> list[Node]:
        """The standby and the replicas of an instance."""
        replicas = [other.primary for other in list(self._instances.values()) if other.source == nodes.key]
        return [*([nodes.standby] if nodes.standby else []), *replicas]

    # ---- read replicas

    def replicate(self, key: str, port: int, source: str) -> None:
        primary = self.nodes(source).primary

        def make(nodes: Nodes) -> None:
            node, nodes.source = nodes.primary, source
            node.stream = self.wires.stream(key, primary.server)
            replication.make_standby(primary.server, node.server, node.upstream, readable=True)

        self._enter(key, port, make)

    def promote(self, key: str) -> None:
        nodes = self._replica(key)
        with nodes.lock:
            replication.promote(nodes.primary.server)
            self._unlink(nodes)
            nodes.beat()

    def follow(self, key: str, source: str) -> None:
        nodes, primary = self._replica(key), self.nodes(source).primary
        with nodes.lock:
            node = nodes.primary
            node.require_host()
            stream, before = self.wires.stream(key, primary.server), node.stream
            node.stream = stream
            try:
                replication.follow(node.server, primary.server, node.upstream, readable=True)
            finally:
                if before is not None:
                    self.wires.close(before.wire)
            former, nodes.source = nodes.source, source
            if former != source:
                self._drop_slot(former, node.slot)

    def lag(self, key: str) -> float | None:
        nodes = self.nodes(key)
        if nodes.source is None:
            return None
        source = self._instances.get(nodes.source)
        present = None
        if source is not None and source.primary.condition() == "running":
            slot = nodes.primary.slot
            sent = source.asking.ask(source.primary.server, lambda it: replication.ask_sending(it, slot), PATIENCE / 2)
            present = sent.present if sent else None
        found = None
        if nodes.primary.condition() == "running":
            found = nodes.asking.ask(nodes.primary.server, replication.ask_receiving, PATIENCE / 2)
        if found is None or not found.streaming:
            return -1.0
        seconds = replication.lag_seconds(present, found)
        return -1.0 if seconds is None else seconds

    def _replica(self, key: str) -> Nodes:
        nodes = self.nodes(key)
        if nodes.source is None:
            raise RefusedError(f"{key} is no read replica.", "Choose one.")
        return nodes

    def _unlink(self, nodes: Nodes) -> None:
        """End what links a replica with its source: it is gone, or a server of its own."""
        source, nodes.source = nodes.source, None
        self._close_stream(nodes.primary)
        self._drop_slot(source, nodes.primary.slot)

    def _drop_slot(self, source: str | None, slot: str) -> None:
        """A source that is gone has none; one that does not answer loses it when it is rebuilt."""
        nodes = self._instances.get(source or "")
        if nodes is not None and nodes.primary.condition() == "running":
            with suppress(ProviderError):
                replication.drop_slot(nodes.primary.server, slot)

    # ---- ending

    def close(self) -> None:
        """Stop every server and remove what they hold outside the lab's directory."""
        left, self._instances = list(self._instances.values()), {}
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self._remove, left):  # no replica is unlinked: its source goes, too
                pass
        self.wires.stop()

    def archive(self, key: str) -> Path:
        return self._site.directory / "archives" / key

    def _backup(self, name: str) -> Path:
        return self._site.directory / "backups" / name


def remove_strays(site: Site) -> None:
    """End what an earlier daemon of this lab left running. Raises ProviderError where something holds out.

    Its network ended with it.
    """
    directory = site.directory / "instances"
    for instance in directory.iterdir() if directory.is_dir() else ():
        for path in (one for one in instance.iterdir() if (one / "log").is_dir()):
            server = Server(site, path, 0)
            server.kill()
            if server.is_running():
                raise ProviderError(f"The server in {path} does not end.", "End it by hand, then repeat.")
            server.remove()
        shutil.rmtree(network.streams(site, instance.name), ignore_errors=True)
        shutil.rmtree(instance, ignore_errors=True)
    network.remove_place(site)
