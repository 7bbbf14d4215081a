"""A cluster that is played in virtual time: three GPU nodes, a model on two of them, and what Kubernetes does of itself
when a node is lost, drained, or loses its GPU, when a pod or a namespace is deleted, and when all of it comes back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dr.drivers.kubernetes.api import Body
from dr.drivers.velero.comparing import JSON_PATCH
from dr.drivers.velero.manifests import content
from dr.drivers.velero.ownership import Ownership
from tests.platform_objects import MODEL, PLATFORM, SYSTEM, condition, deployment, node, pod, slices
from tests.stub_cluster import LISTS, merged, selects, stepped, within
from tests.virtual import VirtualClock

GRACE, TOLERATION, NOTICED = 8.0, 2.0, 3.0
"""Virtual seconds until a silent node is not ready, until its pods are evicted, and until a GPU is missed."""
STARTS, LOADS, ENDS = 1.0, 3.0, 2.0
"""Virtual seconds until a pod runs, until it is ready, and until a pod or namespace that was deleted is gone."""
NODES, SPACES = "/api/v1/nodes", "/api/v1/namespaces"
PODS = f"{SPACES}/{SYSTEM}/pods"
WORKLOAD = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{MODEL}"
LED = f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices/{MODEL}-1"
OWNERS = Ownership({})
Object = dict[str, Any]


class PlayedCluster:
    """In the place of the driver's ``Api``. ``lost`` and ``broken``: nodes, and since when. ``changed`` is told of
    each request that changes something, once that is done."""

    def __init__(self, clock: VirtualClock, changed: Callable[[str], None]) -> None:
        self._clock, self._changed = clock, changed
        self.lost: dict[str, float] = {}
        self.broken: dict[str, float] = {}
        self._cordoned: set[str] = set()
        self._made = 0
        self._since: dict[str, float] = {}
        self.found: dict[str, Object] = {}
        for path, one in PLATFORM:
            self.hold(path, one)
        self._was: dict[str, Object] = {}

    def hold(self, path: str, one: Mapping[str, Any]) -> Object:
        """Have an object in the list at ``path``, in the place of one of its name."""
        _, api, *parts = path.split("/")
        version = parts[0] if api == "api" else f"{parts[0]}/{parts[1]}"
        shown = {"apiVersion": version, "kind": parts[-1][:-1].capitalize(), **copy.deepcopy(dict(one))}
        if "namespaces" in parts[:-1]:
            shown["metadata"]["namespace"] = parts[-2]
        self.found[f"{path}/{one['metadata']['name']}"] = shown
        return shown

    def drop(self, *paths: str) -> None:
        for path in paths:
            self.found.pop(path, None)

    # -- what the driver asks

    def get(self, path: str) -> Object | None:
        parts = urlsplit(path)
        if parts.path in self.found:
            return self.found[parts.path]
        if parts.path.rpartition("/")[2] not in LISTS:
            return None
        chosen = parse_qs(parts.query).get("fieldSelector", [""])[0]
        listed = (one for key, one in sorted(self.found.items()) if within(key, parts.path))
        return {"items": [one for one in listed if selects(chosen, one)]}

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        if path.endswith("/selfsubjectaccessreviews"):
            return {"status": {"allowed": True}}
        if "dryRun" in path:
            return copy.deepcopy(dict(body))
        made = self.made(path, body)
        self._changed(f"create {path.rpartition('/')[2]}")
        return made

    def made(self, path: str, body: Mapping[str, Any]) -> Object:
        """Hold a new object, which has a UID of its own."""
        self._made += 1
        return self.hold(path, merged(body, {"metadata": {"uid": f"uid-{self._made}"}}))

    def patch(self, path: str, body: Body, kind: str) -> Object:
        own, _, query = path.partition("?")
        if query:
            return stepped(self.found[own], list(body)) or {}  # type: ignore[arg-type]
        steps = kind == JSON_PATCH
        self.found[own] = stepped(self.found[own], list(body)) or {} if steps else merged(self.found[own], body)  # type: ignore[arg-type]
        self._changed(f"patch {own.split('/')[-2]}")
        return self.found[own]

    def delete(self, path: str, body: Mapping[str, Any]) -> None:
        one = self.found.get(path)
        asked = (body.get("preconditions") or {}).get("uid")
        if one is None or asked not in (None, one["metadata"].get("uid")):
            return
        if path.startswith((f"{PODS}/", f"{SPACES}/")):
            self._end(path)
        else:
            self.drop(path, *self._owned_by(one))
        self._changed(f"delete {path.split('/')[-2]}")

    def _owned_by(self, one: Object) -> list[str]:
        uid = one["metadata"].get("uid", "none")
        owners = ((path, held["metadata"].get("ownerReferences") or ()) for path, held in self.found.items())
        return [path for path, of in owners if any(owner.get("uid") == uid for owner in of)]

    def _end(self, path: str) -> None:
        self.found[path]["metadata"].setdefault("deletionTimestamp", "now")
        self._since.setdefault(f"end of {path}", self._clock.at)

    def fault(self, _: object, name: str, arguments: Mapping[str, Any], __: float) -> dict[str, Any]:
        """What the target's command for faults does to it."""
        of, word = (self.lost, "lost") if name == "lose_node" else (self.broken, "broken")
        if arguments[word]:
            of.setdefault(str(arguments["node"]), self._clock.at)
        else:
            of.pop(str(arguments["node"]), None)
        self._changed(name)
        return {}

    def act(self, _: object, activity: str, arguments: Mapping[str, Any], __: float) -> None:
        """What an activity of chaostoolkit-kubernetes does to it."""
        name = str(arguments["name"])
        if activity == "cordon_node":
            self._cordoned.add(name)
        elif activity == "uncordon_node":
            self._cordoned.discard(name)
        else:
            for path, _one in self._on(name):
                self._end(path)
        self._changed(activity)

    # -- what it does of itself

    def tick(self) -> None:
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            silent, missed = self._past(self.lost.get(name)), self._past(self.broken.get(name))
            cordoned = {"unschedulable": True} if name in self._cordoned else {}
            ready, gpus = "Unknown" if silent > GRACE else "True", 0 if missed > NOTICED else 1
            self.hold(NODES, node(name, ready=ready, gpus=gpus, **cordoned))
            for path, one in self._on(name):
                if silent > GRACE:
                    one["status"]["conditions"] = [condition("Ready", holds=False)]
                if silent > GRACE + TOLERATION:
                    self._end(path)
        self._clear()
        if WORKLOAD in self.found and not self._ending(self.found[f"{SPACES}/{SYSTEM}"]):
            self._make_anew()
            self._run()
            ready_ones = [one["metadata"]["name"] for _, one in self._each() if self._ready(one)]
            self.found[WORKLOAD]["status"] = deployment(MODEL, available=len(ready_ones))["status"]
            self.hold(LED.rpartition("/")[0], slices(MODEL, *ready_ones))

        self._run_copies()

    def _run_copies(self) -> None:
        """Workloads of another namespace are available as soon as they are asked for, each with a pod."""
        for path, one in [*self.found.items()]:
            space = path.split("/")[-3]
            if path.split("/")[-2] == "deployments" and space not in (SYSTEM, "velero"):
                asked, name = one["spec"].get("replicas", 1), one["metadata"]["name"]
                one["status"] = {"observedGeneration": 1, "availableReplicas": asked, "updatedReplicas": asked}
                pods = f"{SPACES}/{space}/pods"
                if asked and f"{pods}/{name}-1" not in self.found:
                    self.hold(pods, pod(f"{name}-1", node=""))

    def _clear(self) -> None:
        """A deleted pod goes when its node says so, which a lost one does once it is back; a namespace with all that is
        in it."""
        for path, one in [*self.found.items()]:
            since = self._since.get(f"end of {path}")
            if self._past(since) > ENDS and (one.get("spec") or {}).get("nodeName") not in self.lost:
                del self._since[f"end of {path}"]
                inside = f"/namespaces/{one['metadata']['name']}/" if path.startswith(SPACES) else "nothing"
                self.drop(path, *(each for each in [*self.found] if inside in each))

    def _make_anew(self) -> None:
        while sum(not self._ending(one) for _, one in self._each()) < 2:
            self._made += 1
            new = pod(f"{MODEL}-new{self._made}", condition("Ready", holds=False), node="")
            new["status"]["containerStatuses"] = []
            self.hold(PODS, new)

    def _run(self) -> None:
        for path, one in self._each():
            if not one["spec"]["nodeName"]:
                self._bind(path, one)
            elif self._past(self._since.get(path)) > LOADS and not self._ending(one):
                one["status"] = pod("it")["status"]
            elif self._past(self._since.get(path)) > STARTS and not one["status"]["containerStatuses"]:
                one["status"]["containerStatuses"] = [{"name": "it", "started": False, "state": {"running": {}}}]

    def _bind(self, path: str, one: Object) -> None:
        used = {each["spec"]["nodeName"] for _, each in self._each()}
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            seen = self.found[f"{NODES}/{name}"]
            free = name not in used and seen["status"]["allocatable"]["nvidia.com/gpu"] == "1"
            if free and name not in self._cordoned and seen["status"]["conditions"][0]["status"] == "True":
                one["spec"]["nodeName"], self._since[path] = name, self._clock.at
                return

    def _on(self, name: str) -> Iterator[tuple[str, Object]]:
        return ((path, one) for path, one in self._each() if one["spec"]["nodeName"] == name)

    def _each(self) -> Iterator[tuple[str, Object]]:
        return ((path, one) for path, one in [*self.found.items()] if path.startswith(f"{PODS}/"))

    def _ready(self, one: Mapping[str, Any]) -> bool:
        return one["status"]["conditions"][0]["status"] == "True" and not self._ending(one)

    @staticmethod
    def _ending(one: Mapping[str, Any]) -> bool:
        return "deletionTimestamp" in one["metadata"]

    def _past(self, since: float | None) -> float:
        return -1.0 if since is None else self._clock.at - since

    # -- what a drill left

    def begin(self) -> None:
        """What stands now is as it should be."""
        self._was = self._standing()

    def _standing(self) -> dict[str, Object]:
        """What is nobody's derivation, without what another creation of it has, too."""
        return {path: content(one) for path, one in self.found.items() if not OWNERS.derived(one)}

    def left(self) -> list[str]:
        """What is not as it was before a drill."""
        now = self._standing()
        other = [path for path in sorted({*now, *self._was}) if now.get(path) != self._was.get(path)]
        down = [f"{name} is lost" for name in self.lost] + [f"{name} lacks a GPU" for name in self.broken]
        return [*down, *(f"{path} is not as it was" for path in other)]
