"""What verbs need of this machine is known before they begin."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
import trustme

from dr.app.prepare import Prepared
from dr.app.session import Session
from dr.app.terms import all_needs, needs, terms
from dr.config.context import Context
from dr.config.model import Login, Settings
from dr.domain.model import Facts, Plan, Purpose, Request, RunIdentity, Verb
from dr.drivers.clients.config import PoolerConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.service.config import ServiceConfig
from dr.engine.guard import Consent
from dr.host.clock import SystemClock
from tests.targets import retargeted, target_of

TARGET = target_of(
    account="123456789012",
    region="eu-central-1",
    instance="readmission-db",
    database=PostgresConfig(
        "readmission",
        Login("dr_harness", "env:HARNESS"),
        (Login("api", "env:API"), Login("analyst", "env:ANALYST")),
        Login("admin", "file:/not/there"),
    ),
    service=ServiceConfig("http://127.0.0.1:1", ("/no/such/program",), "api", ()),
)


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HARNESS", "API", "ANALYST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("verb", "lacking"),
    [
        (Verb("declare"), []),
        (Verb("restore", {"to": {"time": "latest"}}), []),
        (Verb("restore", {"to": {}, "reset_master": True}), ["secret file:/not/there"]),
        (Verb("baseline"), ["secret env:HARNESS"]),
        (Verb("disaster", {"kind": "rows"}), ["secret env:HARNESS"]),
        (Verb("measure", {"path": "restored"}), []),
        (Verb("measure", {"path": "source", "markers": True}), ["secret env:HARNESS"]),
        (Verb("examine"), ["secret env:HARNESS", "secret env:API", "secret env:ANALYST"]),
        (Verb("serve"), ["secret env:HARNESS", "secret env:API", "service.command"]),
    ],
)
def test_a_verb_needs_what_it_uses_and_no_more(verb: Verb, lacking: list[str]) -> None:
    assert [name for name, problem in needs(TARGET, (verb,)) if problem] == lacking


def test_what_is_there_is_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HARNESS", "API", "ANALYST"):
        monkeypatch.setenv(name, "hush")
    (tmp_path / "admin").write_text("hush\n")
    assert TARGET.service is not None
    database = msgspec.structs.replace(TARGET.postgres, master=Login("admin", f"file:{tmp_path / 'admin'}"))
    service = msgspec.structs.replace(TARGET.service, command=(sys.executable, "-m", "x"))
    whole = retargeted(TARGET, database=database, service=service)
    found = list(all_needs(whole))
    assert len(found) == 5
    assert {problem for _, problem in found} == {""}


@pytest.mark.parametrize(
    ("verb", "needed"),
    [
        (Verb("serve"), True),
        (Verb("measure", {"path": "source"}), True),
        (Verb("measure", {"path": "restored"}), True),
        (Verb("measure", {"path": "writes"}), False),
        (Verb("measure", {"path": "reads"}), False),
        (Verb("baseline"), False),
        (Verb("restore", {"to": {}}), False),
    ],
)
def test_a_verb_that_asks_for_predictions_needs_the_services_token(
    verb: Verb, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TARGET.service is not None
    target = retargeted(TARGET, service=msgspec.structs.replace(TARGET.service, token="env:TOKEN"))
    monkeypatch.delenv("TOKEN", raising=False)
    assert ("The secret 'env:TOKEN' is not there." in " ".join(dict(needs(target, (verb,))).values())) is needed
    monkeypatch.setenv("TOKEN", "two words")
    assert ("The secret 'env:TOKEN' is no token" in " ".join(dict(needs(target, (verb,))).values())) is needed
    monkeypatch.setenv("TOKEN", "t0ken")
    assert dict(needs(target, (verb,))).get("secret env:TOKEN", "") == ""


def test_a_run_that_lacks_something_is_refused_with_each_lack(tmp_path: Path) -> None:
    verbs = (Verb("restore", {"to": {"time": "latest"}}), Verb("serve"))
    planned = Plan(Request("prod", verbs, Purpose.RESTORE), RunIdentity("run", "prod", Purpose.RESTORE, ""), (), ())
    context = Context("prod", TARGET, Settings(), tmp_path, tmp_path / "run", SystemClock(), "")
    facts = Facts(0.0, terms(TARGET).pins)
    prepared = Prepared(Session(context, planned, {}, lambda _call, _note: None), facts, None)
    harness, secret, command = prepared.refusals(Consent(TARGET.rds.instance))
    assert "env:HARNESS" in harness
    assert "env:API" in secret
    assert "/no/such/program" in command


def test_a_secret_file_that_is_empty_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    for name in ("empty", "binary"):
        database = msgspec.structs.replace(TARGET.postgres, harness=Login("h", f"file:{tmp_path / name}"))
        (found,) = needs(retargeted(TARGET, database=database), (Verb("baseline"),))
        assert str(tmp_path / name) in found[1]


POOLED = PoolerConfig("127.0.0.1", 1, "readmission", Login("admin", "env:POOLER"), "/none", ca="/no/pooler.pem")


@pytest.mark.parametrize(
    ("verb", "lacking"),
    [
        (Verb("examine"), ["postgres.ca"]),
        (Verb("baseline"), ["postgres.ca"]),
        (Verb("serve"), ["postgres.ca"]),
        (Verb("measure", {"path": "writes"}), ["postgres.ca", "clients.pooler.ca"]),
        (Verb("move"), ["postgres.ca", "clients.pooler.ca"]),
        (Verb("restore", {"to": {}, "reset_master": True}), []),
        (Verb("measure", {"path": "restored"}), []),
    ],
)
def test_a_verb_that_logs_in_needs_the_ca_it_verifies_by(verb: Verb, lacking: list[str]) -> None:
    database = msgspec.structs.replace(TARGET.postgres, ca="/no/postgres.pem")
    found = dict(needs(retargeted(TARGET, database=database, pooler=POOLED), (verb,)))
    assert [field for field in found if field.endswith(".ca")] == lacking
    for field in lacking:
        assert found[field] == (
            f"The CA file '/no/{field.split('.')[-2]}.pem' cannot be read: No such file or directory."
            f" Put it there, or correct {field}."
        )


def test_a_ca_file_is_one_that_holds_a_certificate_and_the_systems_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")

    def wrong(ca: str) -> list[str]:
        database = msgspec.structs.replace(TARGET.postgres, ca=ca)
        found = needs(retargeted(TARGET, database=database), (Verb("examine"),))
        return [problem for field, problem in found if field == "postgres.ca"]

    assert "it holds no certificate" in wrong(str(tmp_path / "empty.pem"))[0]
    assert wrong(str(tmp_path / "ca.pem")) == [""]
    assert wrong("") == wrong("system") == []
