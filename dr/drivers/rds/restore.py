"""What the verb ``restore`` comes down to on RDS: which calls, with which settings, under which name and tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Purpose, RecoveryPoint, Resource, RunIdentity, Verb
from dr.domain.tags import VALUE, of_run, spread
from dr.drivers.rds import settings
from dr.drivers.rds.fit import Fitted, fit_storage, fit_tags
from dr.drivers.rds.naming import instance, listens, same
from dr.drivers.rds.points import Choice, choose, iso
from dr.drivers.sections import Sections

DRIVER = "rds"
AWAIT = "DescribeDBInstances"
FROM_SNAPSHOT = "RestoreDBInstanceFromDBSnapshot"
TO_TIME = "RestoreDBInstanceToPointInTime"
MODIFY = "ModifyDBInstance"
VERBS = ("restore", "configure")
DELETE = "DeleteDBInstance"

LISTED_SECONDS = 120.0
"""RDS may list an instance only some time after it accepted to make it."""
UNLISTED_SECONDS = 180.0
"""How long what RDS may have accepted is looked for before it is believed never made. The longest delay seen: 150 s."""
_NAME_LIMIT = 63
_NEVER = "9999"
"""Later than every expiry, as text."""
_SUFFIX_LIMIT = 20
_EXPIRY_SECONDS = 86_400
_AWAIT_DEADLINE = 1_800.0
"""RDS uploads logs every five minutes; six times that. A drill gives up once its objective is missed, if that is
sooner; on call, late is better than never."""
_RESTORE_DEADLINE = 14_400.0
"""The least that a restoration may take; four times the objective where that is more."""
_CONFIGURE_DEADLINE = 3_600.0
_DELETE_DEADLINE = 3_600.0
_APART = {"BackupRetentionPeriod": 0, "DeletionProtection": False, "MultiAZ": False, "PubliclyAccessible": False}
"""What a drill's copy gets unless the target says otherwise: it is thrown away, so nothing is kept or protected, and
nobody's way leads to it."""
_ANSWERS = {
    Purpose.DRILL: "Set them under 'restored:' of the target in dr.yaml",
    Purpose.RESTORE: "Say --set NAME=VALUE for each, or prepare them under 'fallback:' of the target in dr.yaml",
}
"""Where a person says what neither the source nor its profile knows."""
_REASONS = {
    Purpose.DRILL: "a drill's copy stands apart from its source",
    Purpose.RESTORE: "asked for on the command line",
}
"""Why what was asked for differs from the source."""


def propose(
    name: str, target: Sections, objective: float, verb: Verb, facts: Facts, run: RunIdentity
) -> tuple[Call, ...]:
    """The calls of one restoration. ``objective``: seconds it should take. Raises RefusedError, UsageError.

    On call what RDS sets only afterwards is the verb ``configure``, with the same arguments: RDS takes it once it is
    done with the instance, from which a first backup keeps it for hours, while the copy is examined and served from.
    """
    if verb.name not in VERBS:
        raise UsageError(f"The rds driver has no verb {verb.name!r}.", "It restores.")
    _refuse_second(name, target.rds.instance, facts, run)
    choice = choose(verb.args.get("to"), target.rds.instance, facts, run.purpose)
    identifier = _identifier(str(verb.args.get("as_name") or ""), target.rds.instance, facts, run)
    known = _known(target.rds.instance, facts)
    asked = _asked(target, verb, run.purpose)
    wanted = _wanted(target, known, asked, choice.point, run.purpose)
    if run.purpose is Purpose.DRILL and Grant.DISPOSABLE not in target.grants:
        _check_apart(target.rds.instance, wanted, known)
    own = _own_tags(name, target.rds.instance, facts, run)
    kept, left = _kept_tags(known, choice.point, own, run)
    wanted, fitted = fit_storage(wanted, asked, {**(known or {}), **choice.point.attributes})
    tags, fitted = {**kept, **own}, {**fitted, **left}
    parameters = settings.restore_parameters(wanted, asked)
    secret = _master_secret(target, known) if verb.args.get("reset_master") else ""
    configure = _configure(identifier, known, wanted, asked, fitted, tags, secret, objective, run)
    if verb.name == "configure":
        return (configure,)
    replicas = settings.comparable(known).get("ReadReplicas", []) if known is not None else []
    restore = _restore(identifier, target.rds.instance, replicas, choice, parameters, tags, objective, run)
    waiting = (_await(target.rds.instance, choice, objective, run),) if choice.waits else ()
    return (*waiting, restore, *((configure,) if run.purpose is Purpose.DRILL else ()))


