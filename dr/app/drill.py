"""A drill: read its experiment, let Chaos Toolkit order its verbs in a child process, follow, finish."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import yaml

import dr
from dr.app.ending import Outcome, finish
from dr.app.session import Session
from dr.app.signals import code_of, halting
from dr.app.using import resolved
from dr.config.load import find_target
from dr.config.model import Settings, Target
from dr.config.plugins import takes
from dr.domain.errors import DrError, HaltedError, ProviderError, RefusedError, UsageError
from dr.domain.model import Grant, Purpose, Request, Verb
from dr.domain.refs import check_name, moment, zoned
from dr.engine.plan import Asked, demands
from dr.evidence.directory import RunDirectory
from dr.host.children import Fork, die_with_parent, end, started
from dr.host.decode import read_yaml
from dr.host.signals import CODES, say
from dr.judge.course import ACTIVITIES
from dr.ports import Clock
from dr.wiring import objectives

GLANCE = 0.2
"""Seconds between two looks at the child and the ledger."""
PATIENCE = 120.0
"""Seconds a halted child has for its own rollbacks before it is ended; the parent then unwinds."""
STARTED, ENDED = "Chaos Toolkit started", "Chaos Toolkit ended"
"""Events of a drill's ledger; the first names the process as ``who``."""


class ForeignError(UsageError):
    """The file is an experiment, and none of dr's."""


@dataclass(frozen=True)
class Experiment:
    """A drill's Chaos Toolkit file, as far as it is understood here."""

    name: str
    path: Path
    title: str
    description: str
    runbook: str
    verbs: tuple[Verb, ...]
    demands: Asked
    foreign: tuple[str, ...]
    """Activities that are not dr's: the ledger does not see what they do."""
    elsewhere: str = ""
    """The drill that is run in its place on a target that is not disposable; "": there is none."""
    document: Mapping[str, Any] | None = None
    """What Chaos Toolkit is given where the file uses another drill's method; None: the file itself."""


def known() -> dict[str, Path]:
    """Every drill by name: those that came with dr, which a wheel carries in the package, and before them the working
    directory's."""
    package = Path(dr.__file__).parent
    carried = package / "experiments"
    shelves = (carried if carried.is_dir() else package.parent / "experiments", Path("experiments"))
    return {path.stem: path for shelf in shelves for path in sorted(shelf.glob("*.yaml"))}


def read(name: str) -> Experiment:
    """The drill called ``name``, or the file of that path. Raises UsageError with what is wrong with it, ForeignError
    where it is another extension's.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else known().get(name)
    if path is None or not path.exists():
        raise UsageError(f"There is no drill {name!r}.", f"Known drills: {', '.join(known()) or 'none'}.")
    document = read_yaml(path, _Document, UsageError)
    if document.method is not None and document.extension is None:
        raise ForeignError(f"{path} is no drill of dr: its extensions name no 'dr'.")
    try:
        if document.extension is not None and document.extension.use:
            whole = _whole(path)
            return replace(_experiment(path, msgspec.convert(whole, _Document)), document=whole)
        return _experiment(path, document)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _whole(path: Path, users: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The experiment at ``path`` as it is written, or what it comes down to where it uses another: the one that lies
    beside it, or else a known one. ``users``: those that led to it."""
    written, extension = read_yaml(path, dict[str, Any], UsageError), read_yaml(path, _Document, UsageError).extension
    if extension is None or not extension.use:
        return written
    beside = path.parent / f"{check_name(extension.use, 'drill')}.yaml"
    other = beside if beside.exists() else known().get(extension.use)
    if other is None:
        drills = f"Known drills: {', '.join(known())}."
        raise UsageError(f"It uses {extension.use!r}, and there is no such drill.", drills)
    if other.resolve() in (*users, path.resolve()):
        raise UsageError(f"It uses {extension.use}, which leads back to it.", "Use a drill with a method of its own.")
    return resolved(path.stem, written, _whole(other, (*users, path.resolve())))


class _Provider(msgspec.Struct, frozen=True):
    module: str = ""
    func: str = ""
    arguments: Any = None


class _Activity(msgspec.Struct, frozen=True):
    name: str = ""
    provider: _Provider = _Provider()


class _Extension(msgspec.Struct, frozen=True):
    name: str = ""
    runbook: str = ""
    demands: Any = None
    use: str = ""
    elsewhere: str = ""


class _Document(msgspec.Struct, frozen=True):
    """An experiment, as far as it is looked at. What a drill must have is asked for once it is known to be one."""

    title: str = ""
    description: str = ""
    method: list[_Activity] | None = None
    extensions: list[_Extension] | None = None

    @property
    def extension(self) -> _Extension | None:
        """dr's own; None in an experiment of somebody else, and in what is none."""
        return next((one for one in self.extensions or () if one.name == "dr"), None)


