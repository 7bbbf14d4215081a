"""Velero as a provider. It is known by the cluster that it is in, which the section ``kubernetes`` pins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

from dr.config.context import Context
from dr.domain.errors import FailedError, ProviderError, RefusedError, UsageError
from dr.domain.model import (
    Call,
    Component,
    Effect,
    Facts,
    Grant,
    Observation,
    Progress,
    Purpose,
    Request,
    Resource,
    RunIdentity,
    Verb,
)
from dr.drivers.kubernetes import canary, kinds, standing
from dr.drivers.kubernetes.cluster import LOST_SECONDS, NAMESPACES, Access, Cluster
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.drivers.kubernetes.tags import LABELS, TAGS, check_whose, labels, packed, tags_in
from dr.drivers.kubernetes.workloads import APPS
from dr.drivers.velero import archive, beside, comparing, examining, look, naming, restoring, safeguarding, volumes
from dr.drivers.velero.command import Command
from dr.drivers.velero.config import VeleroConfig
from dr.drivers.velero.copying import without
from dr.drivers.velero.judge import LIMIT
from dr.drivers.velero.naming import DRIVER
from dr.drivers.velero.phases import DELETING, phase
from dr.drivers.velero.protected import Protected
from dr.drivers.velero.scope import Scope
from dr.drivers.velero.server import Removal, Server
from dr.drivers.velero.storage import CONTENTS, LIST, Files
from dr.host.bounded import persistently
from dr.meter.held import Meters

KINDS = {"restore": "restores", "backup": "backups"}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class VeleroProvider:
    late = 0.0

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config = context.target.of(VeleroConfig)
        self._kubernetes = context.target.of(KubernetesConfig)
        self._cluster = Cluster(self._kubernetes, context.clock)
        self._velero = look.Velero(self._cluster, self._config.namespace)
        self._command = Command(self._config, self._kubernetes)
        self._files = Files(self._cluster, self._velero.path, context.clock)
        self._waiting = standing.Waiting(self._cluster, context.clock)
        self._meters = Meters(context)
        self.server = Server(self._velero, self._command, context.clock)
        self._removals = Removal(self._velero, self._command, self.server)
        self._back = safeguarding.BringingBack(
            *(self._velero, self._command, self.server, self._removals, self._read, context.clock)
        )
        self._protected = Protected(context)
        self._beside = beside.Beside(self._cluster, self._velero, self._read, self._protected)
        self._archives: dict[str, archive.Archive] = {}

    # -- looking

    def look(self, request: Request) -> Facts:
        backups, restores = self._velero.items("backups"), self._velero.items("restores")
        points = look.points(backups, self._config.namespace)
        return Facts(
            at=self._now(),
            resources=(*look.made(restores, "restore"), *look.made(backups, "backup")),
            points=points,
            extra={DRIVER: self._seen(request, points)},
        )

    def _seen(self, request: Request, points: Collection[Any]) -> dict[str, Any]:
        """What planning has to know of the backup that is asked for, and of the namespaces."""
        asked = look.asked_backup(request)
        steps = [verb.name for verb in request.verbs]
        asking = [verb.args for verb in request.verbs if verb.name in ("restore", "safeguard")]
        named = [name for args in asking for name in (*(args.get("namespaces") or ()), args.get("into")) if name]
        names = {*self._kubernetes.namespaces, *named}
        states = {one: self._velero.namespace(one) for one in sorted(names)}
        seen: dict[str, Any] = {"namespaces": states, "holds": {"namespaces": {}, "lacking": {}}, "refused": ""}
        seen["unwritable"] = _refusal(self.server.check_writable) if "safeguard" in steps else ""
        if not asked:
            return seen
        try:
            self.server.check_deployment()
            self.server.check_version()  # a server that does not answer is told in seconds
            if asked == look.OWN:
                look.check_own(steps)
                return seen
            held = self._read(look.chosen(asked, points).identifier)
            seen["holds"] = look.holds(held)
            for args in asking:
                if args.get("into"):
                    seen["copy"] = self._copied(args, held)
            for verb in request.verbs:
                if verb.name == "restore":
                    self._cluster.check_access(self._comparing(verb.args, held))
        except RefusedError as error:
            seen["refused"] = str(error)
        return seen

    def _comparing(self, args: Mapping[str, Any], held: archive.Archive) -> list[Access]:
        """What the credentials need to compare what is restored with what stands."""
        names = tuple(args.get("namespaces") or self._kubernetes.namespaces)
        places = {beside.asked(args, self._kubernetes).namespace: str(args["into"])} if args.get("into") else {}
        return examining.access(held, tuple(places) or names, restoring.LEFT_OUT, lambda one: places.get(one, one))

    def _copied(self, args: Mapping[str, Any], held: archive.Archive) -> dict[str, Any]:
        """What planning has to know of a copy: what is left out of it, what would still name production."""
        copy = self._protected.whole(beside.asked(args, self._kubernetes))
        definitions = (str(one["metadata"]["name"]) for one in self._cluster.items(DEFINITIONS))
        left_out = [*dict.fromkeys((*restoring.LEFT_OUT, *without(held, definitions)))]
        brought = {key: one for key, one in held.of([copy.namespace]).items() if key[0] not in left_out}
        ways = (section.way_into(copy.into) for section in self._context.target.sections.values())
        return {
            "left_out": left_out,
            "named": beside.named(copy, brought, self._protected.production(held)),
            "labels": beside.namespace_labels(held, copy.namespace),
            "url": next(filter(None, ways), ""),
        }

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        if verb.name == "restore" and verb.args.get("into"):
            return beside.propose(verb, facts, run, self._kubernetes)
        if verb.name == "restore":
            return restoring.propose(verb, facts, run, self._kubernetes)
        if verb.name == "safeguard":
            return safeguarding.propose(verb, facts, run, self._kubernetes)
        if verb.name == "compare":
            return examining.propose(verb, LIMIT.of(self._context.settings.objectives))
        if verb.name == "look_before":
            return examining.before(verb, facts, self._kubernetes.namespaces)
        raise UsageError(f"There is no verb {verb.name!r} of Velero.")

    def confirm_identity(self) -> None:
        self._cluster.confirm()

    # -- doing

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        do: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            restoring.RESTORE: self._restore,
            restoring.FORGET: self._forget,
            naming.SAFEGUARD: self._safeguard,
            safeguarding.REMOVE: self._remove,
            beside.MAKE: self._beside.make,
            beside.LEAD: self._beside.lead,
            beside.START: self._beside.start,
            beside.REMOVE: self._beside.remove,
        }
        if call.operation in do:
            do[call.operation](args)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        see: Mapping[str, Callable[[Mapping[str, Any]], Progress]] = {
            restoring.ABSENT: self._absent,
            restoring.RESTORE: self._restored,
            standing.OPERATION: self._waiting.poll,
            restoring.FORGET: lambda args: Progress(self._velero.get("restores", args["identifier"]) is None),
            naming.SAFEGUARD: self._safeguarded,
            safeguarding.BRING_BACK: self._back.poll,
            safeguarding.REMOVE: self._removed,
            examining.COMPARE: self._examined,
            examining.SERVED: self._served,
            examining.LOOK_BEFORE: self._looked_before,
            beside.MAKE: lambda args: Progress(True, {"namespace": args["namespace"]}),
            beside.LEAD: self._beside.led,
            beside.START: lambda args: Progress(True, {"url": args["url"]}),
            beside.REMOVE: self._beside.removed,
        }
        return see[call.operation](result)

    def _restore(self, args: Mapping[str, Any]) -> None:
        name, copies = str(args["identifier"]), args["places"] != args["namespaces"]
        modifiers = self._beside.keep_modifiers(args) if copies else ""
        flags = beside.flags(args) if copies else restoring.flags(args, labels(args["tags"]))
        self._ask("restores", name, lambda: self._command.restore(name, args["backup"], flags))
        held = {"metadata": {"annotations": {TAGS: packed(args["tags"])}}}
        made = self._cluster.patch(f"{self._velero.path('restores')}/{name}", held)
        if modifiers:  # which go with the restore's record
            self._cluster.patch(modifiers, {"metadata": {"ownerReferences": [naming.owner(made)]}})

    def _forget(self, args: Mapping[str, Any]) -> None:
        if args.get("copies"):
            self._beside.drop_modifiers(args)
        if self._is_runs("restores", args):  # what was restored stays
            self._cluster.delete(f"{self._velero.path('restores')}/{args['identifier']}", {})

    def _safeguard(self, args: Mapping[str, Any]) -> None:
        name = str(args["identifier"])
        own = ",".join(f"{label}={value}" for label, value in labels(args["tags"]).items())
        named = {"include-namespaces": ",".join(args["namespaces"]), "include-cluster-resources": "true"}
        self._ask("backups", name, lambda: self._command.back_up(name, {**named, "labels": own}))

    def _ask(self, kind: str, name: str, command: Callable[[], None]) -> None:
        """Have the command line ask for what is not there yet, again where the API server was away for a moment."""

        def attempt() -> None:
            if self._velero.get(kind, name) is None:
                command()

        persistently(self._context.clock, lambda error: LOST_SECONDS if error.transient else 0.0, attempt)

    def _remove(self, args: Mapping[str, Any]) -> None:
        if self._is_runs("backups", args):
            self._removals.ask(self._there("backups", str(args["identifier"])))

    def _is_runs(self, kind: str, args: Mapping[str, Any]) -> bool:
        """Whether it is there. Raises RefusedError where it is not the run's."""
        name = str(args["identifier"])
        found = self._velero.get(kind, name)
        check_whose(found, str(args["run"]), f"{name} of Velero's {kind}")
        return found is not None

    # -- seeing

    def _absent(self, args: Mapping[str, Any]) -> Progress:
        """What the run's own restore has made since may be there."""
        if self._velero.get("restores", str(args["restore"])) is not None:
            return Progress(True, {"namespaces": list(args["namespaces"])})
        states = {one: self._velero.namespace(one) for one in args["namespaces"]}
        there = {name: state for name, state in states.items() if state["there"]}
        note = "; ".join(f"namespace {name}: {state['terminating'] or 'exists'}" for name, state in there.items())
        return Progress(not there, {"namespaces": list(args["namespaces"])}, note)

    def _restored(self, args: Mapping[str, Any]) -> Progress:
        found = self._there("restores", args["identifier"])
        self.server.check_heard(found)
        return restoring.polled(found, args, self._now(), self._kubernetes)

    def _removed(self, args: Mapping[str, Any]) -> Progress:
        name = str(args["identifier"])
        if self._velero.get("backups", name) is None:
            return Progress(True)
        self._removals.under_way(name)
        return Progress(done=False, note=f"backup {name} is being removed")

    def _there(self, kind: str, name: str) -> dict[str, Any]:
        """What the run rests on. Raises FailedError where somebody has taken it away."""
        found = self._velero.get(kind, name)
        if found is None:
            raise FailedError(
                f"The {kind.removesuffix('s')} {name} is gone from the cluster: somebody deleted it.",
                "See what stands in the namespaces, then begin a new run.",
            )
        return found

    def _safeguarded(self, args: Mapping[str, Any]) -> Progress:
        name = str(args["identifier"])
        found = self._there("backups", name)
        self.server.check_heard(found)
        if not safeguarding.safeguarded(found, name):
            return Progress(False, note=phase(found) or "New")
        (point,) = look.points([found], self._config.namespace)
        told = {"identifier": name, "covers": point.covers, "seconds": point.attributes["seconds"]}
        return Progress(True, told)

    def _looked_before(self, args: Mapping[str, Any]) -> Progress:
        value = self._compared(args, kinds.listable(self._cluster))
        seen = Observation(examining.OBJECTS, "source", value, self._now())
        return Progress(True, {"backup": args["backup"]}, observations=(seen, self._volumes("source", args)))

    def _examined(self, args: Mapping[str, Any]) -> Progress:
        """Milestone and components stand for all that was compared; how it came out, the judge says."""
        restored, backup = self._there("restores", args["identifier"]), self._there("backups", args["backup"])
        results = self._files.results(args["identifier"], self._velero.location(backup))
        values = {
            examining.OBJECTS: {**self._compared(args), **self._torn(args, backup)},
            examining.RESULTS: {"phase": phase(restored), **examining.told(results)},
        }
        if self._meters.known(canary.WRITE):
            values[examining.MARKERS] = self._canaries(args["places"])
        now = self._now()
        return Progress(
            True,
            {"objects": values[examining.OBJECTS]["objects"]},
            observations=tuple(Observation(what, "restored", value, now) for what, value in values.items()),
            milestones={"examined": now},
            components=tuple(
                Component("namespace", naming.restored(one, str(args["identifier"]))) for one in args["places"]
            ),
        )

    def _canaries(self, namespaces: Collection[str]) -> dict[str, Any]:
        """Which of the run's writes its canary stands for, as it was restored."""
        of = f"configmaps?labelSelector={quote(f'{canary.LABEL}={self._context.run.name}')}"
        found = [one for space in namespaces for one in self._cluster.items(f"{NAMESPACES}/{space}/{of}")]
        return {"table": bool(found), "present": canary.present(found, canary.written(self._context.run))}

    def _served(self, args: Mapping[str, Any]) -> Progress:
        """That a workload is available does not show that anybody is led to it."""
        unserved = self._unserved(args["namespaces"])  # those of the cluster
        value = examining.served(self._workloads(args["namespaces"]), unserved)
        seen = Observation(examining.SERVICES, "restored", value, self._now())
        there = self._volumes("restored", args)
        return Progress(True, {"unserved": sorted(unserved)}, observations=(seen, there))

    def _volumes(self, path: str, args: Mapping[str, Any]) -> Observation:
        value = volumes.observed(self._cluster, self._context.target, args["namespaces"])
        return Observation(examining.VOLUMES, path, value, self._now())

    def _compared(self, args: Mapping[str, Any], known: Mapping[str, Any] = comparing.NONE) -> dict[str, Any]:
        """``known``: all kinds of the cluster, where it is also looked for what the backup lacks."""
        backup, names = str(args["backup"]), list(args["namespaces"])
        held, scope = self._read(backup), Scope.of(self._velero.get("backups", backup) or {})
        places = dict(zip(names, args["places"], strict=True))
        standing = comparing.compare(
            self._cluster,
            held,
            names,
            mapped=places.__getitem__,
            skip=args["left_out"],
            scope=scope,
            kinds=known,
            standing=self._beside.copy(args).standing if args["places"] != names else lambda _, one: one,
        )
        return examining.observed(standing, held, backup, places, look.holds(held)["lacking"])

    def _torn(self, args: Mapping[str, Any], backup: Mapping[str, Any]) -> dict[str, Any]:
        """What the archive lacks by Velero's own list of the backup, or why that is not known."""
        name, names = str(args["backup"]), list(args["namespaces"])
        try:
            told = self._files.fetch(LIST, name, self._velero.location(backup))
            return {"torn": archive.torn(self._read(name), told, names), "unlisted": ""}
        except ProviderError as error:
            return {"torn": [], "unlisted": str(error.args[0])}

    def _workloads(self, namespaces: Collection[str]) -> dict[archive.Key, Mapping[str, Any]]:
        return {
            (f"{kind}.apps", space, str(one["metadata"]["name"])): one
            for space in namespaces
            for kind in APPS
            for one in self._cluster.items(f"/apis/apps/v1/namespaces/{space}/{kind}")
        }

    def _unserved(self, namespaces: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for space in namespaces:
            services = self._cluster.items(f"{NAMESPACES}/{space}/services")
            pods = self._cluster.items(f"{NAMESPACES}/{space}/pods")
            found |= {f"{space}/{name}": why for name, why in examining.unserved(services, pods).items()}
        return found

    def _read(self, backup: str) -> archive.Archive:
        """A backup's archive, which never changes. Raises RefusedError where its place cannot be read."""
        if backup not in self._archives:
            location = self._velero.location(self._there("backups", backup))
            self._archives[backup] = archive.read(self._files.fetch(CONTENTS, backup, location), backup)
        return self._archives[backup]

    def check_newest(self, facts: Facts) -> None:
        """Raises RefusedError where the newest backup lacks something of the target's namespaces, or may not be
        compared with what stands."""
        point, names = look.chosen(look.LATEST, facts.points), self._kubernetes.namespaces
        archived = self._read(point.identifier)
        held = look.holds(archived)
        lacking = sorted({one for name in names for one in held["lacking"].get(name, ())})
        if lacking:
            raise RefusedError(
                f"The backup {point.identifier} lacks what its workloads need of the cluster: {', '.join(lacking)}.",
                "Back up with --include-cluster-resources=true.",
            )
        absent = [name for name in names if not held["namespaces"].get(name)]
        if absent:
            raise RefusedError(
                f"The backup {point.identifier} holds nothing of {', '.join(absent)}.", "Widen its schedule."
            )
        self._cluster.check_access(self._comparing({}, archived))

    # -- what happens to a restore after its run

    def adopt(self, identifier: str, run: str) -> None:
        """A namespace that was restored in its own place bears no tag: that is known by its record at Velero."""
        path, tags = self._tagged(identifier, run)
        if tags:
            gone: dict[str, Any] = {"labels": dict.fromkeys(LABELS.values()), "annotations": {TAGS: None}}
            self._cluster.patch(path, {"metadata": gone})

    def seal_tag(self, identifier: str, run: str, verdict: str) -> None:
        path, tags = self._tagged(identifier, run)
        if not tags:
            raise RefusedError(f"{identifier} is no longer run {run}'s.")
        sealed = {TAGS: packed({**tags, "dr:sealed": verdict})}
        self._cluster.patch(path, {"metadata": {"annotations": sealed}})

    def _tagged(self, identifier: str, run: str) -> tuple[str, dict[str, str]]:
        """What bears a run's tags for ``identifier``: the copy of that name, or else the run's restore; and these, none
        where it was adopted. Raises RefusedError where neither is there."""
        path, record = f"{NAMESPACES}/{identifier}", naming.restore_of(run).name
        copy = self._cluster.get(path)
        if copy is not None and tags_in(copy).get("dr:run") == run:
            return path, tags_in(copy)
        found = self._velero.get("restores", record)
        if found is None:
            raise RefusedError(f"Velero has no restore {record}.")
        return f"{self._velero.path('restores')}/{record}", tags_in(found)

    def orphans(self, now: float, under_way: frozenset[str], over: frozenset[str]) -> tuple[Call, ...]:  # noqa: ARG002
        left = (
            one
            for one in self.remains("")
            if one.tags["dr:run"] in over - under_way and one.tags.get("dr:purpose") == Purpose.DRILL
        )
        return tuple(self._removal(one) for one in left)

    @staticmethod
    def _removal(one: Resource) -> Call:
        operation, key, seconds = {
            "restore": (restoring.FORGET, "identifier", restoring.FORGET_SECONDS),
            "backup": (safeguarding.REMOVE, "identifier", safeguarding.REMOVE_SECONDS),
            "namespace": (beside.REMOVE, "namespace", beside.REMOVE_SECONDS),
        }[one.ref.kind]
        return Call(
            *(f"remove-{one.ref.name}", "restore", "unwind", DRIVER, operation),
            {key: one.ref.name, "run": one.tags["dr:run"]},
            effect=Effect.CHANGES,
            touches=(one.ref,),
            deadline=seconds,
        )

    def remains(self, run: str) -> tuple[Resource, ...]:
        found = [one for kind, plural in KINDS.items() for one in look.made(self._velero.items(plural), kind)]
        copies = self._cluster.items(f"{NAMESPACES}?labelSelector={quote(LABELS['dr:run'], safe='')}")
        found += look.made(copies, "namespace")
        return tuple(one for one in found if run in ("", one.tags["dr:run"]) and one.status != DELETING)

    def by_hand(self, found: Resource) -> tuple[tuple[str, str], ...]:
        kind, name = found.ref.kind, found.ref.name
        if kind == "namespace":
            return ((naming.kubectl(self._kubernetes, "delete", "namespace", name), "removes the copy"),)
        command = f"{self._config.program} --namespace {self._config.namespace} {kind} delete {name} --confirm"
        return ((command, "removes its record; what it restored stays"),)

    def ended_by_hand(self, found: Resource) -> str:
        gone = f"{LABELS['dr:run']}-"
        if found.ref.kind == "namespace":
            return naming.kubectl(self._kubernetes, "label", "namespace", found.ref.name, gone)
        kind = f"{KINDS[found.ref.kind]}.velero.io/{found.ref.name}"
        return naming.kubectl(self._kubernetes, "--namespace", self._config.namespace, "label", kind, gone)

    def _now(self) -> float:
        return self._context.clock.now().at


def _refusal(attempt: Callable[[], object]) -> str:
    """Why ``attempt`` is refused, in sentences; "" where it is not."""
    try:
        attempt()
    except RefusedError as error:
        return str(error)
    return ""


def checked(context: Context, facts: Facts) -> list[tuple[str, Callable[[], object]]]:
    """What ``dr doctor`` asks: that Velero is there and answers, that the newest backup has what it needs and may be
    compared, and that drills can back up what they lose."""
    provider, space = VeleroProvider(context), context.target.of(VeleroConfig).namespace
    found: list[tuple[str, Callable[[], object]]] = [
        (f"velero: Deployment velero in namespace {space}", provider.server.check_deployment),
        ("velero: command line and server", provider.server.check_version),
        ("velero: the newest backup", lambda: provider.check_newest(facts)),
    ]
    if Grant.DISPOSABLE in context.target.grants:
        found.append(("velero: a place for backups of drills", provider.server.check_writable))
    return found
