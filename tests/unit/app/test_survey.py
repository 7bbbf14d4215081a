"""What ``dr doctor`` checks: each thing that is wrong is one line that is wrong, and nothing is changed."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from dr.app import survey
from dr.cli import cli
from dr.config.context import Context
from dr.config.model import Login, Settings, Target
from dr.config.plugins import Plugin
from dr.domain.errors import PasswordError, ProviderError, RefusedError
from dr.domain.model import Grant
from dr.domain.refs import Endpoint
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.clients.pgbouncer_entry import Entry
from dr.drivers.postgres import checks as logins
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.prometheus import client as prometheus
from dr.drivers.prometheus.plugin import PrometheusConfig
from dr.drivers.rds.provider import RdsProvider
from dr.drivers.service import checks
from dr.drivers.service.config import ServiceConfig
from dr.meter.bearer import check_taken
from dr.ports import Provider
from tests.targets import retargeted
from tests.unit.drivers.rds.support import SOURCE, FakeRds, description, replica, target

ACCOUNT_LINE, SOURCE_LINE = "rds: account 123456789012, region eu-central-1", f"source {SOURCE}"
RESTORING = f"restoring {SOURCE}"
SERVICE, PROMETHEUS = "http://service.example.com", "http://prometheus.example.com"
LED = "where clients are led"


class Site:
    """A target of which everything is there and answers, until a test changes that."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HARNESS", "API", "MASTER", "POOLER"):
            monkeypatch.setenv(name, "hush")
        monkeypatch.setenv("DR_HOME", str(directory))
        (directory / "models").mkdir()
        ini = directory / "pgbouncer.ini"
        ini.write_text("[databases]\nreadmission = host=readmission-db.example.com port=5432\n")
        self.rds = FakeRds(description(), replica("replica-1"))
        self.refused: set[str] = set()
        self.statuses = {f"{SERVICE}/healthz": 200}
        self.silent: set[str] = set()
        self.target = target(
            database=PostgresConfig(
                "readmission", Login("dr", "env:HARNESS"), (Login("api", "env:API"),), Login("admin", "env:MASTER")
            ),
            service=ServiceConfig(SERVICE, (sys.executable,), "api", (), str(directory / "models")),
            pooler=PoolerConfig("pooler.example.com", 6432, "readmission", Login("boss", "env:POOLER"), str(ini)),
            prometheus=PrometheusConfig(PROMETHEUS),
            replicas=("replica-1",),
        )
        monkeypatch.setattr(survey, "drivers", self._drivers)
        monkeypatch.setattr(logins, "log_in", self._log_in)
        monkeypatch.setattr(checks, "get", self._get)
        monkeypatch.setattr(checks, "predict", self._predict)
        self.takes = ""
        self.asked: list[object] = []
        monkeypatch.setattr(prometheus, "get", self._get)
        monkeypatch.setattr(Entry, "check", lambda _: self._check_entry())

    def change(self, part: str = "", **changes: Any) -> None:
        """Give the target, or its ``part``, other values."""
        if part:
            whole: Any = self.target
            kept = {"database": whole.postgres, "pooler": whole.clients.pooler, "service": whole.service}[part]
            changes = {part: msgspec.structs.replace(kept, **changes)}
        self.target: Target = retargeted(self.target, **changes)

    def lines(self) -> dict[str, str]:
        return dict(survey.check(Settings(targets={"prod": self.target}), "prod"))

    def wrong(self) -> dict[str, str]:
        return {what: problem for what, problem in self.lines().items() if problem}

    def _drivers(self, context: Context, _verbs: Collection[str]) -> Mapping[str, Provider]:
        return {"rds": RdsProvider(context, self.rds)}  # type: ignore[arg-type]

    def _log_in(self, server: Endpoint, _database: PostgresConfig, role: Login) -> None:
        assert str(server) == f"{SOURCE}.example.com:5432"
        if role.user in self.refused:
            raise PasswordError(f"{role.user} was refused.", f"Compare {role.secret}.")

    def _get(self, url: str, path: str, **_: Any) -> tuple[int, bytes]:
        if url in self.silent:
            raise ProviderError(f"{url} does not answer.", transient=True)
        return self.statuses.get(
            url + path, 404 if url == SERVICE else 200
        ), b'{"status":"success","data":{"groups":[]}}'

    def _predict(self, url: str, request: object, token: str) -> tuple[int, bytes]:
        self.asked.append(request)
        check_taken(f"at {url}", 422 if token == self.takes else 401, token)
        return 422, b""

    def _check_entry(self) -> None:
        if "boss" in self.refused:
            raise ProviderError("PgBouncer's console failed.")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_target_as_configured_has_each_thing_checked_once(site: Site) -> None:
    assert site.lines() == dict.fromkeys(
        [
            *(ACCOUNT_LINE, "secret env:MASTER", "secret env:HARNESS", "secret env:API", "secret env:POOLER"),
            *("service.command", SOURCE_LINE, "replica replica-1", RESTORING, "login of dr", "login of api"),
            *(f"service at {SERVICE}", "service.artifacts", f"Prometheus at {PROMETHEUS}"),
            LED,
        ],
        "",
    )
    assert {name for name, _ in site.rds.calls} == {"DescribeDBSnapshots", "DescribeDBInstanceAutomatedBackups"}