def verb(name: str, arguments: Mapping[str, Any]) -> Verb:
    """The verb that an activity is, as the experiment has it and as Chaos Toolkit calls it. A time to restore becomes
    seconds since the epoch. Raises UsageError for an argument that is no JSON."""
    args = {key: value for key, value in arguments.items() if value is not None}
    to = args.get("to")
    if isinstance(to, Mapping) and "time" in to:
        args["to"] = {**to, "time": _seconds(to["time"])}
    for key, value in args.items():
        try:
            comes_back = json.loads(json.dumps({key: value}, allow_nan=False)) == {key: value}
        except (TypeError, ValueError):
            comes_back = False
        if not comes_back:
            raise UsageError(
                f"The argument {key} of {name} is no JSON value: {value!r}.", "Write it as text or number."
            )
    return Verb(name, args)


def _seconds(asked: object) -> object:
    """A time with its zone, as text or as YAML reads it, in seconds; anything else is left to the driver to judge."""
    if isinstance(asked, str) and asked not in ("latest", "before-disaster"):
        return moment(asked, "The time")
    return zoned(asked, "The time") if isinstance(asked, datetime) else asked


def _demands(asked: object) -> Asked:
    if not isinstance(asked, Mapping) or not asked:
        raise UsageError("It demands nothing, so that nothing could be met.", "Name an objective: latency: restored.")
    for objective, path in asked.items():
        paths = path if isinstance(path, list) and path else [path]
        if not isinstance(objective, str) or not all(isinstance(one, str) for one in paths):
            raise UsageError(f"The demand {objective!r} names no path, but {path!r}.", "Write it as latency: restored.")
    return dict(asked)


def _experiment(path: Path, document: _Document) -> Experiment:
    extension, method = document.extension, document.method
    if extension is None or method is None or not document.title or not document.description:
        raise UsageError("It is not an experiment dr understands.", "Give it title, description, method, extensions.")
    own = [activity for activity in method if activity.provider.module == ACTIVITIES]
    runbook, beside = extension.runbook, path.parent.parent / extension.runbook
    return Experiment(
        name=check_name(path.stem, "drill"),
        path=path.absolute(),
        title=document.title,
        description=document.description,
        runbook=str(beside) if beside.is_file() and not Path(runbook).is_file() else runbook,
        verbs=tuple(verb(activity.provider.func, _arguments(activity)) for activity in own),
        demands=_demands(extension.demands),
        foreign=tuple(activity.name for activity in method if activity not in own),
        elsewhere=extension.elsewhere,
    )


def _arguments(activity: _Activity) -> Mapping[str, Any]:
    given = activity.provider.arguments
    if not isinstance(given, Mapping | None):
        raise UsageError(f"The arguments of {activity.name} are {given!r}.", "Write each as name: value.")
    return given or {}


def request(experiment: Experiment, target: str, keep: bool) -> Request:
    """What running the drill asks for."""
    return Request(target, experiment.verbs, Purpose.DRILL, drill=experiment.name, keep=keep)


def read_all(names: Iterable[str], settings: Settings, target: str) -> tuple[Experiment, ...]:
    """Every drill of ``names``, checked as far as that goes without a look at ``target``: before the first runs, since
    a drill takes its time, and the last one's mistake is to be known before that. Raises UsageError or RefusedError
    that says all that is wrong."""
    found, wrong = [], []
    try:
        where = find_target(settings, target)
    except RefusedError:
        where = None  # the lab is not running, of which each drill tells in its turn
    for name in names:
        try:
            experiment = suited(read(name), where)
            _check(experiment, where)
            found.append(experiment)
        except DrError as error:
            wrong.append((name, error))
    if wrong:
        kind = UsageError if any(isinstance(error, UsageError) for _, error in wrong) else RefusedError
        none = "None was run." if len(wrong) + len(found) > 1 else ""
        said = (str(error) if str(error).startswith(name) else f"{name}: {error}" for name, error in wrong)
        raise kind(" ".join(said), none)
    return tuple(found)


def suited(experiment: Experiment, where: Target | None) -> Experiment:
    """The drill that is run on a target: itself, or what it names for one that is not disposable. Raises UsageError as
    ``read``."""
    if not experiment.elsewhere or where is None or Grant.DISPOSABLE in where.grants:
        return experiment
    say(f"{experiment.name} breaks what it restores: {experiment.elsewhere} is run in its place, beside production.")
    return read(experiment.elsewhere)


def check(experiment: Experiment, where: Target | None = None) -> None:
    """Raises UsageError for a verb that nobody does, or nobody with such arguments, and for a demand that nobody knows
    or that no verb measures; RefusedError for what may not be done to the target ``where``."""
    if where is not None:
        check_foreign(experiment, where)
    for one in experiment.verbs:
        takes(one, where)
    demands(request(experiment, "", keep=False), experiment.demands, {}, objectives(), {}, where)


