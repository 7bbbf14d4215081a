"""The types every layer speaks in. Frozen, without behaviour beyond what their fields imply.

Times named ``at`` are wall-clock seconds since the epoch, UTC, unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from dr.domain.refs import Endpoint, Ref


class Status(StrEnum):
    """How a demand, or a whole run, came out."""

    MET = "met"
    MISSED = "missed"
    INCONCLUSIVE = "inconclusive"


class Grant(StrEnum):
    """What a target allows; nothing by default. Markers: synthetic rows and tables of the harness's own in the source.
    Faults: in copies that this run made. Machines: a drill may break each of the target's that something replaces.
    Disposable: the whole target may be broken; only one on loopback can be so."""

    MARKERS = "markers"
    FAULTS = "faults"
    MACHINES = "machines"
    DISPOSABLE = "disposable"


class Effect(StrEnum):
    """What a call does to what exists. Whoever proposes a call states it, and the guard lets pass what it knows.

    What it makes was not there before: an instance, a process, a table or rows of the harness's own. A fault is always
    undone, ``--keep`` never spares it. What takes over makes another server the source, or leads users to one.
    """

    READS = "reads"
    MAKES = "makes"
    CHANGES = "changes"
    FAULT = "fault"
    TAKES_OVER = "takes-over"


class Purpose(StrEnum):
    """Why a restoration was made: a drill's copy is removed at the end, an on-call restore's is kept."""

    DRILL = "drill"
    RESTORE = "restore"


class Own(StrEnum):
    """What something of the target's own is, in words."""

    SOURCE = "the source itself"
    REPLICA = "a replica of the source"
    LEADS = "which leads the target's clients"
    PART = "which the target's service runs on"
    MACHINE = "a machine of the target's, in whose place something puts another"


