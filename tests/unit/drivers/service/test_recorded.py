"""Golden answers on a way through a cluster: against which recorded ones, and what they say of another model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dr.app import restore
from dr.config.context import Context
from dr.config.model import Login, Settings
from dr.domain.errors import ProviderError
from dr.domain.model import Demand, Grant, Observation, Status
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.service import recorded as recording
from dr.drivers.service.config import ServiceConfig
from dr.drivers.velero.config import VeleroConfig
from dr.evidence.baselines import BaselineStore
from dr.judge.findings import judged
from dr.judge.objectives.equality import OBJECTIVES
from tests.platform_objects import SYSTEM
from tests.targets import target_of
from tests.unit.evidence.test_baselines import baseline
from tests.unit.recovery import evidence
from tests.virtual import VirtualClock

GOLDEN = next(one for one in OBJECTIVES if one.name == "golden")
MODEL = {"active": 1}
SERVICE = ServiceConfig("http://x", ("true",), "api", ({"p": 1},), ways={"cluster": "http://y"})
TARGET = msgspec.structs.replace(
    target_of(instance="readmission-db", grants=(Grant.MARKERS,), service=SERVICE),
    postgres=PostgresConfig("readmission", Login("h", "env:X")),
    kubernetes=KubernetesConfig("/none", "none", "uid", (SYSTEM,)),
    velero=VeleroConfig(),
)


class Machine:
    """A DR_HOME with baselines of a source whose active model is ``model``; None: it cannot be read."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.context = Context("lab", TARGET, Settings(), home, home, VirtualClock(), "")
        self.model: dict[str, Any] | None = MODEL
        self.store = BaselineStore(home, "lab")
        monkeypatch.setattr(recording, "_model", lambda *_: self._read())

    def _read(self) -> dict[str, Any]:
        if self.model is None:
            raise ProviderError("It does not answer.")
        return self.model

    def judge(self, answer: str, before: float = 500.0) -> tuple[Status, str]:
        found = recording.recorded(self.context, before)
        held = None if found is None else msgspec.to_builtins(found)
        seen = (Observation("baseline", "source", held), Observation("golden", "cluster", {"p": answer}))
        told = judged(GOLDEN.judge, replace(evidence(), observations=seen), Demand("golden", "cluster", None, ""))
        return told.status, told.because


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_newest_answers_from_before_the_loss_are_compared_with(machine: Machine) -> None:
    for at in (100.0, 300.0, 900.0):
        machine.store.save(replace(baseline(at), golden={"p": f"a{at:.0f}"}))
    machine.store.save(replace(baseline(400.0), golden={}))  # asked of nobody
    assert machine.judge("a300")[0] is Status.MET
    assert machine.judge("a900") == (Status.MISSED, "p: another prediction.")


@pytest.mark.parametrize(("model", "words"), [({"active": 2}, "its active model"), (None, "could not be read")])
def test_another_answer_proves_nothing_once_the_model_is_another_or_not_known(
    machine: Machine, model: dict[str, Any] | None, words: str
) -> None:
    machine.store.save(baseline(100.0))
    machine.model = model
    status, because = machine.judge("y")
    assert (status, words in because) == (Status.INCONCLUSIVE, True)
    assert machine.judge("x")[0] is Status.MET
    assert machine.judge("no answer: refused")[0] is Status.MISSED


def test_without_recorded_answers_it_is_inconclusive(machine: Machine) -> None:
    status, because = machine.judge("x")
    assert (status, "no baseline" in because) == (Status.INCONCLUSIVE, True)


def test_a_restore_of_namespaces_on_call_demands_them_on_each_way() -> None:
    to = {"backup": "latest"}
    wanted = restore.request("lab", TARGET, to, since=None, as_name="", reset_master=False, verify=True)
    assert [verb.name for verb in wanted.verbs] == ["restore", "compare", "measure", "settle", "ask"]
    assert restore.asked(wanted, TARGET)["golden"] == ["cluster"]
