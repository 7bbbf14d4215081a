"""What a target says of its RDS instance."""

from __future__ import annotations

import msgspec

from dr.config.model import Protected, Section, without_login
from dr.drivers.rds.naming import instance


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An AWS shared-credentials file and its profile; both empty: boto3's own chain, minus ambient endpoints."""

    file: str = ""
    profile: str = ""


class RdsConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The source, pinned."""

    role = "database"

    account: str
    region: str
    instance: str
    """The source: DBInstanceIdentifier."""
    replicas: tuple[str, ...] = ()
    """The source's read replicas: DBInstanceIdentifiers."""
    endpoint: str = ""
    """RDS and STS endpoint URL; empty: AWS's own for the region."""
    credentials: Credentials = Credentials()
    restored: dict[str, object] = {}
    """What a drill's copy gets instead of the source's: DBSubnetGroupName, VpcSecurityGroupIds, DBInstanceClass, ..."""
    fallback: dict[str, object] = {}
    """Prepared for the night when the source is gone and no profile of it was ever stored: what a restore on call then
    passes, unless ``--set`` says otherwise; the same names."""

    def __post_init__(self) -> None:
        """Raises ValueError for an endpoint with a login."""
        without_login("endpoint", self.endpoint)

    def pins(self) -> dict[str, str]:
        return {"account": self.account, "region": self.region}

    def endpoints(self) -> tuple[str, ...]:
        return (self.endpoint or f"https://rds.{self.region}.amazonaws.com",)

    def consents(self) -> str:
        return self.instance

    def protects(self) -> Protected:
        return Protected(self.instance, instance, self.replicas)
