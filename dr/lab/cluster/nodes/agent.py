"""One node's agent: it looks at the pods bound to its node, does what ``pods.steps`` says, and tells their status.

The main thread alone decides and starts processes. Others bring it what happens: the watch, ends of processes, answers
of probes. Whatever was missed is seen again: pods are listed anew, and a status that the API server does not show is
told again.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dr.domain.errors import ProviderError
from dr.drivers.kubernetes.api import CONFLICT, NOT_FOUND, STRATEGIC, Api
from dr.lab.cluster.nodes import asking, environment, pods, volumes
from dr.lab.cluster.nodes.api import follow
from dr.lab.cluster.nodes.disk import Disk
from dr.lab.cluster.nodes.environment import Image, Key, Manifest, Missing
from dr.lab.cluster.nodes.fields import refused
from dr.lab.cluster.nodes.pods import Ask, Finish, Held, Signal, Start
from dr.lab.cluster.nodes.pools import GPU, Place, lease, loopback, node, node_status
from dr.lab.cluster.nodes.processes import Launch, Processes, keep_orphans
from dr.lab.cluster.nodes.status import shows, status
from dr.lab.service.model_server import GPU_FAULTS
from dr.lab.service.names import VARIABLE as HOSTS

log = logging.getLogger(__name__)
MANAGER = "dr-lab-node"
"""As whom it writes: what a controller owns is told by its name, which must be nobody else's."""
LONGEST_WAIT = 5.0
"""Seconds after which the agent looks at everything although nothing has happened."""
RENEWED = 60.0
"""Seconds between two looks at what volumes are made of."""
LOOKED = 5.0
"""Seconds between two looks at containers' memory, and at GPUs, as a device plugin looks."""
LEASE_SHARE = 4
"""How often a Lease is renewed within its duration."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Settings:
    """``kubeconfig``: in which {node} stands for the node's name. ``passed``: variables that every container is given.
    ``lease``: seconds of the node's Lease.
    """

    kubeconfig: str
    directory: Path
    disks: Path
    images: Mapping[str, Image]
    passed: Mapping[str, str]
    lease: int = 40


class Agent:
    """A node's agent, in a process of its own. ``run`` ends with the process."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place, self._settings = place, settings
        self._kubeconfig = Path(settings.kubeconfig.replace("{node}", place.name))
        self._api = Api(self._kubeconfig, manager=MANAGER)
        self._disk = Disk(settings.directory / place.name, settings.disks)
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._processes = Processes(lambda key, code: self._events.put(partial(self._ended, key, code)))
        self._pods: dict[str, Manifest] = {}
        self._held: dict[str, Held] = {}
        self._launches: dict[tuple[str, str], tuple[Launch, dict[str, str]]] = {}
        self._gpus: dict[str, list[str]] = {}
        self._broken: tuple[str, ...] = ()
        self._stubborn: dict[str, float] = {}
        """Pods whose status could not be told, and until when that is not tried again."""
        self._clock = _steady()
        self._since = self._clock()
        self._looked = self._renewed = self._since

    def run(self) -> None:
        """Register the node, and serve it until this process ends."""
        keep_orphans()
        self._insist(self._register)
        threading.Thread(target=self._beat, name="lease", daemon=True).start()
        threading.Thread(target=self._follow, name="pods", daemon=True).start()
        while True:
            self._wait()
            for uid in list(self._pods):
                self._tend(uid)
            self._survey()

    # ---- the node

    def _insist(self, what: Callable[[], None]) -> None:
        while True:
            try:
                return what()
            except ProviderError as error:
                log.warning("%s", error)
                time.sleep(1.0)

    def _register(self) -> None:
        mine = node(self._place)
        path = f"/api/v1/nodes/{self._place.name}"
        if self._api.get(path) is None:
            self._api.create("/api/v1/nodes", mine)
        else:
            self._api.patch(path, {"metadata": {key: mine["metadata"][key] for key in ("labels", "annotations")}})
        self._renew_lease(self._api)
        self._tell_node()

    def _tell_node(self) -> None:
        said = node_status(self._place, self._settings.images, self._broken, self._since, self._clock())
        self._api.patch(f"/api/v1/nodes/{self._place.name}/status", {"status": said}, STRATEGIC)

    def _beat(self) -> None:
        """Renew the Lease, and tell the node's status where somebody has changed it: it says that the node is ready."""
        api = Api(self._kubeconfig, manager=MANAGER)
        while True:
            with suppress(ProviderError):
                self._renew_lease(api)
                found = api.get(f"/api/v1/nodes/{self._place.name}")
                if found is None or not _ready(found):
                    self._events.put(lambda: self._quietly(self._register))
            time.sleep(self._settings.lease / LEASE_SHARE)

    def _renew_lease(self, api: Api) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        mine = lease(self._place, self._settings.lease, self._clock())
        try:
            api.patch(f"{path}/{self._place.name}", {"spec": mine["spec"]})
        except ProviderError as error:
            if error.code != NOT_FOUND:
                raise
            api.create(path, mine)

    def _quietly(self, what: Callable[[], None]) -> None:
        try:
            what()
        except ProviderError as error:
            log.warning("%s", error)

    # ---- what there is

    def _follow(self) -> None:
        follow(
            Api(self._kubeconfig, manager=MANAGER),
            f"/api/v1/pods?fieldSelector=spec.nodeName={self._place.name}",
            lambda items: self._events.put(partial(self._listed, items)),
            lambda kind, pod: self._events.put(partial(self._changed, kind, pod)),
        )

    def _listed(self, items: Iterable[dict[str, Any]]) -> None:
        found = {pod["metadata"]["uid"]: pod for pod in items}
        for uid in [*self._pods, *self._disk.known()]:
            if uid not in found:
                self._drop(uid)
        for pod in found.values():
            self._changed("MODIFIED", pod)

    def _changed(self, kind: str, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._drop(uid)
            return
        self._pods[uid] = pod
        self._stubborn.pop(uid, None)
        if uid not in self._held:
            self._held[uid] = self._adopt(pod)

    def _adopt(self, pod: Manifest) -> Held:
        shown = pod.get("status", {}).get("podIP")
        taken = [held.address for held in self._held.values()]
        taken += [one["status"]["podIP"] for one in self._pods.values() if one.get("status", {}).get("podIP") != shown]
        address = shown or self._place.pod_address(filter(None, taken))
        held = pods.adopted(pod, address, self._clock(), refused(pod))
        wanted = environment.gpus(pod, GPU)
        if not wanted or pods.over(pod, held) or pods.deleting(pod):
            return held
        given = [gpu for one in self._gpus.values() for gpu in one]
        free = environment.free_gpus(self._place, self._broken, given)
        if len(free) < wanted:
            why = f"Allocate failed due to requested number of devices unavailable for {GPU}."
            counted = f"{why} Requested: {wanted}, Available: {len(free)}, which is unexpected"
            return replace(held, failed=("UnexpectedAdmissionError", counted))
        self._gpus[held.uid] = free[:wanted]
        return held

    def _drop(self, uid: str) -> None:
        """A pod that the API server does not have any more: nothing of it may run."""
        held = self._held.pop(uid, None)
        for run in held.runs.values() if held is not None else ():
            self._processes.signal((uid, run.name, run.attempt), 9)
        self._pods.pop(uid, None)
        self._gpus.pop(uid, None)
        self._launches = {key: value for key, value in self._launches.items() if key[0] != uid}
        self._disk.forget(uid)

    # ---- what is done

    def _wait(self) -> None:
        now = self._clock()
        moments = [pods.due(self._pods[uid], held) for uid, held in self._held.items()]
        moments += self._stubborn.values()
        # What was due before was looked at just now, and would be due for ever where nothing came of it.
        until = min((moment for moment in moments if moment is not None and moment > now), default=now + LONGEST_WAIT)
        with suppress(queue.Empty):
            self._events.get(timeout=min(LONGEST_WAIT, until - now))()
            while True:
                self._events.get_nowait()()

    def _tend(self, uid: str) -> None:
        pod = self._pods[uid]
        for step in pods.steps(pod, self._held[uid], self._clock()):
            if isinstance(step, Finish):
                self._quietly(partial(self._finish, pod))
                return
            self._do(pod, step)
        self._quietly(partial(self._tell, pod))

    def _do(self, pod: Manifest, step: Start | Signal | Ask) -> None:
        uid = pod["metadata"]["uid"]
        held = self._held[uid]
        run = held.runs[step.container]
        if isinstance(step, Start):
            self._held[uid] = self._start(pod, held, _container(pod, step.container))
        elif isinstance(step, Signal):
            self._processes.signal((uid, run.name, run.attempt), step.number)
            self._held[uid] = pods.told(held, step, self._clock())
        else:
            self._held[uid] = pods.asked(held, step)
            threading.Thread(target=self._ask, args=(pod, step, run.attempt, held.address), daemon=True).start()

    def _ask(self, pod: Manifest, step: Ask, attempt: int, address: str) -> None:
        uid, container = pod["metadata"]["uid"], _container(pod, step.container)
        launch, mounted = self._launches[uid, step.container]
        good, why = asking.ask(container, step.probe, loopback(address), launch, mounted)
        self._events.put(partial(self._answered, uid, container, attempt, step.probe, good, why))

    def _answered(self, uid: str, container: Manifest, attempt: int, probe: str, good: bool, why: str) -> None:
        held = self._held.get(uid)
        if held is not None and held.runs[container["name"]].attempt == attempt:
            self._held[uid] = pods.answered(held, container, probe, good, why, self._clock())

    def _ended(self, key: tuple[str, str, int], code: int) -> None:
        self._processes.forget(key)
        uid, name, attempt = key
        held, pod = self._held.get(uid), self._pods.get(uid)
        if held is None or pod is None or held.runs[name].attempt != attempt:
            return
        why = "OOMKilled" if held.runs[name].why == "OOMKilled" else ""
        self._held[uid] = pods.ended(pod, held, name, code, self._clock(), why)

    def _start(self, pod: Manifest, held: Held, container: Manifest) -> Held:
        run = held.runs[container["name"]]
        try:
            launch, mounted = self._launch(pod, held, container, run.attempt)
            self._launches[held.uid, run.name] = launch, mounted
            self._processes.start((held.uid, run.name, run.attempt), launch)
        except _NoImage as why:
            return pods.unable(held, run.name, "ErrImagePull", str(why), self._clock())
        except Missing as why:
            return pods.unable(held, run.name, "CreateContainerConfigError", str(why), self._clock())
        except ProviderError as why:
            return pods.unable(held, run.name, "RunContainerError", str(why), self._clock())
        return pods.began(held, container, self._clock())

    def _launch(self, pod: Manifest, held: Held, container: Manifest, attempt: int) -> tuple[Launch, dict[str, str]]:
        """What a container is started with, and where its mounts lie. Raises Missing and ProviderError."""
        try:
            image = environment.image_of(container, self._settings.images)
        except Missing as why:
            raise _NoImage(str(why)) from None
        told = {**pod, "status": {**pod.get("status", {}), "podIP": held.address, "hostIP": self._place.address}}
        directories = self._lay(told)
        objects = self._objects(pod, environment.references(pod))
        mounted = volumes.mounts(container, directories)
        own = {name: value.replace("{address}", loopback(held.address)) for name, value in image.environment.items()}
        given = {**self._given(pod, held), **own}
        found = environment.variables(told, container, objects, given)
        line = environment.command(container, image, found, loopback(held.address))
        launch = Launch(
            [volumes.at(part, mounted) for part in line],
            {name: volumes.at(value, mounted) for name, value in found.items()},
            self._home(held.uid),
            self._disk.log(pod, container["name"], attempt),
            image.account,
        )
        return launch, mounted

    def _home(self, uid: str) -> Path:
        home = self._disk.pod(uid) / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _given(self, pod: Manifest, held: Held) -> dict[str, str]:
        """What every container finds, whatever its manifest says."""
        metadata = pod["metadata"]
        host, port = self._api.place
        services: list[Any] = []
        if pod["spec"].get("enableServiceLinks", True):
            services = (self._api.get(f"/api/v1/namespaces/{metadata['namespace']}/services") or {}).get("items", [])
        given = ",".join(self._gpus.get(held.uid, ()))
        devices = {"NVIDIA_VISIBLE_DEVICES": given, GPU_FAULTS: str(self._disk.faults)} if given else {}
        return {
            "PATH": PATH,
            "HOME": str(self._home(held.uid)),
            "HOSTNAME": metadata["name"],
            **environment.links(services),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": str(port),
            **devices,
            **self._settings.passed,
        }

    def _objects(self, pod: Manifest, keys: Iterable[Key]) -> dict[Key, dict[str, Any] | None]:
        space = pod["metadata"]["namespace"]
        return {key: self._api.get(f"/api/v1/namespaces/{space}/{key[0]}/{key[1]}") for key in keys}

    def _lay(self, pod: Manifest) -> dict[str, Path]:
        """Make a pod's volumes, or renew them; where each lies. Raises Missing and ProviderError."""
        objects = self._objects(pod, volumes.references(pod))
        places = {}
        for volume in pod["spec"].get("volumes", []):
            laid = volumes.laid(pod, volume, objects)
            tokens = {token.path: self._token(pod, token) for token in laid.tokens}
            places[laid.name] = self._disk.lay(pod["metadata"]["uid"], laid, tokens)
        return places

    def _token(self, pod: Manifest, token: volumes.Token) -> str:
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"expirationSeconds": token.seconds, "boundObjectRef": bound}
        asked = {"spec": {**spec, **({"audiences": [token.audience]} if token.audience else {})}}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        return str(self._api.create(path, asked)["status"]["token"])

    def _survey(self) -> None:
        """What is to be looked at now and then: containers' memory, GPUs, and what volumes are made of."""
        now = self._clock()
        if now - self._looked >= LOOKED:
            self._looked = now
            for uid, pod in self._pods.items():
                self._hold_to_memory(uid, pod)
            if self._disk.broken() != self._broken:
                self._broken = self._disk.broken()
                self._quietly(self._tell_node)
        if now - self._renewed >= RENEWED:
            self._renewed = now
            for uid in {uid for uid, _ in self._launches}:
                with suppress(Missing, ProviderError):
                    self._lay(self._pods[uid])

    def _hold_to_memory(self, uid: str, pod: Manifest) -> None:
        for container in environment.all_containers(pod):
            run = self._held[uid].runs[container["name"]]
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            if (
                run.state == pods.RUNNING
                and limit
                and self._processes.memory((uid, run.name, run.attempt)) > size(limit)
            ):
                self._do(pod, Signal(run.name, 9, "OOMKilled"))

    # ---- what is told

    def _tell(self, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        wanted = status(pod, self._held[uid], self._place.address, self._clock())
        if shows(pod.get("status", {}), wanted) or self._stubborn.get(uid, 0.0) > self._clock():
            return
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        body = {"metadata": {"uid": uid}, "status": wanted}
        try:
            shown = self._api.patch(path, body)
        except ProviderError as error:
            self._stubborn[uid] = self._clock() + 1.0
            if error.code not in (NOT_FOUND, CONFLICT):
                raise
        else:
            self._pods[uid] = {**pod, "status": shown["status"]}
            if not shows(shown["status"], wanted):
                self._stubborn[uid] = self._clock() + 1.0

    def _finish(self, pod: Manifest) -> None:
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if self._stubborn.get(uid, 0.0) > self._clock():
            return
        self._tell(pod)
        self._stubborn[uid] = self._clock() + 1.0  # until the watch tells that it is gone
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})


class _NoImage(Exception):  # noqa: N818 - why a container waits
    """Nothing stands for a container's image."""


def _container(pod: Manifest, name: str) -> Manifest:
    return next(one for one in environment.all_containers(pod) if one["name"] == name)


def _ready(found: Mapping[str, Any]) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def size(quantity: str) -> int:
    """A quantity of bytes, such as 512Mi. Pure."""
    unit = next((unit for unit in UNITS if quantity.endswith(unit)), "")
    return int(float(quantity.removesuffix(unit)) * UNITS.get(unit, 1))


def _steady() -> Callable[[], float]:
    """Epoch seconds that go on evenly when the clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


def passed(hosts: Path) -> dict[str, str]:
    """What the lab's own programs need to run as this one does. ``hosts``: the file of the cluster's names."""
    import dr

    return {
        HOSTS: str(hosts),
        "PYTHONPATH": str(Path(dr.__file__).parent.parent),
        **{name: os.environ[name] for name in ("LANG", "PYTHONDONTWRITEBYTECODE") if name in os.environ},
    }
