"""What became of the writes to a path when another server took over: the new primary's rows decide. Pure.

As in ``dr.judge.objectives.loss``, after Jepsen's set-full checker; unexpected is also what failed for certain. A write
is a number and an attempt: where both attempts are there, its repetition wrote it twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from dr.config.objective import About, Limit, Objective
from dr.domain.model import Demand, Finding, Purpose, Status
from dr.evidence.model import Evidence, Marker, Markers
from dr.evidence.samples import ACKNOWLEDGED, FAILED
from dr.judge.findings import UnknownError, finding, limit_of, some, within
from dr.judge.interruption import settled
from dr.judge.objectives.loss import held, holes

NO_WRITE = {"refused": "it refused", "read-only": "it was read-only"}
"""What a write attempted at the old primary should come to; "accepted" is split brain, anything else proves nothing: a
server that did not come back may yet take writes."""
FENCE = "Keep clients away from it: let nothing reach it any more, or delete it."


@dataclass(frozen=True, slots=True)
class Survived:
    """A path's writes against the new primary's rows.

    ``acknowledged``: those that were by the time the rows were read. ``unexpected``: (number, attempt). ``saved``:
    indeterminate writes that are there. ``doubt``: why the absence of losses proves nothing, or "".
    """

    markers: Markers
    acknowledged: tuple[Marker, ...]
    lost: tuple[Marker, ...]
    unexpected: tuple[tuple[int, int], ...]
    duplicated: tuple[int, ...]
    saved: int
    doubt: str


def survived(evidence: Evidence, path: str) -> Survived:
    """What the new primary holds of the writes to ``path``."""
    markers = evidence.markers.get(path)
    seen = next((o for o in reversed(evidence.observations) if (o.what, o.path) == ("markers", path)), None)
    if markers is None or not markers.markers:
        raise UnknownError(f"No writes were recorded on path {path}.")
    if seen is None:
        raise UnknownError(f"Which writes of path {path} the new primary holds was not read.")
    read, outcomes = float(seen.value.get("at") or seen.at), {(m.n, m.attempt): m.outcome for m in markers.markers}
    rows, beyond = held(seen.value["present"], max(n for n, _ in outcomes))
    acknowledged = [m for m in markers.markers if m.outcome == ACKNOWLEDGED and markers.wall(m.done) <= read]
    return Survived(
        markers=markers,
        acknowledged=tuple(acknowledged),
        lost=tuple(m for m in acknowledged if (m.n, m.attempt) not in rows),
        unexpected=tuple(sorted(key for key in rows if outcomes.get(key, FAILED) == FAILED)),
        duplicated=tuple(sorted(n for n, attempt in rows if attempt == 1 and (n, 0) in rows)),
        saved=sum(outcomes.get(key) not in (None, ACKNOWLEDGED, FAILED) for key in rows),
        doubt=_doubt(evidence, markers, rows, beyond),
    )


def _doubt(evidence: Evidence, markers: Markers, rows: set[tuple[int, int]], beyond: bool) -> str:
    numbers, last, disaster = {m.n for m in markers.markers}, settled(evidence, markers.path), evidence.disaster()
    before = [markers.wall(m.done) for m in markers.markers if m.outcome == ACKNOWLEDGED]
    before = [at for at in before if at <= disaster]
    unsettled = sorted({m.n for m in markers.markers if m.sent and not m.done and (m.n, m.attempt) not in rows})
    if not before:
        return "No write was acknowledged before the disaster."
    if disaster - max(before) > markers.timeout:
        return f"The last write before the disaster was acknowledged {disaster - max(before):.1f} s before it."
    if last is None:
        return "How far writes had been recorded was not noted after the disaster."
    if beyond or max(numbers) < last or len(numbers) != max(numbers) + 1:
        return "The record of writes is not whole."
    if unsettled:
        return f"The outcome of writes {holes(unsettled)} was never written down."
    return ""


# -- acknowledged, loss-seconds


def judge_acknowledged(evidence: Evidence, demand: Demand) -> Finding:
    """A synchronous standby holds every acknowledged write: one that is gone is missed, whatever loss is tolerated."""
    found = survived(evidence, demand.path)
    because, count = f"{_told(found)}.{_unkept(evidence)}", float(len(found.lost))
    if found.lost or found.unexpected:
        return finding(demand, Status.MISSED, because, count)
    if doubt := found.doubt or _luck(evidence):
        return finding(demand, Status.INCONCLUSIVE, f"{doubt} {because}", count)
    # taken on trust: a standby may follow beneath the database, where nobody can look
    seen = evidence.observed("replication", "source")
    if evidence.promised("failed-over") and seen is not None and not int(seen["synchronous"]):
        because += " The source showed no standby: that one was synchronous was not observed."
    return finding(demand, Status.MET, because, count)


def _unkept(evidence: Evidence) -> str:
    """What the server that took over does not hold, since nobody can send it: a sentence each, with a blank before."""
    seen = {o.value["when"]: o.value for o in evidence.observations if o.what == "unkept"}
    before, after = (seen.get(when) for when in ("before", "after"))
    if before is None or after is None:
        why = evidence.observed("unobserved", "unkept")
        return f" Whether unlogged tables and slots are as before is not known: {str(why).rstrip('.')}." if why else ""
    emptied = [name for name, held in before["unlogged"].items() if held and after["unlogged"].get(name) is False]
    gone = [name for name in before["slots"] if name not in after["slots"]]
    said = f" Empty since then, for they are unlogged: {some(emptied)}." if emptied else ""
    return f"{said} Replication slots are gone, and their readers have a gap: {some(gone)}." if gone else said


def _luck(evidence: Evidence) -> str:
    """Why an absence of losses proves nothing of the next time: commits did not wait, or may not have; else "". A
    replica is known by its own word that it streams; what streams besides is taken for the standby."""
    seen = evidence.observed("replication", "source")
    if seen is not None and seen.get("commit") == "off":
        return "Commits did not wait for the disk (synchronous_commit is off), so that nothing is gone is luck."
    if not evidence.promised("failed-over"):
        return ""
    if seen is None:
        why = evidence.observed("unobserved", "replication") or ""
        return f"Whether a standby streams asynchronously was not observed before the disaster. {why}".rstrip()
    if int(seen["synchronous"]):
        local = "Commits did not wait for the standby (synchronous_commit is local), so that nothing is gone is luck."
        return local if seen.get("commit") == "local" else ""
    standbys, streaming = int(seen["standbys"]), int(seen.get("streaming", 0))
    if standbys <= streaming:
        return ""
    if standbys > int(seen["replicas"]):
        return "The standby was asynchronous before the disaster, so that nothing is gone is luck."
    return (
        f"{standbys} servers streamed asynchronously before the disaster, and only {streaming} are known to be read"
        " replicas: where another is the standby, that nothing is gone is luck."
    )


def judge_loss_seconds(evidence: Evidence, demand: Demand) -> Finding:
    """Seconds of acknowledged writes that an asynchronous standby did not have, beside the lag seen before."""
    found, disaster, limit = survived(evidence, demand.path), evidence.disaster(), limit_of(demand)
    low, high = seconds_lost(found, disaster)
    because = f"{_told(found)}: {high:.2f} s lost.{_lag(evidence, disaster)}"
    status = Status.MISSED if found.unexpected else within(low, high, limit)
    if status is Status.MET and found.doubt:
        status, because = Status.INCONCLUSIVE, f"{found.doubt} {because}"
    return finding(demand, status, because, high, (low, high))


def seconds_lost(found: Survived, disaster: float) -> tuple[float, float]:
    """From the newest write acknowledged before the first lost one, at most, and from the sending of that, at least; to
    the disaster, or to the last lost write, since a server that was given up may have gone on for a while."""
    if not found.lost:
        return 0.0, 0.0
    wall = found.markers.wall
    first = min(m.sent for m in found.lost)
    until = max(disaster, *(wall(m.done) for m in found.lost))
    newest = max((m.done for m in found.acknowledged if m.done < first), default=first)
    return max(0.0, until - wall(first)), max(0.0, until - wall(newest))


def _told(found: Survived) -> str:
    said = f"Of {len(found.acknowledged)} acknowledged writes {len(found.lost)} are gone"
    if found.lost:
        said += f" ({_rows(_keys(found.lost))})"
    if found.unexpected:
        said += f"; rows are there that were never written, or failed for certain ({_rows(found.unexpected)})"
    if found.saved:
        said += f"; {found.saved} whose outcome was not known are there"
    if found.duplicated:
        said += f"; {len(found.duplicated)} were written twice by their repetition ({holes(found.duplicated)})"
    return said


def _keys(markers: Iterable[Marker]) -> set[tuple[int, int]]:
    return {(m.n, m.attempt) for m in markers}


def _rows(keys: Iterable[tuple[int, int]]) -> str:
    """Numbers as ranges, repetitions apart."""
    firsts, again = (sorted(n for n, a in {*keys} if bool(a) is repeated) for repeated in (False, True))
    return " and ".join(filter(None, (holes(firsts), f"the repetition of {holes(again)}" if again else "")))


def _lag(evidence: Evidence, disaster: float) -> str:
    """Of the replica that took over, where that is known; else the greatest."""
    seen = [o.value for o in evidence.observations if o.what == "lag" and o.at <= disaster]
    chosen = evidence.latest("replica-choice") if evidence.milestone("promoted") is not None else None
    promoted = None if chosen is None else chosen.value.get("chosen")
    own = [value for value in seen if value.get("replica") == promoted] if promoted else seen
    if not own or own[-1].get("seconds") is None:
        return " No lag was seen before the disaster."
    of = f" of {own[-1]['replica']}" if own[-1].get("replica") else ""
    return f" The lag{of} seen before the disaster was {float(own[-1]['seconds']):.2f} s."


# -- split-brain


def judge_split_brain(evidence: Evidence, demand: Demand) -> Finding:
    """Once the new primary took writes, no other server may: none of the path's, and not one tried at the old one. On
    call nobody writes markers: there the old source's own answer decides."""
    if evidence.record.plan.request.purpose is Purpose.RESTORE:
        return _by_its_answer(evidence, demand)
    old = getattr(evidence.latest("old-primary"), "value", {})
    outcome, rows = old.get("outcome"), ", ".join(map(str, old.get("rows") or ()))
    accepted = f"The old primary accepted a write{f' ({rows})' if rows else ''}"
    try:
        found = survived(evidence, demand.path)
        taken = _taken_elsewhere(evidence, found)
    except UnknownError:
        if outcome == "accepted":
            return finding(demand, Status.MISSED, f"{accepted} when it came back.")
        raise
    if taken:
        because = f"Another server acknowledged writes after the new primary had: {_rows(_keys(taken))} are not in it."
        because += f" {accepted}, too." if outcome == "accepted" else ""
        return finding(demand, Status.MISSED, because, float(len(taken)))
    if outcome == "accepted":
        return finding(demand, Status.MISSED, f"{accepted} when it came back.")
    if found.doubt:
        raise UnknownError(found.doubt)
    if outcome == "unreachable":
        raise UnknownError("The old primary did not come back: whether it would take a write is not known.")
    if outcome not in NO_WRITE:
        said = evidence.observed("unobserved", "old-primary") or ""
        raise UnknownError(f"What a write comes to at the old primary is not known. {said}".rstrip())
    because = f"No write of {len(found.acknowledged)} was taken by another server; of the old primary: "
    return finding(demand, Status.MET, f"{because}{NO_WRITE[outcome]}.", 0.0)


