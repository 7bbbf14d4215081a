"""Whose a restoration is, by the tags that it bears."""

from __future__ import annotations

from collections.abc import Mapping

from dr.domain.model import Purpose, RunIdentity


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
