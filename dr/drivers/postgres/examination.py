"""The examination of a restoration, step by step: what it is compared with, and every answer as an observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from dr.config.context import Context
from dr.domain.errors import DrError, EvidenceError
from dr.domain.model import Baseline, Component, Fingerprint, Observation, Progress
from dr.domain.refs import Endpoint
from dr.drivers.postgres import examine
from dr.drivers.postgres.baseline import repeating
from dr.drivers.postgres.clock import clock_offset
from dr.drivers.postgres.connection import Connection, connect
from dr.drivers.postgres.fingerprint import major_version, summing
from dr.drivers.postgres.own_schema import OWN_SCHEMA
from dr.drivers.postgres.person import psql
from dr.drivers.postgres.source import Source, artifacts_of, service_login
from dr.drivers.postgres.victims import victim_table
from dr.drivers.rds.naming import instance
from dr.drivers.sections import sections
from dr.evidence.baselines import BaselineStore, covering, read_baseline
from dr.evidence.samples import markers_file
from dr.host.steps import Steps, working
from dr.meter.mark import marker_table

RUN_BASELINE = "baseline.json"
LOOK_SECONDS = 3
"""How long a source is waited for that may be what was lost."""
PATH = "restored"


class Examination:
    """One examination of the copy that ``args`` (the examine call's, filled) name."""

    def __init__(self, context: Context, args: Mapping[str, Any]) -> None:
        self._context = context
        self._database = sections(context.target).postgres
        self._copy = Endpoint(str(args["host"]), int(args["port"]))
        self._identifier = str(args["identifier"])
        self._restored = str(args.get("restored", self._identifier))
        self._run = str(args["run"])
        self._point: float | None = None if args["recovery_point"] is None else float(args["recovery_point"])
        self._resolution = float(args["resolution"])
        self._source = Source.from_args(args["source"]) if args["source"] else None

    def steps(self) -> Steps[None]:
        """Each step's observations, the last one done; in between each table, foreign key and index by its name.

        Raises ProviderError where the copy cannot be reached.
        """
        baseline, notes = yield from self.find_baseline()
        rows = {name: table.rows for name, table in baseline.fingerprint.tables.items()} if baseline else {}
        with connect(self._copy, self._database) as connection:
            baseline = yield from self._across_majors(connection, baseline)
            first = self._context.clock.now().at if examine.answers(connection, rows) else None
            covers = Observation("baseline", "source", None if baseline is None else msgspec.to_builtins(baseline))
            yield working("examining the logins", (covers,))
            logins = examine.logins(self._copy, self._database)
            yield self._saw("every table", logins=logins)
            sums = yield from self._fingerprint(connection, baseline)
            yield self._saw("the foreign keys", fingerprint=msgspec.to_builtins(sums))
            keys = yield from examine.foreign_keys(connection)
            yield self._saw("the indexes", **{"foreign-keys": keys})
            indexes = yield from examine.indexes(connection)
            yield self._saw("what is left", indexes=indexes)
            last = self._saw("", model=self._model(connection, baseline), **self._own(connection, baseline))
        seen = (*last.observations, *self._clock(notes))
        yield Progress(
            True,
            {"notes": notes},
            observations=seen,
            milestones={**({} if first is None else {"correct": first}), "examined": self._context.clock.now().at},
            components=self._reached(logins),
        )

    def _reached(self, logins: Iterable[Mapping[str, Any]]) -> tuple[Component, ...]:
        """What was restored, by a login that it took. A replica holds what that holds, and is no part of it."""
        user = next((str(login["user"]) for login in logins if login["ok"]), "")
        connect = psql(self._copy, self._database, user) if user and self._identifier == self._restored else ""
        return (Component("database", instance(self._restored), connect=connect),)

    def _clock(self, notes: list[str]) -> tuple[Observation, ...]:
        """The source's clock, where it is still up: what the exposure's uncertainty rests on."""
        if self._source is None:
            return ()
        try:
            with connect(self._source.server, self._database, seconds=LOOK_SECONDS) as connection:
                offset = clock_offset(connection, lambda: self._context.clock.now().at)
        except DrError as error:
            notes.append(f"the source's clock could not be read: {error}")
            return ()
        return (Observation("clock", "source", offset),)

    def _saw(self, following: str, **observed: Any) -> Progress:
        seen = tuple(Observation(what, PATH, value) for what, value in observed.items())
        return working(f"examining {following}", seen)

    def _fingerprint(self, connection: Connection, baseline: Baseline | None) -> Steps[Fingerprint]:
        if baseline is None:
            return summing(connection, of="the copy")
        snapshot, portable = baseline.fingerprint.snapshot, major_version(connection) != baseline.fingerprint.major
        return summing(connection, snapshot, self._included(baseline), portable=portable, of="the copy")

    def _included(self, baseline: Baseline) -> tuple[str, ...]:
        victims = f"{OWN_SCHEMA}.{victim_table(self._run)}"
        return (victims,) if victims in baseline.fingerprint.tables else ()

    def _model(self, connection: Connection, baseline: Baseline | None) -> dict[str, Any]:
        found = examine.active_model(connection, artifacts_of(self._context), service_login(self._context))
        return {**found, "source": dict(baseline.model) if baseline else None}

    def _own(self, connection: Connection, baseline: Baseline | None) -> dict[str, Any]:
        """The run's own rows: markers, where it wrote some, and victims, where the recovery point has them."""
        found: dict[str, Any] = {}
        if markers_file(self._context.run, "source").exists():
            found["markers"] = examine.markers(connection, marker_table(self._run))
        if baseline is not None and self._included(baseline):
            table = victim_table(self._run)
            expected = baseline.fingerprint.tables[f"{OWN_SCHEMA}.{table}"].rows
            found["victims"] = examine.victims(connection, table, expected)
        return found

    # -- what the copy is compared with

    def find_baseline(self) -> Steps[tuple[Baseline | None, list[str]]]:
        """The one that covers the recovery point: the run's own, a stored one, or one repeated now on the source."""
        if self._point is None:
            return None, ["the recovery point's time is not known"]
        known, notes = self._known()
        found = covering(known, self._point, self._resolution)
        if found is not None:
            return found, notes
        return (yield from self._repeated_now(known, notes))

    def _known(self) -> tuple[list[Baseline], list[str]]:
        stored, problems = BaselineStore(self._context.home, self._context.name).load(
            sections(self._context.target).rds.instance
        )
        known, notes = list(stored), list(problems)
        path = self._context.run / RUN_BASELINE
        if path.exists():
            try:
                known.append(read_baseline(path))
            except EvidenceError as error:
                notes.append(str(error))
        return known, notes

    def _repeated_now(self, known: list[Baseline], notes: list[str]) -> Steps[tuple[Baseline | None, list[str]]]:
        """A source that is still up can be asked now; whatever the disaster changed there then stays unproven."""
        before = [b for b in known if self._point is not None and b.fingerprint.at <= self._point]
        if not before or self._source is None or self._point is None:
            return None, notes
        newest = max(before, key=lambda b: b.fingerprint.at)
        if newest.resource_id != self._source.resource_id:
            return None, notes
        try:
            with connect(self._source.server, self._database) as connection:
                again = yield from repeating(connection, newest, self._included(newest))
        except DrError as error:
            return None, [*notes, f"the baseline {newest.id} could not be repeated on the source: {error}"]
        return covering([again], self._point, self._resolution), notes

    def _across_majors(self, connection: Connection, baseline: Baseline | None) -> Steps[Baseline | None]:
        """``baseline`` with sums that a copy on another major version can be compared with, taken from a source that is
        still up. Rows under a snapshot only ever get fewer: those that still hash as then are those of the baseline.
        """
        if baseline is None or self._source is None or major_version(connection) == baseline.fingerprint.major:
            return baseline
        include = self._included(baseline)
        try:
            with connect(self._source.server, self._database) as source:
                portable = yield from summing(source, baseline.fingerprint.snapshot, include, portable=True)
                again = yield from repeating(source, baseline, include)
        except DrError:  # the sums then stay as they are, and are judged not comparable
            return baseline
        return replace(again, fingerprint=replace(baseline.fingerprint, tables=portable.tables))
