"""The verbs ``compare`` and ``look_before``: what stands of a backup's objects, after a restore and before the loss."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dr.domain.model import Call, Effect, Facts, Verb
from dr.drivers.kubernetes import standing
from dr.drivers.kubernetes.cluster import Access
from dr.drivers.kubernetes.workloads import APPS, condition, replicas, status
from dr.drivers.velero import comparing
from dr.drivers.velero.archive import MADE_ANEW, Archive, Key
from dr.drivers.velero.comparing import Standing, name_of, packed
from dr.drivers.velero.look import LATEST, chosen
from dr.drivers.velero.manifests import Object
from dr.drivers.velero.naming import DRIVER
from dr.drivers.velero.ownership import ROOT_CA
from dr.drivers.velero.restoring import LEFT_OUT

COMPARE, SERVED, LOOK_BEFORE = "compare", "look-at-services", "look-before"
COMPARE_SECONDS = 600.0
OBJECTS, RESULTS, SERVICES, MARKERS, VOLUMES = "objects", "restore-results", "services", "markers", "volumes"
"""Observations."""
WORKLOADS = tuple(f"{kind}.apps" for kind in APPS)
EXISTS = re.compile(r"could not restore, (\w+)(?: |:)\"?([^\"\s]+)\"? already exists")
"""Velero's warning of what it found there, as another one than the backup's."""
SHARED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
    }
    | {"IngressClass", "MutatingWebhookConfiguration", "Namespace", "Node", "PriorityClass"}
    | {"PriorityLevelConfiguration", "RuntimeClass", "StorageClass", "ValidatingWebhookConfiguration"}
)
"""Kinds of the whole cluster, which a lost namespace did not take along."""


def propose(verb: Verb, within: float) -> tuple[Call, ...]:
    """What stands is compared first, so that what a workload waits for is known where it never comes. ``within``:
    seconds in which all of them have to be available."""
    known = ("identifier", "backup", "namespaces", "places", "database", "left_out")
    of = {key: f"${{restore-namespaces.{key}}}" for key in known}
    compare = Call(
        *("compare", verb.name, "verify", DRIVER, COMPARE), of, effect=Effect.READS, deadline=COMPARE_SECONDS
    )
    there = {"namespaces": of["places"]}
    ready = standing.propose(Verb(verb.name, {"namespaces": ["-"], "within": within}), ())
    served = Call(*("look-at-services", verb.name, "verify", DRIVER, SERVED), there, effect=Effect.READS)
    ready, served = replace(ready, driver=DRIVER, args=there), replace(served, deadline=COMPARE_SECONDS)
    return compare, ready, served


def before(verb: Verb, facts: Facts, namespaces: tuple[str, ...]) -> tuple[Call, ...]:
    """How what stands differs from a backup, before it is lost. Raises RefusedError where there is no such backup."""
    point = chosen(str(verb.args.get("backup") or LATEST), facts.points)
    names = list(verb.args.get("namespaces") or namespaces)
    args = {
        "backup": point.identifier,
        "namespaces": names,
        "places": names,
        "database": "",
        "left_out": list(LEFT_OUT),
    }
    look = Call(*("look-before", verb.name, "prepare", DRIVER, LOOK_BEFORE), args, effect=Effect.READS)
    return (replace(look, deadline=COMPARE_SECONDS),)


def access(
    held: Archive, namespaces: Collection[str], skip: Collection[str], mapped: Callable[[str], str]
) -> list[Access]:
    """What the credentials need to compare, to wait for workloads, and to see who serves. ``skip``, ``mapped``: as of
    ``comparing.compare``."""
    places = [mapped(one) for one in namespaces]
    services = [Access("list", "services", space) for space in places]
    return [*comparing.access(held, namespaces, skip, mapped), *standing.access(places), *services]


def told(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """Warnings that are no routine, and errors: without the noise that Velero adds to each."""
    return {
        kind: [text for text in _texts(results.get(kind) or {}) if not _routine(text)]
        for kind in ("warnings", "errors")
    }


def _texts(held: Mapping[str, Any]) -> Iterator[str]:
    for key in ("velero", "cluster"):
        yield from map(str, held.get(key) or ())
    for texts in (held.get("namespaces") or {}).values():
        yield from map(str, texts or ())


def _routine(text: str) -> bool:
    """Whether a warning is no news, by the kind of what Velero found there (velero#4799)."""
    found = EXISTS.search(text)
    return found is not None and (found[1] in MADE_ANEW | SHARED or found.groups() == ("ConfigMap", ROOT_CA))


def unserved(services: Iterable[Object], pods: Iterable[Object]) -> dict[str, str]:
    """Services that choose pods and have none that is ready, each with why. EndpointSlices may still be the backup's.
    Pure."""
    ready = [one["metadata"].get("labels") or {} for one in pods if condition(one, "Ready").get("status") == "True"]
    chosen = ((str(one["metadata"]["name"]), (one.get("spec") or {}).get("selector")) for one in services)
    return {
        name: "no pod that it selects is ready"
        for name, selector in chosen
        if selector and not any(selector.items() <= labels.items() for labels in ready)
    }


def workloads(objects: Mapping[Key, Object]) -> dict[str, Object]:
    """What asks for pods, by its name in words."""
    return {name_of(key): one for key, one in objects.items() if key[0] in WORKLOADS}


def asks_for_none(one: Object) -> bool:
    return "replicas" in (one.get("spec") or {}) and not replicas(one)


def sleeping(objects: Mapping[Key, Object]) -> list[str]:
    """Workloads of a backup that were asked for no pod and had none."""
    return [name for name, one in workloads(objects).items() if asks_for_none(one) and not status(one).get("replicas")]


def dormant(objects: Mapping[Key, Object]) -> list[str]:
    """Services of a backup that led to nobody there either, since whatever they select slept."""
    asleep, found = {*sleeping(objects)}, []
    for (resource, space, name), one in objects.items():
        selector = (one.get("spec") or {}).get("selector")
        if resource == "services" and selector:
            here = {key: other for key, other in objects.items() if key[1] == space}
            led = {of for of, other in workloads(here).items() if selector.items() <= _labels(other).items()}
            if led and led <= asleep:
                found.append(f"{space}/{name}")
    return found


def _labels(workload: Object) -> Mapping[str, str]:
    template = (workload.get("spec") or {}).get("template") or {}
    return (template.get("metadata") or {}).get("labels") or {}


def observed(
    standing: Standing, archive: Archive, backup: str, places: Mapping[str, str], lacking: Mapping[str, Any]
) -> dict[str, Any]:
    """The value of the observation ``objects``. ``places``: the namespaces of the backup, and where each came to, in
    whose names workloads and Services are told."""
    of = archive.of(places)
    held = {(resource, places[space], name): one for (resource, space, name), one in of.items()}
    return {
        **packed(standing),
        "backup": backup,
        "namespaces": [*places],
        "lacking": sorted({one for name in places for one in lacking.get(name, ())}),
        "workloads": sorted(workloads(held)),
        "asleep": sleeping(held),
        "dormant": dormant(held),
    }


def served(standing: Mapping[Key, Object], unserved: Mapping[str, str]) -> dict[str, Any]:
    """The value of the observation ``services``. ``standing``: the workloads that stand."""
    asleep = [name for name, one in workloads(standing).items() if asks_for_none(one)]
    return {"unserved": dict(unserved), "workloads": sorted(workloads(standing)), "asleep": asleep}