@pytest.mark.parametrize(
    ("part", "changes", "line", "words"),
    [
        ("", {"instance": "nodb"}, "source nodb", "There is no instance nodb in eu-central-1"),
        ("", {"replicas": ("nodb",)}, "replica nodb", "Correct the target's replicas."),
        ("", {"grants": (Grant.DISPOSABLE,)}, ACCOUNT_LINE, "not on loopback"),
        ("database", {"ca": "/nope"}, "postgres.ca", "'/nope' cannot be read"),
        ("database", {"master": Login("admin", "env:NONE")}, "secret env:NONE", "is not there"),
        ("service", {"command": ("/no/such",)}, "service.command", "'/no/such' is no program"),
        ("service", {"artifacts": "/nope"}, "service.artifacts", "'/nope' is not there"),
        ("pooler", {"configuration": "/nope.ini"}, LED, "/nope.ini cannot be read"),
        ("pooler", {"entry": "other"}, LED, "has no entry other"),
    ],
)
def test_what_is_configured_wrong_is_one_line_that_names_it(
    site: Site, part: str, changes: dict[str, Any], line: str, words: str
) -> None:
    site.change(part, **changes)
    wrong = site.wrong()
    assert list(wrong) == [line]
    assert words in wrong[line]


@pytest.mark.parametrize(("role", "reference"), [("dr", "env:HARNESS"), ("api", "env:API")])
def test_a_password_that_is_refused_is_the_line_of_its_role(site: Site, role: str, reference: str) -> None:
    site.refused.add(role)
    assert site.wrong() == {f"login of {role}": f"{role} was refused. Compare {reference}."}


def test_whoever_does_not_answer_is_named(site: Site) -> None:
    site.silent |= {SERVICE, PROMETHEUS}
    site.refused.add("boss")
    lines = [f"service at {SERVICE}", f"Prometheus at {PROMETHEUS}", LED]
    assert {*site.wrong()} == {*lines}


@pytest.mark.parametrize(
    ("statuses", "well"),
    [
        ({"/healthz": 200, "": 500}, True),
        ({"/healthz": 404, "": 200}, True),
        ({"/healthz": 404, "": 404}, False),
        ({"/healthz": 503, "": 200}, False),
    ],
)
def test_a_service_is_well_by_its_health_check_and_by_its_url_where_it_has_none(
    site: Site, statuses: dict[str, int], well: bool
) -> None:
    site.statuses = {SERVICE + path: status for path, status in statuses.items()}
    assert (site.wrong() == {}) is well


