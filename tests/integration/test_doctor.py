"""``dr doctor`` on a lab: what is there is ok, and all that is wrong is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from dr.config.model import Login
from dr.lab.servers.site import free_port
from tests.labs import Lab
from tests.targets import retargeted


def doctor(lab: Lab, tmp_path: Path, code: int, **changes: Any) -> str:
    """What ``dr doctor`` says of a target that is the lab's but for ``changes``."""
    target = msgspec.to_builtins(retargeted(lab.target, **changes))
    (tmp_path / "dr.yaml").write_text(yaml.safe_dump({"targets": {"changed": target}}))
    return lab.dr("doctor", "--target", "changed", code=code, DR_CONFIG=str(tmp_path / "dr.yaml")).stdout


def test_a_lab_is_as_its_target_says(lab: Lab, tmp_path: Path) -> None:
    said = doctor(lab, tmp_path, 0)
    assert {line.split()[0] for line in said.splitlines()} == {"ok"}
    for role in (lab.target.postgres.harness, *lab.target.postgres.roles):
        assert f"login of {role.user}\n" in said


def test_the_labs_service_asks_for_the_token_of_its_target_and_another_is_told(lab: Lab, tmp_path: Path) -> None:
    service = lab.target.service
    assert service is not None
    file = Path(service.token.removeprefix("file:"))
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "stale").write_text("stale-token\n")
    stale = msgspec.structs.replace(service, token=f"file:{tmp_path / 'stale'}")
    said = doctor(lab, tmp_path, 3, service=stale)
    assert f"The service at {service.url} refuses the token that service.token refers to, {stale.token}" in said
    assert "stale-token" not in said
    none = msgspec.structs.replace(service, token="")
    assert "asks for a token, and the target names none (status 401)" in doctor(lab, tmp_path, 3, service=none)


def test_each_thing_that_is_wrong_is_told(lab: Lab, tmp_path: Path) -> None:
    target, dead = lab.target, f"http://127.0.0.1:{free_port()}"
    assert target.service is not None
    (tmp_path / "stale").write_text("stale\n")
    stale = f"file:{tmp_path / 'stale'}"
    roles = (Login(target.postgres.roles[0].user, stale), *target.postgres.roles[1:])
    service = msgspec.structs.replace(target.service, url=dead, artifacts="/nope", command=("/no/such",))
    database = msgspec.structs.replace(target.postgres, harness=Login("dr_harness", stale), roles=roles)
    said = doctor(lab, tmp_path, 3, database=database, service=service)
    wrong = [line.removeprefix("wrong ").strip() for line in said.splitlines() if line.startswith("wrong")]
    named = ["service.command", "login of dr_harness", f"login of {roles[0].user}", f"service at {dead}"]
    assert [line.partition(": ")[0] for line in wrong] == [*named, "service.artifacts"]
    assert stale in wrong[1]
    assert "stale, wrong or empty" in wrong[1]
    nowhere = msgspec.structs.replace(target.postgres, ca="/nope")
    assert "The CA file '/nope' cannot be read" in doctor(lab, tmp_path, 3, database=nowhere)
    assert "There is no instance nodb" in doctor(lab, tmp_path, 3, instance="nodb")