def _by_its_answer(evidence: Evidence, demand: Demand) -> Finding:
    """By what the source that was replaced said of itself after that, and where it said nothing, by its provider.
    Silence alone proves nothing: a host that hung goes on, and takes the writes of whoever still reaches it."""
    seen = getattr(evidence.latest("replaced"), "value", {})
    said, old, shown = seen.get("answer"), seen.get("server", "the old primary"), seen.get("status")
    fence = seen.get("fence", FENCE)
    if said == "primary":
        return finding(demand, Status.MISSED, f"{old} still answers as a primary: writes may go to both.")
    if said == "recovering":
        return finding(demand, Status.MET, f"{old} answers, but takes no write: it recovers.")
    if said != "unreachable":
        because = f" ({seen['because'].rstrip('.')})" if seen.get("because") else ""
        raise UnknownError(f"Whether {old} still answers as a primary is not known{because}. {fence}")
    if shown is None:
        raise UnknownError(f"{old} does not answer, and what its provider shows of it could not be read. {fence}")
    if not seen["ended"]:
        because = f"{old} does not answer, but its provider shows it as {shown}: it may go on and take writes."
        raise UnknownError(f"{because} {fence}")
    told = f"as {shown}" if shown else "no more"
    return finding(demand, Status.MET, f"{old} could not be reached any more, and its provider shows it {told}.")


