"""Faults put into a target and taken out again: the verb ``disaster`` of every kind but rows, and the verb ``remedy``.

A fault is the target's own command, run with the fault's name and its arguments as JSON, and again to undo it; the JSON
object that it prints is the answer. A fault touches the source, so that the guard lets it pass on disposable targets
alone.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from dr.config.context import Context
from dr.config.plugins import PROVIDER
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Progress, Request, RunIdentity, Verb
from dr.drivers.faults.kinds import COMMAND_SECONDS, KINDS, Kind
from dr.drivers.postgres.source import status_of
from dr.drivers.rds.naming import instance
from dr.drivers.rds.promotion import ON_A_COPY
from dr.drivers.sections import Sections, command_of, sections
from dr.host.bounded import GRACE, SLICE
from dr.host.decode import json_of, read_json
from dr.host.files import write_atomically
from dr.host.hearing import heed

DRIVER = "faults"
NOTICE_SECONDS = 300.0
"""The most until the provider shows what a remedy is for."""
LONGEST = 300
"""Characters of a command's own words that a sentence repeats."""


# -- planning: pure


def propose_disaster(target: Sections, verb: Verb) -> tuple[Call, ...]:
    """The call that puts the fault of ``verb``'s kind in, and its undo.

    Raises UsageError for an unknown kind or argument, and RefusedError where the target has no command for faults.
    """
    name, kind = _kind(verb)
    _check_taken(verb, kind.on, *kind.takes)
    if kind.undo_fault and Grant.DISPOSABLE not in target.grants:
        raise RefusedError(f"{target.rds.instance} is not disposable: nobody loses it for good in a drill.", ON_A_COPY)
    _require_command(target)
    where = {kind.on: _hit(target, name, kind, verb)}
    chosen = {key: _number(key, verb.args.get(key, default)) for key, default in kind.takes.items()}
    put_in = [{**where, **args, **chosen} for args in (kind.first, kind.args) if args is not None]
    call = Call(
        id=name,
        verb=verb.name,
        phase=kind.phase,
        driver=DRIVER,
        operation="put-in",
        args={"fault": kind.fault, "arguments": put_in},
        effect=Effect.FAULT,
        touches=tuple(map(instance, where.values())),
        undo=_taking_out(f"undo-{name}", verb, kind, where),
        until="the fault is in",
        deadline=COMMAND_SECONDS,
    )
    return (call,)


def propose_remedy(target: Sections, verb: Verb) -> tuple[Call, ...]:
    """The call that takes a fault out before the run unwinds, once the provider shows it, as a person would.

    Raises UsageError for a kind that passes by itself, and otherwise as ``propose_disaster`` does.
    """
    name, kind = _kind(verb)
    _check_taken(verb, kind.on)
    _require_command(target)
    call = _taking_out(f"remedy-{name}", verb, kind, {kind.on: _hit(target, name, kind, verb)})
    if call is None:
        raise UsageError(f"A disaster of kind {name} passes by itself: there is nothing to remedy.")
    return (call,)


def _kind(verb: Verb) -> tuple[str, Kind]:
    name = str(verb.args["kind"])
    return name, KINDS[name]


def _check_taken(verb: Verb, *takes: str) -> None:
    """Raises UsageError for an argument that is another kind's."""
    unknown = sorted(set(verb.args) - {"kind", PROVIDER, *takes})
    if unknown:
        name = f"{verb.name} of kind {verb.args['kind']}"
        raise UsageError(f"A {name} knows no argument {', '.join(unknown)}.", f"It takes: {', '.join(takes)}.")


def _require_command(target: Sections) -> None:
    if not command_of(target):
        raise RefusedError(
            f"The target of {target.rds.instance} names no command that puts faults into it.",
            "The lab has one; elsewhere set faults in dr.yaml.",
        )


def _hit(target: Sections, name: str, kind: Kind, verb: Verb) -> str:
    found = str(verb.args.get(kind.on) or (target.rds.instance if kind.on == "instance" else ""))
    if not found:
        raise UsageError(f"A disaster of kind {name} needs {kind.on}: the replica that it hits.")
    return found


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UsageError(f"A disaster takes {name} as a number from 0 on, not {value!r}.")
    return float(value)