def deletion(identifier: str, run: str) -> Call:
    """The call that removes a drill's copy; the driver compares the tags once more before it deletes."""
    return Call(
        id="delete-restored",
        verb="restore",
        phase="unwind",
        driver=DRIVER,
        operation=DELETE,
        args={"identifier": identifier, "run": run},
        effect=Effect.CHANGES,
        touches=(instance(identifier),),
        until="gone",
        deadline=_DELETE_DEADLINE,
    )


def gone_from(args: Mapping[str, Any]) -> float:
    """From when on, wall time, an instance is gone that a deletion with ``args`` does not find; 0: at once.

    At once where its restoration took effect or was refused, and where nothing is undone but what was listed goes.
    Else RDS may have accepted to make it right before its run was killed, and list it later.
    """
    undone = args.get("undone") or {"certain": True}
    return 0.0 if undone["certain"] else float(undone["intended_at"]) + UNLISTED_SECONDS


def taken_from(one: Resource, source: str) -> bool:
    """Whether a run made ``one`` of ``source``."""
    return bool(one.tags.get("dr:run")) and same(one.tags.get("dr:source", ""), source)


def orphans(
    instances: Iterable[Resource], source: str, now: float, under_way: frozenset[str], over: frozenset[str]
) -> tuple[Call, ...]:
    """The deletions of drills' copies of ``source`` that nobody will delete: those of runs that are ``over``, and those
    whose expiry lies before ``now``; but none of a run that is ``under_way``."""
    return tuple(
        deletion(one.ref.name, one.tags["dr:run"])
        for one in instances
        if taken_from(one, source)
        and one.tags.get("dr:purpose") == Purpose.DRILL
        and one.tags["dr:run"] not in under_way
        and (one.tags["dr:run"] in over or one.tags.get("dr:expires", _NEVER) < iso(now))
    )


def _refuse_second(name: str, source: str, facts: Facts, run: RunIdentity) -> None:
    for resource in facts.resources:
        tags = resource.tags
        if not same(tags.get("dr:source", ""), source) or "dr:run" not in tags or of_run(tags, run):
            continue
        if "dr:sealed" in tags or tags.get("dr:expires", _NEVER) < iso(facts.at) or resource.remedy:
            continue
        if run.purpose is Purpose.RESTORE and tags.get("dr:purpose") == Purpose.DRILL:
            continue  # what a killed drill left must not keep anybody from restoring on call
        other, what = tags["dr:run"], f"{resource.ref.name} ({resource.status})"
        at, ends = f"--target {name}", f"'dr cleanup {other} --target {name}'"
        hint = f"'dr restore --resume {other} {at}' goes on with it; {ends} ends its run and leaves it alone."
        if tags.get("dr:purpose") == Purpose.DRILL:
            hint = f"{ends} removes it."
        raise RefusedError(
            f"Another restoration of {source} is not finished: {what} of run {other}.", f"If nobody is at it: {hint}"
        )


def _identifier(as_name: str, source: str, facts: Facts, run: RunIdentity) -> str:
    """A name of the caller's, the one that an earlier attempt took, or the source's with the end of the run's."""
    mine = [r for r in facts.resources if of_run(r.tags, run) and same(r.tags.get("dr:source", ""), source)]
    if as_name and not _valid(as_name):
        raise UsageError(
            f"{as_name!r} cannot be an instance's name.",
            "Use up to 63 letters, digits and single hyphens; begin with a letter and do not end with a hyphen.",
        )
    if not as_name and mine:
        return mine[0].ref.name
    wanted = instance(as_name or made_up(source, "restored", run.id))
    there = facts.find(wanted)
    if there is not None and there not in mine:
        raise RefusedError(
            f"An instance {wanted.name} exists already and is not this run's.", "Choose another name: --as NAME."
        )
    return wanted.name


def run_suffix(run: str) -> str:
    """The end of a run's name, as a part of a valid identifier."""
    return re.sub(r"[^a-z0-9]+", "-", run.lower())[-_SUFFIX_LIMIT:].strip("-")


def bears(identifier: str, run: str) -> bool:
    """Whether an identifier was made up with ``run``'s own name, so that what bears it can be nobody else's."""
    return f"-{run_suffix(run)}-" in f"-{identifier.lower()}-"


