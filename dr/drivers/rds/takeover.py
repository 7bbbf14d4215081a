"""Fail over, promote and replicate at RDS: what is applied, and how it is waited for.

Every step looks before it acts, so that one whose answer was lost is found again and not made twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Any

from dr.domain.errors import DrError, FailedError, HiddenStandbyError, ProviderError, RefusedError, UnreachableError
from dr.domain.model import Call, Observation, Progress, Resource
from dr.drivers.postgres.servers import Servers, Standing
from dr.drivers.rds import failover as rds_failover
from dr.drivers.rds import promotion as rds_promotion
from dr.drivers.rds.failover import CLOCKS, Course, course
from dr.drivers.rds.instances import BUSY, Begin, Instances, Poll, only_looking, pairs
from dr.drivers.rds.naming import ENDED, State, same
from dr.drivers.rds.points import iso
from dr.drivers.rds.promotion import Answer

ASK_AGAIN_SECONDS = 30.0
"""How long replicas are asked again where none of them answers."""
LATE_EVENT_SECONDS = 30.0
"""How long the event of an end is waited for once the zones have changed: RDS does not promise that it comes."""

FENCE = "Keep clients away from it: take its security group's inbound rules out, or delete it."


class Takeover:
    """The operations by which another server becomes the source."""

    def __init__(self, instances: Instances, servers: Servers) -> None:
        self._at = instances
        self._client = instances.client
        self._servers = servers
        self._told: dict[str, int] = {}
        """How many events of an instance were observed."""
        self._first: dict[tuple[str, str], float] = {}
        """When something was first seen of an instance, or first asked of it: an answer may have been lost."""
        self._backups: dict[str, list[str]] = {}
        """The automated backups that an instance had when its promotion was asked for."""
        self.steps: Mapping[str, tuple[Begin, Poll]] = {
            rds_failover.FORCE: (self._force, self._poll_failover),
            rds_failover.AWAIT: (instances.begin, self._poll_failover),
            rds_promotion.LAG: (instances.begin, self._poll_lag),
            rds_promotion.CHOOSE: (instances.begin, self._poll_choice),
            rds_promotion.PROMOTE: (self._promote, self._poll_promote),
            rds_promotion.BACKUP: (instances.begin, self._poll_backup),
            rds_promotion.REPLICATE: (self._replicate, self._poll_replicate),
        }

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
        taken_up = seen.started is not None or seen.completed is not None or seen.abandoned
        if taken_up or ((name, "failover") in self._first and not ready):
            asked = min(self._first.get((name, "failover"), self._at.now()), seen.started or self._at.now())
            return {**args, "asked_at": asked, "at": asked}
        if not found.attributes.get("MultiAZ"):
            raise RefusedError(f"{name} is Single-AZ by now: it has no standby to fail over to.", "Promote a replica.")
        if ready:
            asked = self._since(name, "failover")
            wanted = {"DBInstanceIdentifier": name, "ForceFailover": True}
            if self._client.call(rds_failover.FORCE, wanted, BUSY, once=True) is not None:
                return {**args, "asked_at": asked, "at": asked}
        raise ProviderError(
            f"RDS does not take a failover of {name} up: it is {found.status}.",
            "See what RDS is doing with it: 'aws rds describe-events'.",
            code=BUSY[0],
            transient=True,
        )

    def _poll_failover(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """Over where RDS says so, by an event or by the zones, and calls the instance available; or gave it up."""
        found, seen = self._at.await_shown(str(result["identifier"])), self._course(result)
        usable = self._at.state(found) is State.USABLE
        zone = str(found.attributes.get("AvailabilityZone", ""))
        moved = zone and result["zone"] not in ("", zone)  # for so long that the event of it will not come
        late = moved and self._at.now() - self._since(found.ref.name, "moved") >= LATE_EVENT_SECONDS
        if seen.abandoned or (usable and (late or seen.completed is not None)):
            kept = {key: value for key, value in result.items() if key != "known"}
            done = {**kept, "promoted_at": seen.completed, "zone_after": zone}
            done |= {"abandoned": seen.abandoned} if seen.abandoned else {}
            when = {} if seen.completed is None else {"failed-over": seen.completed}
            when |= {"disaster": float(result["at"])} if call.phase == "disaster" else {}
            return Progress(True, done, observations=(self._failover(found, seen),), milestones=when)
        said = f" ({seen.events[-1]['message'].rstrip('.')})" if seen.events else ", RDS tells of no failover yet"
        if seen.recovered is not None and usable:
            raise FailedError(
                f"RDS brought {found.ref.name} back where it was{said}: nothing failed over.",
                "Look at its events and its standby, and fail over again where that is still wanted.",
            )
        fresh = len(seen.events) > self._told.get(found.ref.name, 0)
        self._told[found.ref.name] = len(seen.events)
        observed = (self._failover(found, seen),) if fresh else ()
        return Progress(False, note=self._at.note(found, result) + said, observations=observed)

    def _since(self, identifier: str, what: str) -> float:
        return self._first.setdefault((identifier, what), self._at.now())

    def _failover(self, found: Resource, seen: Course, **more: Any) -> Observation:
        zone = found.attributes.get("AvailabilityZone", "")
        server = f"{found.ref.name} in {zone}" if zone else found.ref.name
        told = {"events": list(seen.events), "promoted_at": seen.completed, "server": server}
        told |= {"listens": str(found.endpoint)} if found.endpoint is not None else {}
        return Observation("failover", "source", {**told, **more})

    # -- lag, and which replica to promote

    def _standing(self, place: Mapping[str, Any]) -> Standing:
        return self._servers.standing(str(place["host"]), int(place["port"]))

    def _poll_lag(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        """Each replica's lag by itself, by CloudWatch, and against what the source had written just before."""
        written: int | None = None  # then nothing shows that a replica has everything
        with suppress(DrError):
            written = self._servers.written(str(result["source"]["host"]), int(result["source"]["port"]))
        lags = [self._lag(place, written) for place in result["replicas"]]
        known = sorted((lag for lag in lags if lag["seconds"] is not None), key=lambda lag: float(lag["seconds"]))
        seen = tuple(Observation("lag", str(lag["replica"]), lag) for lag in known)
        return Progress(True, {"lags": lags, "at": self._at.now()}, observations=seen)

    def _lag(self, place: Mapping[str, Any], written: int | None) -> dict[str, Any]:
        name = str(place["identifier"])
        lag: dict[str, Any] = {"replica": name, "seconds": None, "because": "", "cloudwatch": None}
        with suppress(DrError):  # it only stands beside what the replica says itself
            lag["cloudwatch"] = self._client.metric("ReplicaLag", name, self._at.now())
        try:
            own = self._standing(place)
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

    def _poll_choice(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        # Those that cannot be promoted first: where the source still writes, whoever is asked later has received more.
        asked = sorted(result["replicas"], key=lambda place: not place.get("barred"))
        answers = [self._answer(place) for place in asked]
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
        place = next(place for place in asked if place["identifier"] == choice.identifier)
        received = {answer.identifier: answer.received for answer in answers}
        done = {**place, "because": choice.because, "received": received, "asked_at": result["asked_at"]}
        seen = Observation("replica-choice", "source", {**done, "chosen": choice.identifier})
        return Progress(True, done, observations=(seen,))

    def _answer(self, place: Mapping[str, Any]) -> Answer:
        name, barred = str(place["identifier"]), str(place.get("barred", ""))
        if not place["host"]:
            return Answer(name, None, "it has no endpoint", barred)
        try:
            own = self._standing(place)
        except DrError as error:
            return Answer(name, None, str(error), barred)
        if not own.recovering:
            return Answer(name, None, "it takes writes, so it is no replica any more", barred)
        return Answer(name, own.received, "it has received nothing", barred)

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
            self._client.call(rds_promotion.PROMOTE, wanted, BUSY)

    def _poll_promote(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """Promoted is what takes writes and is no replica at RDS; its first backup need not be done for that."""
        found = self._at.await_shown(str(result["identifier"]))
        state, (writes, blind) = self._at.state(found), self._takes_writes(found)
        note = self._at.note(found, result)
        if found.replica_of:
            if state is State.USABLE:
                self._ask_promotion(found, result)
            return Progress(False, note=f"{note}, still a replica of {found.replica_of.name}")
        at = found.endpoint
        if at is None or writes or not (state is State.USABLE or found.status == "backing-up"):
            return Progress(False, note=f"{note}{', ' + writes if writes else ''}", blind=blind)
        promoted, planned_at = self._since(found.ref.name, "writes"), float(result["planned_at"])
        seen = course(self.events(found.ref.name, planned_at), planned_at)
        more = {"promoted_at": promoted, "promotion_started_at": result["asked_at"], "because": result["because"]}
        backups = self._backups.get(found.ref.name)
        if (
            backups is None
        ):  # another process asked, and it was done before this one looked: those of before the planning
            before = (r for r in self._automated(found) if float(r.get("SnapshotCreateTime") or inf) < planned_at)
            backups = [str(row["DBSnapshotIdentifier"]) for row in before]
        kept = {key: result[key] for key in ("identifier", "source", "because", "asked_at", "at")}
        done = {**kept, "host": at.host, "port": at.port, "promoted_at": promoted, "backups": backups}
        observed = [self._failover(found, seen, **more)]
        if "old" in result:
            observed.append(self._replaced(str(result["source"]), result["old"], found.ref.name))
        # It is available by then: its first backup need not be done for that.
        when = {"promoted": promoted, "available": promoted}
        when |= {"disaster": float(result["at"])} if call.phase == "disaster" else {}
        return Progress(True, done, observations=tuple(observed), milestones=when)

    def _automated(self, found: Resource) -> tuple[dict[str, Any], ...]:
        asked = {"DBInstanceIdentifier": found.ref.name, "SnapshotType": "automated"}
        return self._client.pages("DescribeDBSnapshots", "DBSnapshots", asked)

    def _replaced(self, source: str, old: Mapping[str, Any], promoted: str) -> Observation:
        """What became of the source that was replaced (docs/design.md, ``replaced``)."""
        answer, because = self._answers_as(old)
        shown = self._shown(source, str(old.get("resource_id") or ""), promoted)
        value = {"server": source, "answer": answer, "because": because, "status": shown, "fence": FENCE}
        return Observation("replaced", "source", {**value, "ended": shown in ENDED})

    def _answers_as(self, place: Mapping[str, Any]) -> tuple[str, str]:
        """What it says it is by now, and why that is not known. Asked once, since clients wait to be led away."""
        if not place["host"]:
            return "", "where it listens is not known."
        try:
            return ("recovering" if self._standing(place).recovering else "primary"), ""
        except UnreachableError as error:
            return "unreachable", str(error)
        except HiddenStandbyError:
            return "recovering", ""
        except DrError as error:  # what has no room, starts, or does not take the login, is there
            return "", str(error)

    def _shown(self, source: str, resource: str, promoted: str) -> str | None:
        """The source's status at RDS, also under a new name; "": RDS shows it no more; None: that is not known. A
        listing without what was ``promoted`` is not whole."""
        try:
            rows = self._client.pages("DescribeDBInstances", "DBInstances", {})
        except DrError:
            return None  # clients wait: it is not asked again
        if not any(same(str(row["DBInstanceIdentifier"]), promoted) for row in rows):
            return None
        key, name = ("DbiResourceId", resource) if resource else ("DBInstanceIdentifier", source)
        return next((str(row["DBInstanceStatus"]) for row in rows if same(str(row.get(key, "")), name)), "")

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

    def _poll_backup(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        """What the replica had, or had begun, when its promotion was asked for holds nothing of the new primary. No
        time tells it from the first one, as the clocks differ."""
        found = self._at.await_shown(str(result["identifier"]))
        self._at.state(found)
        ready = [row["DBSnapshotIdentifier"] for row in self._automated(found) if row.get("Status") == "available"]
        new = next((name for name in ready if name not in result["before"]), "")
        if not new:
            return Progress(False, note=f"{self._at.note(found, result)}, no backup since its promotion")
        return Progress(True, {"identifier": result["identifier"], "asked_at": result["asked_at"], "snapshot": new})

    def _replicate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """A new replica; nothing in place of the one that has become the primary."""
        name, source = str(args["identifier"]), str(args["source"])
        result = {**self._at.begin(args), "skipped": same(source, str(args["instead_of"]))}
        if result["skipped"]:
            return result
        with only_looking():
            found = self._at.describe(name)
        if found is None:
            wanted = {"DBInstanceIdentifier": name, "SourceDBInstanceIdentifier": source, **args["parameters"]}
            wanted["Tags"] = pairs(args["tags"])
            self._client.call(rds_promotion.REPLICATE, wanted, ("DBInstanceAlreadyExists",))
            found = self._at.describe(name)
        if found is not None and found.tags.get("dr:run") != args["tags"]["dr:run"]:
            raise RefusedError(f"An instance {name} exists already, and this run did not make it.", "Rename it.")
        return result

    def _poll_replicate(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        if result["skipped"]:
            return Progress(True, {"skipped": True, "instead_of": result["instead_of"]})
        found = self._at.listed(result, "made")
        if found is None:
            return Progress(False, note=f"{result['identifier']}: not listed yet")
        at, note = found.endpoint, self._at.note(found, result)
        if self._at.state(found) is not State.USABLE or at is None:
            return Progress(False, note=note)
        broken = [info for info in found.attributes.get("StatusInfos") or () if not info.get("Normal", True)]
        if broken:
            return Progress(False, note=f"{note}, replication: {broken[0].get('Status', 'not normal')}")
        done = {key: result[key] for key in ("identifier", "source", "instead_of", "asked_at")}
        return Progress(True, {**done, "host": at.host, "port": at.port})
