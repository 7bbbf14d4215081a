"""The verb ``safeguard``: a backup of the run's own, taken before a drill loses a namespace.

What undoes it looks at what stands: where that is not what this backup holds, it is deleted and restored from that. So
the cluster is left as it was, whatever the drill restored, and wherever it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dr.domain.errors import FailedError, RefusedError
from dr.domain.model import Call, Effect, Facts, Progress, Purpose, RunIdentity, Verb
from dr.drivers.kubernetes import standing
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.tags import check_whose, labels
from dr.drivers.velero import comparing, restoring
from dr.drivers.velero.archive import Archive
from dr.drivers.velero.command import Command
from dr.drivers.velero.look import Velero
from dr.drivers.velero.naming import DRIVER, SAFEGUARD, backup_of, bringing_back, labels_of, namespace
from dr.drivers.velero.phases import COMPLETED, ENDED, phase, progress, why
from dr.drivers.velero.server import Removal, Server
from dr.ports import Clock

BRING_BACK, REMOVE = "bring-back", "remove-backup"
BACKUP_SECONDS, BACK_SECONDS, REMOVE_SECONDS = 3600.0, 3600.0, 300.0


def propose(verb: Verb, facts: Facts, run: RunIdentity, config: KubernetesConfig) -> tuple[Call, ...]:
    """Raises RefusedError where no namespace is named, or no backup can be taken."""
    if why := facts.extra[DRIVER]["unwritable"]:
        raise RefusedError(why)
    names = tuple(verb.args.get("namespaces") or config.namespaces)
    if not names:
        raise RefusedError(
            "No namespace is named that is to be safeguarded.", "Add kubernetes.namespaces to the target."
        )
    restoring.check_own(names, config)
    backup, touched = backup_of(run.id), tuple(map(namespace, names))
    args: dict[str, Any] = {"identifier": backup.name, "namespaces": list(names), "run": run.id}
    return (
        Call(
            *(SAFEGUARD, verb.name, "prepare", DRIVER, SAFEGUARD),
            {**args, "tags": labels_of(run)},
            effect=Effect.MAKES,
            touches=touched,
            makes=(backup,),
            until="a phase that ends it",
            deadline=BACKUP_SECONDS,
        ).undone_by(
            *("bring-back", BRING_BACK, args),
            touches=(*touched, backup),
            until="the namespaces being as they were",
            deadline=BACK_SECONDS,
        ),
    )


def safeguarded(found: Mapping[str, Any], name: str) -> bool:
    """Whether the run's own backup is complete. Raises FailedError where it will not be: nothing is lost then."""
    state = phase(found)
    if state in ENDED and state != COMPLETED:
        raise FailedError(f"The drill's own backup {name} is {state}: {why(found) or 'see velero backup logs'}.")
    return state == COMPLETED


class BringingBack:
    """Each poll does the next step, by what stands: nothing is remembered between two of them."""

    def __init__(
        self,
        velero: Velero,
        command: Command,
        server: Server,
        removal: Removal,
        read: Callable[[str], Archive],
        clock: Clock,
    ) -> None:
        self._velero, self._command, self._server, self._removal = velero, command, server, removal
        self._read, self._cluster = read, velero.cluster
        self._waiting = standing.Waiting(velero.cluster, clock)

    def poll(self, args: Mapping[str, Any]) -> Progress:
        """Raises FailedError where the backup does not bring them back; RefusedError where it is not the run's."""
        name, run, names = str(args["identifier"]), str(args["run"]), list(args["namespaces"])
        backup = self._velero.get("backups", name)
        if backup is None or self._removal.under_way(name):
            return Progress(backup is None, note=f"backup {name} is being removed")
        check_whose(backup, run, f"The backup {name}")
        state = phase(backup)
        if state not in ENDED:
            self._server.check_heard(backup)
            return Progress(done=False, note=f"backup {name} is {state or 'New'}")
        note = self._brought_back(name, run, names) if state == COMPLETED else ""  # else nothing was lost after it
        if not note:
            self._removal.ask(backup)
        return Progress(done=False, note=note or f"backup {name} is being removed")

    def _brought_back(self, backup: str, run: str, names: list[str]) -> str:
        """What is waited for; "" once all stands as it was."""
        states = {one: self._velero.namespace(one) for one in names}
        ending = [f"namespace {one}: {state['terminating']}" for one, state in states.items() if state["terminating"]]
        if ending:
            return "; ".join(ending)
        restore = bringing_back(run).name
        found = self._velero.get("restores", restore)
        if found is None:
            return self._begin(backup, run, restore, names, [one for one, state in states.items() if state["there"]])
        state = phase(found)
        if state not in ENDED:
            self._server.check_heard(found)
            return progress(found)
        if state != COMPLETED:
            raise FailedError(
                f"The restore {restore} is {state}: {why(found) or f'see velero restore logs {restore}'}."
            )
        ready = self._waiting.poll({"namespaces": names})
        if ready.done:
            self._cluster.delete(f"{self._velero.path('restores')}/{restore}", {})
        return "" if ready.done else ready.note

    def _begin(self, backup: str, run: str, restore: str, names: list[str], there: list[str]) -> str:
        """Nothing has to be done where all stands as it was; else the namespaces are made free, then restored."""
        if len(there) == len(names):
            found = comparing.compare(self._cluster, self._read(backup), names, skip=restoring.LEFT_OUT)
            if all(one.version == "" and not one.untold for one in found.objects.values()) and not found.beyond:
                return ""
        for one in there:
            self._velero.delete_namespace(one)
        if there:
            return f"{', '.join(there)} is not as it was, and is restored anew"
        own = labels({"dr:run": run, "dr:purpose": Purpose.DRILL})
        what = {"namespaces": names, "left_out": restoring.LEFT_OUT}
        self._command.restore(restore, backup, restoring.flags(what, own))
        return f"restoring from {backup}"
