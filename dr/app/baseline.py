"""``dr baseline``: record what the source holds, beside its nightly backup."""

from __future__ import annotations

from dr.app.session import context_of
from dr.config.load import home
from dr.evidence import profiles
from dr.evidence.baselines import BaselineStore
from dr.wiring import settings


def forget(target: str) -> None:
    """Remove what is kept of a target that is gone: its baselines and its profile."""
    BaselineStore(home(), target).forget()
    profiles.forget(home(), target)


def take(target: str) -> str:
    """Repeat earlier baselines of the target's source and take a new one. Returns what was done, in a sentence.

    Raises ProviderError where the source or its service cannot be read.
    """
    from dr.drivers.postgres.provider import nightly
    from dr.drivers.service.provider import ask_golden

    return nightly(context_of(settings(), target, "baseline"), ask_golden)
