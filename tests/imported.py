"""What commands of ``dr`` import and read before they do anything: once for all those of tests/forked.py."""

from importlib import import_module

from dr.drivers.rds.client import wanted_instead

FAMILIES = ("drill", "evidence", "housekeeping", "lab", "restore")
DRIVERS = ("measuring", "postgres", "rds", "service")

for name in (
    *(f"dr.cli.{family}" for family in FAMILIES),
    *(f"dr.drivers.{driver}.provider" for driver in DRIVERS),
    *("dr.activities", "dr.lab.control", "chaoslib.experiment", "tests.forked"),
):
    import_module(name)
wanted_instead("ModifyDBInstance", "MultiAZ", True)  # reads botocore's model of RDS
