"""What a target says of its account at AWS."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from dr.config.model import Section, without_login


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An AWS shared-credentials file and its profile; both empty: boto3's own chain, minus ambient endpoints."""

    file: str = ""
    profile: str = ""


class AwsConfig(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The account that is meant, and the way to it."""

    asks: ClassVar[str] = "ec2"
    """The service that its endpoint is of, where none is given."""

    account: str
    region: str
    endpoint: str = ""
    """URL of all its services; empty: AWS's own for the region."""
    credentials: Credentials = Credentials()

    def __post_init__(self) -> None:
        """Raises ValueError for an endpoint with a login."""
        without_login("endpoint", self.endpoint)

    def endpoints(self) -> tuple[str, ...]:
        return (self.endpoint or f"https://{self.asks}.{self.region}.amazonaws.com",)