def _taking_out(id: str, verb: Verb, kind: Kind, where: Mapping[str, str]) -> Call | None:
    if kind.undo is None:
        return None
    remedy = verb.name == "remedy"
    return Call(
        id=id,
        verb=verb.name,
        phase="remedy" if remedy else "unwind",
        driver=DRIVER,
        operation="take-out",
        args={
            "fault": kind.undo_fault or kind.fault,
            "arguments": {**where, **kind.undo},
            "shows": kind.shows if remedy else "",
        },
        effect=Effect.CHANGES,
        touches=tuple(map(instance, where.values())),
        until="the fault is out",
        deadline=kind.undo_seconds + (NOTICE_SECONDS if remedy else 0.0),
    )


# -- doing


class _Note(msgspec.Struct):
    """When a fault was first put in, wall time."""

    at: float


class FaultsProvider:
    """Calls: KIND puts a fault in (``at``: right before the command acts), ``remedy-KIND`` takes it out.

    ``status``: the provider's status of an instance, "" where it shows none.
    """

    def __init__(self, context: Context, status: Callable[[Context, str], str] = status_of) -> None:
        self._context = context
        self._status = status

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._context.clock.now().at)

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        propose = propose_remedy if verb.name == "remedy" else propose_disaster
        return propose(sections(self._context.target), verb)

    def confirm_identity(self) -> None:
        """Nothing to compare: the command is the target's own, and the guard lets it pass on loopback alone."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put the fault in; repeated, the same state is set again, and the disaster stays when it first was.

        What takes a fault out acts in ``poll``, once the provider shows the state that it waits for.
        """
        if call.operation != "put-in":
            return dict(args)
        at = self._first(call.id)
        fault, command = str(args["fault"]), command_of(sections(self._context.target))
        answers = [run_command(command, fault, arguments, call.deadline) for arguments in args["arguments"]]
        return {"answer": answers[-1], "at": at}

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == "put-in":
            when = {"disaster": float(result["at"])} if call.phase == "disaster" else {}
            return Progress(done=True, result=result, milestones=when)
        arguments = result["arguments"]
        if result.get("shows"):
            status = self._status(self._context, str(arguments["instance"]))
            if status != result["shows"]:
                return Progress(done=False, note=f"{arguments['instance']} is {status or 'not shown'} to the provider")
        at = self._context.clock.now().at
        answer = run_command(command_of(sections(self._context.target)), str(result["fault"]), arguments, call.deadline)
        done_at = self._context.clock.now().at
        when = {"detected": at, "remedied": done_at} if call.phase == "remedy" else {}
        return Progress(done=True, result={"answer": answer}, milestones=when)

    def _first(self, name: str) -> float:
        """Now; where a killed attempt may have put the fault in already, when that began."""
        note = self._context.run / f"fault-{name}.json"
        if not note.exists():
            write_atomically(note, json.dumps({"at": self._context.clock.now().at}).encode())
        return read_json(note, _Note, hint="Remove it: the fault then counts as put in now.").at


def run_command(command: Sequence[str], name: str, arguments: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Run the target's command; returns the object that it printed, {} where it printed nothing.

    Raises ProviderError where it cannot be run, fails, takes longer than ``seconds`` or prints something else, and
    HaltedError where the run is told to stop; then the command was ended, and the fault may be in.
    """
    try:
        ended = _ended([*command, name, json.dumps(arguments)], seconds)
    except OSError as error:
        raise ProviderError(
            f"The target's command for faults cannot be run: {error.strerror}.", "Correct faults of the target."
        ) from None
    except subprocess.TimeoutExpired:
        raise ProviderError(f"The fault {name} was not done after {seconds:.0f} s, and may be in.") from None
    if ended.returncode:
        raise ProviderError(f"The fault {name} failed: {_last_line(ended.stderr)}", code=str(ended.returncode))
    return _answer(name, ended.stdout)


def _ended(argv: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Raises OSError, TimeoutExpired, HaltedError."""
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    until = time.monotonic() + seconds
    with subprocess.Popen(argv, text=True, errors="replace", **pipes) as child:
        try:
            while True:
                try:
                    said, lamented = child.communicate(timeout=min(SLICE, seconds))
                    return subprocess.CompletedProcess(argv, child.returncode, said, lamented)
                except subprocess.TimeoutExpired:
                    if time.monotonic() >= until:
                        raise
                heed(GRACE)
        except BaseException:
            child.kill()
            raise


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:LONGEST] if lines else "it said nothing."


def _answer(name: str, printed: str) -> dict[str, Any]:
    said = (
        json_of(printed.encode(), object, f"The answer to the fault {name}", ProviderError) if printed.strip() else {}
    )
    return said if isinstance(said, dict) else {}
