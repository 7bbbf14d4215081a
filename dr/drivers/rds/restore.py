"""What the verb ``restore`` comes down to on RDS: which calls, with which settings, under which name and tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dr.config.model import Target
from dr.domain.errors import RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Grant, Purpose, Resource, RunIdentity, Verb
from dr.domain.tags import VALUE, of_run, telling
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.rds import settings
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import DRIVER, instance, listens, same
from dr.drivers.rds.points import choose, iso

AWAIT = "DescribeDBInstances"
FROM_SNAPSHOT = "RestoreDBInstanceFromDBSnapshot"
TO_TIME = "RestoreDBInstanceToPointInTime"
MODIFY = "ModifyDBInstance"
DELETE = "DeleteDBInstance"

LISTED_SECONDS = 120.0
"""RDS may list an instance only some time after it accepted to make it."""
UNLISTED_SECONDS = 180.0
"""How long what RDS may have accepted is looked for before it is believed never made. The longest delay seen: 150 s."""
NAME_LIMIT = 63
_NEVER = "9999"
"""Later than every expiry, as text."""
_SUFFIX_LIMIT = 20
_EXPIRY_SECONDS = 86_400
_AWAIT_DEADLINE = 1_800.0
"""RDS uploads logs every five minutes; six times that. A drill gives up once its objective is missed, if that is
sooner; on call, late is better than never."""
_RESTORE_DEADLINE = 14_400.0
"""The least that a restoration may take; four times the objective where that is more."""
_CHANGE_DEADLINE = 3_600.0
_APART = {"BackupRetentionPeriod": 0, "DeletionProtection": False, "MultiAZ": False, "PubliclyAccessible": False}
"""What a drill's copy gets unless the target says otherwise: it is thrown away, so nothing is kept or protected, and
nobody's way leads to it."""


def propose(
    name: str, target: Target, objective: float, verb: Verb, facts: Facts, run: RunIdentity
) -> tuple[Call, ...]:
    """The calls of one restoration. ``objective``: seconds it should take. Raises RefusedError, UsageError. On call
    what RDS sets only afterwards is the verb ``configure``, with the same arguments: RDS takes it once it is done with
    the instance, from which a first backup keeps it for hours, while the copy is examined and served from."""
    _refuse_second(name, target.of(RdsConfig).instance, facts, run)
    wanted = _Restoration(target, verb, facts, run)
    if verb.name == "configure":
        return (wanted.configuring(objective),)
    awaited = (wanted.awaiting(objective),) if wanted.choice.waits else ()
    return (*awaited, wanted.restoring(objective), *((wanted.configuring(objective),) if wanted.drill else ()))


def deletion(identifier: str, run: str) -> Call:
    """The call that removes a drill's copy; the driver compares the tags once more before it deletes."""
    return Call(
        *("delete-restored", "restore", "unwind", DRIVER, DELETE, {"identifier": identifier, "run": run}),
        effect=Effect.CHANGES,
        touches=(instance(identifier),),
        until="gone",
        deadline=_CHANGE_DEADLINE,
    )


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
        if not taken_from(resource, source) or of_run(tags, run):
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


