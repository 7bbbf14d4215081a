"""The looks that a copy is judged by: at the copy, at the source afterwards, and at the rows of what differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from dr.domain.databases import joined, part_of, prefixed
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.looks import BEFORE, POINT, Look, Snapshot, TableRows
from dr.domain.model import Observation
from dr.domain.refs import Endpoint
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.connection import Connection, connect
from dr.drivers.postgres.fingerprint import Table, copy_beside, find_tables, source_beside
from dr.drivers.postgres.looking import Question, differing, looking, major_version, moment, seen_beside
from dr.drivers.postgres.others import holds
from dr.drivers.postgres.snapshots import Recovered, less, recovered, unfinished
from dr.host.hearing import Steps


@dataclass(frozen=True, slots=True)
class Comparison:
    """``source``: where it can be looked at afterwards; None: why not, in ``because``. ``before``: the look before the
    recovery point, ``stored``: one afterwards that was stored; None where there is none. ``held``: what the copy held
    right after its recovery, None where nobody read that. ``promoted``: clients write to the copy already.
    """

    database: PostgresConfig
    copy: Endpoint
    source: Endpoint | None
    because: str
    before: Look | None
    stored: Look | None
    held: Recovered | None
    promoted: bool
    include: tuple[str, ...] = ()

    def steps(self, copy: Connection) -> Steps[tuple[Observation, ...]]:
        """Look at the copy, then at its source under the same cuts, then at the rows of the buckets that differ.

        Raises ProviderError where the copy cannot be reached, RefusedError where the baseline is too old.
        """
        upgraded = self.before is not None and self.before.major != major_version(copy)
        found = self.held if self.held and not upgraded else recovered(copy)
        point = found.held
        earlier = {BEFORE: Snapshot.parse(self.before.cuts[BEFORE])} if self.before else {}
        source, because, cuts, there = self.source, self.because, earlier, dict[str, Table]()
        if upgraded or (self.promoted and not self.held):
            # What the copy's present snapshot shows, it has in part written itself: it is no cut for the source.
            source, because = (source, because) if earlier else (None, because or "nothing tells what it held then")
        elif source is not None:
            open_then = yield from unfinished(copy, point, earlier[BEFORE].xmin if earlier else 0)
            try:
                with connect(source, self.database) as connection:
                    point = less(point, connection, open_then)
                    there = {table.name: table for table in find_tables(connection, self.include)}
            except (ProviderError, RefusedError) as error:
                source, because = None, str(error)
            cuts = {**earlier, POINT: Recovered(point, found.sure).cut()}
        asked = Question(
            {**earlier, POINT: cuts.get(POINT, point)},
            {**(self.stored.tables if self.stored else {}), **(self.before.tables if self.before else {})},
            self.include,
            portable=upgraded,
            later=not self.promoted,
            touched=None if self.promoted else found,
            of="the copy",
            summed=partial(copy_beside, there),
        )
        theirs: dict[str, TableRows] = {}
        beside = yield from seen_beside(self.copy, self.database, asked.of)
        with moment(self.copy, self.database, asked.touched) as here:
            seen = yield from here.look(asked, beside)
            after = self.stored
            if source is not None:
                again = asked._replace(cuts=cuts, like=seen.tables, later=True, touched=None, of="the source")
                again = again._replace(summed=partial(source_beside, here.summed))
                try:
                    after, theirs = yield from self._afterwards(source, again, seen)
                except (ProviderError, RefusedError) as error:
                    because = str(error)
            mine = yield from here.rows(
                {name: rows.read for name, rows in theirs.items()}, seen, "the copy", later=True
            )
        value: Any = {"because": because} if after is None else msgspec.to_builtins(after)
        return (
            Observation("look", "restored", msgspec.to_builtins(seen)),
            Observation("look", "source", value),
            Observation("rows", "restored", msgspec.to_builtins(mine)),
            Observation("rows", "source", msgspec.to_builtins(theirs)),
        )

    def beside(self, copy: Connection, found: tuple[Observation, ...]) -> Steps[tuple[Observation, ...]]:
        """The same of another database of the server of ``copy``, of whose first one ``found`` was. Where the copy has
        no such database, it holds nothing, and the source is looked at. Raises as ``steps``."""
        if holds(copy, self.database.name):
            with connect(self.copy, self.database) as connection:
                return (yield from self.steps(connection))
        nothing = {**found[0].value, "objects": {}, "tables": {}, "left_out": {}, "state": None}
        after = found[1].value
        if self.source is not None and "because" not in after:
            cuts = {cut: Snapshot.parse(snapshot) for cut, snapshot in after["cuts"].items()}
            asked = Question(cuts, self.before.tables if self.before else {}, of=f"database {self.database.name}")
            after = msgspec.to_builtins((yield from looking(self.source, self.database, asked)))
        elif self.stored is not None:
            after = msgspec.to_builtins(self.stored)
        return (
            replace(found[0], value=nothing),
            replace(found[1], value=after),
            *(replace(rows, value={}) for rows in found[2:]),
        )

    def _afterwards(self, source: Endpoint, asked: Question, copy: Look) -> Steps[tuple[Look, dict[str, TableRows]]]:
        beside = yield from seen_beside(source, self.database, asked.of)
        with moment(source, self.database) as there:
            after = yield from there.look(asked, beside)
            return after, (yield from there.rows(differing(self.before, copy, after), after, "the source"))


def everywhere(main: Comparison, copy: Connection) -> Steps[tuple[Observation, ...]]:
    """What ``main`` finds, and the same of the server's other databases that are looked at; one that cannot be says so
    in the look at the copy. What one held that the copy lacks is missing there. Raises as ``Comparison.steps``."""
    found = yield from main.steps(copy)
    for name in main.database.databases:
        theirs = replace(
            main,
            database=msgspec.structs.replace(main.database, name=name, databases=()),
            before=part_of(main.before, name) if main.before else None,
            stored=part_of(main.stored, name) if main.stored else None,
            include=(),
        )
        try:
            more = yield from theirs.beside(copy, found)
        except (ProviderError, RefusedError) as error:
            found = (_unlooked(found[0], name, str(error)), *found[1:])
        else:
            found = tuple(_joined(first, name, other) for first, other in zip(found, more, strict=True))
    return found


def _unlooked(main: Observation, name: str, because: str) -> Observation:
    return replace(main, value={**main.value, "unlooked": {**main.value["unlooked"], name: because}})


def _joined(main: Observation, name: str, other: Observation) -> Observation:
    if main.what == "rows":
        return replace(main, value={**main.value, **prefixed(other.value, name)})
    if "because" in main.value:
        return main
    if "because" in other.value:
        return _unlooked(main, name, other.value["because"])
    looks = (msgspec.convert(of.value, Look) for of in (main, other))
    return replace(main, value=msgspec.to_builtins(joined(next(looks), name, next(looks))))
