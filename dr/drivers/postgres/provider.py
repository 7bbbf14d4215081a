"""PostgreSQL as a provider: baselines of the source, the rows that vanish, and the examination of what was restored."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from dr.config.context import Context
from dr.domain.errors import DrError, PasswordError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Observation, Progress, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.postgres import own_schema
from dr.drivers.postgres.baseline import AskGolden, golden_answers, nearer, take_baseline
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, clock_offset, connect, database_clock, translated
from dr.drivers.postgres.examine import LOOK_SECONDS, RUN_BASELINE, Examination
from dr.drivers.postgres.plugin import made_by
from dr.drivers.postgres.source import Source, database_of, last_seen, require_source, source_among
from dr.drivers.service.asking import ask_golden, predictions
from dr.drivers.service.config import ServiceConfig
from dr.evidence.baselines import read_baseline, write_baseline
from dr.host.hearing import Steps

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
        self._database, self._protected = context.target.of(PostgresConfig), database_of(context.target)
        self._ask_golden = ask
        self._steps: dict[str, Steps[None]] = {}

    # -- reading

    def look(self, request: Request) -> Facts:  # noqa: ARG002 - the same whatever is requested
        """Whether the source answers, and its clock. A source that is gone is no error.

        ``extra``: {"amcheck": what dr.yaml says, "database": {"reachable", "because", "stale", "offset",
        "uncertainty"}}; ``stale``: it answers, and does not take the harness's password.
        """
        seen: dict[str, Any] = {"reachable": False, "because": "the source has no known endpoint", "stale": False}
        try:
            source = last_seen(self._context)
            if source is not None:
                with connect(source.server, self._database, seconds=LOOK_SECONDS) as connection:
                    seen = {"reachable": True, **clock_offset(connection, self._now)}
        except DrError as error:
            seen |= {"because": str(error), "stale": isinstance(error, PasswordError)}
        return Facts(self._now(), extra={"amcheck": self._database.amcheck, "database": seen})

    def confirm_identity(self) -> None:
        """Nothing of its own to compare: TLS verifies every server, and whoever named it tells who it is."""

    # -- planning

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        match verb.name:
            case "baseline":
                return self._propose_baseline(self._granted(verb, facts, run), run)
            case "declare":
                return (Call("declare", "declare", "disaster", "postgres", "declare", effect=Effect.READS),)
            case "disaster":
                return (self._propose_disaster(self._granted(verb, facts, run), run),)
            case "examine":
                return (self._propose_examine(verb, facts, run),)
        raise UsageError(f"PostgreSQL's driver knows no verb {verb.name!r}.")

    def _propose_baseline(self, args: Mapping[str, Any], run: RunIdentity) -> tuple[Call, ...]:
        service = self._context.target.section(ServiceConfig)
        asks = service is not None and bool(service.requests)
        return (
            Call(
                *("plant-victims", "baseline", "prepare", "postgres", "plant-victims", args),
                effect=Effect.MAKES,
                makes=(self._victims(run),),
            ).undone_by("plant-victims-undo", "drop-victims"),
            Call(
                *("take-baseline", "baseline", "prepare", "postgres", "take-baseline", args),
                effect=Effect.MAKES if asks else Effect.READS,
                makes=(predictions(self._protected.ref),) if asks else (),
                until="every table is summed",
                deadline=READ_SECONDS,
            ),
        )

    def _propose_disaster(self, args: Mapping[str, Any], run: RunIdentity) -> Call:
        return Call(
            *("vanish", "disaster", "disaster", "postgres", "vanish", args),
            effect=Effect.FAULT,
            touches=(self._victims(run),),
            until="the victims are deleted",
            deadline=READ_SECONDS,
        ).undone_by("vanish-undo", "drop-victims")

    def _victims(self, run: RunIdentity) -> Ref:
        return Ref("postgres", "table", own_schema.victims(run.id), self._protected.ref)

    def _propose_examine(self, verb: Verb, facts: Facts, run: RunIdentity) -> Call:
        self._check_password(facts, run)
        source, made = source_among(facts.resources, self._protected), made_by(verb)
        args: dict[str, Any] = {
            name: f"${{restore.{name}}}" for name in ("recovery_point", "resolution", "kind", "point_id", "point")
        }
        args |= {name: f"${{{made}.{name}}}" for name in ("host", "port", "identifier")}
        args |= {
            "run": run.id,
            "source": source.to_args() if source else None,
            "restored": "${restore.identifier}",
            "of": verb.args.get("of", "restored"),
        }
        return Call(
            *("examine", "examine", "verify", "postgres", "examine", args),
            effect=Effect.READS,
            until="every examination is done",
            deadline=READ_SECONDS,
        )

    def _granted(self, verb: Verb, facts: Facts, run: RunIdentity) -> dict[str, Any]:
        """The arguments of a call that writes rows of the harness's own to the source. Raises RefusedError."""
        if Grant.MARKERS not in self._context.target.grants:
            raise RefusedError(
                f"The verb {verb.name} writes rows of its own to {self._protected.name}, which is not granted.",
                "Add markers to the target's grants.",
            )
        self._check_password(facts, run)
        return {**require_source(facts.resources, self._protected).to_args(), "run": run.id}

    def _check_password(self, facts: Facts, run: RunIdentity) -> None:
        """A copy has the source's roles: it is not made only to be told then that it cannot be read. Of a source that
        is gone or out of reach nothing is known, and it keeps nobody from restoring. Raises RefusedError."""
        stale = (facts.extra.get("database") or {}).get("stale", False)
        if not stale or source_among(facts.resources, self._protected) is None:
            return
        harness = self._database.harness
        spared = ", or restore with --no-verify, which does not read the copy" if run.purpose is Purpose.RESTORE else ""
        raise RefusedError(
            f"The source {self._protected.name} does not take the password of {harness.user} that {harness.secret}"
            " refers to, so that a copy of it could not be read either.",
            f"Put the right one there{spared}.",
        )

    # -- doing

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin; every step is done by a poll, so that a halt is heard between two."""
        for earlier in self._steps.values():
            earlier.close()  # one that was halted still holds its transaction, and locks that an undo waits for
        begin = {
            "plant-victims": self._plant,
            "drop-victims": self._drop,
            "take-baseline": self._take,
            "declare": self._declare,
            "vanish": self._vanish,
            "examine": self._examine,
        }
        self._steps = {call.id: begin[call.operation](args)}
        return {}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002 - the steps hold it
        """Do the next step."""
        return next(self._steps[call.id])

    def _declare(self, args: Mapping[str, Any]) -> Steps[None]:  # noqa: ARG002
        now = self._now()
        yield Progress(True, {"at": now}, milestones={"disaster": now})

    def _plant(self, args: Mapping[str, Any]) -> Steps[None]:
        with self._source(args) as connection, translated("planting the drill's victims"):
            own_schema.plant(connection, args["run"])
        yield Progress(True, {"table": own_schema.victims(args["run"]), "rows": own_schema.ROWS})

    def _drop(self, args: Mapping[str, Any]) -> Steps[None]:
        with self._source(args) as connection, translated("dropping the drill's victims"):
            own_schema.drop(connection, own_schema.table_name("victims", args["run"]), args["run"])
        yield Progress(True, {"table": own_schema.victims(args["run"])})

    def _take(self, args: Mapping[str, Any]) -> Steps[None]:
        golden, silence = golden_answers(self._context, self._ask_golden)
        with self._source(args) as connection:
            clock = clock_offset(connection, self._now)
        included = (own_schema.victims(args["run"]),)
        taken = yield from take_baseline(self._context, Source.from_args(args), included, golden)
        digest = write_baseline(self._context.run / RUN_BASELINE, taken)
        result = {"baseline": taken.id, "file": RUN_BASELINE, "digest": digest, "golden": len(golden)}
        result |= {"at": taken.look.at, "tables": len(taken.look.tables), "no_golden": silence}
        yield Progress(True, result, observations=(Observation("clock", "source", clock),))

    def _vanish(self, args: Mapping[str, Any]) -> Steps[None]:
        """Look once more, choose a whole second after that, let it and the next one pass, and delete the victims.

        Everything up to that second is as near to the look as can be, and nothing of the disaster within a second of
        it: RDS restores to whole seconds.
        """
        table, path, seen = own_schema.victims(args["run"]), self._context.run / RUN_BASELINE, tuple[Observation, ...]()
        with self._source(args) as connection:
            with translated("looking for the drill's victims"):
                done = own_schema.vanished(connection, args["run"])
            if done is None:
                baseline = read_baseline(path)
                renewed = yield from nearer(self._context, Source.from_args(args), baseline, (table,))
                digest = write_baseline(path, renewed)
                point = float(int(database_clock(connection)) + LEAD)
                while database_clock(connection) < point + 1.0:
                    yield Progress(False, note="waiting for a whole second to pass on the server's clock")
                seen = (Observation("clock", "source", clock_offset(connection, self._now)),)
                note = {"recovery_point": point, "at": self._now(), "table": table, "digest": digest}
                note |= {"database_at": database_clock(connection)}
                with translated("deleting the drill's victims"):
                    done = own_schema.vanish(connection, args["run"], note)
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

    def _source(self, args: Mapping[str, Any]) -> AbstractContextManager[Connection]:
        return connect(Source.from_args(args).server, self._database)

    def _now(self) -> float:
        return self._context.clock.now().at
