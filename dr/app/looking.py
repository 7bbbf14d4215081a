"""What there is before a run is planned: what each of its drivers sees, as one."""

from __future__ import annotations

from collections.abc import Mapping

from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Request
from dr.ports import Provider


def look(by_name: Mapping[str, Provider], request: Request) -> Facts:
    """What all drivers see. Raises what their looking raises."""
    return merged({name: provider.look(request) for name, provider in by_name.items()})


def merged(seen: Mapping[str, Facts]) -> Facts:
    """As one. By what a provider is known, it has told itself: of another's identity nobody is believed.

    Raises RefusedError where a provider shows what is not of its own, or calls it the target's.
    """
    every = tuple(seen.values())
    own = {ref for facts in every for ref in facts.own}
    for name, facts in seen.items():
        around = [holder for ref in facts.own for holder in ref.holders if holder not in own]
        for ref in (*facts.own, *around, *(one.ref for one in facts.resources)):
            if ref.provider != name:
                raise RefusedError(
                    f"The provider {name} tells of {ref}, which is not its own: it belongs to {ref.provider}.",
                    "Nothing was changed. Correct what its look says.",
                )
    return Facts(
        at=every[0].at,
        identity={name: facts.identity[name] for name, facts in seen.items() if name in facts.identity},
        resources=tuple(resource for facts in every for resource in facts.resources),
        points=tuple(point for facts in every for point in facts.points),
        own={ref: what for facts in every for ref, what in facts.own.items()},
        extra={key: value for facts in every for key, value in facts.extra.items()},
    )
