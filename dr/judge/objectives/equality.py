"""Whether the copy holds what its source held, and is set up as it was: from observations alone, pure.

What was not observed, and what the baseline cannot prove, is inconclusive with its reason; a difference is missed,
whatever else is unknown beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr.config.objective import About, Objective
from dr.domain import comparing
from dr.domain.comparing import Compared
from dr.domain.databases import parsed
from dr.domain.model import Demand, Finding, Status
from dr.domain.state import Version
from dr.evidence.answers import answered, same
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, baseline_of, by_name, counted, finding, some
from dr.judge.objectives.content import looked, tables
from dr.judge.objectives.service import stopped_while_asked

UNSEEN = Compared(unknown=1)
"""Of a table of a former run, whose rows are proven or not as a whole."""


def observed(evidence: Evidence, demand: Demand, what: str) -> Any:
    """What was observed of the demand's own. Raises UnknownError with ``what`` was not done."""
    seen = evidence.observed(demand.objective, demand.path)
    if seen is None:
        raise UnknownError(f"{what}.")
    return seen


# -- what is asked of the copy alone


def _judge_foreign_keys(evidence: Evidence, demand: Demand) -> Finding:
    keys, wrong, unproven, theirs = observed(evidence, demand, "The foreign keys were not examined"), {}, {}, []
    there = {(k["table"], k["name"]): k["orphans"] for k in evidence.observed(demand.objective, "source") or ()}
    for key in keys:
        name, orphans = f"{key['table']} ({key['name']})" if key["name"] else key["table"], key["orphans"]
        source = there.get((key["table"], key["name"]))
        told = f"{counted(orphans, 'row')} without the row referred to"
        if orphans is None:
            unproven[name] = f"not examined, {key.get('because', 'without a reason')}"
        elif not orphans:
            continue
        elif source is None:
            unproven[name] = f"{told}, and the source could not be asked whether it had them"
        elif orphans <= source or _every_row_agrees(evidence, demand.path, key["table"], proven=True):
            theirs.append(f"{name}: {told}" + (", mended there since" if orphans > source else ""))
        elif source or _every_row_agrees(evidence, demand.path, key["table"]):
            unproven[name] = f"{told}, and {source} on the source by now: how many there were is not known"
        else:
            wrong[name] = told
    met = f"{counted(len(keys), 'foreign key')} hold." if keys else "The database has no foreign key."
    met = (
        f"{counted(len(keys) - len(theirs), 'foreign key')} hold. As on the source, {some(theirs)}." if theirs else met
    )
    return by_name(demand, wrong, unproven, met, "foreign key")


def _every_row_agrees(evidence: Evidence, path: str, name: str, *, proven: bool = False) -> bool:
    """Whether nothing is the matter with any table of the database of ``name``, so that orphans there may have been the
    source's; ``proven``: they were, since there is no row that nobody can know."""
    database, _ = parsed(name)
    try:
        found = {one.name: one for one in tables(evidence, path)}
    except UnknownError:
        return False
    closed = {one for one in found if one.startswith("database ")}  # and none of the tables of the main one
    theirs = {one for one in {*found} - closed if parsed(one)[0] == database} | closed & {f"database {database}"}
    known = not proven or not any(getattr(found[one], "found", UNSEEN).unknown for one in theirs)
    return known and all(found[one].status is Status.MET for one in theirs)


def _judge_model(evidence: Evidence, demand: Demand) -> Finding:
    seen = observed(evidence, demand, "The active model was not examined")
    if seen["active"] is None:
        raise UnknownError(f"The active model is not known: {seen.get('because', 'it could not be read')}.")
    if seen["active"] != 1:
        because = f"{seen['active']} model versions are active instead of exactly one."
        return finding(demand, Status.MISSED, because)
    version = seen["version"]
    if other := _other_model(evidence, demand, seen):
        return finding(demand, Status.MISSED, f"Model version {version} is active, {other}.")
    if not seen["digest"]:
        raise UnknownError(f"Model version {version} names no digest of its artifact.")
    if seen["artifact_digest"] is None:
        raise UnknownError(f"The artifact of model version {version} was not digested: {seen['because']}.")
    if seen["artifact_digest"] != seen["digest"]:
        because = f"The artifact of model version {version} is not the one its row digests."
        return finding(demand, Status.MISSED, because)
    because = f"Exactly one model version is active, {version}, and its artifact is the one it names."
    return finding(demand, Status.MET, because)


