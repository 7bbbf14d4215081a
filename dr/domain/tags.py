"""Whose a restoration is, and what was asked for, by the tags that it bears."""

from __future__ import annotations

from collections.abc import Mapping

from dr.domain.model import Moment, Purpose, RunIdentity

VALUE = 256
"""Characters of one tag's value."""
PARTS = 8
"""The most tags that a request takes: providers give a thing some fifty, and the source's are to fit beside them."""
_PART = "dr:request-{}"


def telling(run: RunIdentity, source: str) -> dict[str, str]:
    """The tags of what ``run`` makes of ``source``. By them it is known as that run's, and another machine goes
    on with what was asked for on call."""
    own = {"dr:run": run.id, "dr:purpose": run.purpose.value, "dr:target": run.target, "dr:source": source}
    own["dr:request"] = run.digest
    if run.purpose is not Purpose.RESTORE:
        return own
    return {**own, **({} if run.since is None else {"dr:since": str(run.since)}), **spread(run.request)}


def of_point(identifier: str, covers: Moment | None) -> dict[str, str]:
    """The tags of what is made of a recovery point. ``covers``: the time that it holds; None where nobody knows."""
    return {"dr:point-id": identifier, "dr:point": "" if covers is None else str(covers)}


def ours(tags: Mapping[str, str], run: str, digest: str) -> bool:
    """Whether a restoration belongs to ``run``: by its tag, or as an on-call one of the same request, not yet sealed,
    which the same command again continues, also from another machine."""
    if tags.get("dr:run") == run:
        return True
    continued = tags.get("dr:purpose") == Purpose.RESTORE and "dr:sealed" not in tags
    return continued and bool(digest) and tags.get("dr:request") == digest


def of_run(tags: Mapping[str, str], run: RunIdentity) -> bool:
    """Whether a restoration is one of ``run``, which continues an earlier one only on call."""
    return ours(tags, run.id, run.digest if run.purpose is Purpose.RESTORE else "")


def spread(request: str) -> dict[str, str]:
    """The tags that hold ``request``, a run's as text; none where it is longer than they are, since half a request is
    another one."""
    parts = [request[start : start + VALUE] for start in range(0, len(request), VALUE)]
    return {_PART.format(number): part for number, part in enumerate(parts, 1)} if len(parts) <= PARTS else {}


def gathered(tags: Mapping[str, str]) -> str:
    """What ``spread`` made tags of, as far as it is there; "" where nothing is."""
    return "".join(tags.get(_PART.format(number), "") for number in range(1, PARTS + 1))
