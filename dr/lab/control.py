"""Bring the lab up and down, ask how it is, and put faults into it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import dr
from dr.config.load import home
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.lab import presence
from dr.lab.cluster.timings import USUAL, Timings
from dr.lab.presence import PREPARED, READY, Presence
from dr.lab.rds.remote import as_error, call
from dr.lab.servers.settings import SPACING

UP_LIMIT = 600.0
"""Seconds the daemon may take: with a cluster on a machine that has others to serve it takes minutes."""
LOAD_LIMIT = 3600.0
"""Seconds it may take to load a dump."""
DOWN_LIMIT = 60.0
UNUSABLE = '"$`\\\n'
"""pg_ctl hands its log's path to a shell, inside double quotes."""
SOURCE = "readmission-db"
STANDBY = {True: "  standby synchronous", False: "  without a standby now", None: ""}
"""What is shown of an instance's standby; of a Single-AZ one nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``up`` found or made."""

    found: bool
    presence: Presence

    def sentences(self) -> Iterator[str]:
        """What a person is told once it is there."""
        words = "is running already" if self.found else "is up"
        yield f"The lab {words}: RDS at {self.presence.api}, predictions at {self.presence.service}."
        if self.presence.kubernetes:
            yield f"The platform is in Kubernetes at {self.presence.kubernetes}; 'dr lab status' shows its nodes."
        yield from (f"The dump lacked {what}: added." for what in self.presence.added)
        yield from self.presence.absent


PARTS = ("kubernetes",)
"""What the lab can be brought up without."""


def directory() -> Path:
    return home() / "lab"


def up(
    patients: int = 2000,
    load: Path | None = None,
    baseline: Callable[[], object] | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    single: bool = False,
    without: Collection[str] | None = None,
    timings: Timings = USUAL,
) -> Outcome:
    """Bring the lab up, or find it up. ``baseline``: records what the source holds, before and after its backup.
    ``single``: without the standby and the two read replicas. ``without``: some of ``PARTS``; None: what DR_LAB_WITHOUT
    names, separated by spaces. ``timings``: of the cluster.

    ``say`` is told each phase. Raises RefusedError, UsageError, ProviderError; then nothing is left running.
    """
    if load is not None and not load.is_file():
        raise UsageError(f"{load} is not a file.", "Name a dump made by pg_dump.")
    without = os.environ.get("DR_LAB_WITHOUT", "").split() if without is None else without
    for part in without:
        if part not in PARTS:
            raise UsageError(f"The lab cannot be brought up without {part!r}.", f"It can without {', '.join(PARTS)}.")
    place = directory()
    if any(bad in str(place) for bad in UNUSABLE):
        raise RefusedError(
            f"PostgreSQL's pg_ctl cannot work in {place}.", 'Set DR_HOME to a place without " $ ` or \\.'
        )
    try:
        with presence.holding(place / "up.lock", LOAD_LIMIT if load else UP_LIMIT):
            command = _command(patients, load.absolute() if load else None, single, without)
            command += [f"--node-grace={timings.grace:g}", f"--node-toleration={timings.toleration}"]
            return _up(place, command, LOAD_LIMIT if load else UP_LIMIT, baseline, say)
    except OSError as error:
        raise RefusedError(f"{place} cannot be used: {error.strerror}.", "Set DR_HOME to another place.") from None


def _up(
    place: Path,
    command: list[str],
    patience: float,
    baseline: Callable[[], object] | None,
    say: Callable[[str], None],
) -> Outcome:
    now = presence.read(place)
    if now is not None and presence.daemon(now) is not None and now.phase == READY:
        return Outcome(True, now)
    try:
        if now is None or presence.daemon(now) is None or now.phase != PREPARED:
            now = _start(place, command, patience, say)
        say("taking last night's snapshot and its baseline")
        if baseline is not None:
            baseline()
            time.sleep(SPACING)
        automated_backup(SOURCE)
        if baseline is not None:
            baseline()
        call(place, now.control, "settle")
        call(place, now.control, "ready")
    except BaseException:
        down()
        raise
    return Outcome(False, presence.read(place) or now)


def _command(patients: int, load: Path | None, single: bool, without: Collection[str]) -> list[str]:
    """What starts the daemon."""
    command = [sys.executable, "-m", "dr.lab.daemon", "--patients", str(patients)]
    options = [*(["--load", str(load)] if load else []), *(["--single"] if single else [])]
    return [*command, *options, *(f"--without={part}" for part in without)]


