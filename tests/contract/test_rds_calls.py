"""Stock clients against the lab's API over servers that only remember: what the wire and the calls alone can show.

What needs real servers is in test_rds_lab.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dr.lab.rds.protocol import Api
from dr.lab.rds.service import Lab
from tests.unit.lab.rds.fakes import ACCOUNT, FakeServers, fake_lab

NEW = {
    "DBInstanceClass": "db.t3.micro",
    "Engine": "postgres",
    "AllocatedStorage": 20,
    "MasterUsername": "boss",
    "MasterUserPassword": "long-enough",
    "BackupRetentionPeriod": 7,
}


class Running:
    """An API that is served, and its clients."""

    def __init__(self, lab: Lab, servers: FakeServers, url: str) -> None:
        self.lab, self.servers, self.url = lab, servers, url
        self.rds, self.cloudwatch = self.client("rds"), self.client("cloudwatch")

    def client(self, service: str, secret: str = ACCOUNT.secret_key) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=ACCOUNT.region,
            aws_access_key_id=ACCOUNT.access_key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    def instance(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        return found

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        names = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": ACCOUNT.region,
            "AWS_ACCESS_KEY_ID": ACCOUNT.access_key,
            "AWS_SECRET_ACCESS_KEY": ACCOUNT.secret_key,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        program = str(Path(sys.executable).parent / "aws")
        command = [program, *arguments, "--output", "json"]
        return subprocess.run(command, env=kept | names, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    lab, servers, clock = fake_lab(tmp_path_factory.mktemp("lab"))
    clock.at = time.time() - 2
    served = Api(lab)
    served.start()
    running = Running(lab, servers, served.url)
    running.rds.create_db_instance(DBInstanceIdentifier="pair", MultiAZ=True, **NEW)
    running.rds.create_db_instance(DBInstanceIdentifier="alone", **NEW)
    running.rds.create_db_instance_read_replica(DBInstanceIdentifier="copy", SourceDBInstanceIdentifier="pair")
    lab.work.watch()
    yield running
    served.close()


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def query(**changed: Any) -> dict[str, Any]:
    dimensions = [{"Name": "DBInstanceIdentifier", "Value": "copy"}]
    metric = {"Namespace": "AWS/RDS", "MetricName": "ReplicaLag", "Dimensions": dimensions}
    return {"Id": "lag", "MetricStat": {"Metric": metric, "Period": 1, "Stat": "Maximum", **changed}}


def interval() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5)}


class TestMultiAz:
    def test_both_zones_are_shown(self, api: Running) -> None:
        one = api.instance("pair")
        assert one["MultiAZ"] is True
        assert one["AvailabilityZone"] != one["SecondaryAvailabilityZone"]
        assert "SecondaryAvailabilityZone" not in api.instance("alone")

    def test_a_failover_cannot_be_forced_without_a_standby(self, api: Running) -> None:
        forced = {"DBInstanceIdentifier": "alone", "ForceFailover": True}
        assert code(api.rds.reboot_db_instance, **forced) == "InvalidParameterCombination"

    def test_the_stock_command_line_forces_one(self, api: Running) -> None:
        made = api.aws("rds", "reboot-db-instance", "--db-instance-identifier", "pair", "--force-failover")
        assert json.loads(made.stdout)["DBInstance"]["DBInstanceStatus"] == "rebooting", made.stderr
        seen = api.aws("rds", "describe-events", "--event-categories", "failover")
        messages = [one["Message"] for one in json.loads(seen.stdout)["Events"]]
        assert messages[0] == "Multi-AZ instance failover started."
        assert "Multi-AZ instance failover completed." in messages


class TestReplicas:
    def test_the_links_are_shown_on_both_sides(self, api: Running) -> None:
        assert api.instance("pair")["ReadReplicaDBInstanceIdentifiers"] == ["copy"]
        copy = api.instance("copy")
        assert copy["ReadReplicaSourceDBInstanceIdentifier"] == "pair"
        assert copy["StatusInfos"] == [{"StatusType": "read replication", "Normal": True, "Status": "replicating"}]

    @pytest.mark.parametrize(
        ("operation", "arguments", "expected"),
        [
            ("promote_read_replica", {"DBInstanceIdentifier": "alone"}, "InvalidDBInstanceState"),
            ("promote_read_replica", {"DBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
            ("promote_read_replica", {}, "MissingParameter"),
            ("create_db_instance_read_replica", {"DBInstanceIdentifier": "x"}, "InvalidParameterCombination"),
            (
                "create_db_instance_read_replica",
                {"DBInstanceIdentifier": "x", "SourceDBInstanceIdentifier": "nobody"},
                "DBInstanceNotFound",
            ),
            ("stop_db_instance", {"DBInstanceIdentifier": "copy"}, "InvalidDBInstanceState"),
        ],
    )
    def test_a_wrong_call_gets_awss_own_code(
        self, api: Running, operation: str, arguments: dict[str, Any], expected: str
    ) -> None:
        assert code(getattr(api.rds, operation), **arguments) == expected

    def test_the_stock_command_line_makes_and_promotes_one(self, api: Running) -> None:
        named = ("--db-instance-identifier", "typed")
        made = api.aws("rds", "create-db-instance-read-replica", *named, "--source-db-instance-identifier", "alone")
        assert json.loads(made.stdout)["DBInstance"]["DBInstanceStatus"] == "creating", made.stderr
        promoted = api.aws("rds", "promote-read-replica", *named)
        assert json.loads(promoted.stdout)["DBInstance"]["DBInstanceStatus"] == "modifying", promoted.stderr
        assert "ReadReplicaSourceDBInstanceIdentifier" not in api.instance("typed")
        assert api.instance("alone")["ReadReplicaDBInstanceIdentifiers"] == []


@pytest.mark.parametrize("header", ["Host: rebound.example", "Origin: http://evil.example"])
def test_a_page_in_a_browser_gets_nothing_even_with_a_right_signature(api: Running, header: str) -> None:
    name, _, value = header.partition(": ")

    def send(request: Any, **_: Any) -> None:
        request.headers[name] = value

    client = api.client("rds")
    assert client.describe_db_instances()["DBInstances"]
    client.meta.events.register("before-send.rds.*", send)
    assert code(client.describe_db_instances) == "AccessDenied"


class TestCloudWatch:
    def test_a_stock_client_reads_the_lag(self, api: Running) -> None:
        answer = api.cloudwatch.get_metric_data(MetricDataQueries=[query()], **interval())
        found = answer["MetricDataResults"][0]
        assert (found["Id"], found["Label"], found["StatusCode"]) == ("lag", "ReplicaLag", "Complete")
        assert set(found["Values"]) == {0.0}
        assert abs(found["Timestamps"][0] - datetime.now(UTC)) < timedelta(minutes=1)

    def test_the_stock_command_line_reads_it(self, api: Running) -> None:
        times = {name: f"{value:%Y-%m-%dT%H:%M:%SZ}" for name, value in interval().items()}
        told = ("--start-time", times["StartTime"], "--end-time", times["EndTime"])
        answer = api.aws("cloudwatch", "get-metric-data", *told, "--metric-data-queries", json.dumps([query()]))
        assert json.loads(answer.stdout)["MetricDataResults"][0]["Values"][0] == 0.0, answer.stderr

    def test_an_unknown_instance_has_no_values(self, api: Running) -> None:
        dimensions = [{"Name": "DBInstanceIdentifier", "Value": "nobody"}]
        metric = {"Namespace": "AWS/RDS", "MetricName": "ReplicaLag", "Dimensions": dimensions}
        answer = api.cloudwatch.get_metric_data(MetricDataQueries=[query(Metric=metric)], **interval())
        assert answer["MetricDataResults"][0]["Values"] == []

    def test_wrong_calls_get_awss_own_codes(self, api: Running) -> None:
        ask = api.cloudwatch.get_metric_data
        assert code(ask, MetricDataQueries=[query(Period=7)], **interval()) == "InvalidParameterValue"
        assert code(ask, MetricDataQueries=[query()], StartTime=datetime.now(UTC)) == "MissingParameter"
        assert code(ask, MetricDataQueries=[query(Period="often")], **interval()) == "MalformedInput"
        assert code(api.cloudwatch.list_metrics) == "InvalidAction"
        stranger = api.client("cloudwatch", secret="wrong")
        assert code(stranger.get_metric_data, MetricDataQueries=[query()], **interval()) == "SignatureDoesNotMatch"