def _taken_elsewhere(evidence: Evidence, found: Survived) -> list[Marker]:
    """Lost writes that were sent after the new primary had acknowledged one, on whatever path."""
    promoted, first = evidence.promoted(), math.inf
    if promoted is None:
        raise UnknownError("When the new primary was promoted was not observed.")
    evidence.clocks().check(others=True)
    for path in evidence.markers:
        with suppress(UnknownError):
            other = survived(evidence, path)
            gone, wall = _keys(other.lost), other.markers.wall
            # its own were sent after the promotion, and are there
            kept = (m for m in other.acknowledged if wall(m.sent) > promoted and (m.n, m.attempt) not in gone)
            first = min([first, *(wall(m.done) for m in kept)])
    if math.isinf(first):
        raise UnknownError("The new primary is not known to have acknowledged any write.")
    return [m for m in found.lost if found.markers.wall(m.sent) > first]


LAG = 60.0
"""Seconds of acknowledged writes that an asynchronous replica may not have had."""
OBJECTIVES = (
    Objective("acknowledged", About.WRITES, judge_acknowledged),
    Objective("loss-seconds", About.WRITES, judge_loss_seconds, "s", (Limit("loss-seconds", LAG),)),
    Objective("split-brain", About.WRITES, judge_split_brain),
)
