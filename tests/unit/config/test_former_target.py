"""A dr.yaml as former versions read it: it is read as it was meant, and what to write instead is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dr.config.load import find_target, rewritten
from dr.config.model import Target
from dr.domain.errors import UsageError
from dr.drivers.clients.config import ClientsConfig
from dr.drivers.faults.plugin import FaultsConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds.config import RdsConfig
from dr.drivers.service.config import ServiceConfig
from dr.wiring import settings

FORMER = """
targets:
  production:
    account: "123456789012"
    region: eu-central-1
    instance: readmission-db
    endpoint: ""
    credentials: {file: "", profile: disaster-recovery}
    grants: [markers]
    emulated: ""
    restored: {DBInstanceClass: db.m6g.large}
    fallback: {}
    database:
      name: readmission
      harness: {user: dr_harness, secret: "env:DR_HARNESS_PASSWORD"}
    service:
      url: http://readmission.example.org
      command: [/opt/readmission/bin/serve]
      login: readmission_api
      requests: [{patient_id: SYNTHETIC-0001}]
    replicas: [readmission-db-replica-1]
    pooler:
      host: pgbouncer.example.org
      port: 6432
      entry: readmission
      admin: {user: boss, secret: "env:DR_PGBOUNCER_PASSWORD"}
      configuration: /etc/pgbouncer/pgbouncer.ini
    faults: [/opt/faults]
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "dr.yaml"
    path.write_text(FORMER)
    monkeypatch.setenv("DR_CONFIG", str(path))
    return path


def read(config: Path) -> Target:
    return settings(config).targets["production"]


def test_each_part_of_the_former_form_is_in_its_section(config: Path) -> None:
    target = read(config)
    rds, clients = target.of(RdsConfig), target.of(ClientsConfig)
    assert (rds.account, rds.region, rds.instance) == ("123456789012", "eu-central-1", "readmission-db")
    assert (rds.replicas, rds.credentials.profile) == (("readmission-db-replica-1",), "disaster-recovery")
    assert rds.restored == {"DBInstanceClass": "db.m6g.large"}
    assert target.of(PostgresConfig).harness.user == "dr_harness"
    assert target.of(ServiceConfig).login == "readmission_api"
    assert clients.pooler is not None
    assert clients.pooler.entry == "readmission"
    assert target.of(FaultsConfig).command == ("/opt/faults",)
    assert (target.word, [grant.value for grant in target.grants]) == ("readmission-db", ["markers"])


def test_what_to_write_instead_is_the_same_target_in_the_present_form(config: Path) -> None:
    before, instead = read(config), rewritten("production")
    assert {*yaml.safe_load(instead)["production"]} == {
        *("grants", "emulated", "service", "rds", "postgres", "clients", "faults")
    }
    config.write_text(yaml.safe_dump({"targets": yaml.safe_load(instead)}))
    assert read(config) == before
    assert rewritten("production") == ""


def test_an_empty_command_for_faults_is_none(config: Path) -> None:
    config.write_text(FORMER.replace("[/opt/faults]", "[]"))
    assert read(config).section(FaultsConfig) is None


@pytest.mark.parametrize("written", ["targets: []", "targets: {production: 3}", "targets: {production: [account]}", ""])
def test_what_is_no_target_is_left_to_be_refused(config: Path, written: str) -> None:
    config.write_text(written)
    if written:
        with pytest.raises(Exception, match="is not valid"):
            read(config)
    else:
        assert rewritten("production") == ""


def test_a_former_field_beside_its_section_is_told_where_it_belongs(config: Path) -> None:
    config.write_text("targets: {production: {rds: {instance: db}, account: '1', database: {name: x}}}")
    told = r"put account into section rds; database into section postgres \(as the whole of it\)\."
    with pytest.raises(UsageError, match=told):
        find_target(settings(config), "production")
    config.write_text("targets: {production: {rds: {instance: db}, account: '1', restic: {}}}")
    with pytest.raises(UsageError, match=r"put account into section rds\."):
        find_target(settings(config), "production")
