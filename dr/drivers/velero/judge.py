"""Whether what a backup holds stands, works, and came in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.objective import Limit
from dr.domain.model import Demand, Finding, Status
from dr.drivers.velero.manifests import stands
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, by_name, counted, finding, named, some

LIMIT = Limit("time-to-namespace", 3600.0)
"""Seconds; the platform names none: an hour, as for its database."""


def _seen(evidence: Evidence, what: str, path: str) -> Mapping[str, Any]:
    found = evidence.observed(what, path)
    if not isinstance(found, Mapping):
        raise UnknownError("What was restored was not compared with the backup.")
    return found


def objects(evidence: Evidence, demand: Demand) -> Finding:
    """Each object of the backup by the rule of two looks: at the backup, and before the loss where anybody looked."""
    seen = _seen(evidence, "objects", demand.path)
    before = _before(evidence, seen)
    if seen["objects"] <= seen["bare"]:
        return finding(demand, Status.MISSED, "The backup holds no object of these namespaces that says anything.")
    wrong = dict.fromkeys(_missed(seen, before), "was there when the backup began, and is not in it")
    unproven = dict.fromkeys(seen["torn"], "is in Velero's list of the backup, and not in its archive")
    either = 0
    for name, one in seen["others"].items():
        compared = stands("", one["version"], _lost(name, before))
        if compared.wrong and one["doubtful"]:
            unproven[name] = f"{_what(one)}, which a controller may have written"
        elif compared.wrong:
            wrong[name] = _what(one)
        elif one["untold"]:
            unproven[name] = f"could not be compared: {one['untold'].rstrip('.')}"
        elif compared.unknown:
            unproven[name] = f"{_what(one)}, and is neither the backup's nor what was there before the loss"
        else:
            either += 1
    if wrong or unproven:
        status = Status.MISSED if wrong else Status.INCONCLUSIVE
        more = f"; {counted(len(unproven), 'object')} could not be judged" if wrong and unproven else ""
        return finding(demand, status, f"{named(wrong or unproven)}{more}.{_beside(seen, before)}", float(len(wrong)))
    stand = f"All {seen['objects']} objects stand as the backup has them"
    as_before = f", {either} of them as they were before the loss" if either else ""
    return finding(demand, Status.MET, f"{stand}{as_before}.{_beside(seen, before)}", 0.0)


def _before(evidence: Evidence, seen: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What stood before the loss, where anybody looked at it against the same backup."""
    before = evidence.observed("objects", "source")
    return before if isinstance(before, Mapping) and before["backup"] == seen["backup"] else None


def _missed(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """What the backup was to hold and does not, unless it stands again by itself."""
    return [name for name in before["missed"] if name not in seen["beyond"]] if before is not None else []


def _lost(name: str, before: Mapping[str, Any] | None) -> str | None:
    """The version before the loss; that of the backup where nobody looked: nothing is known to have changed."""
    if before is None or name not in before["others"]:
        return ""
    version: str | None = before["others"][name]["version"]
    return version


def _what(one: Mapping[str, Any]) -> str:
    return "is missing" if one["version"] is None else f"differs in {some(one['differs'])}"


def _beside(seen: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What is to be known beside: what is owned by others, and what the backup did not hold."""
    told = ""
    if seen["derived"]:
        told += f" {counted(seen['derived'], 'object')} of controllers were not compared."
    if seen["owned"]:
        told += f" {counted(seen['owned'], 'field')} are the server's or a controller's own."
    if left_out := seen.get("left_out"):
        told += f" Left out: {', '.join(f'{number} {kind}' for kind, number in left_out.items())}."
    if seen["finished"]:
        told += f" {seen['finished']} finished Jobs and Pods are not restored."
    if before is None:
        told += " Nobody looked before the loss. What the backup lacks is "
        told += "known by Velero's own list alone." if not seen["unlisted"] else f"not known: {seen['unlisted']}"
        return told
    if others := [name for name in before["beyond"] if name not in _missed(seen, before)]:
        told += f" Not in the backup: {some(others)}."
    return told


def volumes(evidence: Evidence, demand: Demand) -> Finding:
    """Each claim is bound, and holds what it held before the loss. Whatever uses one may write to it at once."""
    seen, before = evidence.observed("volumes", demand.path), evidence.observed("volumes", "source") or {}
    if not isinstance(seen, Mapping):
        raise UnknownError("Nobody looked at the volumes.")
    wrong: dict[str, str] = {}
    unproven: dict[str, str] = {}
    for name, claim in seen["claims"].items():
        held = before.get("claims", {}).get(name) or {}
        if claim["phase"] != "Bound":
            wrong[name] = f"is {claim['phase']}"
        elif claim["digest"] is None:
            unproven[name] = f"what lies on it was not read ({claim['because']})"
        elif held.get("digest") is None:
            unproven[name] = f"what lay on it before is not known ({held.get('because') or 'nobody looked'})"
        elif claim["digest"] != held["digest"] and claim["used"]:
            unproven[name] = "holds something else than before, which what uses it may have written since"
        elif claim["digest"] != held["digest"]:
            wrong[name] = "holds something else than before"
    there = counted(len(seen["claims"]), "claim")
    met = f"Bound, with what was there before the loss: {there}." if seen["claims"] else "There is no claim."
    return by_name(demand, wrong, unproven, met, "claim")


def restore_phase(evidence: Evidence, demand: Demand) -> Finding:
    """Velero's own word, which is no proof that anything came back, and may prove that something did not."""
    seen = _seen(evidence, "restore-results", demand.path)
    if seen["phase"] != "Completed" or seen["errors"]:
        errors = f": {some(seen['errors'])}" if seen["errors"] else ""
        return finding(demand, Status.MISSED, f"Velero's restore is {seen['phase']}{errors}.")
    if seen["warnings"]:
        return finding(demand, Status.MISSED, f"Velero warned of what it did not restore: {some(seen['warnings'])}.")
    return finding(demand, Status.MET, "Velero's restore is Completed, without a warning that is no routine.")


def workloads(evidence: Evidence, demand: Demand) -> Finding:
    """That what was restored runs: every workload was awaited, every Service has a pod, nothing sleeps."""
    seen, services = _seen(evidence, "objects", demand.path), _seen(evidence, "services", demand.path)
    if seen["lacking"]:
        return finding(demand, Status.MISSED, f"The backup lacks what its workloads need: {some(seen['lacking'])}.")
    if absent := [name for name in seen["workloads"] if name not in services["workloads"]]:
        return finding(demand, Status.MISSED, f"{named(dict.fromkeys(absent, 'is not there'))}.")
    unserved = {name: why for name, why in services["unserved"].items() if name not in seen["dormant"]}
    if unserved:
        told = named({f"service {name}": why for name, why in unserved.items()})
        return finding(demand, Status.MISSED, f"{told}.")
    if evidence.milestone("available", "namespace") is None:
        raise UnknownError("Nobody waited for the workloads.")
    if slept := [name for name in services["asleep"] if name not in seen["asleep"]]:
        raise UnknownError(
            f"{some(slept)} had pods when it was backed up, and is asked for none: nothing shows it works."
        )
    asleep = f" Asleep in the backup, too: {some(seen['asleep'])}." if seen["asleep"] else ""
    return finding(demand, Status.MET, f"All workloads are available, and every Service has a pod.{asleep}")
