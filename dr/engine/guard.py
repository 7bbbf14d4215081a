"""What a run may not do: pure. A refusal is a sentence; any refusal stops the run before its first effect.

Called by: ``dr.app.session``, with the plan and before it is accepted.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from dr.config.model import Target
from dr.domain.model import Call, Facts, Grant, Plan, Purpose
from dr.domain.names import same


@dataclass(frozen=True, slots=True)
class Consent:
    """How somebody agreed: ``identifier`` typed or given by --confirm; ``yes``: --yes, for disposable targets."""

    identifier: str = ""
    yes: bool = False


def on_loopback(endpoint: str) -> bool:
    """Whether an endpoint URL names this machine itself."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(plan: Plan, target: Target, facts: Facts, consent: Consent) -> tuple[str, ...]:
    """Why the plan is refused; empty: it is not."""
    return (*_pins(target, facts), *_grants(target), *_touches(plan, target), *_consent(plan, target, consent))


def _pins(target: Target, facts: Facts) -> tuple[str, ...]:
    wrong = []
    if facts.account != target.account:
        wrong.append(f"The credentials belong to account {facts.account}, the target is pinned to {target.account}.")
    if facts.region != target.region:
        wrong.append(f"The client talks to region {facts.region}, the target is pinned to {target.region}.")
    return tuple(wrong)


def _grants(target: Target) -> tuple[str, ...]:
    if Grant.DISPOSABLE in target.grants and not on_loopback(target.endpoint):
        return ("The target is called disposable, but its endpoint is not on loopback: only a lab can be disposable.",)
    return ()


def _touches(plan: Plan, target: Target) -> tuple[str, ...]:
    if Grant.DISPOSABLE in target.grants:
        return ()
    on_call = plan.request.purpose is Purpose.RESTORE
    made: set[str] = set()
    wrong = []
    for call in plan.calls:
        if not (call.takes_over and on_call):  # to do that to the real one is what was asked for and consented to
            wrong.extend(_touched(call, target, made))
        if not call.takes_over:
            made.update(call.touches)
    return tuple(wrong)


def _touched(call: Call, target: Target, made: set[str]) -> list[str]:
    wrong = []
    strange = [name for name in call.touches if name not in made]
    touches_source = any(same(name, target.instance) for name in call.touches)
    if call.takes_over and strange and not touches_source:
        wrong.append(
            f"{call.id} would change {', '.join(strange)}, which this run did not make: a drill fails over what is its"
            " own, or a disposable target."
        )
    if touches_source:
        wrong.append(f"{call.id} would change {target.instance}, the source itself, which is not disposable.")
    if call.fault and Grant.FAULTS not in target.grants:
        wrong.append(f"{call.id} is a fault, and the target does not grant faults.")
    if call.fault and not set(call.touches) <= made:
        wrong.append(f"{call.id} is a fault and would touch {', '.join(call.touches)}, which this run did not make.")
    return wrong


def _consent(plan: Plan, target: Target, consent: Consent) -> tuple[str, ...]:
    if not plan.calls or same(consent.identifier, target.instance):
        return ()
    if consent.yes and Grant.DISPOSABLE in target.grants:
        return ()
    if consent.yes:
        return (f"--yes is for disposable targets; say --confirm {target.instance} for {plan.request.target}.",)
    if consent.identifier:
        return (f"{consent.identifier!r} is not {target.instance}, the target's instance.",)
    return (f"Nothing was confirmed: say --confirm {target.instance} (or --yes on a disposable target).",)
