"""PostgreSQL as a provider: baselines of the source, the rows that vanish, and the examination of what was restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.context import Context
from dr.domain.errors import DrError, PasswordError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Observation, Progress, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.postgres import victims as postgres_victims
from dr.drivers.postgres.baseline import AskGolden, golden_answers, nightly, repeat_baseline, take_baseline
from dr.drivers.postgres.clock import clock_offset, database_clock
from dr.drivers.postgres.connection import connect
from dr.drivers.postgres.examination import LOOK_SECONDS, RUN_BASELINE, Examination
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.drivers.postgres.plugin import made_by
from dr.drivers.postgres.source import Source, last_seen, require_source, source_among
from dr.drivers.rds.naming import instance
from dr.drivers.sections import sections
from dr.drivers.service.asking import ask_golden, predictions
from dr.evidence.baselines import read_baseline, write_baseline
from dr.host.steps import Steps

__all__ = ["PostgresProvider", "nightly"]

REACH_SECONDS = 300.0
"""How long a restored server that is available may refuse connections before that is an error."""
READ_SECONDS = 14_400.0
"""The most that reading a whole database may take."""

LEAD = 3
"""Whole seconds until the recovery point: markers are written meanwhile that surely precede it, though it is known to
the second only."""


class PostgresProvider:
    """The verbs baseline, declare, disaster and examine (docs/design.md)."""

    def __init__(self, context: Context, ask: AskGolden = ask_golden) -> None:
        self._context = context
        self._target = sections(context.target)
        self._ask_golden = ask
        self._steps: dict[str, Steps[None]] = {}

    # -- reading

    def look(self, request: Request) -> Facts:  # noqa: ARG002 - the same whatever is requested
        """Whether the source answers, and its clock. A source that is gone is no error.

        ``extra``: {"amcheck": what dr.yaml says, "database": {"reachable", "because", "stale", "offset",
        "uncertainty"}}; ``stale``: it answers, and does not take the harness's password.
        """
        return Facts(self._now(), extra={"amcheck": self._target.postgres.amcheck, "database": self._look()})

    def _look(self) -> dict[str, Any]:
        because, stale = "the source has no known endpoint", False
        try:
            source = last_seen(self._context)
            if source is not None:
                with connect(source.server, self._target.postgres, seconds=LOOK_SECONDS) as connection:
                    return {"reachable": True, **clock_offset(connection, self._now)}
        except DrError as error:
            because, stale = str(error), isinstance(error, PasswordError)
        return {"reachable": False, "because": because, "stale": stale}

    def confirm_identity(self) -> None:
        """Nothing of its own to compare: TLS verifies every server, and RDS's driver the account that named it."""

    # -- planning

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        match verb.name:
            case "baseline":
                return self._propose_baseline(verb, facts, run)
            case "declare":
                return (Call("declare", verb.name, "disaster", "postgres", "declare", effect=Effect.READS),)
            case "disaster":
                return self._propose_disaster(verb, facts, run)
            case "examine":
                return self._propose_examine(verb, facts, run)
        raise UsageError(f"PostgreSQL's driver knows no verb {verb.name!r}.")

    def _propose_baseline(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        args = {**self._granted(verb, facts, run).to_args(), "run": run.id}
        table = self._victims(run)
        asks = self._target.service is not None and bool(self._target.service.requests)
        return (
            Call(
                *("plant-victims", verb.name, "prepare", "postgres", "plant-victims", args),
                effect=Effect.MAKES,
                makes=(table,),
                undo=_drop_call("plant-victims-undo", args, table),
            ),
            Call(
                "take-baseline",
                verb.name,
                "prepare",
                "postgres",
                "take-baseline",
                args,
                effect=Effect.MAKES if asks else Effect.READS,
                makes=(predictions(instance(self._target.rds.instance)),) if asks else (),
                until="every table is summed",
                deadline=READ_SECONDS,
            ),
        )

    def _propose_disaster(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        args = {**self._granted(verb, facts, run).to_args(), "run": run.id}
        table = self._victims(run)
        return (
            Call(
                *("vanish", verb.name, "disaster", "postgres", "vanish", args),
                effect=Effect.FAULT,
                touches=(table,),
                undo=_drop_call("vanish-undo", args, table),
                until="the victims are deleted",
                deadline=READ_SECONDS,
            ),
        )

    def _victims(self, run: RunIdentity) -> Ref:
        """The run's table of victims."""
        name = f"{OWN_SCHEMA}.{postgres_victims.victim_table(run.id)}"
        return Ref("postgres", "table", name, instance(self._target.rds.instance))

    def _propose_examine(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        self._check_password(facts, run)
        source = source_among(facts.resources, self._target.rds.instance)
        args: dict[str, Any] = {name: f"${{restore.{name}}}" for name in ("recovery_point", "resolution", "kind")}
        args |= {name: f"${{{made_by(verb)}.{name}}}" for name in ("host", "port", "identifier")}
        args |= {"run": run.id, "source": source.to_args() if source else None}
        args |= {"restored": "${restore.identifier}"}
        return (
            Call(
                "examine",
                verb.name,
                "verify",
                "postgres",
                "examine",
                args,
                effect=Effect.READS,
                until="every examination is done",
                deadline=READ_SECONDS,
            ),
        )

    def _granted(self, verb: Verb, facts: Facts, run: RunIdentity) -> Source:
        if Grant.MARKERS not in self._target.grants:
            raise RefusedError(
                f"The verb {verb.name} writes rows of its own to {self._target.rds.instance}, which is not granted.",
                "Add markers to the target's grants.",
            )
        self._check_password(facts, run)
        return require_source(facts.resources, self._target.rds.instance)

    def _check_password(self, facts: Facts, run: RunIdentity) -> None:
        """A copy has the source's roles: it is not made only to be told then that it cannot be read. Of a source that
        is gone or out of reach nothing is known, and it keeps nobody from restoring. Raises RefusedError."""
        stale = (facts.extra.get("database") or {}).get("stale", False)
        if not stale or source_among(facts.resources, self._target.rds.instance) is None:
            return
        harness = self._target.postgres.harness
        spared = ", or restore with --no-verify, which does not read the copy" if run.purpose is Purpose.RESTORE else ""
        raise RefusedError(
            f"The source {self._target.rds.instance} does not take the password of {harness.user} that {harness.secret}"
            " refers to, so that a copy of it could not be read either.",
            f"Put the right one there{spared}.",
        )

    # -- doing

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin; every step is done by a poll, so that a halt is heard between two."""
        for earlier in self._steps.values():
            earlier.close()  # one that was halted still holds its transaction, and locks that an undo waits for
        self._steps = {call.id: self._begin(call, args)}
        return {}

    def _begin(self, call: Call, args: Mapping[str, Any]) -> Steps[None]:
        match call.operation:
            case "plant-victims":
                return self._plant(args)
            case "drop-victims":
                return self._drop(args)
            case "take-baseline":
                return self._take(args)
            case "declare":
                return self._declare()
            case "vanish":
                return self._vanish(args)
            case "examine":
                return self._examine(args)
        raise UsageError(f"PostgreSQL's driver knows no operation {call.operation!r}.")

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002 - the steps hold it
        """Do the next step."""
        return next(self._steps[call.id])

    def _declare(self) -> Steps[None]:
        now = self._now()
        yield Progress(True, {"at": now}, milestones={"disaster": now})

    def _plant(self, args: Mapping[str, Any]) -> Steps[None]:
        table = postgres_victims.victim_table(args["run"])
        with connect(Source.from_args(args).server, self._target.postgres) as connection:
            rows = postgres_victims.plant(connection, table, args["run"])
        yield Progress(True, {"table": f"{OWN_SCHEMA}.{table}", "rows": rows})

    def _drop(self, args: Mapping[str, Any]) -> Steps[None]:
        table = postgres_victims.victim_table(args["run"])
        with connect(Source.from_args(args).server, self._target.postgres) as connection:
            postgres_victims.drop(connection, table, args["run"])
        yield Progress(True, {"table": f"{OWN_SCHEMA}.{table}"})

    def _take(self, args: Mapping[str, Any]) -> Steps[None]:
        source = Source.from_args(args)
        include = (f"{OWN_SCHEMA}.{postgres_victims.victim_table(args['run'])}",)
        golden, silence = golden_answers(self._context, self._ask_golden)
        with connect(source.server, self._target.postgres) as connection:
            clock = clock_offset(connection, self._now)
            taken = take_baseline(connection, self._context, source, include, golden)
        digest = write_baseline(self._context.run / RUN_BASELINE, taken)
        result = {"baseline": taken.id, "file": RUN_BASELINE, "digest": digest, "golden": len(golden)}
        result |= {"at": taken.fingerprint.at, "tables": len(taken.fingerprint.tables), "no_golden": silence}
        yield Progress(True, result, observations=(Observation("clock", "source", clock),))

    def _vanish(self, args: Mapping[str, Any]) -> Steps[None]:
        """Choose a whole second after all victims were committed, let it and the next one pass, repeat, delete.

        Everything up to that second is in the baseline, and nothing of the disaster within a second of it: RDS
        restores to whole seconds.
        """
        source, table = Source.from_args(args), postgres_victims.victim_table(args["run"])
        path = self._context.run / RUN_BASELINE
        with connect(source.server, self._target.postgres) as connection:
            earlier = postgres_victims.vanished(connection, table)
            if earlier is not None:
                yield Progress(True, earlier, milestones={"disaster": float(earlier["at"])})
                return
            baseline = read_baseline(path)
            point = float(int(database_clock(connection)) + LEAD)
            while database_clock(connection) < point + 1.0:
                yield Progress(False, note="waiting for a whole second to pass on the server's clock")
            clock = clock_offset(connection, self._now)
            digest = write_baseline(path, repeat_baseline(connection, baseline, (f"{OWN_SCHEMA}.{table}",)))
            note = {"recovery_point": point, "at": self._now(), "table": f"{OWN_SCHEMA}.{table}", "digest": digest}
            done = postgres_victims.vanish(connection, table, note)
        seen = (Observation("clock", "source", clock),)
        yield Progress(True, done, observations=seen, milestones={"disaster": float(done["at"])})

    def _examine(self, args: Mapping[str, Any]) -> Steps[None]:
        """What passes by itself is waited for, but not for ever: whoever waits at night must be told."""
        examination, failing = Examination(self._context, args), None
        while True:
            try:
                yield from examination.steps()
                return
            except ProviderError as error:
                failing = failing or self._now()
                if not error.transient or self._now() - failing > REACH_SECONDS:
                    raise
                yield Progress(False, note=str(error))

    def _now(self) -> float:
        return self._context.clock.now().at


def _drop_call(name: str, args: Mapping[str, Any], table: Ref) -> Call:
    return Call(name, "undo", "unwind", "postgres", "drop-victims", args, effect=Effect.CHANGES, touches=(table,))
