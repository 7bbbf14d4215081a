from __future__ import annotations

import json
from pathlib import Path

import pytest

from dr.config.load import find_target, home
from dr.config.model import Settings
from dr.config.secrets import secret
from dr.domain.errors import RefusedError, UsageError
from dr.wiring import settings


def test_a_misspelt_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_text("objectives: {time-to-cpy: 3}")
    with pytest.raises(UsageError, match=r"dr\.yaml, line 1, is not valid: objectives: .*time-to-cpy"):
        settings(tmp_path / "dr.yaml")


def test_what_is_not_yaml_is_said(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_text("targets: [")
    with pytest.raises(UsageError, match="is not YAML"):
        settings(tmp_path / "dr.yaml")


def test_an_unknown_grant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_text(
        "targets: {p: {account: '1', region: r, instance: i, grants: [everything],"
        " database: {name: d, harness: {user: u, secret: 'env:X'}}}}"
    )
    with pytest.raises(UsageError, match="everything"):
        settings(tmp_path / "dr.yaml")


def test_without_a_lab_the_default_target_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    with pytest.raises(RefusedError, match="'dr lab up'"):
        find_target(settings(), "lab")


def test_an_unknown_target_names_the_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"no target 'prod'.*Known targets: lab"):
        find_target(settings(), "prod")


def test_secrets_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "one")
    (tmp_path / "secret").write_text("two\n")
    assert secret("env:SOME_SECRET") == "one"
    assert secret(f"file:{tmp_path / 'secret'}") == "two"


@pytest.mark.parametrize("reference", ["env:NOT_THERE", "file:/not/there"])
def test_a_missing_secret_is_named_by_its_reference(reference: str) -> None:
    with pytest.raises(RefusedError, match=reference):
        secret(reference)


def test_a_secret_itself_in_the_configuration_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="env:NAME or file:PATH") as refused:
        secret("hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "database",
    [
        "{name: d, harness: {user: u, secret: hunter2}}",
        "{name: d, harness: {user: u, secret: 'env:X'}, roles: [{user: u, secret: hunter2}]}",
        "{name: d, harness: {user: u, secret: 'env:X'}, master: {user: u, secret: hunter2}}",
    ],
)
def test_a_secret_itself_is_refused_when_the_configuration_is_read(tmp_path: Path, database: str) -> None:
    (tmp_path / "dr.yaml").write_text(f"targets: {{p: {{account: '1', region: r, instance: i, database: {database}}}}}")
    with pytest.raises(UsageError, match="The secret of u is no reference") as refused:
        settings(tmp_path / "dr.yaml")
    assert "hunter2" not in str(refused.value)


SERVICE = "command: [serve], login: u, requests: [{}]"


def test_a_services_token_is_a_reference_and_may_be_absent(tmp_path: Path) -> None:
    file = tmp_path / "dr.yaml"

    def token(more: str) -> str:
        database, service = "{name: d, harness: {user: u, secret: 'env:X'}}", f"{{url: 'http://s', {SERVICE}{more}}}"
        file.write_text(
            f"targets: {{p: {{account: '1', region: r, instance: i, database: {database}, service: {service}}}}}"
        )
        found = settings(file).targets["p"].service
        assert found is not None
        return found.token

    assert token("") == ""
    assert token(", token: 'env:API_TOKEN'") == "env:API_TOKEN"
    with pytest.raises(UsageError, match="The token of the service is no reference") as refused:
        token(", token: hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("endpoint: 'https://dr:hunter2@rds.example.com'", "endpoint"),
        (f"service: {{url: 'http://dr:hunter2@api.example.com', {SERVICE}}}", r"service\.url"),
        ("prometheus: {url: 'http://dr:hunter2@prometheus:9090'}", r"prometheus\.url"),
        ("prometheus: {url: 'http://dr:hunter2/x@prometheus:9090'}", r"prometheus\.url"),
        ("prometheus: {url: 'hunter2@prometheus:9090'}", r"prometheus\.url"),
    ],
)
def test_a_login_in_a_url_is_refused_by_its_field_and_not_repeated(tmp_path: Path, more: str, field: str) -> None:
    database = "{name: d, harness: {user: u, secret: 'env:X'}}"
    (tmp_path / "dr.yaml").write_text(
        f"targets: {{p: {{account: '1', region: r, instance: i, database: {database}, {more}}}}}"
    )
    with pytest.raises(UsageError, match=rf"line 1, is not valid: targets\.p.*: {field} has a login") as refused:
        settings(tmp_path / "dr.yaml")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("meter: {rate: 0}", "meter.rate"),
        ("meter: {markers: -1}", "meter.markers"),
        ("meter: {timeout: -1}", "meter.timeout"),
        ("meter: {window: 0}", "meter.window"),
        ("meter: {settle: .inf}", "meter.settle"),
        ("meter: {settle: .nan}", "meter.settle"),
        ("objectives: {time-to-copy: .nan}", "objectives.time-to-copy"),
        ("objectives: {loss: -1}", "objectives.loss"),
        ("objectives: {loss: .inf}", "objectives.loss"),
        ("objectives: {latency-p95: -.inf}", "objectives.latency-p95"),
        ("objectives: {error-rate: 7}", "objectives.error-rate"),
    ],
)
def test_a_number_that_nothing_can_be_measured_by_is_refused_by_its_field(
    tmp_path: Path, text: str, field: str
) -> None:
    (tmp_path / "dr.yaml").write_text(text)
    with pytest.raises(UsageError, match=rf"is not valid: {field}"):
        settings(tmp_path / "dr.yaml")


def test_what_is_not_utf_8_or_no_time_is_said(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_bytes(b"objectives: {loss: 0}  # \xfc\n")
    with pytest.raises(UsageError, match="is not UTF-8"):
        settings(tmp_path / "dr.yaml")
    (tmp_path / "dr.yaml").write_text("meter: {rate: 2026-13-45}")
    with pytest.raises(UsageError, match="is not YAML"):
        settings(tmp_path / "dr.yaml")


def test_a_home_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DR_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"DR_HOME is .*/file, which is a file"):
        home()


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "", "a b", "-x", ".x", "a\n", "x" * 101, "ä", "a\0b"])
def test_a_targets_name_is_a_name_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="is no name of a target"):
        find_target(Settings(), name)
    database = "{name: d, harness: {user: u, secret: 'env:X'}}"
    target = f"{{account: '1', region: r, instance: i, database: {database}}}"
    (tmp_path / "dr.yaml").write_text(f"targets: {{{json.dumps(name)}: {target}}}")
    with pytest.raises(UsageError, match="is no name of a target"):
        settings(tmp_path / "dr.yaml")


@pytest.mark.parametrize("target", ["{}", "{foo: 1}"])
def test_a_targets_name_that_is_no_text_is_refused_whatever_the_target_says(tmp_path: Path, target: str) -> None:
    (tmp_path / "dr.yaml").write_text(f"targets: {{123: {target}}}")
    with pytest.raises(UsageError, match=r"dr\.yaml, line 1, is not valid: Expected `str`, got `int`"):
        settings(tmp_path / "dr.yaml")


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_text("meter: {rate: 5}\nobjectives: {}\nmeter: {rate: 6}\n")
    with pytest.raises(UsageError, match="the key meter stands twice"):
        settings(tmp_path / "dr.yaml")


def test_a_merge_may_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "dr.yaml").write_text("meter: {<<: {rate: 5, timeout: 1}, rate: 6}\n")
    assert (settings(tmp_path / "dr.yaml").meter.rate, settings(tmp_path / "dr.yaml").meter.timeout) == (6.0, 1.0)
