"""Whether the copy holds what its source held, and is set up as it was: from observations alone, pure.

What was not observed, and what the baseline cannot prove, is inconclusive with its reason; a difference is missed,
whatever else is unknown beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dr.config.objective import About, Judge, Objective
from dr.domain.model import Baseline, Demand, Finding, Fingerprint, Status, TableSum
from dr.evidence.model import Evidence

FEW = 3
"""Offenders named in a sentence; the observation has them all."""
UNASKED = "nobody asked for it"
"""Of a setting that differs and should not, where no more is known."""
UNREADABLE = "unreadable: "


@dataclass(frozen=True, slots=True)
class _Answer:
    status: Status
    because: str
    measured: float | None = None
    unit: str = ""


def _unknown(because: str) -> _Answer:
    return _Answer(Status.INCONCLUSIVE, because)


def _some(names: Collection[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    shown = ", ".join(list(names)[:FEW])
    return f"{shown} and {len(names) - FEW} more" if len(names) > FEW else shown


def _count(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("x") else f"{noun}s"


def _judged(wrong: Mapping[str, str], unproven: Mapping[str, str], met: str, noun: str) -> _Answer:
    """Missed if anything is ``wrong``, inconclusive if anything is ``unproven``; both: name to what is the matter."""
    told = [f"{name}: {what}" for name, what in (wrong or unproven).items()]
    if wrong:
        beside = f"; {_count(len(unproven), noun)} could not be judged" if unproven else ""
        return _Answer(Status.MISSED, f"{_some(told)}{beside}.", float(len(wrong)), _plural(noun))
    if unproven:
        return _unknown(f"{_some(told)}.")
    return _Answer(Status.MET, met, 0.0, _plural(noun))


# -- what is compared with what


@dataclass(frozen=True, slots=True)
class _Pair:
    source: Fingerprint
    copy: Fingerprint
    changed: frozenset[str]
    """What the baseline's repeats found changed on the source: of these nothing is proven."""
    totals: Mapping[str, int]
    """How many rows each table of the source held at the last repeat, after the recovery point."""


def _pair(evidence: Evidence, path: str) -> _Pair | str:
    """Baseline and copy, or why there is nothing to compare."""
    recorded = _baseline(evidence)
    if isinstance(recorded, str):
        return recorded
    observed = evidence.observed("fingerprint", path)
    if observed is None:
        return "the copy's content was not read"
    try:
        baseline, copy = msgspec.convert(recorded, Baseline), msgspec.convert(observed, Fingerprint)
    except msgspec.ValidationError as error:
        return f"what was recorded of them cannot be read ({error})"
    if not baseline.repeats:
        return "the baseline was not repeated after the recovery point, so it proves nothing of it"
    if copy.snapshot != baseline.fingerprint.snapshot:
        return "the copy was read under another snapshot than the baseline's"
    changed = frozenset(name for repeat in baseline.repeats for name in repeat.changed)
    return _Pair(baseline.fingerprint, copy, changed, baseline.repeats[-1].totals)


def _baseline(evidence: Evidence) -> Mapping[str, Any] | str:
    """The baseline as observed, or why there is none; an observed null says that none covers the recovery point."""
    seen = [o.value for o in evidence.observations if (o.what, o.path) == ("baseline", "source")]
    if not seen:
        return "no baseline was looked for"
    if seen[-1] is None:
        return "no baseline covers the recovery point"
    return seen[-1] if isinstance(seen[-1], Mapping) else "what was recorded of the baseline cannot be read"


