"""The account a lab begins with: its name, keys, network and groups."""

from __future__ import annotations

import secrets
import string

from dr.lab.rds.building import DEFAULT_SECURITY_GROUP, DEFAULT_SUBNET_GROUP, family
from dr.lab.rds.records import ParameterGroup, State, SubnetGroup
from dr.lab.rds.signature import Account

REGION = "eu-central-1"
VPC = "vpc-0readmission0000a"
SUBNET_GROUP = "readmission-db-subnets"
SECURITY_GROUP = "sg-0readmission0000a"
DRILL_SUBNET_GROUP = "readmission-drill-subnets"
DRILL_SECURITY_GROUP = "sg-0drill0000000000a"
"""A drill's copies stand apart: no route leads to them from users."""
PARAMETER_GROUP = "readmission-postgres"


def new_account() -> Account:
    """An account with keys of its own, so that no other credentials work against the lab."""
    number = "".join(secrets.choice(string.digits) for _ in range(11))
    key = "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(13))
    return Account(f"1{number}", REGION, f"AKIALAB{key}", secrets.token_urlsafe(30))


def initial_state(version: str) -> State:
    """The default VPC's groups and the platform's own, in a VPC of its own."""
    default = ParameterGroup(
        f"default.{family(version)}", family(version), f"Default parameter group for {family(version)}"
    )
    own = ParameterGroup(PARAMETER_GROUP, family(version), "The readmission platform's parameters")
    return State(
        engine_version=version,
        subnet_groups={
            DEFAULT_SUBNET_GROUP: SubnetGroup(
                DEFAULT_SUBNET_GROUP, "default", "vpc-0default00000000a", _subnets("default")
            ),
            SUBNET_GROUP: SubnetGroup(SUBNET_GROUP, "Database subnets of the platform", VPC, _subnets("readmission")),
            DRILL_SUBNET_GROUP: SubnetGroup(DRILL_SUBNET_GROUP, "Isolated subnets for drills", VPC, _subnets("drill")),
        },
        parameter_groups={one.name: one for one in (default, own)},
        security_groups={
            DEFAULT_SECURITY_GROUP: "vpc-0default00000000a",
            SECURITY_GROUP: VPC,
            DRILL_SECURITY_GROUP: VPC,
        },
    )


def _subnets(name: str) -> list[str]:
    return [f"subnet-0{name}000{n}" for n in (1, 2, 3)]
