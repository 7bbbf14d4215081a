"""Whether a copy's indexes find its rows, and whether it is set up as its source: by what its provider shows of both,
and by its settings as they act. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.objective import About, Objective
from dr.config.plugins import plugins
from dr.domain.looks import DAMAGED
from dr.domain.model import Demand, Finding
from dr.drivers.postgres import settings
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, by_name, counted, some
from dr.judge.objectives.equality import observed
from dr.judge.objectives.state import sides

UNASKED = "nobody asked for it"
"""Of a setting that differs and should not, where no more is known."""


def judge_indexes(evidence: Evidence, demand: Demand) -> Finding:
    seen = observed(evidence, demand, "The indexes were not examined")
    if "probed" in seen:
        return _judge_probed(seen, evidence.observed(demand.objective, "source") or {}, demand)
    if not seen["available"]:
        raise UnknownError(f"The indexes were not examined: {seen.get('because', 'amcheck is not available')}.")
    unchecked = [
        f"it cannot check {count} of kind {kind}" for kind, count in sorted((seen.get("others") or {}).items())
    ]
    if seen.get("invalid"):
        unchecked.append(f"invalid, and so not checked: {some(seen['invalid'])}")
    beside = "".join(f"; {what}" for what in unchecked)
    if not seen["checked"]:
        raise UnknownError(f"The database has no B-tree index that amcheck could check{beside}.")
    wrong = {failure["index"]: failure["error"] for failure in seen["failed"]}
    return by_name(demand, wrong, {}, f"amcheck found {counted(seen['checked'], 'index')} whole{beside}.", "index")


def _judge_probed(seen: Mapping[str, Any], source: Mapping[str, Any], demand: Demand) -> Finding:
    """``source``: what of it that is wrong here was found to be there, too."""
    there = _broken(source) | _outdated(source)
    both = _broken(seen) | _outdated(seen)
    theirs = [f"{name}: {what}" for name, what in both.items() if name in there]
    wrong, unproven = (
        {name: what for name, what in found.items() if name not in there} for found in (_broken(seen), _outdated(seen))
    )
    told = [f"rows that were drawn at random were found through {counted(seen['probed'], 'index')} alone"]
    if seen["available"]:
        told.insert(0, f"amcheck found {counted(seen['checked'] - len(seen['failed']), 'B-tree')} whole")
    else:
        unproven["B-trees"] = f"not checked, {seen.get('because', 'amcheck is not available')}"
    unproven |= {name: f"not checked, {why}" for name, why in seen.get("unchecked", {}).items()}
    torn = {name: why for name, why in seen["unprobed"].items() if why.startswith(DAMAGED)}
    unproven |= {name: f"not gone through, {why}" for name, why in torn.items()}
    left = [f"{name} ({why})" for name, why in sorted(seen["unprobed"].items()) if name not in torn]
    told += [f"not gone through: {some(left)}"] if left else []
    told += [f"invalid, and so not checked: {some(seen['invalid'])}"] if seen["invalid"] else []
    told += [f"as on the source, {some(theirs)}"] if theirs else []
    met = "; ".join(told)
    return by_name(demand, wrong, unproven, f"{met}.", "index")


def _broken(seen: Mapping[str, Any]) -> dict[str, str]:
    """Name to what is the matter."""
    lost = {lost["index"]: f"finds {lost['found']} of {lost['rows']} rows" for lost in seen.get("lost", ())}
    return lost | {failure["index"]: failure["error"] for failure in seen.get("failed", ())}


def _outdated(seen: Mapping[str, Any]) -> dict[str, str]:
    """Collations of another version than indexes were built with: these may be in another order than is looked for."""
    return {
        f"collation {name}": f"indexes were built with version {recorded}, and this server has {actual}: REINDEX them"
        for name, recorded, actual in seen.get("collations", ())
    }


def judge_configuration(evidence: Evidence, demand: Demand) -> Finding:
    differences = observed(evidence, demand, "The copy's configuration was not compared with the source's")
    unproven = {}
    if isinstance(differences, Mapping):
        if evidence.observed("look", demand.path) is None:
            raise UnknownError(f"The copy's configuration was not compared: {differences['because']}.")
        unproven, differences = {"what the provider shows": f"not compared, {differences['because']}"}, []
    sizes = {one.sized_by for one in plugins().values()}
    one_size = not unproven and sizes.isdisjoint(d["name"] for d in differences)
    # ``because`` may tell what to do about it, and of most says only that nobody asked for it
    wrong = {
        d["name"]: f"{d['restored']} instead of {d['source']}"
        + (f", {d['because']}" if d["because"] not in ("", UNASKED) else "")
        for d in differences
        if not d["expected"]
    }
    expected, beside = [d["name"] for d in differences if d["expected"]], ""
    if evidence.observed("look", demand.path) is not None:  # a former run looked at no setting
        try:
            of = sides(evidence, demand.path, "The settings")
        except UnknownError as error:
            unproven["settings"] = str(error).rstrip(".")
        else:
            acting = settings.compared(of.copy.settings, *(state.settings for state in of.source), one_size=one_size)
            wrong |= acting.wrong
            unproven |= acting.unknown
            expected += acting.sized
            alike = counted(acting.same, "setting")
            beside = f" {alike} act as on the source; those of its place and way there were left out."
    met = f"It differs only as expected: {', '.join(expected)}." if expected else "It is the source's."
    return by_name(demand, wrong, unproven, f"{met}{beside}", "setting")


OBJECTIVES = (
    Objective("indexes", About.CONTENT, judge_indexes, on_call="examine", role="database", needs="amcheck"),
    Objective("configuration", About.SETUP, judge_configuration, on_call="examine", role="database"),
)
