"""What tests and drills do to an instance's servers, hosts, disks and wires, each undone by its neutral value.

``key`` is an instance's DbiResourceId; server, host and disk are its primary's, unless said otherwise; each undo
reaches whatever the fault was done to, wherever it is now. All raise UsageError, RefusedError and ProviderError.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

from dr.domain.errors import RefusedError
from dr.lab.network.link import Mode
from dr.lab.rds.nodes import Node, Nodes
from dr.lab.rds.postgres import PostgresServers
from dr.lab.servers import faults as server_faults
from dr.lab.servers import replication
from dr.lab.servers.faults import Slowness


class Trouble:
    """The faults of one lab's servers."""

    def __init__(self, servers: PostgresServers) -> None:
        self._servers = servers
        self._slow: dict[str, Slowness] = {}

    def commands(self, key: Callable[[str], str]) -> dict[str, Callable[..., Any]]:
        """The faults by name, for instances by identifier: ``key`` gives an identifier's DbiResourceId."""
        acts = (self.lose_host, self.hang, self.crash, self.fill_disk, self.take_disk, self.link, self.slow)
        others = (self.forget_sync, self.keep_old_primary, self.old_primary)
        return {
            **{act.__name__: _named(act, key, "instance") for act in (*acts, *others)},
            "replication_link": _named(self.replication_link, key, "of"),
        }

    def lose_host(self, key: str, *, lost: bool = True, standby: bool = False) -> None:
        """The host is gone from one moment to the next: its connections fall silent, and its server is no more.

        Back again, the server of an instance that did not fail over is found dead, and started by who watches.
        ``standby``: the standby's host.
        """
        nodes = self._servers.nodes(key)
        if not lost:
            for node in nodes:
                node.is_lost = False
            self._restore_wires(nodes)
            self._reset_old(nodes)
            return
        node = self._standby(nodes) if standby else nodes.primary
        if node is nodes.primary:
            self._servers.silence(nodes)
        # A replica's host, or a standby's, falls silent towards its source, too.
        if node.stream is not None:
            self._servers.wires.take_down(node.stream.wire, "silent")
        node.is_lost = True
        node.server.kill()

    def hang(self, key: str, *, hung: bool = True) -> None:
        """Everything on the host stands still. A server that was fenced meanwhile is killed when its host is back."""
        nodes = self._servers.nodes(key)
        if hung:
            server_faults.hang(nodes.primary.server)
            return
        aside = nodes.aside
        if aside is not None and not aside.is_spared:
            aside.server.kill()
        for node in nodes:
            server_faults.resume(node.server)
        self._reset_old(nodes)

    def crash(self, key: str, *, what: Literal["backend", "postmaster"] = "postmaster") -> None:
        """SIGKILL a session's process, after which PostgreSQL recovers by itself, or the postmaster."""
        server = self._servers.server(key)
        if what == "backend":
            server_faults.crash_backend(server)
        else:
            server_faults.crash_postmaster(server)

    def fill_disk(self, key: str, *, full: bool = True) -> None:
        """The disk takes no more. With room again, a server that ended of it is started by who watches."""
        nodes = self._servers.nodes(key)
        if full:
            server_faults.fill_disk(nodes.primary.server)
            nodes.primary.is_full = True
            return
        for node in nodes:
            server_faults.free_disk(node.server)
            node.is_full = False

    def take_disk(self, key: str, *, taken: bool = True) -> None:
        """The disk is gone, and the server with it. Back again, with all that was on it, for who watches to start."""
        nodes = self._servers.nodes(key)
        if taken:
            server_faults.take_disk(nodes.primary.server)
            return
        for node in nodes:
            server_faults.return_disk(node.server)

    def link(self, key: str, *, mode: Mode = "pass", seconds: float = 0.0) -> None:
        """The endpoint passes, falls silent, refuses, or delays each way by ``seconds``."""
        self._servers.wires.disturb(self._servers.nodes(key).endpoint, mode, seconds)

    def replication_link(self, key: str, *, mode: Mode = "pass", seconds: float = 0.0) -> None:
        """The same of the wire through which ``key``, a replica, streams from its source, or else its standby from it.

        It stays so for the streams to come.
        """
        self._servers.nodes(key)  # an instance that is not there is refused
        self._servers.wires.disturb_streams(key, mode, seconds)

    def slow(self, key: str, *, share: float = 0.5) -> None:
        """Every session stands still for this share of the time; 0: none does."""
        slowness = Slowness(self._servers.server(key), share) if share else None
        before = self._slow.pop(key, None)
        if before is not None:
            before.stop()
        if slowness is not None:
            self._slow[key] = slowness
            slowness.start()

    def forget_sync(self, key: str, *, forgotten: bool = True) -> None:
        """Sabotage: no COMMIT waits for the standby, and nobody notices. It ends with that standby, too."""
        nodes = self._servers.nodes(key)
        if forgotten or nodes.standby is not None:
            standby = self._standby(nodes)
            replication.set_synchronous(nodes.primary.server, "" if forgotten else standby.slot)

    def keep_old_primary(self, key: str, *, kept: bool = True) -> None:
        """Sabotage: the next failover fences nothing, and what is connected to the old primary goes on writing there.

        Undone, an old primary that was kept is killed.
        """
        nodes = self._servers.nodes(key)
        nodes.keeps_old_primary = kept
        if not kept and nodes.aside is not None and nodes.aside.is_spared:
            nodes.aside.is_spared = False
            nodes.aside.server.kill()

    def old_primary(self, key: str) -> dict[str, Any]:
        """Where the server that was the primary before the last failover listens by itself; {} where there is none."""
        nodes = self._servers.nodes(key)
        old = nodes.aside or nodes.standby
        return {"host": "127.0.0.1", "port": old.server.port} if old else {}

    def stop(self) -> None:
        """End what works on its own."""
        for key in list(self._slow):
            self.slow(key, share=0.0)

    def _restore_wires(self, nodes: Nodes) -> None:
        """What the loss of a host silenced passes again, where both ends are there."""
        if not nodes.primary.is_lost and nodes.endpoint.down == "silent":
            self._servers.wires.lift(nodes.endpoint)
        for node in [*self._servers.streaming_from(nodes), *([nodes.primary] if nodes.source else [])]:
            if node.stream is not None and not node.is_lost:
                self._servers.wires.lift(node.stream.wire)

    def _reset_old(self, nodes: Nodes) -> None:
        """What clients had open to a host when it was silenced ends once that is back: it was started anew, or what was
        fenced on it killed. Left silent, it would take the places of whoever has it open, a pooler's, for ever."""
        if not any(node.is_lost for node in nodes):
            self._servers.wires.reset(nodes.endpoint)

    @staticmethod
    def _standby(nodes: Nodes) -> Node:
        if nodes.standby is None:
            raise RefusedError(f"{nodes.key} has no standby.", "Make it Multi-AZ, and wait for its standby.")
        return nodes.standby


def _named(act: Callable[..., Any], key: Callable[[str], str], name: str) -> Callable[..., Any]:
    """``act`` on an instance whose identifier is the argument ``name``; its signature says so, too."""

    def asked(**arguments: Any) -> Any:
        return act(key(arguments.pop(name)), **arguments)

    takes = inspect.signature(act, eval_str=True)
    _, *others = takes.parameters.values()
    instance = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=str)
    asked.__signature__ = takes.replace(parameters=[instance, *others])  # type: ignore[attr-defined]
    return asked