def _check(experiment: Experiment, where: Target | None) -> None:
    """Raises UsageError and RefusedError."""
    check(experiment, where)
    if experiment.runbook and not Path(experiment.runbook).is_file():
        raise UsageError(f"Its runbook {experiment.runbook} is not there.", "Write it, or correct the experiment.")


def check_foreign(experiment: Experiment, target: Target) -> None:
    """Raises RefusedError where the experiment acts outside dr on a target that is not disposable."""
    if experiment.foreign and Grant.DISPOSABLE not in target.grants:
        raise RefusedError(
            f"{experiment.name} holds activities of other extensions ({', '.join(experiment.foreign)}).",
            "They run on disposable targets only, since the ledger does not see what they do.",
        )


def run(session: Session, experiment: Experiment) -> Outcome:
    """Run the experiment in a child, then unwind, judge and seal whatever became of it."""
    error: DrError | None = None
    with halting(session.directory):
        try:
            _follow(session, experiment)
        except DrError as early:
            error = early
        except Exception:  # a defect of dr's own: what was made is undone and judged all the same
            finish(session)
            raise
        outcome = finish(session)
    if because := session.directory.halted():
        error = HaltedError(f"The drill was stopped: {because}.", exit_code=code_of(because))
    # The first failed step, which Chaos Toolkit's exit code does not show.
    failed = next((entry for entry in session.engine.ledger.entries() if entry.kind == "failed"), None)
    if failed is not None and error is None:
        error = ProviderError(f"The step {failed.call} failed: {failed.data['because']}")
    return replace(outcome, error=error)


def _follow(session: Session, experiment: Experiment) -> None:
    """Wait for the child, telling what the ledger shows. Raises ProviderError where it cannot be started."""
    path = experiment.path
    if experiment.document is not None:
        path = session.directory.path / "experiment.yaml"
        path.write_text(yaml.safe_dump(experiment.document, sort_keys=False))
    try:
        child = Fork(
            partial(_chaos_toolkit, session, path, die_with_parent()), session.directory.path / "chaostoolkit.out"
        )
    except OSError as failed:
        raise ProviderError(f"Chaos Toolkit could not be started: {failed.strerror}.") from None
    who = f"{child.pid}:{started(child.pid)}"
    session.engine.ledger.append("event", data={"text": STARTED, "pid": child.pid, "who": who})
    try:
        _watch(session, child)
    finally:
        if child.poll() is None:
            child.kill()
        ended = child.wait()
        if -ended in CODES and not session.directory.halted():  # before it could listen, or after
            session.directory.halt(f"{signal.Signals(-ended).name} ended Chaos Toolkit")
        session.engine.ledger.append("event", data={"text": ENDED, "exit": ended})


def _chaos_toolkit(session: Session, path: Path, before: Callable[[], None] | None) -> int:
    """Its command line, which ends this process."""
    if before is not None:
        before()
    context = session.context
    attached = {"DR_HOME": str(context.home), "DR_TARGET": context.name, "DR_RUN": context.run.name}
    os.environ.update(attached, DR_OWNER=context.owner)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a process of its own: it ends what it does
    sys.path.insert(0, "")  # where activities of other extensions may lie
    from chaostoolkit.cli import cli  # once here: it is slow to import

    own = session.directory.path
    log, journal = str(own / "chaostoolkit.log"), str(own / "journal.json")
    options = ["--no-version-check", "--log-file", log, "--settings", os.devnull]
    cli.main([*options, "run", "--journal-path", journal, str(path)], "chaos")
    return 0


def _watch(session: Session, child: Fork) -> None:
    told, ledger, clock = 0, session.engine.ledger, session.context.clock
    planned = {call.id: call for call in session.plan.calls}
    halted_at: float | None = None
    while child.poll() is None:
        entries = ledger.entries()
        for entry in entries[told:]:
            if entry.call in planned and entry.kind != "undone":
                session.tell(planned[entry.call], "" if entry.kind == "intent" else entry.kind)
        told = len(entries)
        if session.directory.halted():
            halted_at = halted_at or clock.now().at
            if clock.now().at - halted_at > PATIENCE:
                return
        clock.sleep(GLANCE)


def end_orphan(directory: RunDirectory, clock: Clock) -> None:
    """End the Chaos Toolkit of ``directory``'s run where it still runs, and say so. The target's lock is held. Raises
    ProviderError where it does not end."""
    ledger = directory.ledger(clock)
    who = ""
    for entry in ledger.entries():
        if entry.kind == "event" and entry.data.get("text") == STARTED:
            who = str(entry.data.get("who", ""))
        elif entry.kind == "event" and entry.data.get("text") == ENDED:
            who = ""
    if who and end(who):
        pid = who.partition(":")[0]
        say(f"Chaos Toolkit of run {directory.id} still ran without its session, as process {pid}; it was ended.")
        ledger.append("event", data={"text": "An orphaned Chaos Toolkit was ended", "who": who})
