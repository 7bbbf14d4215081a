"""Whether the copy holds what its source held, and is set up as it was: from observations alone, pure.

What was not observed, and what the baseline cannot prove, is inconclusive with its reason; a difference is missed,
whatever else is unknown beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from dr.config.objective import About, Objective
from dr.domain.model import Baseline, Demand, Finding, Fingerprint, Status, TableSum
from dr.evidence.model import Evidence
from dr.judge.findings import UnknownError, finding

FEW = 3
"""Offenders named in a sentence; the observation has them all."""
UNASKED = "nobody asked for it"
"""Of a setting that differs and should not, where no more is known."""
UNREADABLE = "unreadable: "


def _some(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(list(names)[:FEW])
    return f"{shown} and {len(names) - FEW} more" if len(names) > FEW else shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("x") else f"{noun}s"


def _observed(evidence: Evidence, demand: Demand, what: str) -> Any:
    """Raises UnknownError with ``what`` was not done."""
    seen = evidence.observed(demand.objective, demand.path)
    if seen is None:
        raise UnknownError(f"{what}.")
    return seen


def _judged(demand: Demand, wrong: Mapping[str, str], unproven: Mapping[str, str], met: str, noun: str) -> Finding:
    """Missed if anything is ``wrong``, inconclusive if anything is ``unproven``; both: name to what is the matter."""
    told = _some([f"{name}: {what}" for name, what in (wrong or unproven).items()])
    if unproven and not wrong:
        raise UnknownError(f"{told}.")
    beside = f"; {_count(len(unproven), noun)} could not be judged" if unproven else ""
    status, because = (Status.MISSED, f"{told}{beside}.") if wrong else (Status.MET, met)
    return replace(finding(demand, status, because, float(len(wrong))), unit=_plural(noun))


# -- what is compared with what


class _Pair(NamedTuple):
    """``changed``: what the baseline's repeats found changed on the source, of which nothing is proven. ``totals``: how
    many rows each table of the source held at the last repeat, after the recovery point."""

    source: Fingerprint
    copy: Fingerprint
    changed: frozenset[str]
    totals: Mapping[str, int]


def _pair(evidence: Evidence, path: str, what: str) -> _Pair:
    """Baseline and copy. Raises UnknownError where ``what`` cannot be compared."""
    recorded, observed, why = _baseline(evidence, what), evidence.observed("fingerprint", path), ""
    if observed is None:
        raise UnknownError(f"{what} cannot be compared: the copy's content was not read.")
    try:
        baseline, copy = msgspec.convert(recorded, Baseline), msgspec.convert(observed, Fingerprint)
    except msgspec.ValidationError as error:
        raise UnknownError(f"{what} cannot be compared: what was recorded of them cannot be read ({error}).") from None
    if not baseline.repeats:
        why = "the baseline was not repeated after the recovery point, so it proves nothing of it"
    elif copy.snapshot != baseline.fingerprint.snapshot:
        why = "the copy was read under another snapshot than the baseline's"
    if why:
        raise UnknownError(f"{what} cannot be compared: {why}.")
    changed = frozenset(name for repeat in baseline.repeats for name in repeat.changed)
    return _Pair(baseline.fingerprint, copy, changed, baseline.repeats[-1].totals)


def _baseline(evidence: Evidence, what: str) -> Mapping[str, Any]:
    """As observed, where a null says that none covers the recovery point. Raises as ``_pair``."""
    seen = [o.value for o in evidence.observations if (o.what, o.path) == ("baseline", "source")]
    if seen and isinstance(seen[-1], Mapping):
        return seen[-1]
    why = "no baseline covers the recovery point" if seen else "no baseline was looked for"
    if seen and seen[-1] is not None:
        why = "what was recorded of the baseline cannot be read"
    raise UnknownError(f"{what} cannot be compared: {why}.")


def _judge_schema(evidence: Evidence, demand: Demand) -> Finding:
    pair = _pair(evidence, demand.path, "The schema")
    there, here = pair.source, pair.copy
    if there.major != here.major:
        raise UnknownError(f"The copy runs version {here.major}, the source {there.major}: definitions do not compare.")
    differing = sorted(n for n in {*there.schema, *here.schema} if there.schema.get(n) != here.schema.get(n))
    changed = dict.fromkeys(
        sorted(pair.changed & {*there.schema, *here.schema}), "changed on the source after the baseline"
    )
    wrong = {
        name: "missing"
        if name not in here.schema
        else "defined differently"
        if name in there.schema
        else "not in the source"
        for name in differing
        if name not in changed
    }
    return _judged(demand, wrong, changed, f"All {len(there.schema)} objects are defined as in the source.", "object")


class Table(NamedTuple):
    """One table of source and copy under the baseline's filter: rows there and here, None where there is no table.

    ``later``: rows of the copy beyond the filter, which are only counted. ``status``: met where the sums agree, missed
    where the copy's differ from the source's, inconclusive where they prove nothing. ``because``: what is the matter,
    as the end of a sentence; "" where they agree.
    """

    name: str
    there: int | None
    here: int | None
    later: int
    status: Status
    because: str


def tables(evidence: Evidence, path: str) -> tuple[Table, ...]:
    """Every table of source or copy compared. Raises UnknownError where there is nothing to compare.

    It alone decides whether two sums agree: the finding ``data`` and every report rest on it.
    """
    pair, compared = _pair(evidence, path, "The data"), []
    for name in sorted({*pair.source.tables, *pair.copy.tables}):
        there, here = pair.source.tables.get(name), pair.copy.tables.get(name)
        later = here.total - here.rows if there and here else 0
        rows = (there.rows if there else None, here.rows if here else None)
        compared.append(Table(name, *rows, later, *_compared(name, there, here, pair)))
    return tuple(compared)


def _compared(name: str, there: TableSum | None, here: TableSum | None, pair: _Pair) -> tuple[Status, str]:
    unread = [
        f"{table.method} on the {where}"
        for table, where in ((there, "source"), (here, "copy"))
        if table is not None and table.method.startswith(UNREADABLE)
    ]
    if name in pair.changed:
        return Status.INCONCLUSIVE, "its rows changed on the source after the baseline"
    if here is None:
        return Status.MISSED, f"missing, with {_count(there.rows if there else 0, 'row')}"
    if unread:
        return Status.INCONCLUSIVE, unread[0]
    if there is None:
        # Every row of a table made after the baseline is beyond its filter; one with rows under it is not the source's.
        return (Status.MISSED, "not in the source") if here.rows else (Status.MET, "")
    if there.method == here.method and there.rows != here.rows:
        return Status.MISSED, f"{_count(here.rows, 'row')} instead of {there.rows}"
    if there.method == here.method and there.checksum != here.checksum:
        return Status.MISSED, f"altered among its {_count(there.rows, 'row')}"
    beyond = here.total - pair.totals.get(name, here.total)
    if beyond > 0:  # rows beyond the filter are not beyond count
        return Status.MISSED, f"{_count(beyond, 'row')} more than the source held later"
    if there.method != here.method:
        return Status.INCONCLUSIVE, f"summed as {there.method} on the source and as {here.method} on the copy"
    return Status.MET, ""


def _judge_data(evidence: Evidence, demand: Demand) -> Finding:
    compared = tables(evidence, demand.path)
    sources = [table for table in compared if table.there is not None]
    if not sources:
        raise UnknownError("The source holds no table that could be compared.")
    wrong, unproven = (
        {table.name: table.because for table in compared if table.status is status}
        for status in (Status.MISSED, Status.INCONCLUSIVE)
    )
    rows, later = sum(table.there or 0 for table in sources), sum(table.later for table in sources)
    met = f"{_count(len(sources), 'table')} hold the source's {_count(rows, 'row')}"
    met += f"; {later} later {'one' if later == 1 else 'ones'} only counted." if later > 0 else "."
    return _judged(demand, wrong, unproven, met, "table")


# -- what is asked of the copy alone


def _judge_foreign_keys(evidence: Evidence, demand: Demand) -> Finding:
    keys = _observed(evidence, demand, "The foreign keys were not examined")
    named = [(f"{key['table']} ({key['name']})", key["orphans"], key) for key in keys]
    wrong = {name: f"{_count(orphans, 'row')} without the row referred to" for name, orphans, _ in named if orphans}
    unproven = {
        name: f"not examined, {key.get('because', 'without a reason')}"
        for name, orphans, key in named
        if orphans is None
    }
    met = f"{_count(len(keys), 'foreign key')} hold." if keys else "The database has no foreign key."
    return _judged(demand, wrong, unproven, met, "foreign key")


def _judge_indexes(evidence: Evidence, demand: Demand) -> Finding:
    seen = _observed(evidence, demand, "The indexes were not examined")
    if not seen["available"]:
        raise UnknownError(f"The indexes were not examined: {seen.get('because', 'amcheck is not available')}.")
    unchecked = [
        f"it cannot check {count} of kind {kind}" for kind, count in sorted((seen.get("others") or {}).items())
    ]
    if seen.get("invalid"):
        unchecked.append(f"invalid, and so not checked: {_some(seen['invalid'])}")
    beside = "".join(f"; {what}" for what in unchecked)
    if not seen["checked"]:
        raise UnknownError(f"The database has no B-tree index that amcheck could check{beside}.")
    wrong = {failure["index"]: failure["error"] for failure in seen["failed"]}
    return _judged(demand, wrong, {}, f"amcheck found {_count(seen['checked'], 'index')} whole{beside}.", "index")


def _judge_model(evidence: Evidence, demand: Demand) -> Finding:
    seen = _observed(evidence, demand, "The active model was not examined")
    if seen["active"] is None:
        raise UnknownError(f"The active model is not known: {seen.get('because', 'it could not be read')}.")
    if seen["active"] != 1:
        because = f"{seen['active']} model versions are active instead of exactly one."
        return finding(demand, Status.MISSED, because)
    version, source = seen["version"], seen.get("source") or {}
    if source.get("active") == 1 and (source["version"], source["digest"]) != (version, seen["digest"]):
        because = f"Model version {version} is active, on the source it was {source['version']}."
        return finding(demand, Status.MISSED, because)
    if not seen["digest"]:
        raise UnknownError(f"Model version {version} names no digest of its artifact.")
    if seen["artifact_digest"] is None:
        raise UnknownError(f"The artifact of model version {version} was not digested: {seen.get('because', '')}.")
    if seen["artifact_digest"] != seen["digest"]:
        because = f"The artifact of model version {version} is not the one its row digests."
        return finding(demand, Status.MISSED, because)
    because = f"Exactly one model version is active, {version}, and its artifact is the one it names."
    return finding(demand, Status.MET, because)


def _judge_golden(evidence: Evidence, demand: Demand) -> Finding:
    answers = _observed(evidence, demand, "The golden predictions were not asked of the copy")
    expected = _baseline(evidence, "The golden predictions").get("golden") or {}
    if not expected:
        raise UnknownError("The baseline holds no golden predictions of the source.")
    wrong = {
        name: "another prediction" if name in answers else "not answered"
        for name in sorted(expected)
        if answers.get(name) != expected[name]
    }
    met = f"All {_count(len(expected), 'golden prediction')} are the source's."
    return _judged(demand, wrong, {}, met, "prediction")


def _judge_logins(evidence: Evidence, demand: Demand) -> Finding:
    roles = _observed(evidence, demand, "No application role was tried")
    if not roles:
        raise UnknownError("The target names no application role to try.")
    wrong = {role["user"]: f"cannot log in ({role['because'].rstrip('.')})" for role in roles if not role["ok"]}
    met = f"{_count(len(roles), 'role')} logged in with the secret the service uses."
    return _judged(demand, wrong, {}, met, "role")


def _judge_configuration(evidence: Evidence, demand: Demand) -> Finding:
    differences = _observed(evidence, demand, "The copy's configuration was not compared with the source's")
    if isinstance(differences, Mapping):
        raise UnknownError(f"The copy's configuration was not compared: {differences['because']}.")
    # ``because`` may tell what to do about it, and of most says only that nobody asked for it
    wrong = {
        d["name"]: f"{d['restored']} instead of {d['source']}"
        + (f", {d['because']}" if d["because"] not in ("", UNASKED) else "")
        for d in differences
        if not d["expected"]
    }
    expected = [d["name"] for d in differences if d["expected"]]
    met = f"It differs only as expected: {', '.join(expected)}." if expected else "It is the source's."
    return _judged(demand, wrong, {}, met, "setting")


OBJECTIVES = (
    Objective("schema", About.CONTENT, _judge_schema, on_call="examine"),
    Objective("data", About.CONTENT, _judge_data, on_call="examine"),
    Objective("foreign-keys", About.CONTENT, _judge_foreign_keys, on_call="examine"),
    Objective("indexes", About.CONTENT, _judge_indexes, on_call="examine", needs="amcheck"),
    Objective("model", About.CONTENT, _judge_model, on_call="examine"),
    Objective("golden", About.CONTENT, _judge_golden, on_call="serve"),
    Objective("logins", About.SETUP, _judge_logins, on_call="examine"),
    Objective("configuration", About.SETUP, _judge_configuration, on_call="examine"),
)
