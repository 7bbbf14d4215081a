"""What a target says of its RDS instance."""

from __future__ import annotations

from dr.config.model import Protected
from dr.drivers.aws.config import AwsConfig
from dr.drivers.rds.naming import instance


class RdsConfig(AwsConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The source, pinned."""

    role = "database"
    asks = "rds"

    instance: str
    """The source: DBInstanceIdentifier."""
    replicas: tuple[str, ...] = ()
    """The source's read replicas: DBInstanceIdentifiers."""
    restored: dict[str, object] = {}
    """What a drill's copy gets instead of the source's: DBSubnetGroupName, VpcSecurityGroupIds, DBInstanceClass, ..."""
    fallback: dict[str, object] = {}
    """Prepared for the night when the source is gone and no profile of it was ever stored: what a restore on call then
    passes, unless ``--set`` says otherwise; the same names."""

    def pins(self) -> dict[str, str]:
        return {"account": self.account, "region": self.region}

    def consents(self) -> str:
        return self.instance

    def protects(self) -> Protected:
        return Protected(self.instance, instance, self.replicas)
