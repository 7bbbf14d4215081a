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
from pathlib import Path
from typing import Any

import msgspec

from dr.config.context import Context
from dr.config.model import Target
from dr.config.plugins import PROVIDER
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Progress, Request, RunIdentity, Verb
from dr.domain.refs import Ref
from dr.drivers.faults.plugin import COMMAND_SECONDS, KINDS, Kind, command_of
from dr.drivers.postgres.source import database_of, status_of
from dr.host.bounded import GRACE, SLICE
from dr.host.decode import json_of, read_json
from dr.host.files import write_atomically
from dr.host.hearing import heed

DRIVER = "faults"
NOTICE_SECONDS = 300.0
"""The most until the provider shows what a remedy is for."""
ON_A_COPY = "'dr drill run db-replica-promotion-copy' breaks nothing but a copy that it makes."
LONGEST = 300
"""Characters of a command's own words that a sentence repeats."""


# -- planning: pure


def propose(target: Target, verb: Verb) -> Call:
    """The call that puts the fault of ``verb``'s kind in, with its undo; of a remedy the one that takes it out before
    the run unwinds, once the provider shows it, as a person would. Raises UsageError for an argument of another kind,
    and for a remedy of a kind that passes by itself; RefusedError where the target has no command for faults."""
    name, remedy = str(verb.args["kind"]), verb.name == "remedy"
    kind = KINDS[name]
    takes = (kind.on,) if remedy else (kind.on, *kind.takes)
    unknown = sorted(set(verb.args) - {"kind", PROVIDER, *takes})
    if unknown:
        what = f"A {verb.name} of kind {name} knows no argument {', '.join(unknown)}."
        raise UsageError(what, f"It takes: {', '.join(takes)}.")
    source = database_of(target)
    if kind.undo_fault and not remedy and Grant.DISPOSABLE not in target.grants:
        raise RefusedError(f"{source.name} is not disposable: nobody loses it for good in a drill.", ON_A_COPY)
    if not command_of(target):
        raise RefusedError(
            f"The target of {source.name} names no command that puts faults into it.",
            "The lab has one; elsewhere set faults in dr.yaml.",
        )
    hit = str(verb.args.get(kind.on) or (source.name if kind.on == "instance" else ""))
    if not hit:
        raise UsageError(f"A disaster of kind {name} needs {kind.on}: the replica that it hits.")
    out = _taking_out(name, verb, kind, source.named(hit), hit)
    if not remedy:
        return _putting_in(name, verb, kind, source.named(hit), hit, out)
    if out is None:
        raise UsageError(f"A disaster of kind {name} passes by itself: there is nothing to remedy.")
    return out


def _putting_in(name: str, verb: Verb, kind: Kind, at: Ref, hit: str, undo: Call | None) -> Call:
    given = {key: float(value) for key, value in verb.args.items() if key in kind.takes and value is not None}
    chosen = {**kind.takes, **given}
    return Call(
        id=name,
        verb=verb.name,
        phase=kind.phase,
        driver=DRIVER,
        operation="put-in",
        args={
            "fault": kind.fault,
            "arguments": [{kind.on: hit, **args, **chosen} for args in (kind.first, kind.args) if args is not None],
        },
        effect=Effect.FAULT,
        touches=(at,),
        undo=undo,
        until="the fault is in",
        deadline=COMMAND_SECONDS,
    )


def _taking_out(name: str, verb: Verb, kind: Kind, at: Ref, hit: str) -> Call | None:
    if kind.undo is None:
        return None
    remedy = verb.name == "remedy"
    return Call(
        id=f"remedy-{name}" if remedy else f"undo-{name}",
        verb=verb.name,
        phase="remedy" if remedy else "unwind",
        driver=DRIVER,
        operation="take-out",
        args={
            "fault": kind.undo_fault or kind.fault,
            "arguments": {kind.on: hit, **kind.undo},
            "shows": kind.shows if remedy else "",
        },
        effect=Effect.CHANGES,
        touches=(at,),
        until="the fault is out",
        deadline=kind.undo_seconds + (NOTICE_SECONDS if remedy else 0.0),
    )


# -- doing


class _Note(msgspec.Struct):
    """When a fault was first put in, wall time."""

    at: float


class FaultsProvider:
    """Calls: KIND puts a fault in (``at``: right before the command acts), ``remedy-KIND`` takes it out. ``status``:
    the provider's status of an instance, "" where it shows none."""

    def __init__(self, context: Context, status: Callable[[Context, str], str] = status_of) -> None:
        self._context = context
        self._status = status

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._context.clock.now().at)

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        return (propose(self._context.target, verb),)

    def confirm_identity(self) -> None:
        """Nothing to compare: the command is the target's own, and the guard lets it pass on loopback alone."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put the fault in; repeated, the same state is set again, and the disaster stays when it first was. What takes
        a fault out acts in ``poll``, once the provider shows the state that it waits for."""
        if call.operation != "put-in":
            return dict(args)
        at = first_begun(self._context.run, call.id, self._context.clock.now().at)
        answers = [self._run(call, str(args["fault"]), arguments) for arguments in args["arguments"]]
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
        answer = self._run(call, str(result["fault"]), arguments)
        when = {"detected": at, "remedied": self._context.clock.now().at} if call.phase == "remedy" else {}
        return Progress(done=True, result={"answer": answer}, milestones=when)

    def _run(self, call: Call, fault: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return run_command(command_of(self._context.target), fault, arguments, call.deadline)


def first_begun(run: Path, name: str, now: float) -> float:
    """``now``; where a killed attempt may have put the fault in already, when that began. ``run``: its directory."""
    note = run / f"fault-{name}.json"
    if not note.exists():
        write_atomically(note, json.dumps({"at": now}).encode())
    return read_json(note, _Note, hint="Remove it: the fault then counts as put in now.").at


def run_command(
    command: Sequence[str],
    name: str,
    arguments: Mapping[str, Any],
    seconds: float,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> dict[str, Any]:
    """Run the target's command; returns the object that it printed, {} where it printed nothing. Raises ProviderError
    where it cannot be run, fails, takes longer than ``seconds`` or prints something else, and HaltedError where the run
    is told to stop; then the command was ended, and the fault may be in. ``env``: its environment, None: this one;
    ``pass_fds``: what it is handed open."""
    until = time.monotonic() + seconds
    try:
        with subprocess.Popen(
            [*command, name, json.dumps(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            pass_fds=pass_fds,
        ) as child:
            try:
                printed, lamented = _ended(child, until)
            except BaseException:
                child.kill()
                raise
    except OSError as error:
        raise ProviderError(
            f"The target's command for faults cannot be run: {error.strerror}.", "Correct faults of the target."
        ) from None
    except subprocess.TimeoutExpired:
        raise ProviderError(f"The fault {name} was not done after {seconds:.0f} s, and may be in.") from None
    if child.returncode:
        lines = [line.strip() for line in lamented.decode(errors="replace").splitlines() if line.strip()]
        said = lines[-1][:LONGEST] if lines else "it said nothing."
        raise ProviderError(f"The fault {name} failed: {said}", code=str(child.returncode))
    if not printed.strip():
        return {}
    answer = json_of(printed, object, f"The answer to the fault {name}", ProviderError)
    return answer if isinstance(answer, dict) else {}


def _ended(child: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes]:
    """What it printed on stdout and stderr. Raises TimeoutExpired, HaltedError."""
    while True:
        try:
            return child.communicate(timeout=min(SLICE, max(0.0, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= until:
                raise
        heed(GRACE)
