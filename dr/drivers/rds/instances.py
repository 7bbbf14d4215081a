"""Instances at RDS, one at a time: described, tagged, waited for, deleted, and all that patiently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from dr.config.context import Context
from dr.domain.errors import FailedError, HaltedError, OddAnswerError, ProviderError, RefusedError
from dr.domain.model import Call, Progress, Purpose, Resource
from dr.drivers.rds import look as rds_look
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.config import RdsConfig
from dr.drivers.rds.naming import State, classify
from dr.drivers.rds.restore import DELETE, LISTED_SECONDS, MODIFY, UNLISTED_SECONDS, bears
from dr.host.bounded import persistently

T = TypeVar("T")
Begin = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A call's arguments to what its polls need."""
Poll = Callable[[Call, Mapping[str, Any]], Progress]

PATIENCE_SECONDS = 60.0
"""How long a step that failed for a passing reason is repeated."""
GONE_SECONDS = 30.0
"""For so long RDS has to say that there is no such instance before that is believed: one answer may be mistaken."""
GONE = ("DBInstanceNotFound", "DBInstanceNotFoundFault")
APART_SECONDS = 3.0
"""Between the two answers that there is no such instance."""
BUSY = ("InvalidDBInstanceState", "InvalidDBInstanceStateFault", "DBInstanceNotReady")
"""The instance is there, and is being made, changed or deleted."""


