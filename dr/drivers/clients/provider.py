"""Lead the service's connections elsewhere: the verb ``move``, after a replica was promoted under a name of its own.

A target names what leads its clients: PgBouncer's entry (``pgbouncer_entry``), a Kubernetes Secret
(``kubernetes_secret``), or both, and each is a call of its own. A drill leads back when it unwinds, on call it stays.
What is led back to is known from the planning on, so that a move that was cut off in the middle is undone, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from dr.config.context import Context
from dr.config.model import Target
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Effect, Facts, Grant, Own, Progress, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.clients.config import ClientsConfig, pooler_of, secret_of
from dr.drivers.clients.place import DRIVER, NotTakenError, Place, entry, secret
from dr.drivers.postgres.config import PostgresConfig

POOLER, SECRET = "pooler", "secret"
DEADLINES = {POOLER: 60.0, SECRET: 300.0}
"""Seconds; a Secret's pods are replaced one after another."""


def leading(target: Target) -> dict[str, Ref]:
    """All that leads a target's clients."""
    pooler, kept = pooler_of(target), secret_of(target)
    found = {POOLER: entry(pooler)} if pooler is not None else {}
    return found | ({SECRET: secret(kept)} if kept is not None else {})


class Lead(Protocol):
    """What leads clients to a database."""

    ref: Ref

    def identity(self) -> Mapping[str, str]:
        """By what it is known, as far as the target pins that. Raises as ``present`` does."""

    def present(self) -> Place:
        """Where it leads. Raises RefusedError where it is not there as configured, ProviderError out of reach."""

    def check(self) -> None:
        """Raises RefusedError where clients could not be led elsewhere and back, ProviderError out of reach."""

    def lead(self, to: Place) -> None:
        """Lead to ``to``; again, it changes nothing."""

    def waiting(self, to: Place, seconds: float) -> str:
        """Why not every client is led to ``to`` after ``seconds``, or "". Takes a few seconds at most. Raises
        NotTakenError where none is led there, nor will be."""


class MovingProvider:
    """Calls: ``move-pooler`` and ``move-secret``, each where the target names one."""

    def __init__(self, context: Context, leads: Mapping[str, Lead] | None = None) -> None:
        self._context = context
        self._given = leads

    @property
    def _leads(self) -> Mapping[str, Lead]:
        """What the target names; its client libraries are slow to import."""
        if self._given is None:
            target, found = self._context.target, dict[str, Lead]()
            if (pooler := pooler_of(target)) is not None:
                from dr.drivers.clients.pgbouncer_entry import Entry

                found[POOLER] = Entry(pooler, target.of(PostgresConfig).ca)
            if (kept := secret_of(target)) is not None:
                from dr.drivers.clients.kubernetes_secret import Secret

                found[SECRET] = Secret(kept)
            self._given = found
        return self._given

    def look(self, request: Request) -> Facts:  # noqa: ARG002 - the same whatever is requested
        """Where clients are led now: ``extra`` has it as "led", by what leads."""
        for lead in self._leads.values():
            lead.check()
        led = {kind: _told(lead.present()) for kind, lead in self._leads.items()}
        own = dict.fromkeys(leading(self._context.target).values(), Own.LEADS)
        identity = {DRIVER: seen} if (seen := self._identity()) else {}
        return Facts(self._context.clock.now().at, identity, own=own, extra={"led": led})

    def confirm_identity(self) -> None:
        """Compare the Secret's cluster with the target's. TLS verifies PgBouncer."""
        clients = self._context.target.section(ClientsConfig)
        pinned = clients.pins() if clients is not None else {}
        for what, seen in self._identity().items():
            if not (wanted := pinned.get(what)):
                raise RefusedError(
                    f"The target's kubeconfig leads to {what} {seen}, and its secret does not say which is meant.",
                    f"Is it that one? Then say secret.cluster: {seen}.",
                )
            if seen != wanted:
                raise RefusedError(
                    f"The target's kubeconfig leads to {what} {seen}, not to {wanted} of {self._context.name!r}.",
                    "Correct the target's secret.kubeconfig and secret.context, or name another --target.",
                )

    def _identity(self) -> Mapping[str, str]:
        return {what: seen for lead in self._leads.values() for what, seen in lead.identity().items()}

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        """Raises RefusedError where nothing is known that leads clients."""
        target = self._context.target
        if run.purpose is Purpose.DRILL and Grant.DISPOSABLE not in target.grants:
            return ()  # the drill's own copy has no clients, and the real ones are none of its business
        led = facts.extra.get("led") or {}
        if not led:
            raise RefusedError(
                f"Target {self._context.name} names nothing that leads its clients.",
                "Add its pooler or its secret, or lead them to the promoted replica yourself.",
            )
        return tuple(self._call(kind, before, run) for kind, before in sorted(led.items()))

    def _call(self, kind: str, before: Mapping[str, Any], run: RunIdentity) -> Call:
        there = Call(
            id=f"move-{kind}",
            verb="move",
            phase="reconnect",
            driver=DRIVER,
            operation=f"lead-{kind}",
            args={"to": {"host": "${promote.host}", "port": "${promote.port}"}, "before": dict(before)},
            effect=Effect.TAKES_OVER,
            touches=(leading(self._context.target)[kind],),
            until="clients are led to the promoted replica",
            deadline=DEADLINES[kind],
        )
        args, until = {"to": dict(before), "before": None}, "clients are led back"
        back = replace(there, id=f"{there.id}-back", phase="unwind", args=args, until=until)
        return replace(there, undo=back) if run.purpose is Purpose.DRILL else there

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises RefusedError where somebody has led them to a third place since the planning."""
        lead, to = self._lead(call), _place(args["to"])
        before, now = args["before"] and _place(args["before"]), lead.present()
        if before and now not in (before, to):
            raise RefusedError(
                f"{lead.ref} leads to {now}, and led to {before} when this was planned.",
                "Find out who changed it, then repeat the command.",
            )
        lead.lead(to)
        return {**_told(to), "from": str(now), "asked_at": self._now()}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        lead, waited = self._lead(call), self._now() - float(result["asked_at"])
        try:
            note = lead.waiting(_place(result), waited)
        except NotTakenError:
            if call.args["before"] is not None:
                lead.lead(_place(call.args["before"]))
            raise
        except ProviderError as error:
            if not error.transient:
                raise
            note = str(error)
        return Progress(not note, {**result, "moved_at": self._now()} if not note else {}, note)

    def _lead(self, call: Call) -> Lead:
        kind = call.operation.removeprefix("lead-")
        if kind not in self._leads:
            raise RefusedError(f"The target names no {kind} any more.", "Put it back into dr.yaml, then repeat.")
        return self._leads[kind]

    def _now(self) -> float:
        return self._context.clock.now().at


def _told(place: Place) -> dict[str, Any]:
    """A place as plans and the ledger hold it."""
    return {"host": place.host, "port": place.port} | ({"written": list(place.written)} if place.written else {})


def _place(told: Mapping[str, Any]) -> Place:
    written = tuple(told.get("written") or ())
    return Place(str(told["host"]), int(told["port"]), (written[0], written[1]) if written else None)