def _judge_schema(evidence: Evidence, path: str) -> _Answer:
    pair = _pair(evidence, path)
    if isinstance(pair, str):
        return _unknown(f"The schema cannot be compared: {pair}.")
    if pair.source.major != pair.copy.major:
        return _unknown(
            f"The copy runs version {pair.copy.major}, the source {pair.source.major}: definitions do not compare."
        )
    wrong, unproven = {}, {}
    for name in sorted({*pair.source.schema, *pair.copy.schema}):
        there, here = pair.source.schema.get(name), pair.copy.schema.get(name)
        if name in pair.changed:
            unproven[name] = "changed on the source after the baseline"
        elif there != here:
            wrong[name] = "missing" if here is None else "not in the source" if there is None else "defined differently"
    return _judged(wrong, unproven, f"All {len(pair.source.schema)} objects are defined as in the source.", "object")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of source and copy under the baseline's filter: rows there and here, None where there is no table.

    ``status``: met where the sums agree, missed where the copy's differ from the source's, inconclusive where they
    prove nothing. ``because``: what is the matter, as the end of a sentence; "" where they agree.
    """

    name: str
    there: int | None
    here: int | None
    later: int
    """Rows of the copy beyond the filter, which are only counted."""
    status: Status
    because: str


def tables(evidence: Evidence, path: str) -> tuple[Table, ...] | str:
    """Every table of source or copy compared, or why there is nothing to compare.

    It alone decides whether two sums agree: the finding ``data`` and every report rest on it.
    """
    pair = _pair(evidence, path)
    if isinstance(pair, str):
        return pair
    names = sorted({*pair.source.tables, *pair.copy.tables})
    return tuple(_table(name, pair) for name in names)


def _table(name: str, pair: _Pair) -> Table:
    there, here = pair.source.tables.get(name), pair.copy.tables.get(name)
    status, because = _compared(name, there, here, pair)
    later = here.total - here.rows if there and here else 0
    return Table(name, there.rows if there else None, here.rows if here else None, later, status, because)


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
    beyond = here.total - pair.totals.get(name, here.total)
    status, because = _sums(there, here)
    if status is not Status.MISSED and beyond > 0:  # rows beyond the filter are not beyond count
        return Status.MISSED, f"{_count(beyond, 'row')} more than the source held later"
    return status, because


def _sums(there: TableSum, here: TableSum) -> tuple[Status, str]:
    if there.method != here.method:
        return Status.INCONCLUSIVE, f"summed as {there.method} on the source and as {here.method} on the copy"
    if there.rows != here.rows:
        return Status.MISSED, f"{_count(here.rows, 'row')} instead of {there.rows}"
    if there.checksum != here.checksum:
        return Status.MISSED, f"altered among its {_count(there.rows, 'row')}"
    return Status.MET, ""


def _judge_data(evidence: Evidence, path: str) -> _Answer:
    compared = tables(evidence, path)
    if isinstance(compared, str):
        return _unknown(f"The data cannot be compared: {compared}.")
    sources = [table for table in compared if table.there is not None]
    if not sources:
        return _unknown("The source holds no table that could be compared.")
    wrong, unproven = (
        {table.name: table.because for table in compared if table.status is status}
        for status in (Status.MISSED, Status.INCONCLUSIVE)
    )
    rows, later = sum(table.there or 0 for table in sources), sum(table.later for table in sources)
    met = f"{_count(len(sources), 'table')} hold the source's {_count(rows, 'row')}"
    met += f"; {later} later {'one' if later == 1 else 'ones'} only counted." if later > 0 else "."
    return _judged(wrong, unproven, met, "table")


# -- what is asked of the copy alone


def _judge_foreign_keys(evidence: Evidence, path: str) -> _Answer:
    keys = evidence.observed("foreign-keys", path)
    if keys is None:
        return _unknown("The foreign keys were not examined.")
    wrong = {
        f"{key['table']} ({key['name']})": f"{_count(key['orphans'], 'row')} without the row referred to"
        for key in keys
        if key["orphans"]
    }
    unproven = {
        f"{key['table']} ({key['name']})": f"not examined, {key.get('because', 'without a reason')}"
        for key in keys
        if key["orphans"] is None
    }
    met = f"{_count(len(keys), 'foreign key')} hold." if keys else "The database has no foreign key."
    return _judged(wrong, unproven, met, "foreign key")


def _judge_indexes(evidence: Evidence, path: str) -> _Answer:
    seen = evidence.observed("indexes", path)
    if seen is None:
        return _unknown("The indexes were not examined.")
    if not seen["available"]:
        return _unknown(f"The indexes were not examined: {seen.get('because', 'amcheck is not available')}.")
    wrong = {failure["index"]: failure["error"] for failure in seen["failed"]}
    beside = _unchecked(seen)
    if not seen["checked"]:
        return _unknown(f"The database has no B-tree index that amcheck could check{beside}.")
    return _judged(wrong, {}, f"amcheck found {_count(seen['checked'], 'index')} whole{beside}.", "index")


def _unchecked(seen: Mapping[str, Any]) -> str:
    """The indexes that amcheck could not check, as the end of a sentence."""
    others, invalid = seen.get("others") or {}, seen.get("invalid") or ()
    told = [f"it cannot check {count} of kind {kind}" for kind, count in sorted(others.items())]
    if invalid:
        told.append(f"invalid, and so not checked: {_some(invalid)}")
    return "".join(f"; {what}" for what in told)


def _judge_model(evidence: Evidence, path: str) -> _Answer:
    seen = evidence.observed("model", path)
    if seen is None:
        return _unknown("The active model was not examined.")
    if seen["active"] is None:
        return _unknown(f"The active model is not known: {seen.get('because', 'it could not be read')}.")
    if seen["active"] != 1:
        return _Answer(Status.MISSED, f"{seen['active']} model versions are active instead of exactly one.")
    version = seen["version"]
    source = seen.get("source") or {}
    if source.get("active") == 1 and (source["version"], source["digest"]) != (version, seen["digest"]):
        return _Answer(Status.MISSED, f"Model version {version} is active, on the source it was {source['version']}.")
    if not seen["digest"]:
        return _unknown(f"Model version {version} names no digest of its artifact.")
    if seen["artifact_digest"] is None:
        return _unknown(f"The artifact of model version {version} was not digested: {seen.get('because', '')}.")
    if seen["artifact_digest"] != seen["digest"]:
        return _Answer(Status.MISSED, f"The artifact of model version {version} is not the one its row digests.")
    return _Answer(Status.MET, f"Exactly one model version is active, {version}, and its artifact is the one it names.")


def _judge_golden(evidence: Evidence, path: str) -> _Answer:
    answers = evidence.observed("golden", path)
    if answers is None:
        return _unknown("The golden predictions were not asked of the copy.")
    recorded = _baseline(evidence)
    if isinstance(recorded, str):
        return _unknown(f"The golden predictions cannot be compared: {recorded}.")
    expected = recorded.get("golden") or {}
    if not expected:
        return _unknown("The baseline holds no golden predictions of the source.")
    wrong = {
        name: "not answered" if name not in answers else "another prediction"
        for name in sorted(expected)
        if answers.get(name) != expected[name]
    }
    return _judged(wrong, {}, f"All {_count(len(expected), 'golden prediction')} are the source's.", "prediction")


def _judge_logins(evidence: Evidence, path: str) -> _Answer:
    roles = evidence.observed("logins", path)
    if roles is None:
        return _unknown("No application role was tried.")
    if not roles:
        return _unknown("The target names no application role to try.")
    wrong = {role["user"]: f"cannot log in ({role['because'].rstrip('.')})" for role in roles if not role["ok"]}
    met = f"{_count(len(roles), 'role')} logged in with the secret the service uses."
    return _judged(wrong, {}, met, "role")


def _judge_configuration(evidence: Evidence, path: str) -> _Answer:
    differences = evidence.observed("configuration", path)
    if differences is None:
        return _unknown("The copy's configuration was not compared with the source's.")
    if isinstance(differences, Mapping):
        return _unknown(f"The copy's configuration was not compared: {differences['because']}.")
    wrong = {d["name"]: _instead(d) for d in differences if not d["expected"]}
    expected = [d["name"] for d in differences if d["expected"]]
    met = f"It differs only as expected: {', '.join(expected)}." if expected else "It is the source's."
    return _judged(wrong, {}, met, "setting")


def _instead(difference: Mapping[str, Any]) -> str:
    """``because`` may tell what to do about it, and of most says only that nobody asked for it."""
    why = "" if difference["because"] in ("", UNASKED) else f", {difference['because']}"
    return f"{difference['restored']} instead of {difference['source']}{why}"


def _as_judge(answer: Callable[[Evidence, str], _Answer]) -> Judge:
    def judge(evidence: Evidence, demand: Demand) -> Finding:
        found = answer(evidence, demand.path)
        return Finding(
            demand.objective, demand.path, found.status, found.because, found.measured, found.unit, demand.limit
        )

    return judge


OBJECTIVES = (
    Objective("schema", About.CONTENT, _as_judge(_judge_schema), on_call="examine"),
    Objective("data", About.CONTENT, _as_judge(_judge_data), on_call="examine"),
    Objective("foreign-keys", About.CONTENT, _as_judge(_judge_foreign_keys), on_call="examine"),
    Objective("indexes", About.CONTENT, _as_judge(_judge_indexes), on_call="examine", needs="amcheck"),
    Objective("model", About.CONTENT, _as_judge(_judge_model), on_call="examine"),
    Objective("golden", About.CONTENT, _as_judge(_judge_golden), on_call="serve"),
    Objective("logins", About.SETUP, _as_judge(_judge_logins), on_call="examine"),
    Objective("configuration", About.SETUP, _as_judge(_judge_configuration), on_call="examine"),
)
