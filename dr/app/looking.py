"""What there is before a run is planned: what each of its drivers sees, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dr.domain.errors import RefusedError
from dr.domain.model import Facts, Request
from dr.ports import Provider


def look(by_name: Mapping[str, Provider], request: Request) -> Facts:
    """What all drivers see. Raises what their looking raises, and RefusedError where they see two accounts."""
    return merged([provider.look(request) for provider in by_name.values()])


def merged(seen: Sequence[Facts]) -> Facts:
    """As one. Account and region are what those say that observed them; "" where none did.

    Raises RefusedError where two observed different ones: then the parts of the target do not belong together.
    """
    return Facts(
        at=seen[0].at,
        account=_agreed("account", [facts.account for facts in seen]),
        region=_agreed("region", [facts.region for facts in seen]),
        resources=tuple(resource for facts in seen for resource in facts.resources),
        points=tuple(point for facts in seen for point in facts.points),
        extra={key: value for facts in seen for key, value in facts.extra.items()},
    )


def _agreed(what: str, told: Sequence[str]) -> str:
    observed = list(dict.fromkeys(one for one in told if one))
    if len(observed) > 1:
        raise RefusedError(
            f"The target's parts are not of one {what}: {' and '.join(observed)} were seen.",
            "Correct the credentials and endpoints of the target in dr.yaml.",
        )
    return observed[0] if observed else ""
