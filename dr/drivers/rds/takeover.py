"""Fail over, promote and replicate at RDS: what is applied, and how it is waited for.

Every step looks before it acts, so that one whose answer was lost is found again and not made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from dr.domain.errors import DrError, FailedError, HiddenStandbyError, ProviderError, RefusedError, UnreachableError
from dr.domain.model import Call, Observation, Progress, Resource
from dr.drivers.postgres.replicas import Servers
from dr.drivers.rds import failover as rds_failover
from dr.drivers.rds import promotion as rds_promotion
from dr.drivers.rds.failover import CLOCKS, Course, course
from dr.drivers.rds.instances import Instances, only_looking, pairs
from dr.drivers.rds.naming import same
from dr.drivers.rds.points import iso
from dr.drivers.rds.promotion import Answer
from dr.drivers.rds.restore import LISTED_SECONDS
from dr.drivers.rds.states import ENDED, State

ASK_AGAIN_SECONDS = 30.0
"""How long replicas are asked again where none of them answers."""
LATE_EVENT_SECONDS = 30.0
"""How long the event of an end is waited for once the zones have changed: RDS does not promise that it comes."""

FENCE = "Keep clients away from it: take its security group's inbound rules out, or delete it."
_TAKEN = ("InvalidDBInstanceState", "InvalidDBInstanceStateFault")

Apply = Callable[[Mapping[str, Any]], dict[str, Any]]
Poll = Callable[[Mapping[str, Any]], Progress]


class Takeover:
    """The operations by which another server becomes the source."""

    def __init__(self, instances: Instances, servers: Servers) -> None:
        self._at = instances
        self._client = instances.client
        self._servers = servers
        self._tried: dict[str, float] = {}
        """When a failover was first asked for by this process, by instance: an answer may have been lost."""
        self._told: dict[str, int] = {}
        self._first: dict[tuple[str, str], float] = {}
        """When something was first seen of an instance."""
        self._backups: dict[str, list[str]] = {}
        """The automated backups that an instance had when its promotion was asked for."""
        self._steps: Mapping[str, tuple[Apply, Poll]] = {
            rds_failover.FORCE: (self._force, self._poll_failover),
            rds_failover.AWAIT: (self._begin, self._poll_failover),
            rds_promotion.LAG: (self._begin, self._poll_lag),
            rds_promotion.CHOOSE: (self._begin, self._poll_choice),
            rds_promotion.PROMOTE: (self._promote, self._poll_promote),
            rds_promotion.BACKUP: (self._begin, self._poll_backup),
            rds_promotion.REPLICATE: (self._replicate, self._poll_replicate),
        }

    def does(self, operation: str) -> bool:
        return operation in self._steps

    def apply(self, call: Call, args: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self._at.patiently(lambda: self._steps[call.operation][0](args))
        except ProviderError as error:
            if call.operation == rds_failover.FORCE and error.code in _TAKEN:
                raise RefusedError(str(error.args[0]), error.hint) from None  # RDS did not begin: nothing was changed
            raise

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        progress = self._steps[call.operation][1](result)
        if not progress.done or call.phase != "disaster":
            return progress
        return replace(progress, milestones={**progress.milestones, "disaster": float(result["at"])})

    def _begin(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing to do but to look."""
        return {**args, "asked_at": self._at.now()}

    # -- fail over

    def events(self, identifier: str, since: float) -> tuple[dict[str, Any], ...]:
        """What RDS told of an instance from ``since`` on, and some of what was before: it refuses a time that its own
        clock has not reached."""
        start = {"StartTime": iso(since - CLOCKS)}
        asked = {"SourceIdentifier": identifier, "SourceType": "db-instance", **start}
        return self._client.pages("DescribeEvents", "Events", asked)

    def _course(self, args: Mapping[str, Any]) -> Course:
        since = float(args["since"])
        return course(self.events(str(args["identifier"]), since), since, args["known"])

    def _force(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """A request that may have been lost, or taken up, is looked for: a second one would fail over once more."""
        name = str(args["identifier"])
        found, seen = self._at.await_shown(name), self._course(args)
        ready = found.status == "available"
        if seen.taken_up or (name in self._tried and not ready):
            asked = min(self._tried.get(name, self._at.now()), seen.started or self._at.now())
            return {**args, "asked_at": asked, "at": asked}
        if not found.attributes.get("MultiAZ"):
            raise RefusedError(f"{name} is Single-AZ by now: it has no standby to fail over to.", "Promote a replica.")
        if ready:
            asked = self._tried.setdefault(name, self._at.now())
            wanted = {"DBInstanceIdentifier": name, "ForceFailover": True}
            if self._client.call_once(rds_failover.FORCE, wanted, _TAKEN) is not None:
                return {**args, "asked_at": asked, "at": asked}
        raise ProviderError(
            f"RDS does not take a failover of {name} up: it is {found.status}.",
            "See what RDS is doing with it: 'aws rds describe-events'.",
            code=_TAKEN[0],
            transient=True,
        )

    def _poll_failover(self, result: Mapping[str, Any]) -> Progress:
        """Over where RDS says so, by an event or by the zones, and calls the instance available; or gave it up."""
        found, seen = self._at.await_shown(str(result["identifier"])), self._course(result)
        usable = self._at.state(found) is State.USABLE
        zone = str(found.attributes.get("AvailabilityZone", ""))
        over = seen.completed is not None or self._moved(found.ref.name, str(result["zone"]), zone)
        if seen.abandoned or (over and usable):
            kept = {key: value for key, value in result.items() if key != "known"}
            done = {**kept, "available_at": self._at.now(), "promoted_at": seen.completed, "zone_after": zone}
            done |= {"abandoned": seen.abandoned} if seen.abandoned else {}
            when = {} if seen.completed is None else {"failed-over": seen.completed}
            return Progress(True, done, observations=(self._failover(found, seen),), milestones=when)
        if seen.recovered is not None and usable:
            raise FailedError(
                f"RDS brought {found.ref.name} back where it was ({seen.events[-1]['message'].rstrip('.')}): nothing"
                " failed over.",
                "Look at its events and its standby, and fail over again where that is still wanted.",
            )
        fresh = len(seen.events) > self._told.get(found.ref.name, 0)
        self._told[found.ref.name] = len(seen.events)
        said = f" ({seen.events[-1]['message'].rstrip('.')})" if seen.events else ", RDS tells of no failover yet"
        note = self._at.note(found, float(result["asked_at"])) + said
        return Progress(False, note=note, observations=(self._failover(found, seen),) if fresh else ())

    def _moved(self, identifier: str, before: str, after: str) -> bool:
        """Whether the primary has been in another zone for so long that the event of it will not come."""
        if not before or not after or before == after:
            return False
        return self._at.now() - self._since(identifier, "moved") >= LATE_EVENT_SECONDS

    def _since(self, identifier: str, what: str) -> float:
        return self._first.setdefault((identifier, what), self._at.now())

    def _failover(self, found: Resource, seen: Course, **more: Any) -> Observation:
        zone = found.attributes.get("AvailabilityZone", "")
        server = f"{found.ref.name} in {zone}" if zone else found.ref.name
        value = {"events": list(seen.events), "promoted_at": seen.completed, "server": server, **more}
        return Observation("failover", "source", value, self._at.now())

    # -- lag, and which replica to promote

    def _poll_lag(self, result: Mapping[str, Any]) -> Progress:
        """Each replica's lag by itself, by CloudWatch, and against what the source had written just before."""
        written = self._written(result["source"])
        lags = [self._lag(place, written) for place in result["replicas"]]
        known = sorted((lag for lag in lags if lag["seconds"] is not None), key=lambda lag: float(lag["seconds"]))
        seen = tuple(Observation("lag", str(lag["replica"]), lag, self._at.now()) for lag in known)
        return Progress(True, {"lags": lags, "at": self._at.now()}, observations=seen)

    def _written(self, place: Mapping[str, Any]) -> int | None:
        try:
            return self._servers.written(str(place["host"]), int(place["port"]))
        except DrError:
            return None  # then nothing shows that a replica has everything

    def _lag(self, place: Mapping[str, Any], written: int | None) -> dict[str, Any]:
        name = str(place["identifier"])
        lag: dict[str, Any] = {"replica": name, "seconds": None, "because": "", "cloudwatch": self._replica_lag(name)}
        try:
            own = self._servers.standing(str(place["host"]), int(place["port"]))
        except DrError as error:
            lag["because"] = str(error)
            if lag["cloudwatch"] is not None and lag["cloudwatch"] >= 0:  # -1 is RDS's word for no replication
                lag["seconds"] = lag["cloudwatch"]
            return lag
        everything = written is not None and own.replayed is not None and own.replayed >= written
        lag["seconds"] = 0.0 if everything else own.behind
        if written is not None and own.received is not None:
            lag["bytes"] = max(0, written - own.received)
        return lag

    def _replica_lag(self, identifier: str) -> float | None:
        try:
            return self._client.metric("ReplicaLag", identifier, self._at.now())
        except DrError:
            return None  # it only stands beside what the replica says itself

    def _poll_choice(self, result: Mapping[str, Any]) -> Progress:
        # Those that cannot be promoted first: where the source still writes, whoever is asked later has received more.
        asked = sorted(result["replicas"], key=lambda place: not place.get("barred"))
        answers = [replace(self._answer(place), barred=str(place.get("barred", ""))) for place in asked]
        choice = rds_promotion.choose(answers, str(result["named"]))
        if not choice.identifier:
            if self._at.now() - float(result["asked_at"]) < ASK_AGAIN_SECONDS:
                return Progress(False, note=choice.because)
            which = result["named"] or f"No replica of {result['source']}"
            cannot = "cannot" if result["named"] else "can"
            raise RefusedError(
                f"{which} {cannot} be promoted: {choice.because}.",
                choice.hint or "Name a replica that answers: --promote REPLICA; or restore: 'dr restore'.",
            )
        place = next(place for place in result["replicas"] if place["identifier"] == choice.identifier)
        received = {a.identifier: a.received for a in answers}
        done = {**place, "because": choice.because, "received": received, "asked_at": result["asked_at"]}
        seen = Observation("replica-choice", "source", {**done, "chosen": choice.identifier}, self._at.now())
        return Progress(True, done, observations=(seen,))

    def _answer(self, place: Mapping[str, Any]) -> Answer:
        name = str(place["identifier"])
        if not place["host"]:
            return Answer(name, None, "it has no endpoint")
        try:
            own = self._servers.standing(str(place["host"]), int(place["port"]))
        except DrError as error:
            return Answer(name, None, str(error))
        if not own.recovering:
            return Answer(name, None, "it takes writes, so it is no replica any more")
        return Answer(name, own.received, "" if own.received is not None else "it has received nothing")

    # -- promote

    def _promote(self, args: Mapping[str, Any]) -> dict[str, Any]:
        asked = self._since(str(args["identifier"]), "promoting")
        self._ask_promotion(self._at.await_shown(str(args["identifier"])), args)
        return {**args, "asked_at": asked, "at": asked}

    def _ask_promotion(self, found: Resource, args: Mapping[str, Any]) -> None:
        """RDS refuses it while it backs the replica up: the next poll asks again."""
        if found.replica_of and found.status != "backing-up":
            self._backups[found.ref.name] = [str(row["DBSnapshotIdentifier"]) for row in self._automated(found)]
            wanted = {"DBInstanceIdentifier": found.ref.name, **args["parameters"]}
            self._client.call(rds_promotion.PROMOTE, wanted, _TAKEN)

    def _poll_promote(self, result: Mapping[str, Any]) -> Progress:
        """Promoted is what takes writes and is no replica at RDS; its first backup need not be done for that."""
        found = self._at.await_shown(str(result["identifier"]))
        state, (writes, blind) = self._at.state(found), self._takes_writes(found)
        note = self._at.note(found, float(result["asked_at"]))
        if found.replica_of:
            if state is State.USABLE:
                self._ask_promotion(found, result)
            return Progress(False, note=f"{note}, still a replica of {found.replica_of.name}")
        at = found.endpoint
        if at is None or writes or not (state is State.USABLE or found.status == "backing-up"):
            return Progress(False, note=f"{note}{', ' + writes if writes else ''}", blind=blind)
        promoted = self._since(found.ref.name, "writes")
        seen = course(self.events(found.ref.name, float(result["planned_at"])), float(result["planned_at"]))
        more = {"promoted_at": promoted, "promotion_started_at": result["asked_at"], "because": result["because"]}
        done = {
            **{key: result[key] for key in ("identifier", "source", "because", "asked_at", "at")},
            "host": at.host,
            "port": at.port,
            "resource_id": found.attributes.get("DbiResourceId", ""),
            "promoted_at": promoted,
            "backups": self._backups_before(found, float(result["planned_at"])),
            "available_at": self._at.now(),
        }
        observed = [self._failover(found, seen, **more)]
        if "old" in result:
            observed.append(self._replaced(str(result["source"]), result["old"], found.ref.name))
        # It is available by then: its first backup need not be done for that.
        when = {"promoted": promoted, "available": promoted}
        return Progress(True, done, observations=tuple(observed), milestones=when)

    def _backups_before(self, found: Resource, planned_at: float) -> list[str]:
        """Its automated backups that are none of what was promoted.

        Where another process had asked for the promotion, and it was done before this one looked: those of before the
        planning, which surely are not.
        """
        if found.ref.name in self._backups:
            return self._backups[found.ref.name]
        rows = self._automated(found)
        return [str(r["DBSnapshotIdentifier"]) for r in rows if float(r.get("SnapshotCreateTime") or inf) < planned_at]

    def _automated(self, found: Resource) -> tuple[dict[str, Any], ...]:
        asked = {"DBInstanceIdentifier": found.ref.name, "SnapshotType": "automated"}
        return self._client.pages("DescribeDBSnapshots", "DBSnapshots", asked)

    def _replaced(self, source: str, old: Mapping[str, Any], promoted: str) -> Observation:
        """What became of the source that was replaced (docs/design.md, ``replaced``)."""
        answer, because = self._answers_as(old)
        shown = self._shown(source, old, promoted)
        value = {"server": source, "answer": answer, "because": because, "status": shown, "fence": FENCE}
        return Observation("replaced", "source", {**value, "ended": shown in ENDED}, self._at.now())

    def _answers_as(self, place: Mapping[str, Any]) -> tuple[str, str]:
        """What it says it is by now, and why that is not known. Asked once, since clients wait to be led away."""
        if not place["host"]:
            return "", "where it listens is not known."
        try:
            own = self._servers.standing(str(place["host"]), int(place["port"]))
        except UnreachableError as error:
            return "unreachable", str(error)
        except HiddenStandbyError:
            return "recovering", ""
        except DrError as error:  # what has no room, starts, or does not take the login, is there
            return "", str(error)
        return ("recovering" if own.recovering else "primary"), ""

    def _shown(self, source: str, old: Mapping[str, Any], promoted: str) -> str | None:
        """The source's status at RDS, also under a new name; "": RDS shows it no more; None: that is not known.

        A listing without what was ``promoted`` is not whole.
        """
        try:
            rows = self._client.pages("DescribeDBInstances", "DBInstances", {})
        except DrError:
            return None  # clients wait: it is not asked again
        if not any(same(str(row["DBInstanceIdentifier"]), promoted) for row in rows):
            return None
        key, name = (
            ("DbiResourceId", old["resource_id"]) if old.get("resource_id") else ("DBInstanceIdentifier", source)
        )
        return next((str(row["DBInstanceStatus"]) for row in rows if same(str(row.get(key, "")), str(name))), "")

    def _takes_writes(self, found: Resource) -> tuple[str, bool]:
        """Why it does not take writes, or "": asked of itself whatever RDS calls it, for the sake of the moment. And
        whether nothing answered: from here, it may be the way to it that is broken."""
        if found.endpoint is None:
            return "it has no endpoint", False
        try:
            own = self._servers.standing(found.endpoint.host, found.endpoint.port)
        except ProviderError as error:  # a server that starts may answer anything; one that refuses the login is up
            return str(error), isinstance(error, UnreachableError)
        if own.recovering:
            left = (own.received or 0) - (own.replayed or 0)
            return f"it still recovers, {left} bytes are to be replayed", False
        self._since(found.ref.name, "writes")
        return "", False

    # -- afterwards

    def _poll_backup(self, result: Mapping[str, Any]) -> Progress:
        """What the replica had, or had begun, when its promotion was asked for holds nothing of the new primary.

        No time tells it from the first one, as the clocks differ.
        """
        found = self._at.await_shown(str(result["identifier"]))
        self._at.state(found)
        before = result["before"]
        ready = [row for row in self._automated(found) if row.get("Status") == "available"]
        new = [row for row in ready if row["DBSnapshotIdentifier"] not in before]
        if not new:
            note = self._at.note(found, float(result["asked_at"]))
            return Progress(False, note=f"{note}, no backup since its promotion")
        kept = {key: value for key, value in result.items() if key != "before"}
        return Progress(True, {**kept, "snapshot": new[0]["DBSnapshotIdentifier"], "available_at": self._at.now()})

    def _replicate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """A new replica; nothing in place of the one that has become the primary."""
        name, source = str(args["identifier"]), str(args["source"])
        result = {**args, "asked_at": self._at.now(), "skipped": source.lower() == str(args["instead_of"]).lower()}
        with only_looking():
            there = result["skipped"] or self._at.describe(name) is not None
        if not there:
            wanted = {"DBInstanceIdentifier": name, "SourceDBInstanceIdentifier": source, **args["parameters"]}
            wanted["Tags"] = pairs(args["tags"])
            self._client.call(rds_promotion.REPLICATE, wanted, ("DBInstanceAlreadyExists",))
        found = None if result["skipped"] else self._at.describe(name)
        if found is not None and found.tags.get("dr:run") != args["tags"]["dr:run"]:
            raise RefusedError(f"An instance {name} exists already, and this run did not make it.", "Rename it.")
        return result

    def _poll_replicate(self, result: Mapping[str, Any]) -> Progress:
        if result["skipped"]:
            return Progress(True, {"skipped": True, "instead_of": result["instead_of"]})
        found = self._at.describe(str(result["identifier"]))
        if found is None:
            waited = self._at.now() - float(result["asked_at"])
            if waited > LISTED_SECONDS and self._at.gone(str(result["identifier"])):
                raise FailedError(f"{result['identifier']} is gone while it was made.", "Find out who deleted it.")
            return Progress(False, note=f"{result['identifier']}: not listed yet")
        at, note = found.endpoint, self._at.note(found, float(result["asked_at"]))
        if self._at.state(found) is not State.USABLE or at is None:
            return Progress(False, note=note)
        broken = [info for info in found.attributes.get("StatusInfos") or () if not info.get("Normal", True)]
        if broken:
            return Progress(False, note=f"{note}, replication: {broken[0].get('Status', 'not normal')}")
        done = {key: result[key] for key in ("identifier", "source", "instead_of", "asked_at")}
        done |= {"host": at.host, "port": at.port, "available_at": self._at.now()}
        return Progress(True, done)
