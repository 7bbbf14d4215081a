"""Plays a case in a lab: the source is set up, what the case does is done beneath dr, and dr's verdict is read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import yaml

from dr.domain.errors import DrError
from dr.lab import presence
from dr.lab.rds.remote import call
from tests.labs import QUICK, ROOT, Lab
from tests.support import eventually, open_directory
from tests.truth import evidence, hand, proxy
from tests.truth.cases import CASES
from tests.truth.table import Case, Drill, Told, When

WORLD = Path(__file__).with_name("world")
SESSIONS = 4
"""How many share a load."""
SPACING = 1.2
"""Seconds between a baseline and the backup beside it."""
FRESH = 240.0
"""Seconds for which a backup serves: whatever was written since is replayed by every restore."""
ENOUGH = 0.8
"""Of a case's load, the share that has to be reached."""
LIMIT = 240
"""Seconds that one command may take."""
EXAMINED = ("schema", "data", "state", "foreign-keys", "indexes", "model", "logins", "configuration")
POINT = ("exposure", "loss", "exact-point")
SERVED = ("golden", "latency", "errors", "planted", "answers", "stored")
DEMANDS: Mapping[Drill, tuple[str, ...]] = {
    Drill.EXAMINED: EXAMINED,
    Drill.MARKED: (*EXAMINED, *POINT),
    Drill.SERVED: (*EXAMINED, *SERVED),
    Drill.WHOLE: (*EXAMINED, *POINT, *SERVED, "time-to-copy"),
    Drill.SNAPSHOT: (*EXAMINED, "exposure"),
}


_MAKING = threading.Lock()
"""A client finds its credentials by the environment, which all threads share."""


