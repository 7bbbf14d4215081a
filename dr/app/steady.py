"""The steady state of a drill: does the service on the source answer within its objectives, now?"""

from __future__ import annotations

import json
from dataclasses import asdict
from time import monotonic_ns

from dr.app.session import Session
from dr.config.model import Asked, Target
from dr.domain.errors import DrError, RefusedError
from dr.domain.model import Grant, Observation
from dr.evidence.model import Sample
from dr.evidence.samples import last_line, load_samples, samples_file
from dr.judge.objectives.service import ERRORS, LATENCY
from dr.judge.windows import Look, Slo, good, look
from dr.meter.bearer import authorization, check_taken
from dr.meter.http import endpoint, request
from dr.meter.loop import Pace, run
from dr.meter.probe import Prober, Settings

SOURCE = "source"
"""The path on which a target's users ask."""
VOIDS = 3
"""Looks that say nothing, since dr itself slept, after each of which one more is taken whatever the time."""
SECONDS = 2.0
"""How long one look takes: enough for a p95, short enough to be asked twice in every drill."""
PATIENCE = 20.0
"""Seconds in which a source that is out of its objectives is looked at again: a moment in which a machine is busy, with
what the drill has just made of it above all, is no state, and what lasts longer is one."""


def in_slo(session: Session, path: str = SOURCE) -> bool:
    """Probe the service for a moment on the way that ``path`` is, again while it is out of its objectives, and record
    the last look.

    Where it could not be looked at, why is recorded instead.

    Raises RefusedError where there is no service to ask, and where the target does not grant markers: each probe makes
    the source write a prediction for a synthetic patient. And where the service refuses the token that it is shown.
    """
    clock, looks, voids = session.context.clock, 0, 0
    until = clock.now().at + PATIENCE
    try:
        while True:
            observed, looks = _observed(session, path), looks + 1
            if observed.void and voids < VOIDS:
                until, voids = max(until, clock.now().at + SECONDS), voids + 1
            if observed.in_slo or clock.now().at >= until or session.directory.halted():
                break
    except DrError as error:  # Chaos Toolkit says it in its own log alone
        why = {"text": f"The source was not looked at: {error}", "unlooked": str(error)}
        session.engine.ledger.append("event", data=why)
        raise
    session.directory.observe([Observation("steady", path, {**asdict(observed), "looks": looks})], clock.now().at)
    return observed.in_slo


def _observed(session: Session, path: str) -> Look:
    service = _asked(session.context.target, path)
    if not {Grant.MARKERS, Grant.DISPOSABLE} & set(session.context.target.grants):
        raise RefusedError("The target does not grant markers, so its service is not probed.", "Grant them in dr.yaml.")
    stated = session.context.settings.objectives
    meter = session.context.settings.meter
    samples = _measured(session, path, meter.timeout) or _burst(service, meter.rate, meter.timeout)
    if not any(good(one) for one in samples):
        for one in samples:
            check_taken(f"at {service.url}", one.status, service.token)
    return look(samples, meter.timeout, Slo(LATENCY.of(stated), ERRORS.of(stated)), round(SECONDS * meter.rate))


def _asked(target: Target, path: str) -> Asked:
    found = next(filter(None, (section.asked(path) for section in target.sections.values())), None)
    if found is None:
        raise RefusedError(
            f"The target has no way {path!r} to a service.", "Name the service, or that way to it, in dr.yaml."
        )
    return found


def _measured(session: Session, measured: str, timeout: float) -> list[Sample]:
    """What the drill's own prober of that path sees in a moment, where one is at it: a second one beside it would
    double what the service bears. Of no probe the outcome is still open."""
    clock = session.context.clock
    path, begun = samples_file(session.directory.path, measured), clock.now().at
    last, found = last_line(path), load_samples(path)
    if last is None or found is None or begun - found.wall(last["due"]) > timeout + SECONDS:
        return []
    clock.sleep(SECONDS)
    found, ended = load_samples(path), clock.now().at - timeout
    return [s for s in found.samples if ended - SECONDS <= found.wall(s.due) < ended] if found is not None else []


def _burst(service: Asked, rate: float, timeout: float) -> list[Sample]:
    """Every probe of a moment."""
    to = endpoint(service.url)
    until = monotonic_ns() + round(SECONDS * 1e9)
    written: list[bytes] = []
    shown = authorization(service.token)
    bodies = [request(to, body, shown) for body in service.requests]
    prober = Prober(Settings(to, bodies, service.expected, timeout), written.append)
    run(prober, Pace(monotonic_ns(), rate), lambda: "done" if monotonic_ns() > until else "")
    prober.finish()
    return [Sample(**json.loads(line)) for line in b"".join(written).splitlines()]
