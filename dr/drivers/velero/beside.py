"""The verb ``restore`` into another namespace: a copy beside production, which it touches at no moment.

The namespace is made first, with the run's label, by which it is found again. Velero brings the backup's objects there
with nothing running; then they are led to the drill's own database, looked at for whatever still names production, and
only after that started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Progress, RunIdentity, Verb
from dr.drivers.kubernetes.cluster import NAMESPACES, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.tags import TAGS, check_whose, labels, packed, tags_in
from dr.drivers.service.asking import service
from dr.drivers.velero import restoring
from dr.drivers.velero.archive import Archive, Key
from dr.drivers.velero.comparing import JSON_PATCH, collection, listed, name_of, step
from dr.drivers.velero.copying import Copy, modifiers, started
from dr.drivers.velero.look import OWN, Velero
from dr.drivers.velero.manifests import Object, differing, value_at
from dr.drivers.velero.naming import DRIVER, namespace, restore_of, tags_of
from dr.drivers.velero.production import Production
from dr.drivers.velero.protected import Protected

MAKE, LEAD, START, REMOVE = "make-namespace", "lead-copy", "start-copy", "remove-namespace"
MAKE_SECONDS, LEAD_SECONDS, START_SECONDS, REMOVE_SECONDS = 60.0, 600.0, 600.0, 600.0
KEPT = "pod-security.kubernetes.io/"
"""Labels of a namespace that its copy gets, too: by any other one, others choose production's."""
TOLD = 5
"""Fields that name production of which a refusal tells."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[1-9][0-9]{0,4}|\$\{[^{}]+\}:\$\{[^{}]+\}", re.ASCII)


def asked(args: Mapping[str, Any], config: KubernetesConfig) -> Copy:
    """The copy that a verb asks for. Raises UsageError where it is none."""
    into, names = str(args["into"]), tuple(args.get("namespaces") or config.namespaces)
    database = str(args.get("database") or "")
    if len(names) != 1:
        raise UsageError(
            f"{len(names) or 'No'} namespaces cannot be restored into one.", "Say --namespace NAME, once, with --into."
        )
    if not _NAME.fullmatch(into):
        raise UsageError(
            f"{into[:100]!r} is no name of a namespace.", "Give --into one of letters, digits and hyphens."
        )
    if database and not _PLACE.fullmatch(database):
        raise UsageError(f"{database[:100]!r} is no place of a database.", "Say --database HOST:PORT.")
    return Copy(names[0], into, database)


def propose(verb: Verb, facts: Facts, run: RunIdentity, config: KubernetesConfig) -> tuple[Call, ...]:
    """Raises UsageError and RefusedError where the facts show that it cannot work, or would touch production."""
    copy, seen = asked(verb.args, config), facts.extra[DRIVER]
    point = restoring.chosen_for(verb, facts, run)
    if point.kind == OWN:
        raise UsageError("The run's own backup is not copied beside production.", "Leave --into out, or name another.")
    made, there = restore_of(run.id), namespace(copy.into)
    found = facts.find(there)
    begun = found is not None and found.tags.get("dr:run") == run.id
    _check_place(copy, seen["namespaces"].get(copy.into) or {}, config, begun)
    restoring.check([copy.namespace], seen, point, filled=True)
    check(seen["copy"]["named"])
    of = {"namespaces": [copy.namespace], "places": [copy.into], "database": copy.database, "run": run.id}
    url = seen["copy"]["url"]
    asking = {"effect": Effect.MAKES, "makes": (service(url),)} if url else {"effect": Effect.CHANGES}
    tags = tags_of(run, point.covers)
    make = Call(
        *("make-namespace", verb.name, "clear", DRIVER, MAKE),
        {"namespace": copy.into, "run": run.id, "tags": tags, "labels": seen["copy"]["labels"]},
        effect=Effect.MAKES,
        makes=(there,),
        deadline=MAKE_SECONDS,
        restoration=True,
    ).undone_by(
        *("remove-namespace", REMOVE, {"namespace": copy.into, "run": run.id}),
        until="the namespace being gone",
        deadline=REMOVE_SECONDS,
    )
    restore = restoring.call(verb, run, point, {**of, "left_out": seen["copy"]["left_out"]}, (there,), made)
    lead = Call(
        *("lead-copy", verb.name, "lead", DRIVER, LEAD),
        {**of, "backup": point.identifier},
        effect=Effect.CHANGES,
        touches=(there,),
        until="nothing in the copy naming production",
        deadline=LEAD_SECONDS,
    )
    start = Call(
        *("start-copy", verb.name, "start", DRIVER, START),
        {**of, "backup": point.identifier, "url": url},
        touches=(there,),
        deadline=START_SECONDS,
        **asking,
    )
    return make, restore, lead, start


def _check_place(copy: Copy, state: Mapping[str, Any], config: KubernetesConfig, begun: bool) -> None:
    """Raises RefusedError where the copy may not be made there. ``begun``: by this very run."""
    if copy.into == copy.namespace:
        raise RefusedError(f"A copy of {copy.into} cannot be {copy.into} itself.", "Name another one with --into.")
    if copy.into in config.namespaces:
        raise RefusedError(f"The namespace {copy.into} is the target's own.", "Name another one with --into.")
    if state.get("terminating"):
        raise RefusedError(
            f"The namespace {copy.into} is still being deleted: {state['terminating'].rstrip('.')}.",
            "Wait until it is gone, or name another one with --into.",
        )
    if state.get("there") and not begun:
        raise RefusedError(f"The namespace {copy.into} exists already.", "Name another one with --into.")


def check(named: Mapping[str, Mapping[str, str]]) -> None:
    """Raises RefusedError where objects name production. ``named``: {object: {field: address}}."""
    each = [f"{one}: {field} names {address}" for one, fields in named.items() for field, address in fields.items()]
    if each:
        more = f", and {len(each) - TOLD} more" if len(each) > TOLD else ""
        raise RefusedError(
            f"The copy would still name production, and is not started: {'; '.join(each[:TOLD])}{more}.",
            "Say --database HOST:PORT for its database; for all else say in the target's velero.instead what is to"
            " stand in its place.",
        )


def flags(args: Mapping[str, Any]) -> dict[str, str]:
    """For Velero's command line. Nothing of the cluster is restored, and no volume: a copy's are new and empty, since
    one that is restored may be production's own disk."""
    (name,), (place,) = args["namespaces"], args["places"]
    return {
        **restoring.flags(args, labels(args["tags"])),
        "namespace-mappings": f"{name}:{place}",
        "resource-modifier-configmap": str(args["identifier"]),
        "include-cluster-resources": "false",
        "restore-volumes": "false",
    }


