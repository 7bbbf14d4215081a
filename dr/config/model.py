"""What dr.yaml may say, field by field; msgspec refuses everything else.

Secrets never stand here, only references to them: ``env:NAME`` (an environment variable) or ``file:PATH`` (the first
line of a file).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import msgspec

from dr.domain.errors import RefusedError
from dr.domain.model import Grant
from dr.domain.refs import Ref

REFERENCES = ("env:", "file:")
# The upper bounds keep out what is infinite or not a number, and what nobody waits for.
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=1e8)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1e4)]
Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


def without_login(field: str, url: str) -> None:
    """Raises ValueError for a URL with an @, wherever: its login would stand in every report. It is not repeated."""
    if "@" in url:
        raise ValueError(f"{field} has a login in it, or an @ that could end one: dr sends none, so write it without")


def check_reference(of: str, secret: str) -> None:
    """Raises ValueError for what is no reference; it may be the secret itself, and so is not repeated."""
    if not secret.startswith(REFERENCES):
        raise ValueError(f"The {of} is no reference: write env:NAME or file:PATH")


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A database role and where its password is found."""

    user: str
    secret: str

    def __post_init__(self) -> None:
        """Raises ValueError for a secret that is no reference."""
        check_reference(f"secret of {self.user}", self.secret)


class Protected(NamedTuple):
    """What a target protects: others look for it among what its provider shows.

    ``name``, ``replicas``: as the section writes them. ``named``: the reference of a thing of that kind, by its name.
    """

    name: str
    named: Callable[[str], Ref]
    replicas: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        """The reference of it."""
        return self.named(self.name)


class Asked(NamedTuple):
    """A service over HTTP. ``requests``: what is sent to ``url``, in turn; ``expected``: fields of a good answer;
    ``token``: where the one is found that is sent with each, or ""."""

    url: str
    requests: tuple[dict[str, object], ...]
    expected: tuple[str, ...]
    token: str


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a target says for one provider. A provider's own section says what the core asks of it."""

    role: ClassVar[str] = ""
    """Of the components that are restored of what the target protects by it; "": it protects nothing."""

    def pins(self) -> Mapping[str, str]:
        """What the provider's identity has to be, by the names under which it is observed; empty: it has none."""
        return {}

    def endpoints(self) -> tuple[str, ...]:
        """URLs of what the provider talks to: a target is disposable only where all of them are on loopback."""
        return ()

    def consents(self) -> str:
        """The name that somebody types as consent to what is done to the target; "": another section says it."""
        return ""

    def protects(self) -> Protected:
        """What the target protects by it; asked only of one that has a role."""
        raise NotImplementedError

    def asked(self, path: str) -> Asked | None:  # noqa: ARG002 - a section's that has one
        """The service on ``path`` whose answers are the target's steady state; None: it has none."""
        return None

    def ways_round(self) -> tuple[str, ...]:
        """The further paths on which that service is asked, such as through a cluster's ingress."""
        return ()

    def way_into(self, namespace: str) -> str:  # noqa: ARG002 - a section's that has a service
        """The base URL of that service in a copy that was restored as ``namespace``; "": nobody says."""
        return ""


S = TypeVar("S", bound=Section)


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system under drill. Its subclass ``dr.config.plugins.target_type`` has a section for each provider."""

    grants: tuple[Grant, ...] = ()
    consent: str = ""
    """What somebody types as consent; empty: what its sections say, the source's name."""
    emulated: str = ""
    """What of this target is not the real thing; stands in every report."""

    @property
    def sections(self) -> Mapping[str, Section]:
        """By the name of their provider, as far as the target has them."""
        found = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in found if isinstance(value, Section)}

    def section(self, kind: type[S]) -> S | None:
        """The section of this type; None where the target has none."""
        return next((value for value in self.sections.values() if isinstance(value, kind)), None)

    def of(self, kind: type[S]) -> S:
        """The section of this type. Raises RefusedError where the target has none."""
        found = self.section(kind)
        if found is None:
            name = kind.__module__.split(".")[-2]
            raise RefusedError(f"The target has no section {name!r}.", "Add it in dr.yaml, or choose another target.")
        return found

    def protects(self, role: str) -> Protected:
        """What of this role it protects. Raises RefusedError where none of its sections says so."""
        found = next((section for section in self.sections.values() if section.role == role), None)
        if found is None:
            raise RefusedError(f"No section of the target says which {role} it protects.", "Add it in dr.yaml.")
        return found.protects()

    @property
    def word(self) -> str:
        """What somebody types as consent."""
        return self.consent or next(filter(None, (one.consents() for one in self.sections.values())), "")


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """How the harness measures."""

    rate: Rate = 50.0
    """Probes a second on each path."""
    markers: Rate = 20.0
    """Markers a second."""
    timeout: Seconds = 2.0
    """Seconds after which a probe counts as an error."""
    window: Seconds = 1.0
    """Seconds of one window; three in a row within the SLO end an outage."""
    settle: Seconds = 12.0
    """Seconds that a path is measured at its end, and has to be good for where it was out."""
    settle_longest: Seconds = 60.0
    """Seconds up to which it is measured on where its errors are too near their limit to be judged; no more than
    ``settle``: it never is."""


class Settings(msgspec.Struct, frozen=True):
    """What dr.yaml comes to."""

    targets: dict[str, Target] = {}
    objectives: dict[str, float] = {}
    """The limits that it states, by their names."""
    meter: Meter = Meter()
    unusable: dict[str, str] = {}
    """Its other targets: why each cannot be used, and what to do next."""
