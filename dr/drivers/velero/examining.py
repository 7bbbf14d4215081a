"""The verbs ``compare`` and ``look_before``: what stands of a backup's objects, after a restore and before the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dr.domain.model import Call, Effect, Facts, Verb
from dr.drivers.kubernetes import standing
from dr.drivers.kubernetes.workloads import condition
from dr.drivers.velero.archive import Archive
from dr.drivers.velero.comparing import Standing, packed
from dr.drivers.velero.look import LATEST, chosen
from dr.drivers.velero.manifests import Object
from dr.drivers.velero.naming import DRIVER
from dr.drivers.velero.restoring import LEFT_OUT

COMPARE, SERVED, LOOK_BEFORE = "compare", "look-at-services", "look-before"
COMPARE_SECONDS = 600.0
OBJECTS, RESULTS, SERVICES, MARKERS, VOLUMES = "objects", "restore-results", "services", "markers", "volumes"
"""Observations."""
ROUTINE = ("kube-root-ca.crt",)
"""What a namespace gets from the cluster itself: Velero finds it there, and its warning is no news (velero#4799)."""


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
    return any(one in text for one in ROUTINE)


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


def sleeping(objects: Mapping[Any, Object]) -> list[str]:
    """Workloads of a backup that had no pod there either."""
    return [
        f"{str(one['kind']).lower()} {space}/{name}"
        for (_, space, name), one in objects.items()
        if one.get("kind") in ("Deployment", "StatefulSet") and (one.get("spec") or {}).get("replicas") == 0
    ]


def observed(standing: Standing, archive: Archive, namespaces: list[str], lacking: Mapping[str, Any]) -> dict[str, Any]:
    """The value of the observation ``objects``."""
    return {
        **packed(standing),
        "namespaces": namespaces,
        "lacking": sorted({one for name in namespaces for one in lacking.get(name, ())}),
        "asleep": sleeping(archive.of(namespaces)),
    }
