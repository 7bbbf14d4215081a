"""What commands of ``dr`` import and read before they do anything: once for all those of tests/forked.py."""

from importlib import import_module
from pathlib import Path

import dr.drivers
from dr.cli import COMMANDS
from dr.drivers.rds.client import wanted_instead
from dr.judge.objectives import registry

PROVIDERS = sorted(path.parent.name for path in Path(dr.drivers.__file__).parent.glob("*/provider.py"))

for name in (
    *(module for module, _ in COMMANDS.values()),
    *(f"dr.drivers.{provider}.provider" for provider in PROVIDERS),
    *("dr.activities", "dr.host.bounded_yaml", "dr.lab.control", "dr.report.page"),
    *("chaoslib.experiment", "prometheus_client.parser", "_strptime", "tests.forked"),
):
    import_module(name)
registry()
wanted_instead("ModifyDBInstance", "MultiAZ", True)  # reads botocore's model of RDS