def made_up(source: str, what: str, run: str) -> str:
    """A name for ``what`` is made of ``source``, with the end of the run's; the source's gives way where it is long."""
    end = f"-{what}-{run_suffix(run)}"
    return source[: _NAME_LIMIT - len(end)].rstrip("-") + end


def _valid(name: str) -> bool:
    return len(name) <= _NAME_LIMIT and re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", name) is not None


def _known(source: str, facts: Facts) -> Mapping[str, Any] | None:
    """The source's own description, or the profile stored of it; None where there is neither."""
    resource = facts.find(instance(source))
    if resource is not None:
        return resource.attributes
    profile: Mapping[str, Any] | None = facts.extra.get("profile")
    return profile


def _asked(target: Sections, verb: Verb, purpose: Purpose) -> dict[str, Any]:
    """What is to differ from the source, by the attribute that shows it: a drill's copies stand apart as the target
    says, and on call the command line has the word."""
    given = settings.asked_attributes(verb.args.get("set", {}), "--set")
    if purpose is not Purpose.DRILL:
        return given
    return {**_APART, **settings.asked_attributes(target.rds.restored, "The target's 'restored'"), **given}


def _check_apart(source: str, wanted: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
    """A drill's copy holds all that its source does: who is let in there is not let in here. Raises RefusedError."""
    groups = set(wanted.get("VpcSecurityGroups") or ())
    shared = groups & set(settings.comparable(known).get("VpcSecurityGroups") or ()) if known else set()
    if groups and not shared:
        return
    why = (
        f"would have {source}'s security groups ({', '.join(sorted(shared))})" if shared else "names no security group"
    )
    raise RefusedError(
        f"The drill's copy {why}: whoever reaches the one would reach the other.",
        "Name groups of its own under 'restored: {VpcSecurityGroupIds: [...]}' of the target in dr.yaml.",
    )


def _wanted(
    target: Sections, known: Mapping[str, Any] | None, asked: Mapping[str, Any], point: RecoveryPoint, purpose: Purpose
) -> dict[str, Any]:
    """Every setting the restoration is to have. Raises RefusedError that lists what nobody knows."""
    have = settings.comparable(known) if known is not None else {}
    unknown = set(settings.REQUIRED) if known is None else _outgrown(have, point)
    have = {name: value for name, value in have.items() if name not in {settings.RESTORE[key] for key in unknown}}
    drill = purpose is Purpose.DRILL
    prepared = {} if drill else settings.asked_attributes(target.rds.fallback, "The target's 'fallback'")
    answers = {**prepared, **have, **asked}
    silent = sorted(parameter for parameter in unknown if settings.RESTORE[parameter] not in answers)
    if silent:
        reason = (
            f"{target.rds.instance} is gone and no profile of it is stored"
            if known is None
            else f"{point.identifier} is of version {point.attributes.get('EngineVersion')}, the source of another one"
        )
        raise RefusedError(
            f"{reason}, so nothing says what the restoration is to have as: {', '.join(silent)}.",
            f"{_ANSWERS[purpose]}; an empty value leaves one to RDS.",
        )
    return {name: value for name, value in answers.items() if value not in settings.LEFT_TO_RDS}


def _outgrown(have: Mapping[str, Any], point: RecoveryPoint) -> set[str]:
    """Parameter and option groups belong to one major version: the source's do not fit a point before an upgrade."""
    then = str(point.attributes.get("EngineVersion", ""))
    now = str(have.get("EngineVersion", ""))
    if not then or not now or then.split(".")[0] == now.split(".")[0]:
        return set()
    return {"DBParameterGroupName", "OptionGroupName"}


def _kept_tags(
    known: Mapping[str, Any] | None, point: RecoveryPoint, own: Mapping[str, str], run: RunIdentity
) -> tuple[dict[str, str], Fitted]:
    """The source's tags, as far as they fit beside the harness's. A copy with them would join the source's automation,
    so a drill's has none."""
    if run.purpose is Purpose.DRILL:
        return {}, {}
    return fit_tags(inherited(settings.tags(known if known is not None else point.attributes)), own)


def _own_tags(name: str, source: str, facts: Facts, run: RunIdentity) -> dict[str, str]:
    if run.purpose is Purpose.DRILL:
        return drills_tags(name, source, facts, run)
    since = {} if run.since is None else {"dr:since": str(run.since)}
    return {**_clean(_own(name, source, run)), **since, **spread(run.request)}


def drills_tags(name: str, source: str, facts: Facts, run: RunIdentity) -> dict[str, str]:
    """What a drill tags all that it makes with: by them it is found and removed, also once its run is gone."""
    return {**_clean(_own(name, source, run)), "dr:expires": iso(facts.at + _EXPIRY_SECONDS)}


def inherited(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of ``tags`` that are neither AWS's nor the harness's own."""
    return {key: value for key, value in tags.items() if not key.startswith(("aws:", "dr:"))}


def _own(name: str, source: str, run: RunIdentity) -> dict[str, str]:
    return {
        "dr:run": run.id,
        "dr:purpose": run.purpose.value,
        "dr:target": name,
        "dr:source": source,
        "dr:request": run.digest,
    }


def _clean(tags: Mapping[str, str]) -> dict[str, str]:
    """RDS takes letters, digits, spaces and ``_.:/=+-@`` in a tag's value."""
    return {key: re.sub(r"[^\w .:/=+@-]", "_", value)[:VALUE] for key, value in tags.items()}


def _master_secret(target: Sections, known: Mapping[str, Any] | None) -> str:
    master = target.postgres.master
    if master is None:
        raise RefusedError("The target names no postgres.master whose secret could be set.", "Add it to dr.yaml.")
    user = (known or {}).get("MasterUsername", master.user)
    if user != master.user:
        raise RefusedError(f"The source's master user is {user}, not {master.user}.", "Correct postgres.master.")
    return master.secret


def _await(source: str, choice: Choice, objective: float, run: RunIdentity) -> Call:
    return Call(
        id="await-restorable",
        verb="restore",
        phase="restore",
        driver=DRIVER,
        operation=AWAIT,
        args={"source": source, "time": choice.covers},
        effect=Effect.READS,
        until="the time is restorable",
        deadline=_AWAIT_DEADLINE if run.purpose is Purpose.RESTORE else min(_AWAIT_DEADLINE, objective),
    )


def _restore(
    identifier: str,
    source: str,
    replicas: list[str],
    choice: Choice,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    objective: float,
    run: RunIdentity,
) -> Call:
    snapshot = choice.kind == "snapshot"
    named = "DBInstanceIdentifier" if snapshot else "TargetDBInstanceIdentifier"
    return Call(
        id="restore",
        verb="restore",
        phase="restore",
        driver=DRIVER,
        operation=FROM_SNAPSHOT if snapshot else TO_TIME,
        args={
            "identifier": identifier,
            "source": source,
            "replicas": replicas,
            "kind": "snapshot" if snapshot else "time",
            "point_id": choice.point.identifier,
            "recovery_point": choice.covers,
            "covers_by": choice.point.attributes.get("covers_by", ""),
            "parameters": {named: identifier, **choice.parameters, **parameters},
            "tags": tags,
        },
        effect=Effect.MAKES,
        makes=(instance(identifier),),
        undo=deletion(identifier, run.id) if run.purpose is Purpose.DRILL else None,
        until="available",
        deadline=max(_RESTORE_DEADLINE, 4 * objective),
        restoration=True,
        promises=("available",),
    )


def _configure(
    identifier: str,
    known: Mapping[str, Any] | None,
    wanted: Mapping[str, Any],
    asked: Mapping[str, Any],
    fitted: Fitted,
    tags: Mapping[str, str],
    secret: str,
    objective: float,
    run: RunIdentity,
) -> Call:
    drill, at = run.purpose is Purpose.DRILL, listens(known or {})
    own_tags = {key: value for key, value in tags.items() if not key.startswith("dr:")}
    return Call(
        id="configure",
        verb="restore",
        phase="reconfigure",
        driver=DRIVER,
        operation=MODIFY,
        args={
            "identifier": identifier,
            "tags": tags,
            "parameters": settings.modify_parameters(wanted),
            "roles": wanted.get("AssociatedRoles", []),
            "master_secret": secret,
            "source": settings.comparable(known) if known is not None else None,
            "source_host": at.host if at else "",
            "asked": {**asked, "Tags": own_tags} if drill else asked,
            "because": _REASONS[run.purpose],
            "fitted": {key: list(value) for key, value in fitted.items()},
        },
        effect=Effect.CHANGES,
        touches=(instance(identifier),),
        until="available, with nothing pending",
        deadline=_CONFIGURE_DEADLINE if drill else max(_RESTORE_DEADLINE, 4 * objective),
    )