class _Restoration:
    """What a restoration is to be, decided when it is made: of which point, under which name, with which settings.

    ``known``: the source's own description, or the profile stored of it; None where there is neither.
    ``asked``: what is to differ from it, by the attribute that shows it: a drill's copies stand apart as the target
    says, and on call the command line has the word.
    """

    def __init__(self, target: Target, verb: Verb, facts: Facts, run: RunIdentity) -> None:
        self.rds, self.master, self.run = target.of(RdsConfig), target.of(PostgresConfig).master, run
        self.source = self.rds.instance
        self.drill = run.purpose is Purpose.DRILL
        self.choice = choose(verb.args.get("to"), self.source, facts, run.purpose)
        self.identifier = _identifier(str(verb.args.get("as_name") or ""), self.source, facts, run)
        found = facts.find(instance(self.source))
        self.known: Mapping[str, Any] | None = found.attributes if found else facts.extra.get("profile")
        self.have = settings.comparable(self.known or {})
        self.asked = settings.asked_attributes(verb.args.get("set", {}), "--set")
        if self.drill:
            apart = settings.asked_attributes(self.rds.restored, "The target's 'restored'")
            self.asked = {**_APART, **apart, **self.asked}
        wanted = self._wanted()
        if self.drill and Grant.DISPOSABLE not in target.grants:
            self._check_apart(wanted)
        self.tags, left = self._tags(facts)
        point = {**(self.known or {}), **self.choice.point.attributes}
        self.wanted, fitted = settings.fit_storage(wanted, self.asked, point)
        self.fitted = {key: list(value) for key, value in {**fitted, **left}.items()}
        self.master_secret = self._master_secret() if verb.args.get("reset_master") else ""

    # -- what is decided

    def _wanted(self) -> dict[str, Any]:
        """Every setting it is to have. Raises RefusedError that lists what nobody knows."""
        point, prepared = self.choice.point, self.rds.fallback
        unknown = settings.REQUIRED if self.known is None else self._outgrown()
        outgrown = {settings.RESTORE[parameter] for parameter in unknown}
        have = {name: value for name, value in self.have.items() if name not in outgrown}
        fallback = {} if self.drill else settings.asked_attributes(prepared, "The target's 'fallback'")
        answers = {**fallback, **have, **self.asked}
        silent = sorted(parameter for parameter in unknown if settings.RESTORE[parameter] not in answers)
        if silent:
            reason = (
                f"{self.source} is gone and no profile of it is stored"
                if self.known is None
                else f"{point.identifier} is of version {point.attributes.get('EngineVersion')}, the source of another"
                " one"
            )
            answer = (
                "Set them under 'restored:' of the target in dr.yaml"
                if self.drill
                else "Say --set NAME=VALUE for each, or prepare them under 'fallback:' of the target in dr.yaml"
            )
            raise RefusedError(
                f"{reason}, so nothing says what the restoration is to have as: {', '.join(silent)}.",
                f"{answer}; an empty value leaves one to RDS.",
            )
        return {name: value for name, value in answers.items() if value not in settings.LEFT_TO_RDS}

    def _outgrown(self) -> tuple[str, ...]:
        """Parameter and option groups belong to one major version: the source's fit no point before an upgrade."""
        versions = (self.choice.point.attributes.get("EngineVersion"), self.have.get("EngineVersion"))
        then, now = (str(version or "").split(".")[0] for version in versions)
        return ("DBParameterGroupName", "OptionGroupName") if then and now and then != now else ()

    def _check_apart(self, wanted: Mapping[str, Any]) -> None:
        """A drill's copy holds all that its source does: who is let in there is not let in here."""
        groups = set(wanted.get("VpcSecurityGroups") or ())
        shared = groups & set(self.have.get("VpcSecurityGroups") or ())
        if groups and not shared:
            return
        would = f"would have {self.source}'s security groups ({', '.join(sorted(shared))})"
        raise RefusedError(
            f"The drill's copy {would if shared else 'names no security group'}: whoever reaches the one would reach"
            " the other.",
            "Name groups of its own under 'restored: {VpcSecurityGroupIds: [...]}' of the target in dr.yaml.",
        )

    def _tags(self, facts: Facts) -> tuple[dict[str, str], settings.Fitted]:
        """The harness's, and on call the source's, as far as they fit: a drill's copy with them would join its
        automation."""
        if self.drill:
            return drills_tags(self.source, facts, self.run), {}
        own = _own(self.source, self.run)
        source = self.known if self.known is not None else self.choice.point.attributes
        kept, left = settings.fit_tags(settings.inherited(source), own)
        return {**kept, **own}, left

    def _master_secret(self) -> str:
        master = self.master
        if master is None:
            raise RefusedError("The target names no postgres.master whose secret could be set.", "Add it to dr.yaml.")
        user = (self.known or {}).get("MasterUsername", master.user)
        if user != master.user:
            raise RefusedError(f"The source's master user is {user}, not {master.user}.", "Correct postgres.master.")
        return master.secret

    # -- the calls

    def awaiting(self, objective: float) -> Call:
        args = {"source": self.source, "time": self.choice.covers}
        return Call(
            *("await-restorable", "restore", "restore", DRIVER, AWAIT, args),
            effect=Effect.READS,
            until="the time is restorable",
            deadline=min(_AWAIT_DEADLINE, objective) if self.drill else _AWAIT_DEADLINE,
        )

    def restoring(self, objective: float) -> Call:
        snapshot = self.choice.point.kind == "snapshot"
        named = {"DBInstanceIdentifier" if snapshot else "TargetDBInstanceIdentifier": self.identifier}
        parameters = settings.restore_parameters(self.wanted, self.asked)
        args = {
            "identifier": self.identifier,
            "source": self.source,
            "replicas": self.have.get("ReadReplicas", []),
            "kind": "snapshot" if snapshot else "time",
            "point_id": self.choice.point.identifier,
            "recovery_point": self.choice.covers,
            "parameters": {**named, **self.choice.parameters, **parameters},
            "tags": self.tags,
        }
        return Call(
            *("restore", "restore", "restore", DRIVER, FROM_SNAPSHOT if snapshot else TO_TIME, args),
            effect=Effect.MAKES,
            makes=(instance(self.identifier),),
            undo=deletion(self.identifier, self.run.id) if self.drill else None,
            until="available",
            deadline=max(_RESTORE_DEADLINE, 4 * objective),
            restoration=True,
            covers=None if isinstance(self.choice.covers, str) else self.choice.covers,
            promises=("available",),
        )

    def configuring(self, objective: float) -> Call:
        at = listens(self.known or {})
        own = {key: value for key, value in self.tags.items() if not key.startswith("dr:")}
        args = {
            "identifier": self.identifier,
            "parameters": settings.modify_parameters(self.wanted),
            "roles": self.wanted.get("AssociatedRoles", []),
            "master_secret": self.master_secret,
            "source": self.have if self.known is not None else None,
            "source_host": at.host if at else "",
            "asked": {**self.asked, "Tags": own} if self.drill else self.asked,
            "because": "a drill's copy stands apart from its source" if self.drill else "asked for on the command line",
            "fitted": self.fitted,
        }
        return Call(
            *("configure", "restore", "reconfigure", DRIVER, MODIFY, args),
            effect=Effect.CHANGES,
            touches=(instance(self.identifier),),
            until="available, with nothing pending",
            deadline=_CHANGE_DEADLINE if self.drill else max(_RESTORE_DEADLINE, 4 * objective),
        )


# -- names and tags


def _identifier(as_name: str, source: str, facts: Facts, run: RunIdentity) -> str:
    """A name of the caller's, the one that an earlier attempt took, or the source's with the end of the run's."""
    mine = [r for r in facts.resources if of_run(r.tags, run) and same(r.tags.get("dr:source", ""), source)]
    if as_name and (len(as_name) > NAME_LIMIT or not re.fullmatch(r"[A-Za-z](-?[A-Za-z0-9])*", as_name)):
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
    return source[: NAME_LIMIT - len(end)].rstrip("-") + end


def drills_tags(source: str, facts: Facts, run: RunIdentity) -> dict[str, str]:
    """What a drill tags all that it makes with: by them it is found and removed, also once its run is gone."""
    return {**_own(source, run), "dr:expires": iso(facts.at + _EXPIRY_SECONDS)}


def _own(source: str, run: RunIdentity) -> dict[str, str]:
    # RDS takes letters, digits, spaces and _.:/=+-@ in a tag's value
    return {key: re.sub(r"[^\w .:/=+@-]", "_", value)[:VALUE] for key, value in telling(run, source).items()}
