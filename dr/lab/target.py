"""The lab as a target: the text of target.yaml, which ``dr`` reads as it would read production's entry in dr.yaml.

Called by: ``dr.lab.bringup``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import yaml

from dr.config.model import Credentials, DatabaseConfig, Login, ServiceConfig, Target
from dr.domain.model import Grant
from dr.lab.platform.population import PROBE_REQUESTS
from dr.lab.platform.roles import ANALYST, API, HARNESS, secret_file
from dr.lab.rds.account import DRILL_SECURITY_GROUP, DRILL_SUBNET_GROUP
from dr.lab.rds.signature import Account

SOURCE = "readmission-db"
DATABASE = "readmission"
MASTER = "readmission_admin"
PROFILE = "lab"


def render(directory: Path, account: Account, api: str, service: str, ca: Path) -> str:
    """target.yaml's text; no secret in it, only where the secrets are."""

    def login(role: str) -> Login:
        return Login(role, f"file:{secret_file(directory / 'secrets', role)}")

    target = Target(
        account=account.id,
        region=account.region,
        instance=SOURCE,
        endpoint=api,
        credentials=Credentials(str(directory / "aws-credentials"), PROFILE),
        grants=(Grant.MARKERS, Grant.FAULTS, Grant.DISPOSABLE),
        emulated="RDS emulated",
        database=DatabaseConfig(
            name=DATABASE,
            harness=login(HARNESS),
            roles=(login(API), login(ANALYST)),
            master=login(MASTER),
            ca=str(ca),
        ),
        service=ServiceConfig(
            url=service,
            command=(sys.executable, "-m", "dr.lab.service"),
            login=API,
            requests=tuple({**request} for request in PROBE_REQUESTS),
            expected=("prediction_id", "readmission_risk"),
            artifacts=str(directory / "models"),
        ),
        restored={"DBSubnetGroupName": DRILL_SUBNET_GROUP, "VpcSecurityGroupIds": [DRILL_SECURITY_GROUP]},
    )
    return yaml.safe_dump(msgspec.to_builtins(target), sort_keys=False)
