"""The client: pinned, and with errors that say what to do."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ConnectTimeoutError, HTTPClientError, ReadTimeoutError
from botocore.stub import Stubber
from botocore.utils import parse_timestamp

from dr.domain.errors import DrError, ProviderError, RefusedError, UsageError
from dr.drivers.aws.client import _moment
from dr.drivers.aws.config import Credentials
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.errors import KNOWN_CODES, from_code
from tests.unit.drivers.rds.support import REGION, target

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
AMBIENT = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


@pytest.fixture(autouse=True)
def _no_ambient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    path = tmp_path / "credentials"
    path.write_text("[drill]\naws_access_key_id = OWN\naws_secret_access_key = own-secret\n")
    return Credentials(str(path), "drill")


def underlying(client: RdsClient) -> Any:
    return client._client("rds")


def test_the_endpoint_and_credentials_are_the_targets_whatever_the_environment_says(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ambient.example")
    monkeypatch.setenv("AWS_ENDPOINT_URL_RDS", "http://ambient.example")
    monkeypatch.setenv("AWS_PROFILE", "ambient")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    client = RdsClient(target(credentials=credentials, endpoint="http://127.0.0.1:9"))
    made = underlying(client)
    assert made.meta.endpoint_url == "http://127.0.0.1:9"
    assert made.meta.region_name == REGION
    assert made._request_signer._credentials.access_key == "OWN"


def test_without_an_endpoint_it_is_awss_own_and_never_an_ambient_one(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ambient.example")
    made = underlying(RdsClient(target(credentials=credentials)))
    assert made.meta.endpoint_url == f"https://rds.{REGION}.amazonaws.com"


def test_an_ambient_proxy_is_not_used_on_loopback(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    made = underlying(RdsClient(target(credentials=credentials, endpoint="http://127.0.0.1:9")))
    assert made._endpoint.http_session._proxy_config.proxy_url_for("http://127.0.0.1:9") is None


def test_a_profile_that_does_not_exist_is_refused(credentials: Credentials) -> None:
    with pytest.raises(RefusedError, match="other"):
        RdsClient(target(credentials=Credentials(credentials.file, "other"))).account()


def test_a_credentials_file_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RefusedError, match="/nowhere/credentials"):
        RdsClient(target(credentials=Credentials("/nowhere/credentials"))).account()


def test_no_credentials_at_all_are_refused() -> None:
    with pytest.raises(RefusedError, match="No AWS credentials"):
        RdsClient(target(endpoint="http://127.0.0.1:9")).account()


def test_an_endpoint_that_is_no_url_is_a_usage_error(credentials: Credentials) -> None:
    with pytest.raises(UsageError, match="not a URL"):
        RdsClient(target(credentials=credentials, endpoint="nonsense")).account()


def test_nobody_listening_is_a_passing_failure_that_names_the_endpoint(credentials: Credentials) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ProviderError, match=endpoint) as caught:
            RdsClient(target(credentials=credentials, endpoint=endpoint)).account()
    assert caught.value.transient


def stubbed(credentials: Credentials) -> tuple[RdsClient, Stubber]:
    client = RdsClient(target(credentials=credentials))
    stub = Stubber(underlying(client))
    stub.activate()
    return client, stub


def row(name: str, **more: Any) -> dict[str, Any]:
    return {"DBInstanceIdentifier": name, "DBInstanceStatus": "available", "DBInstanceArn": f"arn:{name}", **more}


def test_all_pages_are_read_and_times_are_seconds(credentials: Credentials) -> None:
    client, stub = stubbed(credentials)
    page = {"DBInstances": [row("a", InstanceCreateTime=NEW_YEAR)], "Marker": "m"}
    stub.add_response("describe_db_instances", page, {})
    stub.add_response("describe_db_instances", {"DBInstances": [row("b")]}, {"Marker": "m"})
    rows = client.pages("DescribeDBInstances", "DBInstances", {})
    assert [row["DBInstanceIdentifier"] for row in rows] == ["a", "b"]
    assert rows[0]["InstanceCreateTime"] == 1767225600.0


@pytest.mark.parametrize(
    "given", ["2026-01-01T00:00:01Z", "2026-01-01T00:00:01.5Z", "2026-01-01T01:00:01+01:00", "1.5"]
)
def test_a_time_is_read_as_botocore_reads_it_whatever_its_form(given: str) -> None:
    assert _moment(given) == parse_timestamp(given)


def test_a_time_that_no_calendar_has_is_refused_as_by_botocore() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        _moment("2026-13-01T00:00:00Z")


@pytest.mark.parametrize("silence", [ConnectTimeoutError, ReadTimeoutError])
def test_what_did_not_come_in_its_time_is_not_waited_for_twice(
    credentials: Credentials, silence: type[HTTPClientError]
) -> None:
    client, asked = RdsClient(target(credentials=credentials)), []

    def silent(**_: Any) -> None:
        asked.append(True)
        raise silence(endpoint_url="https://rds")

    underlying(client).meta.events.register_last("before-send.*.*", silent)
    with pytest.raises(ProviderError) as caught:
        client.call("DescribeDBInstances", {})
    assert caught.value.transient
    assert len(asked) == 1


def test_a_code_that_means_absence_is_an_answer(credentials: Credentials) -> None:
    client, stub = stubbed(credentials)
    stub.add_client_error("describe_db_instances", "DBInstanceNotFound")
    assert client.call("DescribeDBInstances", {"DBInstanceIdentifier": "x"}, ("DBInstanceNotFound",)) is None


def test_an_error_carries_awss_words_and_what_to_do(credentials: Credentials) -> None:
    client, stub = stubbed(credentials)
    stub.add_client_error("describe_db_instances", "AccessDenied", "User x is not authorized to do y.")
    with pytest.raises(RefusedError, match=r"may not do this .*not authorized to do y\)\. Grant the action"):
        client.call("DescribeDBInstances", {})


@pytest.mark.parametrize("code", ["InvalidParameterValue", "SomethingNew"])
def test_a_password_is_in_no_error(credentials: Credentials, code: str) -> None:
    client, stub = stubbed(credentials)
    stub.add_client_error("modify_db_instance", code, "The password hunter2secret is too weak.")
    with pytest.raises(DrError) as caught:
        client.call("ModifyDBInstance", {"DBInstanceIdentifier": "x", "MasterUserPassword": "hunter2secret"})
    assert "hunter2secret" not in str(caught.value)
    with pytest.raises(DrError) as caught:
        client.call("ModifyDBInstance", {"MasterUserPassword": "hunter2secret", "Nonsense": "hunter2secret"})
    assert "hunter2secret" not in str(caught.value)


def test_every_error_of_a_restore_that_the_table_names_is_spelt_as_botocore_spells_it() -> None:
    model = botocore.session.get_session().get_service_model("rds")
    spelt = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
    common = {code for code in KNOWN_CODES if not code.startswith(("DB", "KMS", "OptionGroup", "PointIn", "Storage"))}
    assert KNOWN_CODES - spelt <= common


@pytest.mark.parametrize("operation", ["RestoreDBInstanceFromDBSnapshot", "RestoreDBInstanceToPointInTime"])
def test_every_error_that_botocore_lists_for_a_restore_is_a_precondition_with_a_hint(operation: str) -> None:
    model = botocore.session.get_session().get_service_model("rds").operation_model(operation)
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
    # Features that no restore of this harness uses: clusters, domains, tenants, outposts, capacity reservations.
    unused = (
        "DBClusterSnapshot",
        "Domain",
        "Tenant",
        "TenantDatabase",
        "BackupPolicy",
        "DBCapacity",
        "InvalidDBCapacity",
    )
    unnamed = {code for code in codes - KNOWN_CODES if not code.startswith((*unused, "VpcEncryption"))}
    assert unnamed == set()


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("The DB instance and EC2 security group are in different VPCs.", "share one VPC"),
        ("Invalid availability zone: eu-central-1z", "AvailabilityZone that the subnet group covers"),
        ("Requesting a specific availability zone is not valid for Multi-AZ instances.", "MultiAZ=false"),
        ("You can't specify IOPS or storage throughput for engine postgres and a storage size less than 400.", "Iops"),
        ("You must specify a value for IOPS when the storage type is io1.", "Iops"),
        ("Invalid storage size for engine name postgres and storage type io1: 20", "AllocatedStorage"),
        ("RDS does not support creating a DB instance with this DB instance class: db.t2.micro", "DBInstanceClass"),
        ("A MonitoringRoleARN value is required if you specify a MonitoringInterval value", "MonitoringInterval"),
        ("Performance Insights not supported for this configuration.", "EnablePerformanceInsights=false"),
        ("The parameter group readmission15 with family postgres15 can't be used for 14.9", "DBParameterGroupName"),
        ("You can't specify MasterUserSecretKmsKeyId without ManageMasterUserPassword", "ManageMasterUserPassword"),
        ("Cannot find version 13.1 for postgres", "version that RDS still runs"),
    ],
)
@pytest.mark.parametrize("code", ["InvalidParameterCombination", "InvalidParameterValue"])
def test_settings_that_rds_refuses_are_answered_with_what_the_message_names(
    message: str, remedy: str, code: str
) -> None:
    error = from_code(code, message, "op")
    assert isinstance(error, RefusedError)
    assert remedy in error.hint
    assert "--set NAME=VALUE" in error.hint
    assert "that the message names" in from_code(code, "Something new.", "op").hint


def test_limits_and_outages_may_pass_and_preconditions_do_not() -> None:
    for code in ("Throttling", "ServiceUnavailable", "InternalFailure"):
        error = from_code(code, "m", "op")
        assert isinstance(error, ProviderError)
        assert error.transient
    assert isinstance(from_code("InstanceQuotaExceeded", "m", "op"), RefusedError)
    unknown = from_code("Novel", "m", "op", 503)
    assert isinstance(unknown, ProviderError)
    assert unknown.transient
    assert unknown.code == "Novel"


def test_a_metric_is_its_newest_value_or_none(credentials: Credentials) -> None:
    client = RdsClient(target(credentials=credentials))
    stub = Stubber(client._client("cloudwatch"))
    stub.activate()
    for values in ([2.5, 9.0], []):
        stub.add_response("get_metric_data", {"MetricDataResults": [{"Id": "newest", "Values": values}]})
    now = NEW_YEAR.timestamp()
    assert client.metric("ReplicaLag", "replica-1", now) == 2.5
    assert client.metric("ReplicaLag", "replica-1", now) is None
    stub.add_client_error("get_metric_data", "AccessDenied")
    with pytest.raises(RefusedError, match="GetMetricData at AWS"):
        client.metric("ReplicaLag", "replica-1", now)