def namespace_labels(held: Archive, name: str) -> dict[str, str]:
    """The labels that a copy of a namespace gets of those that the backup has."""
    found = (held.objects.get(("namespaces", "", name)) or {}).get("metadata") or {}
    return {key: value for key, value in (found.get("labels") or {}).items() if key.startswith(KEPT)}


def named(copy: Copy, objects: Mapping[Key, Object], production: Production) -> dict[str, dict[str, str]]:
    """What of a backup's objects would still name production once they stand in the copy."""
    found = {name_of(key): production.named(_numbered_anew(copy.standing(key[0], one))) for key, one in objects.items()}
    return {name: fields for name, fields in found.items() if fields}


def _numbered_anew(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Velero lets the cluster give a Service its addresses."""
    if one.get("kind") != "Service":
        return one
    return {**one, "spec": {key: value for key, value in one["spec"].items() if key not in ("clusterIP", "clusterIPs")}}


class Beside:
    """What the calls do. ``read``: a backup's archive."""

    def __init__(self, cluster: Cluster, velero: Velero, read: Callable[[str], Archive], protected: Protected) -> None:
        self._cluster, self._velero, self._read, self._protected = cluster, velero, read, protected

    def make(self, args: Mapping[str, Any]) -> None:
        """Raises RefusedError where the namespace is there and not the run's."""
        if self._is_runs(args):
            return
        made = {"labels": {**args["labels"], **labels(args["tags"])}, "annotations": {TAGS: packed(args["tags"])}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args["namespace"], **made}}
        self._cluster.create(NAMESPACES, body)

    def keep_modifiers(self, args: Mapping[str, Any]) -> str:
        """What holds the copy back on its arrival, in Velero's own namespace; its path. No secret is in it."""
        path = self._modifiers(args)
        if self._cluster.get(path) is None:
            held = modifiers(self._read(args["backup"]).of(args["namespaces"]))
            metadata = {"name": str(args["identifier"]), "labels": labels(args["tags"])}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"rules.json": held}}
            self._cluster.create(path.rpartition("/")[0], body)
        return path

    def drop_modifiers(self, args: Mapping[str, Any]) -> None:
        """Those of a run that was cut off before its restore owned them."""
        path = self._modifiers(args)
        found = self._cluster.get(path)
        if found is not None and tags_in(found).get("dr:run") == args["run"]:
            self._cluster.delete(path, {})

    def lead(self, args: Mapping[str, Any]) -> None:
        """Lead every object of the copy to where it may go: by what the backup says, so that it may be repeated."""
        copy, held = self.copy(args), self._read(args["backup"]).objects
        for key, live in self._standing(args).items():
            one = held.get(key, live)
            wanted = copy.rewritten(one)
            paths = [at for at in differing(wanted, one) if value_at(live, at) != value_at(wanted, at)]
            if paths:
                self._cluster.patch(_path(key, live, copy), [step(live, wanted, at) for at in paths], JSON_PATCH)

    def led(self, args: Mapping[str, Any]) -> Progress:
        """Raises RefusedError where something still names production: it is not started then."""
        production = self._protected.production(self._read(args["backup"]))
        found = {name_of(key): production.named(live) for key, live in self._standing(args).items()}
        check({name.replace(*_moved(args)): fields for name, fields in found.items() if fields})
        return Progress(done=True, result={"objects": len(found)})

    def start(self, args: Mapping[str, Any]) -> None:
        """Each workload as the backup has it. CronJobs and Jobs stay suspended: they would do production's work."""
        copy, held = self.copy(args), self._read(args["backup"]).objects
        for key, live in self._standing(args).items():
            if patch := started(key[0], held[key]) if key in held else {}:
                self._cluster.patch(_path(key, live, copy), patch)

    def remove(self, args: Mapping[str, Any]) -> None:
        if self._is_runs(args):
            self._velero.delete_namespace(str(args["namespace"]))

    def removed(self, args: Mapping[str, Any]) -> Progress:
        state = self._velero.namespace(str(args["namespace"]))
        return Progress(not state["there"], note=f"namespace {args['namespace']}: {state['terminating'] or 'exists'}")

    def copy(self, args: Mapping[str, Any]) -> Copy:
        """The copy that a call's arguments tell of."""
        (name,), (place,) = args["namespaces"], args["places"]
        return self._protected.whole(Copy(name, place, str(args["database"])))

    def _modifiers(self, args: Mapping[str, Any]) -> str:
        return f"{NAMESPACES}/{self._velero.space}/configmaps/{args['identifier']}"

    def _is_runs(self, args: Mapping[str, Any]) -> bool:
        """Whether it is there. Raises RefusedError where it is not the run's."""
        name = str(args["namespace"])
        found = self._cluster.get(f"{NAMESPACES}/{name}")
        check_whose(found, str(args["run"]), f"The namespace {name}")
        return found is not None

    def _standing(self, args: Mapping[str, Any]) -> dict[Key, Object]:
        (place,) = args["places"]
        return listed(self._cluster, self._read(args["backup"]).of(args["namespaces"]), lambda _: str(place))


def _moved(args: Mapping[str, Any]) -> tuple[str, str]:
    (name,), (place,) = args["namespaces"], args["places"]
    return f" {name}/", f" {place}/"


def _path(key: Key, live: Object, copy: Copy) -> str:
    return f"{collection(key[0], live, copy.into)}/{key[2]}"