class Instances:
    """What every step on an instance needs."""

    def __init__(self, context: Context, client: RdsClient) -> None:
        self._context = context
        self.client = client
        self._missed: dict[str, float] = {}
        """From when on RDS said of an instance, each time, that there is none."""

    def rows(self, identifier: str) -> tuple[Resource, ...] | None:
        """The instance as it is now; None where RDS says that there is none, and nothing where its answer is empty,
        which says neither."""
        answer = self.client.call("DescribeDBInstances", {"DBInstanceIdentifier": identifier}, GONE)
        return None if answer is None else tuple(map(rds_look.resource, answer.get("DBInstances", ())))

    def describe(self, identifier: str) -> Resource | None:
        """As ``rows``; raises OddAnswerError where RDS says neither."""
        rows = self.rows(identifier)
        if rows is None:
            self._missed.setdefault(identifier, self.now())
            return None
        if not rows:
            raise OddAnswerError(
                f"DescribeDBInstances at {self.client.where}", f"it lists nothing, and {identifier} was asked for"
            )
        self._missed.pop(identifier, None)
        return rows[0]

    def _gone(self, identifier: str) -> bool:
        """Whether RDS has said for so long that there is no such instance that it is to be believed."""
        return self.now() - self._missed.get(identifier, self.now()) >= GONE_SECONDS

    def require(self, identifier: str) -> Resource:
        """``describe``, or RefusedError."""
        found = self.describe(identifier)
        if found is None:
            raise RefusedError(
                f"There is no instance {identifier} in {self._context.target.of(RdsConfig).region}.",
                "Was it deleted meanwhile?",
            )
        return found

    def await_shown(self, identifier: str) -> Resource:
        """As ``require``, of an instance that was there: ProviderError, which may pass, until it is surely gone."""
        found = self.describe(identifier)
        if found is None and not self._gone(identifier):
            raise ProviderError(f"RDS does not show {identifier} now.", "Repeat the command.", transient=True)
        return found or self.require(identifier)

    def listed(self, begun: Mapping[str, Any], being: str) -> Resource | None:
        """What is made since it was ``begun``; None: not listed yet. Raises FailedError where it is surely gone."""
        name = str(begun["identifier"])
        found, waited = self.describe(name), self.now() - float(begun["asked_at"])
        if found is None and waited > LISTED_SECONDS and self._gone(name):
            raise FailedError(f"{name} is gone while it was {being}.", "Find out who deleted it, then begin anew.")
        return found

    def tag(self, found: Resource, tags: Mapping[str, str]) -> None:
        self.client.call("AddTagsToResource", {"ResourceName": found.attributes["DBInstanceArn"], "Tags": pairs(tags)})

    def state(self, found: Resource) -> State:
        """What its status means. Raises FailedError for one that leads nowhere."""
        if found.remedy:
            raise FailedError(f"{found.ref.name} is {found.status}.", found.remedy, code=found.status)
        return classify(found.status)

    def note(self, found: Resource, begun: Mapping[str, Any]) -> str:
        """Its status for the person who waits for what was ``begun``."""
        percent = found.attributes.get("PercentProgress")
        unknown = ", a status that is not known here" if classify(found.status) is State.UNKNOWN else ""
        progress = f", {percent}%" if percent else ""
        return f"{found.ref.name}: {found.status}{unknown}{progress}, {self.now() - float(begun['asked_at']):.0f} s"

    def begin(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing to do but to look."""
        return {**args, "asked_at": self.now()}

    def patiently(self, step: Callable[[], T]) -> T:
        """Repeat ``step`` after a failure that may pass: it looks before it acts, and so makes nothing twice. Raises as
        ``persistently``."""
        return persistently(self._context.clock, lambda error: PATIENCE_SECONDS if error.transient else 0.0, step)

    def now(self) -> float:
        return self._context.clock.now().at


@contextmanager
def only_looking() -> Iterator[None]:
    """What is halted in here has not asked for any change yet."""
    try:
        yield
    except HaltedError as halted:
        halted.begun = False
        raise


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as RDS takes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


class Deletion:
    """The deletions of what a target's drills made.

    RDS's answers agree with each other only after a while, so that one negative answer proves nothing: a deletion is
    asked for whether or not the instance is listed, and it is gone once RDS has said twice, some seconds apart, that
    there is no instance of that name. A list with nothing in it says nothing at all.
    """

    def __init__(self, instances: Instances) -> None:
        self._at = instances
        self._client = instances.client
        self._missing: dict[str, float] = {}
        """When RDS first said that there is no instance of that name, where it has said nothing else since."""
        self._there: set[str] = set()
        """What was listed, or taken by its identifier: from then on a missing one is gone, and not late."""

    def apply(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for it. A missing instance is gone at once where its restoration took effect or was refused, and where
        nothing is undone but what was listed goes. Else RDS may have accepted to make it right before its run was
        killed, and list it later."""
        identifier, undone = str(args["identifier"]), args.get("undone") or {"certain": True}
        gone_from = 0.0 if undone["certain"] else float(undone["intended_at"]) + UNLISTED_SECONDS
        begun = {"identifier": identifier, "run": args["run"], "asked_at": self._at.now(), "gone_from": gone_from}
        self._missing.pop(identifier, None)
        self._ask(identifier, str(args["run"]))
        return begun

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:  # noqa: ARG002
        """Ask again, until it is gone. Raises RefusedError where it turns out to be another's."""
        identifier, now = str(result["identifier"]), self._at.now()
        if now - self._missing.get(identifier, 0.0) < APART_SECONDS:
            return Progress(False, note=f"{identifier}: RDS knows none of that name, and is asked once more")
        found = self._ask(identifier, str(result["run"]))
        if found is not None:
            return Progress(False, note=self._at.note(found, result))
        if identifier not in self._missing:
            return Progress(False, note=f"{identifier}: not listed, and its deletion is asked for")
        left = 0.0 if identifier in self._there else float(result["gone_from"]) - now
        if left > 0:
            return Progress(False, note=f"{identifier}: not listed, though RDS may list it yet for {left:.0f} s")
        return Progress(now - self._missing[identifier] >= APART_SECONDS, dict(result), f"{identifier}: not listed")

    def _ask(self, identifier: str, run: str) -> Resource | None:
        """Have it deleted unless it is being deleted. Returns it where it is listed. What is not listed can show no
        tag: it is the run's own where its name is made up with the run's."""
        rows = self._at.rows(identifier)
        if rows:
            self._note(identifier, missing=False)
            if rows[0].status != "deleting":
                self._check_own(rows[0], run)
                if rows[0].attributes.get("DeletionProtection"):
                    wanted = {"DeletionProtection": False, "ApplyImmediately": True}
                    self._client.call(MODIFY, {"DBInstanceIdentifier": identifier, **wanted}, GONE)
                self._delete(identifier)
            return rows[0]
        if bears(identifier, run):
            self._note(identifier, missing=not self._delete(identifier))
        elif rows is None:
            self._note(identifier, missing=True)
        return None

    def _note(self, identifier: str, *, missing: bool) -> None:
        if missing:
            self._missing.setdefault(identifier, self._at.now())
        else:
            self._missing.pop(identifier, None)
            self._there.add(identifier)

    def _check_own(self, found: Resource, run: str) -> None:
        if (found.tags.get("dr:run"), found.tags.get("dr:purpose")) != (run, Purpose.DRILL.value):
            raise RefusedError(
                f"{found.ref.name} is not a drill's copy of run {run}, so it is not deleted.",
                "Look at its tags; 'dr adopt' keeps what an on-call restore made.",
            )

    def _delete(self, identifier: str) -> bool:
        """Whether RDS has one of that name. One that is being made cannot be deleted yet: the next poll asks again."""
        wanted = {"DBInstanceIdentifier": identifier, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True}
        try:
            return self._client.call(DELETE, wanted, GONE) is not None
        except ProviderError as error:
            if error.code not in BUSY:
                raise
            return True
