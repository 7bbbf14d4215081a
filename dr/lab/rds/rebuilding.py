"""An instance that is lost for good, and its read replicas, made anew under their old names: what undoes that loss.

RDS has nothing like it. The data are those of the last automated backup and of what its archive covers since; whatever
a promoted replica took is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dr.domain.errors import ProviderError, RefusedError
from dr.lab.rds import retention
from dr.lab.rds.records import Instance, Snapshot, Store
from dr.lab.rds.work import Work

WHAT = "the last backup"


def rebuild(work: Work, store: Store, one: Instance, replicas: Sequence[Instance]) -> None:
    """Make ``one`` anew from its backup, with its standby; then each of ``replicas`` from it. Blocks until it is done.

    Raises RefusedError where there is no backup, ProviderError where one of them cannot be made.
    """
    with work.lock(one.resource_id):
        backup = _backup(store, one)
        _bring_up(work, store, one, lambda: _restore(work, one, backup))
    for replica in replicas:
        with work.lock(replica.resource_id):
            _attach(work, store, replica, one)
            _bring_up(
                work,
                store,
                replica,
                lambda r=replica: work.servers.replicate(r.resource_id, r.port, r.source),  # type: ignore[misc]
            )


def _backup(store: Store, one: Instance) -> Snapshot:
    with store.reading() as state:
        found = retention.automated(state, one.resource_id)
    if not found:
        raise RefusedError(f"{one.identifier} has no automated backup to be rebuilt from.", "Take the lab down.")
    return found[-1]


def _restore(work: Work, one: Instance, backup: Snapshot) -> None:
    key = one.resource_id
    at = work.servers.restorable(key, backup.backup)
    if at is not None and at > retention.end(backup):
        work.servers.restore_to(key, one.port, backup.backup, source=key, at=at)
    else:
        work.servers.restore(key, one.port, backup.backup)


def _attach(work: Work, store: Store, replica: Instance, source: Instance) -> None:
    """Let ``replica`` be one again, whether it was promoted or deleted meanwhile; its own replicas become instances."""
    if not replica.source:
        work.replicas.end_all(replica)
    with store.changing() as state:
        state.instances[replica.identifier] = replica
        replica.source = source.resource_id
        replica.attributes["BackupRetentionPeriod"] = 0
        work.disable_backups(state, replica)


def _bring_up(work: Work, store: Store, one: Instance, make: Callable[[], None]) -> None:
    with store.changing():
        # Nothing that a restore reads is swept or trimmed meanwhile, and nobody keeps what is being made.
        one.status = "creating"
    work.bring_up(one, make, "restored", {"what": WHAT}, first_backup=True)
    if one.status not in ("available", "backing-up"):
        raise ProviderError(f"{one.identifier} could not be rebuilt: it is {one.status}.", "See the lab's daemon.log.")
