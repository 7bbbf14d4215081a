"""A store of keys and values as a provider: a copy is a file beside it, with the run's tags in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dr.drivers.kv.plugin import KvConfig

from dr.config.context import Context
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import (
    Call,
    Component,
    Effect,
    Facts,
    Observation,
    Own,
    Progress,
    RecoveryPoint,
    Request,
    Resource,
    RunIdentity,
    Verb,
)
from dr.domain.refs import Ref
from dr.domain.tags import of_point, telling


class KvProvider:
    late = 0.0

    def __init__(self, context: Context) -> None:
        self._context, self._config = context, context.target.of(KvConfig)
        self._file = Path(self._config.file)

    def look(self, request: Request) -> Facts:
        backups = sorted(Path(self._config.backups).glob("*.json"))
        return Facts(
            self._now(),
            {"kv": {"id": self._read(self._file)["id"]}},
            (Resource(self._store, "available"), *self._copies()),
            tuple(RecoveryPoint("backup", at.stem, str(self._file), "available", at.stat().st_mtime) for at in backups),
            {self._store: Own.SOURCE},
        )

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        if verb.name == "examine":
            copy = {"identifier": "${kv-restore.identifier}"}
            return (Call("kv-examine", "examine", "verify", "kv", "compare", copy, effect=Effect.READS),)
        point = self._point(verb.args["to"]["snapshot"], facts)
        copy = Ref("kv", "store", f"copy-{run.id}.json")
        named = {"identifier": copy.name, "run": run.id}
        tags = {**telling(run, self._store.name), **of_point(point.identifier, point.covers)}
        return (
            Call(
                *("kv-restore", "restore", "restore", "kv", "copy"),
                {"backup": point.identifier, "covers": point.covers, "tags": tags, "identifier": copy.name},
                effect=Effect.MAKES,
                makes=(copy,),
                restoration=True,
                covers=point.covers,
                promises=("available",),
            ).undone_by("delete-copy", "delete", named),
        )

    def confirm_identity(self) -> None:
        if self._read(self._file)["id"] != self._config.id:
            raise RefusedError(f"{self._file} is not the store {self._config.id}.")

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == "copy":
            backup = self._read(Path(self._config.backups) / f"{args['backup']}.json")
            self._write(args["identifier"], {**backup, "tags": args["tags"]})
        if call.operation == "delete" and self._at(args["identifier"]).exists():
            self._tagged(args["identifier"], args["run"])
            self._at(args["identifier"]).unlink(missing_ok=True)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        copy = self._at(result["identifier"])
        if call.operation == "copy":
            ref = Ref("kv", "store", copy.name)
            made = Component("store", ref, connect=f"jq .keys {copy}", origin=f"backup {result['backup']}")
            covers = {"kind": "backup", "identifier": result["backup"], "covers": result["covers"], "resolution": 0.0}
            seen = Observation("recovery-point", "restored", covers, self._now())
            return Progress(
                True, result, observations=(seen,), milestones={"available": self._now()}, components=(made,)
            )
        if call.operation == "compare":
            kept, there = self._read(self._file)["keys"], self._read(copy)["keys"]
            lost = sorted(key for key in kept if there.get(key) != kept[key])
            seen = Observation("keys", "restored", {"all": len(kept), "lost": lost}, self._now())
            read = Component("store", Ref("kv", "store", copy.name))
            return Progress(True, milestones={"examined": self._now()}, observations=(seen,), components=(read,))
        return Progress(True)

    def adopt(self, identifier: str, run: str) -> None:
        self._write(identifier, {**self._tagged(identifier, run), "tags": {}})

    def seal_tag(self, identifier: str, run: str, verdict: str) -> None:
        copy = self._tagged(identifier, run)
        self._write(identifier, {**copy, "tags": {**copy["tags"], "dr:sealed": verdict}})

    def orphans(self, now: float, under_way: frozenset[str], over: frozenset[str]) -> tuple[Call, ...]:
        left = [one for one in self._copies() if one.tags["dr:run"] in over - under_way]
        return tuple(
            Call(
                *("delete-copy", "restore", "unwind", "kv", "delete"),
                {"identifier": one.ref.name, "run": one.tags["dr:run"]},
                effect=Effect.CHANGES,
                touches=(one.ref,),
            )
            for one in left
            if one.tags["dr:purpose"] == "drill"
        )

    def remains(self, run: str) -> tuple[Resource, ...]:
        return tuple(one for one in self._copies() if run in ("", one.tags["dr:run"]))

    def by_hand(self, found: Resource) -> tuple[tuple[str, str], ...]:
        return ((f"rm {self._at(found.ref.name)}", "deletes it"),)

    def ended_by_hand(self, found: Resource) -> str:
        return f"rm {self._at(found.ref.name)}"

    def _point(self, asked: str, facts: Facts) -> RecoveryPoint:
        found = sorted(facts.points, key=lambda point: point.covers or 0.0)
        found = [point for point in found if asked in (point.identifier, "latest")]
        if not found:
            raise RefusedError(f"There is no backup {asked} of the store {self._config.id}.")
        return found[-1]

    @property
    def _store(self) -> Ref:
        return Ref("kv", "store", self._file.name)

    def _copies(self) -> list[Resource]:
        found = ((at.name, self._read(at).get("tags")) for at in sorted(self._file.parent.glob("copy-*.json")))
        return [Resource(Ref("kv", "store", name), "available", tags) for name, tags in found if tags]

    def _at(self, name: str) -> Path:
        return self._file.with_name(name)

    def _tagged(self, name: str, run: str) -> dict[str, Any]:
        copy = self._read(self._at(name))
        if copy.get("tags", {}).get("dr:run") != run:
            raise RefusedError(f"{name} is not of run {run}.")
        return copy

    def _read(self, at: Path) -> dict[str, Any]:
        with _told(at):
            return dict(json.loads(at.read_text()))

    def _write(self, name: str, copy: dict[str, Any]) -> None:
        with _told(self._at(name)):
            self._at(name).write_text(json.dumps(copy))

    def _now(self) -> float:
        return self._context.clock.now().at


@contextmanager
def _told(at: Path) -> Iterator[None]:
    """Errors of files as the harness's own."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ProviderError(f"The store's file {at} cannot be used: {error}.") from None