@pytest.mark.parametrize(
    ("takes", "shown", "words"),
    [
        ("", "", ""),
        ("env:TOKEN", "env:TOKEN", ""),
        ("env:TOKEN", "env:OLD", "refuses the token that service.token refers to, env:OLD (status 401)"),
        ("env:TOKEN", "", "asks for a token, and the target names none (status 401)"),
    ],
)
def test_a_service_that_refuses_the_token_is_told_where_predictions_may_be_asked_of_it(
    site: Site, takes: str, shown: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKEN", "OLD"):
        monkeypatch.setenv(name, "hush")
    site.takes = takes
    site.change("service", token=shown)
    assert site.wrong() == {}
    assert site.asked == []
    site.change(grants=(Grant.MARKERS,))
    wrong = site.wrong()
    assert list(wrong) == ([f"service at {SERVICE}"] if words else [])
    assert words in " ".join(wrong.values())
    assert site.asked == [""], "nothing that anything could be predicted from"


def test_a_source_that_is_deleted_or_leads_nowhere_is_wrong_and_takes_no_login_where_it_has_no_endpoint(
    site: Site,
) -> None:
    site.rds.rows[SOURCE]["DBInstanceStatus"] = "storage-full"
    assert "storage-full" in site.wrong()[SOURCE_LINE]
    site.rds.rows[SOURCE] |= {"DBInstanceStatus": "creating", "Endpoint": {}}
    assert site.wrong() == {SOURCE_LINE: f"{SOURCE} is creating and has no endpoint yet. Wait until it is available."}
    del site.rds.rows[SOURCE]
    lines = site.lines()
    assert "There is no instance" in lines[SOURCE_LINE]
    assert not [line for line in lines if line.startswith("login")]


def test_another_account_is_told_once_and_the_rest_is_checked_all_the_same(site: Site) -> None:
    site.rds.owner = "999999999999"
    site.change("service", artifacts="/nope")
    wrong = site.wrong()
    assert list(wrong) == [ACCOUNT_LINE, "service.artifacts"]
    assert "belong to account 999999999999" in wrong[ACCOUNT_LINE]


def test_what_a_target_does_not_name_is_not_checked(site: Site) -> None:
    site.change(service=None, pooler=None, prometheus=None, replicas=())
    assert [line for line in site.lines() if not line.startswith("secret")] == [
        *(ACCOUNT_LINE, SOURCE_LINE, RESTORING, "login of dr", "login of api")
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DBClusterIdentifier": "aurora-1"}, "a member of the cluster aurora-1"),
        ({"BackupRetentionPeriod": 0}, "keeps no automated backups"),
    ],
)
def test_a_source_that_cannot_be_restored_is_told_before_the_night(
    site: Site, changes: dict[str, Any], words: str
) -> None:
    site.rds.rows[SOURCE].update(changes)
    wrong = site.wrong()
    assert list(wrong) == [RESTORING]
    assert words in wrong[RESTORING]


def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> tuple[int, str]:
    """The exit code of 'dr doctor' for this target of dr.yaml, and what it prints."""
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    monkeypatch.setenv("DR_CONFIG", str(tmp_path / "dr.yaml"))
    (tmp_path / "dr.yaml").write_text(f"targets: {{prod: {target}}}")
    done = CliRunner().invoke(cli, ["doctor", "--target", "prod"], catch_exceptions=False)
    return done.exit_code, done.stdout


RDS = "rds: {account: '1', region: r, instance: i}"


def test_sections_that_lack_another_are_each_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = "service: {url: 'http://service.example.com', login: api, command: [serve], requests: []}"
    assert doctor(tmp_path, monkeypatch, f"{{{RDS}, {service}}}") == (
        3,
        "wrong  section rds: It is of no use without section postgres. Add that to target prod in dr.yaml.\n"
        "wrong  section service: It is of no use without section postgres. Add that to target prod in dr.yaml.\n"
        "wrong  restoring: Nothing restores target prod. Add section postgres in dr.yaml, which rds needs"
        " to restore it.\n",
    )


def test_a_target_that_nothing_restores_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor(tmp_path, monkeypatch, "{consent: prod}") == (
        3,
        "wrong  restoring: Nothing restores target prod. Give it the section of a provider that does in dr.yaml.\n",
    )


def test_no_baseline_is_taken_of_a_target_that_lacks_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    monkeypatch.setenv("DR_CONFIG", str(tmp_path / "dr.yaml"))
    (tmp_path / "dr.yaml").write_text(f"targets: {{prod: {{{RDS}}}, none: {{consent: none}}}}")
    for name, missing in {"prod": "postgres", "none": "rds, postgres"}.items():
        with pytest.raises(RefusedError, match=rf"Target {name} has no section {missing}, which baseline needs\. Add"):
            survey.take(name)


def test_everybody_who_can_takes_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_HOME", str(tmp_path))
    monkeypatch.setenv("DR_CONFIG", str(tmp_path / "dr.yaml"))
    (tmp_path / "dr.yaml").write_text("targets: {prod: {consent: prod}}")
    takers = {
        "one": Plugin("one", baseline=lambda of: f"Took one of {of.name}."),
        "two": Plugin("two", baseline=lambda of: f"Took two of {of.name}."),
        "far": Plugin("far", reads=("far",), baseline=lambda _: "Took what is not there."),
        "idle": Plugin("idle"),
    }
    monkeypatch.setattr(survey, "plugins", lambda: takers)
    assert survey.take("prod") == "Took one of prod. Took two of prod."
    monkeypatch.setattr(survey, "plugins", lambda: {"idle": takers["idle"]})
    with pytest.raises(RefusedError, match="Nobody takes a baseline of target prod"):
        survey.take("prod")
