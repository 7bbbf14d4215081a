"""How a workload comes to stand whole again after a part of it was lost: what was first seen when. Pure.

Every moment is two: that of the last look which did not show it, and that of the first which did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dr.drivers.kubernetes.scene import NodeSeen, PodSeen, Scene

Span = tuple[float, float]


class Before(msgspec.Struct, frozen=True):
    """The workload before its loss, as it was seen ``at``. ``lost``: the UIDs of its pods on ``node``; ``known``: of
    all that it had. ``gpus``: allocatable there; ``usable``: in the whole cluster. ``served``: whether Services led to
    its pods."""

    of: str
    node: str
    at: float
    wanted: int
    lost: tuple[str, ...]
    known: tuple[str, ...]
    gpus: int
    usable: int
    served: bool


class Course(msgspec.Struct, frozen=True):
    """How far it is, from before the loss on. ``fell``: lost pods that were seen down, which count again once they
    stand. ``steps``: by name. ``until``: when it was looked at last, which was the look number ``looks``."""

    before: Before
    until: float
    looks: int = 0
    fell: tuple[str, ...] = ()
    steps: dict[str, Span] = {}
    restored: Span | None = None
    standing: int = 0
    wanted: int | None = None
    led: int = 0
    usable: int = 0
    pending: tuple[PodSeen, ...] = ()

    def told(self) -> dict[str, Any]:
        """As the observation has it."""
        why = next((one.why for one in self.pending if one.why), "")
        return {
            "of": self.before.of,
            "node": self.before.node,
            "steps": {name: list(span) for name, span in self.steps.items()},
            "restored": None if self.restored is None else list(self.restored),
            "until": self.until,
            "wanted": {"before": self.before.wanted, "now": self.wanted},
            "standing": self.standing,
            "led": self.led if self.before.served else None,
            "gpus": {"before": self.before.usable, "now": self.usable},
            "unscheduled": {"pods": len(self.pending), "gpus": sum(one.gpus for one in self.pending), "because": why},
        }

    @property
    def note(self) -> str:
        """For whoever waits."""
        last = max(self.steps.items(), key=lambda step: step[1][1], default=("nothing noticed yet", None))[0]
        why = next((f"; the scheduler says: {one.why}" for one in self.pending if one.why), "")
        return f"{self.standing} of {self.before.wanted} stand ({last}){why}"


def before(of: str, node: str, there: Scene, at: float) -> Before:
    """What stands on ``node`` is lost when that is."""
    return Before(
        of=of,
        node=node,
        at=at,
        wanted=there.wanted or 0,
        lost=tuple(one.uid for one in there.pods if one.node == node),
        known=tuple(one.uid for one in there.pods),
        gpus=there.nodes[node].gpus,
        usable=there.usable,
        served=bool(there.served),
    )


def advanced(course: Course, now: Scene, at: float) -> Course:
    """The course after a look that showed ``now``."""
    known = course.before
    up = {one.uid for one in now.standing}
    fell = tuple(uid for uid in known.lost if uid in course.fell or uid not in up)
    counted = [one for one in now.standing if one.uid not in known.lost or one.uid in fell]
    led = sum(one.name in now.served for one in counted)
    whole = len(counted) >= known.wanted and (not known.served or led >= known.wanted)
    whole = whole and now.wanted is not None and now.wanted >= known.wanted and bool(fell or not known.lost)
    span = (course.until, at)
    came = {name: span for name, holds in STEPS.items() if name not in course.steps and holds(known, now)}
    return msgspec.structs.replace(
        course,
        until=at,
        looks=course.looks + 1,
        fell=fell,
        steps={**course.steps, **came},
        restored=(course.restored or span) if whole else None,
        standing=len(counted),
        wanted=now.wanted,
        led=led,
        usable=now.usable,
        pending=tuple(one for one in now.pods if not one.node and not one.ending),
    )


def _noticed(known: Before, now: Scene) -> bool:
    seen: NodeSeen | None = now.nodes.get(known.node)
    return seen is None or not seen.ready or seen.cordoned or seen.gpus < known.gpus


def _dropped(known: Before, now: Scene) -> bool:
    return not any(one.name in now.served for one in now.pods if one.uid in known.lost)


def _evicted(known: Before, now: Scene) -> bool:
    return all(one.ending for one in now.pods if one.uid in known.lost)


def _new(known: Before, now: Scene, holds: Callable[[PodSeen], bool]) -> bool:
    """Whether as many new pods as were lost are so."""
    new = [one for one in now.pods if one.uid not in known.known and not one.ending]
    return bool(known.lost) and sum(bool(one.node) and holds(one) for one in new) >= len(known.lost)


STEPS: Mapping[str, Callable[[Before, Scene], bool]] = {
    "noticed": _noticed,
    "endpoint-dropped": _dropped,
    "evicted": _evicted,
    "rescheduled": lambda known, now: _new(known, now, lambda _: True),
    "started": lambda known, now: _new(known, now, lambda one: one.started),
    "artifact-loaded": lambda known, now: _new(known, now, lambda one: one.loaded),
    "warm": lambda known, now: _new(known, now, lambda one: one.ready),
}
"""What there is to see, in its usual order: the node is not ready or counts less GPUs; nobody is led to its pods; they
are to go; others have a node; these run; their startup probes have passed; they are ready."""
