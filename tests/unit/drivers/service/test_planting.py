"""What serve, measure and settle come down to where rows of the run's own are planted, and where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dr.config.model import Login
from dr.domain.errors import ProviderError, RefusedError
from dr.domain.model import Call, Effect, Facts, Plan, Purpose, Request, RunIdentity, Stamp, Verb
from dr.domain.refs import Ref
from dr.drivers.measuring.provider import MeasuringProvider
from dr.drivers.rds.naming import instance
from dr.drivers.service.asking import name_of
from dr.drivers.service.config import Planting, Rows, Stored
from dr.drivers.service.provider import NOT_SAID, ServingProvider
from dr.drivers.service.variants import variants
from dr.engine.guard import Consent, Terms, guard
from dr.engine.references import fill, named
from dr.evidence.samples import header, sample_line, samples_file
from dr.host.bounded import NO_ANSWER
from dr.host.children import process
from tests.integration.meters import context
from tests.virtual import call

RUN = RunIdentity("20261130-033333-cf4e", "lab", Purpose.DRILL, "")
ON_CALL = RunIdentity(RUN.id, "lab", Purpose.RESTORE, "")
COPY = instance("copy")
PLANTING = Planting(Login("admin", "env:A"), (Rows("patients", {"id": "a"}),))
STORED = Stored("predictions", "id")
SERVE, SETTLE = Verb("serve"), Verb("settle", {"paths": ["restored"]})


def serve(run: Path, identity: RunIdentity = RUN, **of_service: Any) -> dict[str, Call]:
    provider = ServingProvider(context(run, **{"stored": False, **of_service}))
    return {one.id: one for one in provider.propose(SERVE, Facts(0.0), identity)}


def test_rows_are_planted_in_the_copy_before_it_is_served(tmp_path: Path) -> None:
    calls = serve(tmp_path, planted=PLANTING)
    assert [*calls] == ["plant", "serve", "golden"]
    assert calls["plant"].args == {"host": "${restore.host}", "port": "${restore.port}", "run": RUN.id}
    assert (calls["golden"].args["planted"], calls["golden"].args["because"]) == ("${plant.rows}", "${plant.because}")
    assert "admin" not in str(calls)


def test_where_the_target_does_not_say_how_nothing_is_planted(tmp_path: Path) -> None:
    calls = serve(tmp_path)
    assert [*calls] == ["serve", "golden"]
    assert (calls["golden"].args["planted"], calls["golden"].args["because"]) == (0, NOT_SAID)


def test_only_out_of_a_copy_that_stays_planted_rows_are_taken(tmp_path: Path) -> None:
    assert serve(tmp_path, planted=PLANTING)["plant"].undo is None
    undo = serve(tmp_path, ON_CALL, planted=PLANTING)["plant"].undo
    assert undo is not None
    assert undo.operation == "uproot"


@pytest.mark.parametrize("identity", [RUN, ON_CALL])
def test_the_guard_lets_rows_into_what_the_run_made_and_into_nothing_else(
    tmp_path: Path, identity: RunIdentity
) -> None:
    terms = Terms((), {"scripted": {"account": "1"}}, (), "word")
    facts = Facts(0.0, {"scripted": {"account": "1"}})
    restore = call("restore", makes=(COPY,), undo=None)
    planted = [*serve(tmp_path, identity, planted=PLANTING).values()]
    request = Request("lab", (), identity.purpose)
    good = Plan(request, identity, named([restore, *planted]), ())
    assert good.calls[1].makes == (Ref("service", "rows", f"of run {RUN.id}", COPY),)
    assert guard(good, terms, facts, Consent("word")) == ()
    elsewhere = named([call("restore", makes=(), touches=(COPY,), effect=Effect.CHANGES, undo=None), *planted])
    told = guard(Plan(request, identity, elsewhere, ()), terms, facts, Consent("word"))
    assert any("plant would make rows of run" in why and "inside what this run did not make" in why for why in told)


def measured(run: Path, verb: Verb, **of_service: Any) -> dict[str, Call]:
    provider = MeasuringProvider(context(run, **{"stored": False, **of_service}))
    return {one.id: one for one in provider.propose(verb, Facts(0.0), RUN)}


def test_a_copy_is_asked_under_load_for_what_was_planted_and_held_against_its_golden_answers(tmp_path: Path) -> None:
    verb = Verb("measure", {"path": "restored"})
    args = measured(tmp_path, verb, planted=PLANTING)["measure-restored"].args
    assert (args["golden"], args["planted"], args["run"]) == ("${golden.answers}", "${plant.rows}", RUN.id)
    assert measured(tmp_path, verb)["measure-restored"].args["planted"] == 0
    assert "golden" not in measured(tmp_path, Verb("measure", {"path": "source"}))["measure-source"].args


def test_each_body_has_the_golden_form_of_its_request_or_none(tmp_path: Path) -> None:
    made = context(tmp_path, planted=PLANTING, stored=False, volatile=("id",), tolerance=0.5)
    service = made.target.service
    known = {name_of({"patient": "a"}): "f" * 64, name_of({"patient": "b"}): "no answer: none"}
    asked = MeasuringProvider._asked(service, {"golden": known, "planted": 1, "run": RUN.id})
    (one,) = variants(service, RUN.id, planted=True)
    form = {"form": "f" * 64, "names": one.names, "volatile": ("id",), "tolerance": 0.5}
    assert asked == {"bodies": [one.request], "golden": [form]}
    unplanted = MeasuringProvider._asked(service, {"golden": known, "planted": 0, "run": RUN.id})
    assert unplanted == {"bodies": [*service.requests], "golden": [{**form, "names": {}}, None]}
    assert MeasuringProvider._asked(service, {})["golden"] == [None, None]


def test_what_is_stored_is_counted_of_a_copy_where_the_target_says_where(tmp_path: Path) -> None:
    both = {"planted": PLANTING, "stored": STORED}
    calls = measured(tmp_path, SETTLE, **both)
    assert [*calls] == ["settle-restored", "count-stored"]
    assert calls["count-stored"].touches == (process("measure-restored"),)
    assert calls["count-stored"].args["source"] is None
    assert [*measured(tmp_path, SETTLE, planted=PLANTING)] == ["settle-restored"]
    assert [*measured(tmp_path, SETTLE, stored=None)] == ["settle-restored"]
    assert [*measured(tmp_path, Verb("settle", {"paths": ["source"]}), **both)] == ["settle-source"]


@pytest.mark.parametrize(("stored", "demanded"), [(None, True), (STORED, True), (False, False)])
def test_only_a_service_that_is_said_to_store_nothing_is_not_asked_for_what_it_stored(
    tmp_path: Path, stored: Any, demanded: bool
) -> None:
    made = context(tmp_path, stored=stored)
    facts = ServingProvider(made).look(Request("lab", (), Purpose.DRILL))
    assert facts.extra == {"stored": demanded}


def test_what_is_planted_anew_after_some_load_is_told_from_what_was_planted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context(tmp_path, planted=PLANTING, stored=STORED)
    provider = ServingProvider(made)
    calls = {one.id: one for one in provider.propose(SERVE, Facts(0.0), ON_CALL)}
    counting = measured(tmp_path, SETTLE, planted=PLANTING, stored=STORED)["count-stored"]
    monkeypatch.setattr("dr.drivers.service.provider.plant", lambda *_: 1)
    monkeypatch.setattr(ServingProvider, "_answer", lambda *_: {"risk": 0.5})
    monkeypatch.setattr("dr.drivers.service.provider.withheld", lambda *_: ("reads", {"risk": 0.5}))
    where = {"host": "copy", "port": 1, "run": RUN.id}

    def planted() -> dict[str, Any]:
        return dict(provider.poll(calls["plant"], provider.apply(calls["plant"], where)).result)

    first = planted()
    args = fill(calls["golden"].args, {"plant": first, "serve": {"url": "http://s", **where}})
    golden = provider.poll(calls["golden"], provider.apply(calls["golden"], args)).result
    samples_file(tmp_path, "restored").write_bytes(
        header("restored", 10.0, 1.0, Stamp(1.0, 1, "boot")) + sample_line(41, 1, 1, 2, 200, "", 0)
    )
    again = planted()
    effects = {"golden": golden, "serve": where}
    told = [fill(counting.args, {**effects, "plant": one}) for one in (first, again)]
    assert [one["first"] for one in told] == [0, 42]
    assert [one["before"]["good"] for one in told] == [2, 2]
    assert [one["before"]["planting"] == one["planting"] for one in told] == [True, False]


@pytest.mark.parametrize(
    ("result", "deletes"),
    [
        ({}, [0]),
        ({"rows": 4}, [4]),
        ({"rows": 0, "unsure": False}, []),
        ({"rows": 0, "unsure": True}, [0]),
    ],
)
def test_what_is_known_not_to_be_planted_is_not_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], deletes: list[int]
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("dr.drivers.service.provider.uproot", lambda *args: asked.append(args[-1]) or 0)
    undo = serve(tmp_path, ON_CALL, planted=PLANTING, stored=STORED)["plant"].undo
    assert undo is not None
    provider = ServingProvider(context(tmp_path, planted=PLANTING, stored=STORED))
    provider.apply(undo, {"host": "copy", "port": 1, "run": RUN.id, "undone": {"certain": True, "result": result}})
    assert asked == deletes


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        (RefusedError("It may not write."), False),
        (ProviderError("There is no such row."), False),
        (ProviderError("It broke.", transient=True), True),
    ],
)
def test_a_connection_that_breaks_leaves_it_unknown_whether_rows_are_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, unsure: bool
) -> None:
    def broken(*_: object) -> int:
        raise error

    monkeypatch.setattr("dr.drivers.service.provider.plant", broken)
    call = serve(tmp_path, planted=PLANTING)["plant"]
    provider = ServingProvider(context(tmp_path, planted=PLANTING, stored=False))
    told = provider.apply(call, {"host": "copy", "port": 1, "run": RUN.id})
    assert (told["rows"], told["because"], told["unsure"]) == (0, str(error), unsure)


def test_a_golden_request_that_was_not_answered_in_time_is_asked_again_a_few_times_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"a": 3, "b": 9, "c": 1}

    def answer_to(_: str, request: dict[str, str], *__: object) -> dict[str, str]:
        name = request["patient"]
        silent[name] -= 1
        if silent[name] >= 0:
            raise ProviderError("It was not answered within 10 s.", code=NO_ANSWER if name != "c" else "")
        return {"name": name}

    monkeypatch.setattr("dr.drivers.service.provider.answer_to", answer_to)
    provider = ServingProvider(context(tmp_path, requests=tuple({"patient": name} for name in silent)))
    call = {one.id: one for one in provider.propose(SERVE, Facts(0.0), ON_CALL)}["golden"]
    answers = dict(provider.poll(call, provider.apply(call, {"url": "http://s", "planted": 0})).result)["answers"]
    assert [answer[:9] == "no answer" for answer in answers.values()] == [False, True, True]
    assert silent == {"a": -1, "b": 7, "c": 0}  # three and one more in all; what is refused is not asked again