def _start(place: Path, command: list[str], patience: float, say: Callable[[str], None]) -> Presence:
    """Start the daemon and wait until it has prepared everything."""
    _end(place)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))}
    environment = {**kept, "DR_HOME": str(home()), "PYTHONPATH": str(Path(dr.__file__).parent.parent)}
    with (place / "daemon.log").open("wb") as output:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    limit, phase = time.monotonic() + patience, ""
    while time.monotonic() < limit:
        now = presence.read(place)
        if now is not None and now.pid == child.pid:
            if now.problem:
                with contextlib.suppress(subprocess.TimeoutExpired):  # whoever hears the error ends it
                    child.wait(timeout=DOWN_LIMIT)
                raise as_error(now.exit_code, now.problem)
            if now.phase != phase:
                phase = now.phase
                say(phase)
            if phase == PREPARED:
                return now
        if child.poll() is not None:
            raise ProviderError("The lab's daemon ended while it was brought up.", _last_words(place))
        time.sleep(0.03)
    child.terminate()
    raise ProviderError(f"The lab was not up within {patience:.0f} s.", _last_words(place))


def _last_words(place: Path) -> str:
    """The log is about to be removed: its last line is the hint."""
    try:
        lines = (place / "daemon.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"It said: {lines[-1]}" if lines else ""


def _end(place: Path) -> bool:
    """End the daemon if it runs. Returns whether it did."""
    now = presence.read(place)
    running = presence.daemon(now)
    if running is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        running.terminate()
        try:
            running.wait(timeout=DOWN_LIMIT)
        except psutil.TimeoutExpired:
            running.kill()
            running.wait(timeout=10)
    return True


def down() -> bool:
    """End everything of this lab and remove its state. Returns whether there was anything. Raises DrError."""
    place = directory()
    if not place.exists():
        return False
    ended = _end(place)
    left = presence.read(place)
    # A daemon that was killed left its servers and its service; they are ended as the next daemon would.
    from dr.lab.daemon import clean

    clean(place, left)
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        raise ProviderError(f"{place} could not be removed whole.", "Remove it by hand.")
    return ended or left is not None


def running() -> Presence:
    """The lab that runs. Raises RefusedError where none does."""
    now = presence.read(directory())
    if now is None or not is_running():
        raise RefusedError("The lab is not running.", "Start it with 'dr lab up'.")
    return now


def is_running() -> bool:
    return presence.daemon(presence.read(directory())) is not None


@dataclass(frozen=True, slots=True)
class Condition:
    """What ``dr lab status`` shows."""

    presence: Presence
    instances: tuple[dict[str, Any], ...]
    nodes: Mapping[str, bool] = field(default_factory=dict)
    """Of the cluster: whether each one's agent lives."""
    ingress: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The URLs of each Ingress host of the cluster."""

    def lines(self) -> Iterator[str]:
        """What runs, and where."""
        now = self.presence
        yield f"phase    {now.phase}"
        yield f"daemon   pid {now.pid}"
        yield f"rds      {now.api}  account {now.account}  region {now.region}"
        yield f"service  {now.service}"
        if now.pooler:
            yield f"pooler   127.0.0.1:{now.pooler}"
        if now.prometheus:
            yield f"metrics  {now.prometheus}"
        if now.kubernetes:
            yield f"cluster  {now.kubernetes}  KUBECONFIG={now.kubeconfig}"
        for host, urls in self.ingress.items():
            yield f"ingress  {host}  {'  '.join(urls)}"
        for name, lives in self.nodes.items():
            yield f"node     {name}" + ("" if lives else "  lost")
        yield from (f"without  {sentence}" for sentence in now.absent)
        yield from (f"added    {what}, which the dump lacked" for what in now.added)
        for one in self.instances:
            where = f"{one['identifier']}  {one['status']}  127.0.0.1:{one['port']}"
            yield f"instance {where}{STANDBY[one['standby']]}"


def status() -> Condition:
    """Raises RefusedError where the lab does not run."""
    now = running()
    if now.phase not in (PREPARED, READY):
        return Condition(now, ())
    cluster = call(directory(), now.control, "cluster")
    return Condition(now, tuple(call(directory(), now.control, "instances")), **cluster)


def env() -> dict[str, str]:
    """Variables under which stock clients work against the lab. Raises RefusedError where it does not run.

    The password stands in PGPASSFILE's file, not in DATABASE_URL: psql shows its arguments to everybody.
    """
    now, place = running(), directory()
    if now.phase not in (PREPARED, READY):
        raise RefusedError(f"The lab is still {now.phase}.", "Wait until 'dr lab up' has ended.")
    source = next(one for one in call(place, now.control, "instances") if one["identifier"] == SOURCE)
    keys = dict(line.split(" = ", 1) for line in (place / "aws-credentials").read_text().splitlines() if " = " in line)
    return {
        "AWS_ENDPOINT_URL": now.api,
        "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": now.region,
        "AWS_REGION": now.region,
        "DATABASE_URL": f"postgresql://readmission_admin@127.0.0.1:{source['port']}/readmission",
        "PGPASSFILE": str(place / "pgpass"),
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(place / "ca.pem"),
        **({"KUBECONFIG": now.kubeconfig} if now.kubeconfig else {}),
    }


def logs(pod: str, namespace: str = "", container: str = "", *, previous: bool = False) -> Path:
    """The file that a pod's container of the cluster writes to, or its ``previous`` process wrote to.

    Raises RefusedError where there is none, or not only one.
    """
    from dr.lab.cluster.control import FOLDER, MAIN
    from dr.lab.cluster.nodes import running as nodes
    from dr.lab.cluster.standing import NODES

    running()
    found = nodes.logs(directory() / FOLDER / MAIN / NODES, pod, namespace, container)
    found = [path for path in found if path.parents[1] == found[-1].parents[1]]  # of its last pod of this name
    containers = sorted({path.parent.name for path in found})
    if len(containers) > 1:
        raise RefusedError(f"The pod {pod} has several containers: {', '.join(containers)}.", "Name one: --container.")
    found.sort(key=lambda path: int(path.stem))
    if len(found) < 1 + previous:
        what = "has not been restarted" if found else "has written nothing in this lab"
        raise RefusedError(f"The pod {pod} {what}.", "'kubectl get pods --all-namespaces' names the pods.")
    return found[-1 - previous]


UNSET = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_RDS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
"""Each of these would lead a stock client elsewhere."""


def exports() -> str:
    """``env`` as a shell reads it with eval; quoted for any value."""
    lines = [f"unset {' '.join(UNSET)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in env().items()]
    lines.append('export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"')
    folders = os.pathsep.join((str(Path(sys.executable).parent), *running().programs))
    lines.append(f'export PATH={shlex.quote(folders)}:"$PATH"')
    return "\n".join(lines)


def psql_problem() -> str:
    """Why the psql that a shell finds under ``exports`` cannot reach the lab; empty: it can.

    The lab takes encrypted sessions only, and a psql built without TLS, such as the wheel's, says so of any address.
    """
    found = shutil.which("psql", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        return "There is no psql."
    nowhere = [found, "--no-password", "--no-psqlrc", "host=127.0.0.1 port=1 sslmode=require connect_timeout=2"]
    try:
        ended = subprocess.run(
            nowhere, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{found} does not run."
    return f"{found} does not speak TLS." if "SSL support is not compiled in" in ended.stderr else ""


# ---- what tests and ``up`` put into a running lab


def automated_backup(instance: str) -> str:
    """Take an automated backup now, and wait for it. Returns the snapshot's identifier. Raises DrError."""
    return str(call(directory(), running().control, "automated_backup", instance=instance))


def inject(fault: str, **arguments: Any) -> Any:
    """Put a fault into the lab; each is undone by its neutral value. Raises DrError.

    - ``fail_calls(code, calls=1, action="")``: the next calls fail with an error code (Throttling, InternalFailure,
      ExpiredToken, ...); "dropped-connection" lets the call take effect and loses its answer; 0 calls: none fails.
    - ``delay_restores(seconds)``, ``delay_backups(seconds)``: every one takes that much longer; one under way, until
      that is undone at the most.
    - ``force_status(instance, status)``: show a status such as storage-full; "" shows the true one again.
    - ``cut_archive(instance, cut=True)``: no more WAL reaches the archive.
    - ``share_foreign_snapshot(snapshot, encrypted)``: another account shares a copy; returns its ARN.
    - ``age_backups(instance, seconds)``: its automated backups are that much older.
    - ``set_quota(instances)``; ``kill_server(instance)``.
    - ``lose_host(instance, lost=True)``, ``hang(instance, hung=True)``, ``crash(instance, what="postmaster")`` (or
      "backend"), ``fill_disk(instance, full=True)``, ``take_disk(instance, taken=True)``, ``slow(instance, share)``.
    - ``link(instance, mode="pass", seconds=0.0)``: the endpoint passes, falls "silent", "refuse"s, or "delay"s;
      ``replication_link(of, mode, seconds)``: so does the wire to an instance's standby, or from a replica's source.
    - ``old_primary(instance)``: where the server that was the primary listens, {"host", "port"}, or {}: there is none.
    - ``rebuild(instance)``: one that is lost for good is made anew from its last backup, with standby and replicas.
    - ``forget_sync(instance)``, ``keep_old_primary(instance)``: sabotage of the standby, and of the next failover.
    - ``stubborn_service(stubborn=True)``: sabotage of the prediction service, which is started anew: it never gives
      up the first connection that breaks or falls silent, and every request after that fails. Undone, it starts anew.
    - ``pgbouncer(down=True)``, ``prometheus(down=True)``: it ends, and is not started again; so does a component of the
      cluster, such as kube-apiserver, with ``kubernetes(component, down=True)``.
    - ``velero(down=True)``: its server ends, and is not started again; ``storage(methods)``: the cluster's S3 denies
      requests of these HTTP methods, such as PUT, until it is told others.
    - ``lose_node(node, lost=True)``: a node of the cluster is gone with all that ran there, until it is brought back;
      ``break_gpu(node, number=0, broken=True)``: a GPU of it falls off the bus.
    - ``volume_digest(namespace, claim, volume)``: {"digest"} of the files on a persistent volume of the cluster.
    """
    return call(directory(), running().control, fault, **arguments)
