"""A cluster that is played in virtual time: three GPU nodes, a model on two of them, and what Kubernetes does of itself
when one is lost, loses its GPU, or a pod is deleted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from tests.platform_objects import MODEL, PLATFORM, condition, node, pod, slices
from tests.virtual import VirtualClock

GRACE, TOLERATION, NOTICED = 8.0, 2.0, 3.0
"""Virtual seconds until a silent node is not ready, until its pods are evicted, and until a GPU is missed."""
STARTS, LOADS, ENDS = 1.0, 3.0, 2.0
"""Virtual seconds until a pod runs, until it is ready, and until one that was deleted is gone."""
NODES = "/api/v1/nodes"


class PlayedCluster:
    """In the place of the driver's ``Api``. ``lost`` and ``broken``: nodes, and since when."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.lost: dict[str, float] = {}
        self.broken: dict[str, float] = {}
        self._made = 0
        self._since: dict[str, float] = {}
        self._found = {f"{path}/{one['metadata']['name']}": copy.deepcopy(one) for path, one in PLATFORM}
        self._pods = next(path for path, one in PLATFORM if one["metadata"]["name"] == f"{MODEL}-a")

    # -- what the driver asks

    def get(self, path: str) -> dict[str, Any] | None:
        path = path.partition("?")[0]
        if path in self._found:
            return self._found[path]
        items = [one for key, one in sorted(self._found.items()) if key.rpartition("/")[0] == path]
        return {"items": items} if items else None

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": {"allowed": True}}

    def delete(self, path: str, body: Mapping[str, Any]) -> None:
        if path in self._found:
            self._found[path]["metadata"]["deletionTimestamp"] = "now"
            self._since.setdefault(path, self._clock.at)

    def fault(self, _: object, name: str, arguments: Mapping[str, Any], __: float) -> dict[str, Any]:
        """What the target's command for faults does to it."""
        of, word = (self.lost, "lost") if name == "lose_node" else (self.broken, "broken")
        if arguments[word]:
            of.setdefault(str(arguments["node"]), self._clock.at)
        else:
            of.pop(str(arguments["node"]), None)
        return {}

    # -- what it does of itself

    def tick(self) -> None:
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            silent, missed = self._past(self.lost.get(name)), self._past(self.broken.get(name))
            known = node(name, ready="Unknown" if silent > GRACE else "True", gpus=0 if missed > NOTICED else 1)
            self._found[f"{NODES}/{name}"] = known
            for path, one in self._on(name):
                if silent > GRACE:
                    one["status"]["conditions"] = [condition("Ready", holds=False)]
                if silent > GRACE + TOLERATION:
                    self.delete(path, {})
        self._end()
        self._make_anew()
        self._run()
        ready = [one["metadata"]["name"] for _, one in self._each() if self._ready(one)]
        led = next(path for path in self._found if path.endswith(f"/endpointslices/{MODEL}-1"))
        self._found[led] = slices(MODEL, *ready)

    def _end(self) -> None:
        """A deleted pod goes when its node says so, which a lost one does once it is back."""
        for path, one in [*self._each()]:
            gone = one["metadata"].get("deletionTimestamp") and one["spec"]["nodeName"] not in self.lost
            if gone and self._past(self._since[path]) > ENDS:
                del self._found[path]

    def _make_anew(self) -> None:
        while sum(not one["metadata"].get("deletionTimestamp") for _, one in self._each()) < 2:
            self._made += 1
            new = pod(f"{MODEL}-new{self._made}", condition("Ready", holds=False), node="")
            new["status"]["containerStatuses"] = []
            self._found[f"{self._pods}/{new['metadata']['name']}"] = new

    def _run(self) -> None:
        for path, one in self._each():
            if not one["spec"]["nodeName"]:
                self._bind(path, one)
            elif self._past(self._since.get(path)) > LOADS and not one["metadata"].get("deletionTimestamp"):
                one["status"] = pod("it")["status"]
            elif self._past(self._since.get(path)) > STARTS and not one["status"]["containerStatuses"]:
                one["status"]["containerStatuses"] = [{"name": "it", "started": False, "state": {"running": {}}}]

    def _bind(self, path: str, one: dict[str, Any]) -> None:
        used = {each["spec"]["nodeName"] for _, each in self._each()}
        for name in ("gpu-1", "gpu-2", "gpu-3"):
            seen = self._found[f"{NODES}/{name}"]["status"]
            free = name not in used and seen["allocatable"]["nvidia.com/gpu"] == "1"
            if free and seen["conditions"][0]["status"] == "True":
                one["spec"]["nodeName"], self._since[path] = name, self._clock.at
                return

    def _on(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((path, one) for path, one in self._each() if one["spec"]["nodeName"] == name)

    def _each(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((path, one) for path, one in [*self._found.items()] if path.startswith(f"{self._pods}/"))

    def _ready(self, one: Mapping[str, Any]) -> bool:
        return one["status"]["conditions"][0]["status"] == "True" and not one["metadata"].get("deletionTimestamp")

    def _past(self, since: float | None) -> float:
        return -1.0 if since is None else self._clock.at - since

    def left(self) -> list[str]:
        """What is not as it was before a drill."""
        return [f"{name} is lost" for name in self.lost] + [f"{name} lacks a GPU" for name in self.broken]
