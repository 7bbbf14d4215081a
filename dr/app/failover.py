"""``dr failover``: the verbs of a failover on call, or of a promotion, in their order.

There is nobody to ask on call what the service answered before: its outage is judged in drills, and here whether it
answers within its objectives afterwards.
"""

from __future__ import annotations

from typing import Any

from dr.app import restore
from dr.app.ending import Outcome
from dr.app.session import Session
from dr.config.model import Target
from dr.domain.model import Facts, Grant, Own, Purpose, Request, Verb
from dr.wiring import able

BEST = "best"
"""The replica that has received most, whichever it is."""
MOVE, MEASURE = Verb("move"), Verb("measure", {"path": "source"})
PROMOTED = (*restore.MEASURED, "split-brain")
RUNS = (
    "The provider shows {} as available. While it runs, a promotion makes two primaries, and writes may go to both."
    " Fail over instead, by 'dr failover', or keep clients away from it first."
)
UNMOVED = "The target names nothing that leads its clients: lead clients to the promoted replica yourself."
UNMEASURED = (
    "The service is not measured, so nothing is proven. Measuring it takes service in the target, and grant markers."
)


def request(name: str, target: Target, promote: str, since: float | None) -> Request:
    """What ``dr failover`` asks for. ``promote``: a replica's name, or ``BEST``; "": the standby takes over. The
    service is measured where it is there after that, and the target lets predictions be written."""
    verbs, moved = [Verb("failover")], able(MOVE, target)
    if promote:
        chosen: dict[str, Any] = {} if promote == BEST else {"replica": promote}
        verbs = [Verb("promote", chosen)]
        verbs += [MOVE] if moved else []
    if (moved or not promote) and able(MEASURE, target) and Grant.MARKERS in target.grants:
        verbs += [MEASURE, Verb("settle", {"paths": ["source"]})]
    if promote:
        verbs.append(Verb("rebuild"))
    return Request(name, tuple(verbs), Purpose.RESTORE, since=since)


def asked(wanted: Request) -> dict[str, str]:
    """The demands: objective to path. A promotion demands of the service what is not measured, too: that the old source
    takes no write proves nothing of it."""
    verbs = {verb.name for verb in wanted.verbs}
    if "promote" in verbs:
        return dict.fromkeys(PROMOTED, "source")
    return dict.fromkeys(restore.MEASURED, "source") if "measure" in verbs else {}


def source(facts: Facts) -> str:
    """The name of what is failed over."""
    return next((ref.name for ref, own in facts.own.items() if own is Own.SOURCE), "the source")


def cautions(wanted: Request, facts: Facts) -> tuple[str, ...]:
    """What is to be known before consent, a sentence each."""
    verbs = {verb.name for verb in wanted.verbs}
    promotes = "promote" in verbs
    runs = any(one.status == "available" and facts.own.get(one.ref) is Own.SOURCE for one in facts.resources)
    sentences = (
        (RUNS.format(source(facts)), promotes and runs),
        (UNMOVED, promotes and "move" not in verbs),
        (UNMEASURED, "measure" not in verbs),
    )
    return tuple(sentence for sentence, holds in sentences if holds)


def run(session: Session) -> Outcome:
    """Do every verb, finish, and say how it ended. Raises RefusedError where the provider refused the first step."""
    return restore.run(session, "The same command goes on with it; what the provider has begun goes on by itself.")
