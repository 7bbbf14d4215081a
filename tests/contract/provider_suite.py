"""What every ``dr.ports.Provider`` keeps to, whatever is behind it.

A driver gives a ``Subject``, and a ``Left`` where it makes what outlives a run.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from dr.config.plugins import Plugin, offer
from dr.domain.errors import DrError, RefusedError, UsageError
from dr.domain.model import Call, Facts, Progress, Request, Resource, RunIdentity, Verb
from dr.engine.perform import carry_out
from dr.engine.references import fill
from dr.ports import Clock, Provider, Restorer
from tests.support import BUSY


@dataclass(frozen=True)
class Subject:
    """One driver with a verb it can carry out.

    ``things``: what exists of what the verb makes, by name, empty before. ``broken``: a driver of the same kind whose
    other side cannot be reached. ``secrets``: texts that may appear nowhere. ``effects``: results of earlier calls, by
    call, that the verb's arguments refer to. ``seen``: what the looks of other drivers add to the facts.

    What does not hold for a driver it says itself. ``any_verb``: it proposes whatever it is asked for, and its plugin
    alone says which verbs are its own. ``bears``: that its other side is gone is what it is there to see, and ends
    nothing. ``reads``: the verb makes nothing.
    """

    plugin: Plugin
    provider: Provider
    broken: Provider
    request: Request
    run: RunIdentity
    things: Callable[[], Collection[str]]
    secrets: tuple[str, ...] = ()
    effects: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    seen: tuple[Resource, ...] = ()
    any_verb: bool = False
    bears: bool = False
    reads: bool = False

    @property
    def verb(self) -> Verb:
        return self.request.verbs[0]

    def look(self) -> Facts:
        facts = self.provider.look(self.request)
        return replace(facts, resources=(*facts.resources, *self.seen))

    def propose(self, facts: Facts | None = None) -> tuple[Call, ...]:
        return self.provider.propose(self.verb, facts or self.look(), self.run)

    def filled(self, call: Call) -> dict[str, Any]:
        return fill(call.args, self.effects)

    def attempt(self, call: Call) -> None:
        """Begin it where the other side cannot be reached."""
        self.broken.poll(call, self.broken.apply(call, self.filled(call)))

    def perform(self, call: Call) -> Progress:
        result = self.provider.apply(call, self.filled(call))
        until = time.monotonic() + min(call.deadline, 30.0 * BUSY)
        while not (progress := self.provider.poll(call, result)).done:
            assert time.monotonic() < until, progress.note
            time.sleep(0.1)
        self.effects[call.id] = progress.result
        return progress

    def undo(self, calls: tuple[Call, ...]) -> None:
        for call in reversed(calls):
            if call.undo is not None:
                self.perform(call.undo)


class ProviderContract:
    """The suite. A subclass, or a fixture, gives ``subject``."""

    def test_looking_changes_nothing(self, subject: Subject) -> None:
        before = set(subject.things())
        subject.look()
        assert set(subject.things()) == before

    def test_proposing_is_pure(self, subject: Subject) -> None:
        facts = subject.look()
        kept = copy.deepcopy(facts)
        first = subject.propose(facts)
        assert first
        assert subject.propose(facts) == first
        assert facts == kept
        assert not subject.things()

    def test_calls_can_be_printed_recorded_and_told_apart(self, subject: Subject) -> None:
        calls = subject.propose()
        for call in [*calls, *(call.undo for call in calls if call.undo is not None)]:
            assert json.loads(json.dumps(call.args)) == call.args
            assert all((call.phase, call.driver, call.operation))
            assert call.deadline > 0
        assert len({call.id for call in calls}) == len(calls)

    def test_a_verb_that_is_not_the_drivers_is_refused(self, subject: Subject) -> None:
        facts = subject.look()
        asked = offer if subject.any_verb else partial(subject.provider.propose, facts=facts, run=subject.run)
        with pytest.raises(DrError):
            asked(Verb("no-such-verb"))

    def test_its_plugin_takes_the_verb_and_no_argument_that_it_does_not_know(self, subject: Subject) -> None:
        (spec,) = (one for one in subject.plugin.verbs if one.name == subject.verb.name)
        spec.arguments(subject.verb)
        with pytest.raises(UsageError, match="no-such-argument"):
            spec.arguments(replace(subject.verb, args={**subject.verb.args, "no-such-argument": 1}))

    def test_its_calls_are_its_own(self, subject: Subject) -> None:
        for call in subject.propose():
            assert call.driver == subject.plugin.name
            assert call.undo is None or call.undo.driver == subject.plugin.name

    def test_repeated_apply_makes_one_thing_and_undo_leaves_nothing(self, subject: Subject) -> None:
        calls = subject.propose()
        made = set()
        for call in calls:
            subject.provider.apply(call, subject.filled(call))
            progress = subject.perform(call)
            made |= set(subject.things())
            assert json.loads(json.dumps(dict(progress.result))) == progress.result
        assert len(made) == (0 if subject.reads else 1)
        subject.undo(calls)
        assert not subject.things()
        subject.undo(calls)

    def test_undo_of_what_was_never_applied_is_no_error(self, subject: Subject) -> None:
        subject.undo(subject.propose())
        assert not subject.things()

    def test_no_secret_appears_anywhere(self, subject: Subject) -> None:
        calls = subject.propose()
        said = [repr(calls)]
        for call in calls:
            progress = subject.perform(call)
            said.append(repr(progress))
        subject.undo(calls)
        for secret in subject.secrets:
            assert all(secret not in text for text in said)

    def test_an_identity_that_fits_is_confirmed(self, subject: Subject) -> None:
        subject.provider.confirm_identity()

    def test_whatever_is_broken_is_told_as_an_error_of_ours_without_a_secret(self, subject: Subject) -> None:
        calls = subject.propose()
        attempts: list[Callable[[], object]] = [
            subject.broken.confirm_identity,
            lambda: subject.broken.look(subject.request),
            *(partial(subject.attempt, call) for call in calls),
        ]
        told = [sentence for attempt in attempts if (sentence := _told(attempt))]
        if subject.bears:
            assert not told
            for call in calls:
                if call.undo is not None:
                    subject.attempt(call.undo)
        else:
            assert told, "nothing notices that the other side is gone"
        for sentence in told:
            assert sentence.endswith(".")
            assert all(secret not in sentence for secret in subject.secrets)


def _told(attempt: Callable[[], object]) -> str:
    """What a person is told when ``attempt`` fails; "" where it works. Any other error than ours goes through."""
    try:
        attempt()
    except DrError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Left:
    """What a run has made and is to be undone, in virtual time, at a provider that can be made to mislead.

    ``call``: what made it, whose undo is ``call.undo``. ``things``: what exists of it. ``unlisted``: so many of the
    next answers list nothing. ``denied``: so many say that there is none of that name, whatever is asked of it.
    ``late``: for so many seconds nobody knows of it. ``foreign``: it turns out to be somebody else's. ``broken``: the
    provider cannot be asked any more. ``at_once``: its driver says itself that one answer is proof, since nothing
    stands between it and the thing; then the provider cannot be made to mislead, and the first three do nothing.
    """

    provider: Restorer
    call: Call
    clock: Clock
    things: Callable[[], Collection[str]]
    unlisted: Callable[[int], None]
    denied: Callable[[int], None]
    late: Callable[[float], None]
    foreign: Callable[[], None]
    broken: Callable[[], None]
    at_once: bool = False

    def undo(self, *, certain: bool = True) -> float:
        """Undo it as the engine does. ``certain``: its effect is known. Returns the seconds that it took."""
        began = self.clock.now().at
        assert self.call.undo is not None
        args = {**self.call.undo.args, "undone": {"intended_at": began, "certain": certain}}
        carry_out(self.provider, self.call.undo, args, self.clock, lambda _call, _note: None)
        return self.clock.now().at - began


class UndoContract:
    """What every driver keeps to that undoes something which outlives the run: nothing is believed gone for one answer.

    A fixture gives ``left``.
    """

    @pytest.mark.parametrize("answers", range(6))
    def test_answers_that_list_nothing_are_no_proof(self, left: Left, answers: int) -> None:
        left.unlisted(answers)
        left.undo()
        assert not left.things()

    def test_one_answer_that_there_is_none_is_no_proof(self, left: Left) -> None:
        left.denied(1)
        left.undo()
        assert not left.things()

    def test_what_is_gone_is_believed_after_two_answers_apart(self, left: Left) -> None:
        left.undo()
        seconds = left.undo()
        assert seconds == 0.0 if left.at_once else 1.0 < seconds < 60.0
        assert not left.things()

    @pytest.mark.parametrize("seconds", [0.0, 1.0, 60.0, 150.0])
    def test_what_may_have_been_made_is_waited_for_and_removed(self, left: Left, seconds: float) -> None:
        left.late(seconds)
        left.undo(certain=False)
        assert not left.things()

    def test_what_is_never_listed_is_removed_by_its_name(self, left: Left) -> None:
        left.unlisted(10**6)
        assert left.undo() < 60.0
        assert not left.things()

    def test_what_turns_out_to_be_anothers_is_refused_and_stays(self, left: Left) -> None:
        left.foreign()
        with pytest.raises(RefusedError):
            left.undo()
        assert left.things()

    def test_what_stands_is_shown_by_its_runs_tag_alone(self, left: Left) -> None:
        run = str(left.call.undo.args["run"]) if left.call.undo else ""
        assert {one.ref.name for one in left.provider.remains(run)} == set(left.things())
        assert left.provider.remains("20200101-000000-0000") == ()
        left.undo()
        assert left.provider.remains(run) == ()

    def test_a_provider_that_cannot_be_asked_is_an_error_and_not_nothing(self, left: Left) -> None:
        left.broken()
        with pytest.raises(DrError):
            left.provider.remains("any")