LATEST = 1e11
"""The last moment, wall time, some three thousand years from now."""
Moment = Annotated[float, msgspec.Meta(ge=0.0, le=LATEST)]
"""Wall seconds that are a time: evidence that was altered may hold numbers with which nothing can be reckoned."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment: ``at`` for people, and monotonic, for differences within one boot.

    ``at`` is the wall clock as it was when the process began and what passed since, so that nobody sets it; ``wall`` is
    what the wall clock itself said, None where ``at`` was taken from that. ``mono_ns`` is below 0 where a run that
    another machine began did so before this one was booted.
    """

    at: Moment
    mono_ns: Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]
    boot: str
    wall: Moment | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """One step of a run as an experiment or the command line names it."""

    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for, before anything was looked at.

    ``since``: when the disaster happened, as the caller knows it; None where the run itself stamps it.
    ``digest`` identifies equal requests, so that the same command again finds what an earlier one began.
    """

    target: str
    verbs: tuple[Verb, ...]
    purpose: Purpose
    drill: str | None = None
    since: Moment | None = None
    keep: bool = False
    digest: str = ""

    def restores_a_time(self) -> bool:
        """Whether the run restores a point in time, and not a snapshot."""
        return any("time" in to for to in self._restored())

    def restores_the_latest(self) -> bool:
        """Whether what is restored depends on when it is asked for: the newest snapshot, or the latest time."""
        return any("latest" in to.values() for to in self._restored())

    def of_each_kind(self) -> Mapping[str, Request]:
        """The kinds of recovery points that the run restores, each with the request as if that were all of it."""
        restores = [verb for verb in self.verbs if verb.name == "restore" and isinstance(verb.args.get("to"), Mapping)]
        return {str(kind): replace(self, verbs=(verb,)) for verb in restores for kind in verb.args["to"]}

    def _restored(self) -> list[Mapping[str, Any]]:
        asked = (verb.args.get("to") for verb in self.verbs if verb.name == "restore")
        return [to for to in asked if isinstance(to, Mapping)]

    def promotes(self) -> bool:
        """Whether the run promotes a replica, and does not only wait for a failover."""
        return any(verb.name == "promote" for verb in self.verbs)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that exists at the provider. ``attributes`` are the provider's own names.

    ``endpoint``: where it listens; None where it does not, or not yet.
    ``replica_of``: what it replicates from; else None.
    ``uid``: what differs where a thing was made anew under the same name; "" where the provider has nothing like it.
    ``replicas``: what the provider names as replicas of it, also where it does not show them.
    ``remedy``: what a person does about it where its status leads nowhere, so that nobody waits for it; else "".
    """

    ref: Ref
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    endpoint: Endpoint | None = None
    replica_of: Ref | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    uid: str = ""
    replicas: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """What can be restored, by its ``kind``: a "snapshot" covers up to ``covers``, a "window" ``earliest`` to that.

    ``provider``: whose it is, as whoever puts several providers' facts together notes: it proposes from its own alone.
    """

    kind: str
    identifier: str
    source: str
    status: str
    covers: float | None
    earliest: float | None = None
    automated: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The present state, read once before planning.

    ``identity``: what each provider showed by which it is known, such as an account: {provider: {what: value}}. What a
    client is set to is no observation. ``own``: what is the target's own, whether its provider shows it or not.
    ``extra``: what a driver read that is neither: the stored profile of a source that is gone, say.
    """

    at: float
    identity: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    resources: tuple[Resource, ...] = ()
    points: tuple[RecoveryPoint, ...] = ()
    own: Mapping[Ref, Own] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def find(self, ref: Ref) -> Resource | None:
        """What ``ref`` refers to; None where the provider does not show it."""
        return next((one for one in self.resources if one.ref == ref), None)


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Who a run is: what its tags say, and what names it may give to what it makes. ``since``: as in its request.

    ``request``: what was asked for, as text that tags take (``dr.app.asked``); "" of a drill, which no other machine
    goes on with.
    """

    id: str
    target: str
    purpose: Purpose
    digest: str
    since: Moment | None = None
    request: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One planned effect.

    ``args`` hold no secret, only references ("env:NAME", "file:PATH"), and may hold "${CALL.KEY}", which ``perform``
    fills from the result of an earlier call's effect in the ledger.
    ``effect`` is what it does to what it ``touches``, which exists, and ``makes`` names what is there by it alone. Both
    are references; while it is proposed ``touches`` may hold ``result_of`` an earlier call, in whose place ``plan``
    puts what that call makes, or else touches. The guard lets pass what a run may touch and make.
    ``undo``: the call that reverses this one; None where there is nothing to reverse.
    ``deadline``: seconds from the first apply to the end of polling.
    ``volatile``: what it makes dies with the machine or the session (a process): a resumed run undoes and repeats it.
    """

    id: str
    verb: str
    phase: str
    driver: str
    operation: str
    args: Mapping[str, Any] = field(default_factory=dict)
    effect: Effect = field(kw_only=True)
    touches: tuple[Ref, ...] = ()
    makes: tuple[Ref, ...] = ()
    undo: Call | None = None
    until: str = ""
    deadline: float = 60.0
    volatile: bool = False
    restoration: bool = False
    """It makes a restoration, which ``--keep`` spares."""
    covers: Moment | None = None
    """The time in the recovery point of the restoration that it makes; None where that shows only once it is made."""
    promises: tuple[str, ...] = ()
    """The milestones that it is asked for: where the provider shows that it failed, they are known not to have come."""

    def undone_by(
        self,
        id: str,
        operation: str,
        args: Mapping[str, Any] | None = None,
        *,
        touches: tuple[Ref, ...] = (),
        until: str = "",
        deadline: float = 60.0,
    ) -> Call:
        """This call with its undo, of the same driver. Unless they are said, that has this one's arguments, and touches
        what this one makes, or else touches."""
        given, hit = self.args if args is None else args, touches or self.makes or self.touches
        about = {"effect": Effect.CHANGES, "touches": hit, "until": until, "deadline": deadline}
        return replace(self, undo=Call(id, self.verb, "unwind", self.driver, operation, given, **about))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Observation:
    """One fact about ``path``, written to observations.jsonl. ``value`` is JSON: identifiers and digests, no rows.

    ``call``: by which it was observed, as the engine notes; "" of what no call observed, and in former runs.
    """

    what: str
    path: str
    value: Any
    at: Moment = 0.0
    call: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the system that a run restored, and how a person comes to use it. No secret in any of this.

    ``role``: database, namespace, artifacts, configuration, service. ``connect``: a command to paste. ``cut_over``: how
    to put it to use, a step each. ``origin``: what it was restored from, as in "snapshot nightly-1". ``note``: what is
    to be known of it, in sentences.
    """

    role: str
    ref: Ref
    endpoint: Endpoint | None = None
    connect: str = ""
    cut_over: tuple[str, ...] = ()
    origin: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a poll saw. ``result`` goes into the ledger when ``done``; ``note`` is for the person who waits.

    ``milestones``: what has come by the end of the call, each with its wall time (docs/design.md lists them).
    ``components``: what the call restored; of one that is told again, what is said anew counts. Both go into the ledger
    beside the result, and are all that is judged and reported of it.
    ``busy``: it is the poll that works, and nothing is waited for, so that the next one follows at once.
    ``blind``: nothing was seen, since the provider could not be asked.
    """

    done: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    observations: tuple[Observation, ...] = ()
    milestones: Mapping[str, float] = field(default_factory=dict)
    components: tuple[Component, ...] = ()
    busy: bool = False
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """A limit frozen with the plan. ``limit`` is in ``unit``; a demand without a number has unit "" and limit None.

    ``limits``: of a path to which several recovery points of different kinds are restored, by their kind.
    """

    objective: str
    path: str
    limit: float | None = None
    unit: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, and what will be asked of it."""

    request: Request
    run: RunIdentity
    calls: tuple[Call, ...]
    demands: tuple[Demand, ...]

    @property
    def takes_over(self) -> bool:
        """Whether another server becomes the source by it: not where it restores something, which takes the place of
        what is lost."""
        return any(call.effect is Effect.TAKES_OVER for call in self.calls) and not any(
            call.restoration for call in self.calls
        )

    @property
    def what(self) -> str:
        """What the run is, for people: "drill", "failover" or "restore"."""
        if self.request.purpose is Purpose.DRILL:
            return "drill"
        return "failover" if self.takes_over else "restore"


@dataclass(frozen=True, slots=True)
class Finding:
    """One demand, judged. ``because`` is one sentence that names what it rests on."""

    objective: str
    path: str
    status: Status
    because: str
    measured: float | None = None
    unit: str = ""
    limit: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A named part of the recovery; ``started`` in wall seconds."""

    name: str
    started: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings; the worst wins, none is inconclusive. ``restored``: also what was removed when the run unwound."""

    run: str
    target: str
    drill: str | None
    status: Status
    findings: tuple[Finding, ...]
    phases: tuple[Phase, ...]
    restored: tuple[Component, ...] = ()
