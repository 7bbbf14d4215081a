"""RDS as a provider of restorations and failovers: looks, proposes, applies and polls.

What is decided stands in ``points``, ``settings``, ``restore``, ``failover`` and ``promotion``; what is done of the
first three here, of the others in ``takeover``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from dr.config.context import Context
from dr.config.secrets import secret
from dr.domain.errors import OddAnswerError, ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Facts, Observation, Progress, Purpose, Request, Resource, RunIdentity, Verb
from dr.domain.refs import Endpoint
from dr.domain.tags import of_point, ours
from dr.drivers.aws.client import confirmed
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.servers import Servers
from dr.drivers.rds import failover as rds_failover
from dr.drivers.rds import look as rds_look
from dr.drivers.rds import promotion as rds_promotion
from dr.drivers.rds import restore as rds_restore
from dr.drivers.rds import restored, settings
from dr.drivers.rds.client import RdsClient, wanted_instead
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.instances import BUSY, Begin, Deletion, Instances, Poll, only_looking, pairs
from dr.drivers.rds.log import reached, replay_seconds
from dr.drivers.rds.naming import DRIVER, State, instance
from dr.drivers.rds.points import iso
from dr.drivers.rds.profile import last_seen, pins
from dr.drivers.rds.takeover import Takeover
from dr.evidence import profiles
from dr.host.bounded import persistently
from dr.judge.objectives import outage, time_to_copy

IDENTITY_SECONDS = 5.0
"""How long a confirmed identity counts: STS is not asked for every call of a burst."""
SETTLED_SECONDS = 60.0
"""A change may take a moment to show; what has not arrived by then is reported as a difference."""
LOG_FILES = 4
LOG_PORTIONS = 20


class RdsProvider:
    """Restoring, failing over and promoting on Amazon RDS, or on whatever speaks its API at the target's endpoint."""

    def __init__(self, context: Context, client: RdsClient | None = None, servers: Servers | None = None) -> None:
        self._context = context
        self._rds, self._database = context.target.of(RdsConfig), context.target.of(PostgresConfig)
        self._client = client or RdsClient(context.target, context.clock)
        self._at = Instances(context, self._client)
        self._now = self._at.now
        self._servers = servers or Servers(self._database)
        self._takeover = Takeover(self._at, self._servers)
        deletion = Deletion(self._at)
        self._steps: Mapping[str, tuple[Begin, Poll]] = {
            rds_restore.AWAIT: (self._at.begin, self._poll_await),
            rds_restore.FROM_SNAPSHOT: (partial(self._restore, rds_restore.FROM_SNAPSHOT), self._poll_restore),
            rds_restore.TO_TIME: (partial(self._restore, rds_restore.TO_TIME), self._poll_restore),
            rds_restore.MODIFY: (self._configure_or_wait, self._poll_configure),
            rds_restore.DELETE: (deletion.apply, deletion.poll),
            **self._takeover.steps,
        }
        self._configured: dict[str, Mapping[str, Any]] = {}
        """Of what RDS would not change at first: the result once it did."""
        self._confirmed: float | None = None
        self._account = ""
        """What STS said last."""

    # -- reading

    def look(self, request: Request) -> Facts:
        """Read instances, snapshots and windows; keep the source's profile outside AWS for the day it is gone."""
        self.confirm_identity()
        found = rds_look.instances(self._client, self._rds)
        name = self._rds.instance
        source = next((one for one in found if one.ref == instance(name)), None)
        points = rds_look.points(self._client, source, name, rds_look.named_snapshot(request))
        at, extra = self._now(), dict[str, Any]()
        if source is not None and not source.remedy:
            profile = {**pins(self._context), "at": at, "source": source.attributes}
            profiles.store(self._context.home, self._context.name, profile)
        if source is None:
            extra["profile"] = last_seen(self._context)
        elif any(verb.name in rds_failover.VERBS for verb in request.verbs):
            extra["events"] = self._takeover.events(name, at - rds_failover.UNDER_WAY_SECONDS)
        seen = {"account": self._account, "region": rds_look.region(found, points)}
        return Facts(at, {DRIVER: seen}, found, points, rds_look.own(name, found), extra)

    def confirm_identity(self) -> None:
        """Compare the account of the credentials with the target's. Endpoint and region are pinned by the client."""
        now = self._now()
        if self._confirmed is not None and 0 <= now - self._confirmed < IDENTITY_SECONDS:
            return
        first = self._confirmed is None  # whoever has just typed a command is told at once
        confirm = partial(confirmed, self._client, self._rds, self._context.name)
        self._account = confirm() if first else self._at.patiently(confirm)
        self._confirmed = now

    @property
    def late(self) -> float:
        return rds_restore.UNLISTED_SECONDS

    def orphans(self, now: float, under_way: frozenset[str], over: frozenset[str]) -> tuple[Call, ...]:
        """The deletions of drills' copies of this source that no run will delete; see ``restore.orphans``."""
        return rds_restore.orphans(self._all(), self._rds.instance, now, under_way, over)

    def remains(self, run: str) -> tuple[Resource, ...]:
        """What bears the tag of ``run``, or of any run that took this source; see ``ports.Restorer``."""
        if run:
            return tuple(one for one in self._all() if one.tags.get("dr:run") == run)
        return tuple(one for one in self._all() if rds_restore.taken_from(one, self._rds.instance))

    def by_hand(self, found: Resource) -> tuple[tuple[str, str], ...]:
        return restored.deleting(found, self._rds)

    ended_by_hand = staticmethod(restored.ending)

    def _all(self) -> tuple[Resource, ...]:
        self.confirm_identity()
        return self._at.patiently(lambda: rds_look.instances(self._client, self._rds))

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """The calls of one verb; see ``restore``, ``failover`` and ``promotion``."""
        name, target, stated = self._context.name, self._context.target, self._context.settings.objectives
        if verb.name in rds_failover.VERBS:
            return rds_failover.propose(self._rds.instance, outage.FAILOVER.of(stated), verb, facts, run)
        if verb.name in rds_promotion.VERBS:
            return rds_promotion.propose(name, target, outage.PROMOTION.of(stated), verb, facts, run)
        calls = rds_restore.propose(name, target, time_to_copy.LIMIT.of(stated), verb, facts, run)
        _check_types(verb.args.get("set") or {}, "--set '{}={}'")
        if run.purpose is Purpose.DRILL:
            _check_types(self._rds.restored, "'{}: {}' under the target's 'restored' in dr.yaml")
        return calls

    # -- doing

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do ``call``; repeated, it finds what it did before by the tags it gave."""
        with only_looking():
            self.confirm_identity()
        try:
            return self._at.patiently(lambda: self._steps[call.operation][0](args))
        except ProviderError as error:
            if call.operation == rds_failover.FORCE and error.code in BUSY:
                raise RefusedError(str(error.args[0]), error.hint) from None  # RDS did not begin: nothing was changed
            raise

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        """How far ``call`` is. A passing failure to ask is noted, and the deadline decides."""
        try:
            if call.operation == rds_restore.DELETE:
                self.confirm_identity()
            return self._steps[call.operation][1](call, result)
        except ProviderError as error:
            if not error.transient:
                raise
            return Progress(done=False, note=str(error), blind=True)

    def adopt(self, identifier: str, run: str) -> None:
        """Take the harness's tags off a restoration of ``run``, at cut-over. Raises RefusedError if it is another's."""
        found = self._own(identifier, run)
        keys = sorted(key for key in found.tags if key.startswith("dr:"))
        self._client.call(
            "RemoveTagsFromResource", {"ResourceName": found.attributes["DBInstanceArn"], "TagKeys": keys}
        )

    def seal_tag(self, identifier: str, run: str, verdict: str) -> None:
        """Mark a restoration of ``run`` as over: from then on it hinders no other restore. Raises RefusedError.

        The mark of the machine that ended the run stays, whoever cleans up later."""
        found = self._own(identifier, run)
        if "dr:sealed" not in found.tags:
            self._at.tag(found, {"dr:sealed": verdict})

    def _own(self, identifier: str, run: str) -> Resource:
        """A restoration of ``run``. Raises RefusedError where it is another's, or adopted."""
        self.confirm_identity()
        found = self._at.require(identifier)
        if found.tags.get("dr:run") != run:
            raise RefusedError(f"{identifier} is not of run {run}.", "Name the run that made it: 'dr history'.")
        return found

    # -- restoring

    def _poll_await(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        latest, wanted = self._restorable(str(result["source"])), float(result["time"])
        if latest is not None and latest > wanted:
            return Progress(done=True, result=result)
        reached = iso(latest) if latest is not None else "no time yet"
        return Progress(done=False, note=f"{iso(wanted)} is not restorable yet: the logs reach {reached}")

    def _restorable(self, source: str) -> float | None:
        value = self._at.await_shown(source).attributes.get("LatestRestorableTime")
        return None if value is None else float(value)

    def _restore(self, operation: str, args: Mapping[str, Any]) -> dict[str, Any]:
        latest = args["recovery_point"] is None and args["kind"] == "time"
        with only_looking():
            found = self._at.describe(str(args["identifier"]))
            covers = self._restorable(str(args["source"])) if latest and found is None else args["recovery_point"]
        if found is not None:
            return self._take_over(found, args)
        covers = None if covers is None else float(covers)
        parameters = dict(args["parameters"])
        if operation == rds_restore.TO_TIME and not parameters.get("UseLatestRestorableTime"):
            parameters["RestoreTime"] = iso(covers or 0.0)
        tags = {**args["tags"], **of_point(str(args["point_id"]), covers)}
        parameters["Tags"] = pairs(tags)
        asked_at = self._now()
        if self._client.call(operation, parameters, ("DBInstanceAlreadyExists",)) is None:
            return self._take_over(self._made_before(str(args["identifier"])), args)
        reached = self._restorable(str(args["source"])) if latest else covers
        return _begun(args, covers, tags["dr:point-id"], asked_at, 1.0 + (reached or 0.0) - (covers or 0.0))

    def _made_before(self, identifier: str) -> Resource:
        """Whose name is taken: this run's own, if an attempt was accepted whose answer was lost, or somebody else's.
        One that was just accepted is waited for until it is listed."""

        def listed() -> Resource:
            found = self._at.describe(identifier)
            if found is None:
                raise ProviderError(
                    f"RDS says that {identifier} exists, and does not list it.", "Repeat the command.", transient=True
                )
            return found

        return persistently(self._context.clock, lambda error: self.late if error.transient else 0.0, listed)

    def _take_over(self, found: Resource, args: Mapping[str, Any]) -> dict[str, Any]:
        """Continue what an earlier attempt made. What it took as its recovery point stands in its tags."""
        run, digest = str(args["tags"]["dr:run"]), str(args["tags"]["dr:request"])
        drill = args["tags"]["dr:purpose"] == Purpose.DRILL
        if not ours(found.tags, run, "" if drill else digest):
            raise RefusedError(
                f"An instance {found.ref.name} exists already, and somebody else made it "
                f"(run {found.tags.get('dr:run', 'none')}).",
                "Choose another name: --as NAME.",
            )
        if found.tags.get("dr:run") != run:
            self._at.tag(found, {"dr:run": run})
        kept = found.tags.get("dr:point")
        covers = float(kept) if kept else None
        created = found.attributes.get("InstanceCreateTime")
        open_end = args["recovery_point"] is None and args["kind"] == "time"
        width = max(1.0, created - covers) if open_end and created and covers else 1.0
        point = found.tags.get("dr:point-id", str(args["point_id"]))
        return _begun(args, covers, point, created or self._now(), width)

    def _poll_restore(self, call: Call, result: Mapping[str, Any]) -> Progress:
        found = self._at.listed(result, "being restored")
        if found is None:
            return Progress(done=False, note=f"{result['identifier']}: not listed yet")
        note, state, at = self._at.note(found, result), self._at.state(found), found.endpoint
        serving = state is State.SERVING  # RDS may be at work on it for hours: a first backup
        if at is None or not (state is State.USABLE or (serving and self._servers.answers(at.host, at.port))):
            return Progress(done=False, note=note)
        now, (seconds, far) = self._now(), self._replay(found.ref.name)
        done = {**result, "host": at.host, "port": at.port, "status": found.status, "point": self._held(at), **seconds}
        point = {"kind": done["kind"], "identifier": done["point_id"], "covers": done["recovery_point"]}
        point |= {"resolution": done["resolution"], **(far if done["kind"] == "time" else {})}
        if call.args["recovery_point"] is None:
            point.pop("target", None)  # RDS chose it: there is no second that was asked for
        made = restored.restored(done, str(call.args["source"]), call.args.get("replicas", ()), self._database)
        return Progress(
            done=True,
            result=done,
            note=note,
            observations=(Observation("recovery-point", "restored", point),),
            milestones={"available": now},
            components=(made,),
        )

    def _held(self, at: Endpoint) -> Mapping[str, Any] | None:
        """What the copy holds by its source's log, as long as nobody but a hand can have written to it; None where it
        does not say so now: whoever examines it asks again."""
        try:
            return self._servers.recovered(at.host, at.port).told()
        except (ProviderError, RefusedError):
            return None

    def _replay(self, identifier: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """From the log, where it tells: seconds of replay, for the result; and how far it came, for the observation
        of the recovery point. A log that cannot be read is noted: the judge knows what then rests on nothing else."""
        try:
            named = {"DBInstanceIdentifier": identifier, "FilenameContains": "postgres"}
            files = self._client.pages("DescribeDBLogFiles", "DescribeDBLogFiles", named)
            newest = sorted(files, key=lambda file: file.get("LastWritten", 0))[-LOG_FILES:]
            text = "\n".join(self._log(identifier, str(file["LogFileName"])) for file in newest)
        except (ProviderError, RefusedError) as error:
            return {}, {"replay_note": str(error)}
        seconds, far = replay_seconds(text), reached(text)
        told = {} if seconds is None else {"replay_seconds": seconds}
        return told, far or {"replay_note": "Its log holds no recovery to a time."}

    def _log(self, identifier: str, name: str) -> str:
        text, marker = "", "0"
        for _ in range(LOG_PORTIONS):
            asked = {"DBInstanceIdentifier": identifier, "LogFileName": name, "Marker": marker}
            answer = self._client.call("DownloadDBLogFilePortion", asked) or {}
            text += answer.get("LogFileData", "")
            if not answer.get("AdditionalDataPending"):
                break
            if str(answer.get("Marker", "")) == marker:
                raise OddAnswerError(f"DownloadDBLogFilePortion at {self._client.where}", f"marker {marker!r} repeats")
            marker = str(answer.get("Marker", ""))
        return text

    # -- configuring

    def _configure_or_wait(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """``_configure``, or what says that RDS does not take it in the instance's present state: a poll repeats it."""
        try:
            return self._configure(args)
        except ProviderError as error:
            if error.code not in BUSY:
                raise
            return {"identifier": args["identifier"], "changed": [], "asked_at": self._now(), "refused": True}

    def _configure(self, args: Mapping[str, Any]) -> dict[str, Any]:
        found = self._at.await_shown(str(args["identifier"]))
        named, have = {"DBInstanceIdentifier": found.ref.name}, settings.comparable(found.attributes)
        changes = settings.missing(args["parameters"], have)
        if args["master_secret"]:
            changes["MasterUserPassword"] = secret(args["master_secret"])
        if changes:
            self._client.call(rds_restore.MODIFY, {**named, **changes, "ApplyImmediately": True})
        for role in args["roles"]:
            if role not in have.get("AssociatedRoles", []):
                self._client.call("AddRoleToDBInstance", {**named, **role}, ("DBInstanceRoleAlreadyExists",))
        return {"identifier": found.ref.name, "changed": sorted(changes), "asked_at": self._now()}

    def _poll_configure(self, call: Call, result: Mapping[str, Any]) -> Progress:
        result = self._configured.get(str(result["identifier"]), result)
        found = self._at.await_shown(str(result["identifier"]))
        note, state, have = self._at.note(found, result), self._at.state(found), settings.comparable(found.attributes)
        late = sorted(settings.missing(call.args["parameters"], have)) if result["changed"] else []
        pending = sorted(found.attributes.get("PendingModifiedValues") or {})
        if result.get("refused") and state is State.USABLE:
            self._configured[found.ref.name] = self._configure_or_wait(call.args)
            return Progress(done=False, note=note)
        settled = state is State.USABLE or (state is State.SERVING and not result["changed"])
        overdue = self._now() - float(result["asked_at"]) >= SETTLED_SECONDS
        if result.get("refused") or not settled or pending or (late and not overdue):
            missing = f", waiting for {', '.join(pending or late)}" if pending or late else ""
            return Progress(done=False, note=note + missing)
        seen = Observation("configuration", "restored", _differences(call.args, found, have))
        return Progress(done=True, result=dict(result), observations=(seen,))


def _differences(args: Mapping[str, Any], found: Resource, have: Mapping[str, Any]) -> Any:
    """Each difference from the source, or {because} where there is nothing to compare with."""
    if args["source"] is None:
        return {"because": "neither the source nor a profile of it is there to compare with"}
    same_host = found.endpoint is not None and found.endpoint.host == args["source_host"]
    return settings.differences(args["source"], have, args["asked"], args["because"], same_host, args.get("fitted"))


def _begun(
    args: Mapping[str, Any], covers: float | None, point: str, asked_at: float, resolution: float
) -> dict[str, Any]:
    begun = {"identifier": args["identifier"], "kind": args["kind"], "recovery_point": covers, "point_id": point}
    return {**begun, "asked_at": asked_at, "resolution": resolution}


def _check_types(given: Mapping[str, Any], form: str) -> None:
    """What a person set, before anything is begun. ``form``: how a name and its value are. Raises UsageError."""
    for name, value in given.items():
        operation = rds_restore.FROM_SNAPSHOT if name in {**settings.RESTORE, **settings.ASKED} else rds_restore.MODIFY
        wanted = "" if value in settings.LEFT_TO_RDS else wanted_instead(operation, name, value)
        if wanted:
            example = {"list": '["a", "b"]', "boolean": "true", "integer": "3000"}.get(wanted, "text")
            raise UsageError(
                f"{name} is of type {wanted} in RDS, and {value!r} is not.",
                f"Values are JSON, text may stand plain: {form.format(name, example)}.",
            )