def _other_model(evidence: Evidence, demand: Demand, seen: Mapping[str, Any]) -> str:
    """What was active on the source instead; "" where it was the copy's. Raises UnknownError where nobody can know."""
    if "after" not in seen:  # a former run looked at the source once
        other = _model_of_the_look(seen)
        return f"on the source it was {other}" if other else ""
    before, after = seen.get("source") or {}, seen["after"] or {}
    if before.get("active") != 1 and after.get("active") != 1:
        return ""
    looks = looked(evidence, demand.path, "The active model")
    versions = tuple(
        Version(f"{one['version']} {one['digest']}", int(one.get("xid") or 0)) if one.get("active") == 1 else None
        for one in (before, seen, after)
    )
    found = comparing.definition((versions[0], versions[1], versions[2]), looks.cuts)
    said = [
        f"{one['version']} {when}"
        for one, when in ((before, "before"), (after, "afterwards"))
        if one.get("active") == 1
    ]
    if found.unknown:
        told = f"the source's was {' and '.join(said)}, so that nobody can know which it was at the recovery point"
        raise UnknownError(f"Model version {seen['version']} is active; {told}.")
    if any("copy itself" in what for what in found.wrong):
        return "made so on the copy itself, after its recovery"
    return f"on the source it was {' and '.join(said)}" if found.wrong else ""


def _judge_golden(evidence: Evidence, demand: Demand) -> Finding:
    answers = observed(evidence, demand, "The golden predictions were not asked of the copy")
    expected = baseline_of(evidence, "The golden predictions").get("golden") or {}
    if not expected:
        raise UnknownError("The baseline holds no golden predictions of the source.")
    told = {name: answer for name, answer in sorted(answers.items()) if name in expected and answered(answer)}
    silent = dict.fromkeys(sorted({*expected} - {*told}), "not answered")
    held = {name: same(expected[name], answer) for name, answer in told.items()}
    others = {name: "another prediction" for name, agrees in held.items() if agrees is False}
    unproven = {name: "asked with another tolerance" for name, agrees in held.items() if agrees is None}
    asked = _model_of_the_look(evidence.observed("model", demand.path) or {})
    why = f"and the look at the source asked model version {asked}" if asked else ""
    if changed := baseline_of(evidence, "The golden predictions").get("outdated"):
        why = f"and the source has changed since it was asked: {some(changed)}"
    if why:
        unproven |= {name: f"{what}, {why}" for name, what in others.items()}
        others = {}
    if stopped := stopped_while_asked(evidence, demand.path):
        unproven |= {**silent, "service": stopped[0].lower() + stopped[1:]}
        silent = {}
    met = f"All {counted(len(expected), 'golden prediction')} are the source's."
    return by_name(demand, silent | others, unproven, met, "prediction")


def _model_of_the_look(seen: Mapping[str, Any]) -> str:
    """The version of the model that was active at the look before, where another is active on the copy; else "".

    Whether the copy's is the right one is the objective ``model``'s to say.
    """
    before = seen.get("source") or {}
    if seen.get("active") != 1 or before.get("active") != 1:
        return ""
    other = (before["version"], before["digest"]) != (seen["version"], seen["digest"])
    return str(before["version"]) if other else ""


def _judge_logins(evidence: Evidence, demand: Demand) -> Finding:
    roles = observed(evidence, demand, "No application role was tried")
    if not roles:
        raise UnknownError("The target names no application role to try.")
    told = {role["user"]: (role["ok"], role["because"].rstrip(".")) for role in roles}
    wrong = {user: f"cannot log in ({why})" for user, (ok, why) in told.items() if ok is False}
    unproven = {user: f"was not answered ({why})" for user, (ok, why) in told.items() if ok is None}
    met = f"{counted(len(roles), 'role')} logged in with the secret the service uses."
    return by_name(demand, wrong, unproven, met, "role")


OBJECTIVES = (
    Objective("foreign-keys", About.CONTENT, _judge_foreign_keys, on_call="examine", role="database"),
    Objective("model", About.CONTENT, _judge_model, on_call="examine", role="database"),
    Objective("golden", About.CONTENT, _judge_golden, on_call="serve"),
    Objective("logins", About.SETUP, _judge_logins, on_call="examine", role="database"),
)