class Player:
    """Plays cases in one lab, one after another."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._files = ExitStack()
        self._place = self._files.enter_context(open_directory("truth-"))
        self._bases: dict[str, Path] = {}
        self._backed_up = 0.0
        with _MAKING:
            _ = lab.rds

    def close(self) -> None:
        self._files.close()

    @cached_property
    def _target(self) -> dict[str, Any]:
        found = yaml.safe_load((self.lab.home / "lab" / "target.yaml").read_text())
        return {name: section for name, section in found.items() if section is not None}

    def play(self, case: Case) -> Told:
        """What dr says of ``case``. Whatever keeps it from being played stands in ``broken``."""
        began = time.monotonic()
        try:
            told = self._verified(case) if case.drill is Drill.VERIFIED else self._played(case)
        except (
            AssertionError,
            OSError,
            LookupError,
            ValueError,
            psycopg.Error,
            subprocess.SubprocessError,
            DrError,
        ) as error:
            told = Told(broken=f"{type(error).__name__}: {error}"[:600])
        return Told(told.status, told.said, told.code, told.broken, round(time.monotonic() - began, 1))

    def _played(self, case: Case) -> Told:
        source = hand.source(self.lab.home)
        if time.monotonic() - self._backed_up > FRESH:
            self._back_up()
        (self.lab.home / hand.CLOCK).unlink(missing_ok=True)
        _run_file(source, "sweep.sql")
        _run_file(source, "setup.sql")
        try:
            source.do(case.before)
            with ExitStack() as around:
                env = {**case.env, **self._surrounded(case, around)}
                around.enter_context(loaded(source, case))
                return self._told(*self._command(case, env))
        finally:
            source.do(case.after)
            _run_file(source, "sweep.sql")

    def _command(self, case: Case, env: Mapping[str, str]) -> tuple[subprocess.CompletedProcess[str], Path | None]:
        before = set(self.lab.runs())
        if case.drill is Drill.CALLED:
            words = ["restore", *case.words, "--yes"]
        elif case.drill is Drill.SINCE:
            words = ["restore", "--latest", "--yes"]
        else:
            words = ["drill", "run", str(self._experiment(case)), "--yes"]
        try:
            ended = self._dr(*words, "--output", "json", env=env)
        finally:
            with suppress(AssertionError):
                self.lab.remove_restorations()
        made = [run for run in self.lab.runs() if run not in before]
        return ended, made[-1] if made else None

    def _dr(self, *words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dr", *words],
            capture_output=True,
            text=True,
            env={**self.lab.env, **env},
            cwd=ROOT,
            timeout=LIMIT,
            check=False,
        )

    def _told(self, ended: subprocess.CompletedProcess[str], run: Path | None = None) -> Told:
        if "Traceback" in ended.stderr:
            return Told(code=ended.returncode, broken=ended.stderr[-600:])
        try:
            document = json.loads(ended.stdout)
            said = {one["objective"]: (one["status"], one["because"]) for one in document["findings"]}
        except (ValueError, LookupError, TypeError):
            return Told(code=ended.returncode, broken=f"exit {ended.returncode}: {ended.stderr.strip()[-500:]}")
        if run is not None and (failed := _failed(run)):
            return Told(code=ended.returncode, broken=failed)
        return Told(document["verdict"], said, ended.returncode)

    # -- experiments

    def _experiment(self, case: Case) -> Path:
        """The drill's file, with the case's acts as steps of it."""
        method = [step for name, *parts in _steps(case) for step in self._step(case, name, *parts)]
        document = {
            "version": "1.0.0",
            "title": "A recovery whose truth is known",
            "description": case.name,
            "tags": ["database"],
            "configuration": {
                "target": {"type": "env", "key": "DR_TARGET", "default": "lab"},
                "run": {"type": "env", "key": "DR_RUN", "default": ""},
                "drill": "truth",
            },
            "controls": [],
            "extensions": [
                {
                    "name": "dr",
                    "runbook": "runbooks/rds-pitr.md",
                    "demands": dict.fromkeys(DEMANDS[case.drill], "restored"),
                }
            ],
            "runtime": {"rollbacks": {"strategy": "always"}},
            "method": method,
            "rollbacks": [{"name": "undo", "type": "action", "provider": _activity("undo")}],
        }
        path = self._place / "truth.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def _step(
        self, case: Case, name: str, func: str, arguments: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        if name in list(When):
            if case.acts(When(name)):
                words = ["-m", "tests.truth.hand", case.name, str(name)]
                provider = {"type": "process", "path": sys.executable, "arguments": words, "timeout": 120}
                yield {"name": f"truth-{name}", "type": "action", "provider": provider}
            return
        yield {"name": name, "type": "action", "provider": _activity(func, arguments)}

    # -- what surrounds a case

    def _surrounded(self, case: Case, around: ExitStack) -> dict[str, str]:
        """Whatever has to be there before dr begins. Returns the environment of its command."""
        word, _, rest = case.around.partition(" ")
        env, laid = dict[str, str](), dict[str, Any](case.config.get("target", {}))
        match word:
            case "service":
                command = [sys.executable, "-m", "tests.truth.service", *rest.split()]
                laid["service"] = {**laid.get("service", {}), "command": command}
                env |= {"TRUTH_SOURCE_URL": self._source_url()}
            case "point":
                laid["rds"] = {"endpoint": around.enter_context(proxy.between(self.lab, proxy.moved(rest)))}
            case "older":
                laid["rds"] = {"endpoint": around.enter_context(proxy.between(self.lab, proxy.instead(self._older())))}
            case "pending":
                laid["rds"] = {"endpoint": around.enter_context(proxy.between(self.lab, said=proxy.pending(rest)))}
            case "clock":
                env |= {"TRUTH_CLOCK": str(self.lab.home / hand.CLOCK)}
                env |= {"PYTHONPATH": str(Path(__file__).with_name("clock"))}
            case "fault":
                fault, _, arguments = rest.partition(" ")
                self._inject(fault, **json.loads(arguments))
                around.callback(self._inject, fault, seconds=0)
            case "aws":
                self._tagged(int(rest), around)
        if case.drill in (Drill.SNAPSHOT, Drill.CALLED) and word != "nightless" and "--no-verify" not in case.words:
            self._night(case)
        if case.drill is Drill.SINCE:
            self._go_on_after_a_look(case)
        return env | self._configured(case, laid)

    def _configured(self, case: Case, laid: Mapping[str, Any]) -> dict[str, str]:
        """A dr.yaml with the case's sections; its target is laid over the lab's."""
        sections = {name: dict(section) for name, section in QUICK.items()}
        for name, section in case.config.items():
            if name != "target":
                sections[name] = {**sections.get(name, {}), **section} if isinstance(section, dict) else section
        if laid:
            sections["targets"] = {"lab": _laid(self._target, laid)}
        path = self._place / "dr.yaml"
        path.write_text(yaml.safe_dump(sections))
        return {"DR_CONFIG": str(path)}

    def _source_url(self) -> str:
        at = self.lab.instances()[hand.SOURCE]["Endpoint"]
        login, database = self._target["service"]["login"], self._target["postgres"]["name"]
        return f"postgresql://{login}@{at['Address']}:{at['Port']}/{database}"

    def _older(self) -> str:
        """The oldest snapshot there is; the one that is asked for is made anew."""
        taken = self.lab.rds.describe_db_snapshots()["DBSnapshots"]
        return str(min(taken, key=lambda one: one["SnapshotCreateTime"])["DBSnapshotIdentifier"])

    def _night(self, case: Case) -> None:
        """The nightly backup between its two baselines."""
        config = self._configured(case, case.config.get("target", {}))
        self._baseline(config)
        time.sleep(SPACING)
        self._back_up()
        time.sleep(SPACING)
        hand.source(self.lab.home).do(case.looked)
        self._baseline(config)

    def _go_on_after_a_look(self, case: Case) -> None:
        """Until what the case does after a baseline can be restored."""
        self._baseline(self._configured(case, case.config.get("target", {})))
        hand.source(self.lab.home).do(case.looked)
        done = datetime.now(UTC)
        eventually(lambda: self.lab.instances()[hand.SOURCE]["LatestRestorableTime"] > done)

    def _inject(self, fault: str, **arguments: Any) -> None:
        """As ``dr.lab.control.inject``, of which lab the environment says nothing: two may work side by side."""
        place = self.lab.home / "lab"
        now = presence.read(place)
        assert now is not None, "the lab is gone"
        call(place, now.control, fault, **arguments)

    def _back_up(self) -> None:
        self._inject("automated_backup", instance=hand.SOURCE)
        self._backed_up = time.monotonic()

    def _baseline(self, env: Mapping[str, str]) -> None:
        ended = self._dr("baseline", env=env)
        assert ended.returncode == 0, ended.stderr

    def _tagged(self, number: int, around: ExitStack) -> None:
        arn = self.lab.instances()[hand.SOURCE]["DBInstanceArn"]
        tags = [{"Key": f"cost:center-{n}", "Value": f"v{n}"} for n in range(number)]
        self.lab.rds.add_tags_to_resource(ResourceName=arn, Tags=tags)
        keys = [tag["Key"] for tag in tags]
        around.callback(lambda: self.lab.rds.remove_tags_from_resource(ResourceName=arn, TagKeys=keys))

    # -- evidence

    def _verified(self, case: Case) -> Told:
        """Judged again, in a DR_HOME that has nothing but that run."""
        base = self._base(case)
        with open_directory("truth-home-") as home:
            shutil.copytree(base, home / "runs" / base.name)
            shutil.copy(self.lab.home / "seals.jsonl", home)
            evidence.DOINGS[case.around](home / "runs" / base.name)
            name = next((home / "runs").iterdir()).name
            ended = self._dr(
                *(case.words or ("verify", name, "--output", "json")), env={"DR_HOME": str(home), **case.env}
            )
        told = self._told(ended)
        if told.broken and "Traceback" not in told.broken and ended.returncode == 4:
            return Told("inconclusive", {"evidence": ("inconclusive", ended.stderr.strip())}, 4)
        return told

    def _base(self, case: Case) -> Path:
        """The evidence of a drill of the kind that the case builds on, which was played for all of them."""
        name = case.base
        if name not in self._bases:
            before = set(self.lab.runs())
            played = self._played(CASES[name])
            assert not played.broken, played.broken
            self._bases[name] = next(run for run in self.lab.runs() if run not in before)
        return self._bases[name]


def _steps(case: Case) -> Iterator[tuple[Any, ...]]:
    """Name, function and arguments of each step; a moment's name alone where the case may do something."""
    if case.drill is Drill.SNAPSHOT:
        yield "declare", "declare"
        yield "restore", "restore", {"to": {"snapshot": "latest"}}
    else:
        if case.drill in (Drill.MARKED, Drill.WHOLE):
            yield "measure-source", "measure", {"path": "source", "markers": True}
        yield "baseline", "baseline"
        yield When.LOOKED, ""
        yield "rows-vanish", "disaster", {"kind": "rows"}
        yield When.PASSED, ""
        yield "restore", "restore", {"to": {"time": "before-disaster"}}
    yield When.COPY, ""
    yield When.LATER, ""
    yield "examine", "examine"
    if case.drill in (Drill.SERVED, Drill.WHOLE):
        yield "serve", "serve"
        yield "measure-copy", "measure", {"path": "restored"}
        yield "settle", "settle", {"paths": ["restored"]}


def _activity(func: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "python",
        "module": "dr.activities",
        "func": func,
        **({"arguments": dict(arguments)} if arguments else {}),
    }


def _failed(run: Path) -> str:
    """The hand's own failure, if a step of it did not do what it should."""
    journal = run / "journal.json"
    if not journal.exists():
        return ""
    for step in json.loads(journal.read_text()).get("run", []):
        output = step.get("output")
        if step["activity"]["name"].startswith("truth-") and (not isinstance(output, dict) or output.get("status")):
            why = output.get("stderr", "") if isinstance(output, dict) else step.get("exception")
            return f"{step['activity']['name']}: {str(why)[-500:]}"
    return ""


def _laid(under: Any, over: Any) -> Any:
    """``over`` laid on ``under``, section by section."""
    if isinstance(under, dict) and isinstance(over, dict):
        return {**under, **{name: _laid(under.get(name), value) for name, value in over.items()}}
    return over


def _run_file(server: hand.Server, name: str) -> None:
    with server.connect() as connection:
        connection.execute((WORLD / name).read_bytes())


def _committed(server: hand.Server) -> int:
    return int(server.one("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))


@contextmanager
def loaded(server: hand.Server, case: Case) -> Iterator[None]:
    """The case's load, by sessions whose statements the server repeats by itself. Raises what ended one of them."""
    over, failed, threads = threading.Event(), list[psycopg.Error](), list[threading.Thread]()
    for number in range(SESSIONS if case.load else 0):
        work = _repeated(case.load, number, SESSIONS / case.rate)
        threads.append(threading.Thread(target=_repeat, args=(server, work, over, failed), daemon=True))
        threads[-1].start()
    began, done = time.monotonic(), _committed(server)
    try:
        yield
        reached = (_committed(server) - done) / (time.monotonic() - began)
        assert reached >= ENOUGH * case.rate, f"the load came to {reached:.0f} transactions a second of {case.rate:g}"
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    if failed:
        raise failed[0]


def _repeated(load: tuple[str, ...], number: int, pause: float) -> str:
    """A second of a session's load: the server itself repeats it, so that the client costs nothing. Each statement is
    committed by itself."""
    each = " ".join(f"{statement.replace('SESSION', str(number))}; COMMIT; {_WAIT}" for statement in load)
    return f"""DO $load$ DECLARE next timestamptz := clock_timestamp(); until timestamptz := next + interval '1 s';
        pause interval := interval '{pause} s';
        BEGIN WHILE clock_timestamp() < until LOOP {each} END LOOP; END $load$"""


_WAIT = "next := next + pause; PERFORM pg_sleep(extract(epoch FROM next - clock_timestamp())); COMMIT;"


def _repeat(server: hand.Server, work: str, over: threading.Event, failed: list[psycopg.Error]) -> None:
    try:
        with server.connect() as connection:
            while not over.is_set():
                connection.execute(work.encode())
    except psycopg.Error as error:
        failed.append(error)
