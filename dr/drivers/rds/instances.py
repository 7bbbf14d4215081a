"""Instances at RDS, one at a time: described, tagged, waited for, and repeated patiently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from dr.config.context import Context
from dr.domain.errors import FailedError, HaltedError, OddAnswerError, ProviderError, RefusedError
from dr.domain.model import Resource
from dr.drivers.rds import look as rds_look
from dr.drivers.rds.client import RdsClient
from dr.drivers.rds.states import State, classify
from dr.drivers.sections import sections
from dr.host.bounded import persistently

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long a step that failed for a passing reason is repeated."""
GONE_SECONDS = 30.0
"""For so long RDS has to say that there is no such instance before that is believed: one answer may be mistaken."""
GONE = ("DBInstanceNotFound", "DBInstanceNotFoundFault")


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
        if answer is None:
            return None
        return tuple(rds_look.resource(row) for row in answer.get("DBInstances", []))

    def describe(self, identifier: str) -> Resource | None:
        """The instance as it is now; None where RDS says that there is none. Raises OddAnswerError where it says
        neither."""
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

    def gone(self, identifier: str) -> bool:
        """Whether RDS has said for so long that there is no such instance that it is to be believed."""
        return self.now() - self._missed.get(identifier, self.now()) >= GONE_SECONDS

    def require(self, identifier: str) -> Resource:
        """``describe``, or RefusedError."""
        found = self.describe(identifier)
        if found is None:
            raise RefusedError(
                f"There is no instance {identifier} in {sections(self._context.target).rds.region}.",
                "Was it deleted meanwhile?",
            )
        return found

    def await_shown(self, identifier: str) -> Resource:
        """As ``require``, of an instance that was there: ProviderError, which may pass, until it is surely gone."""
        found = self.describe(identifier)
        if found is None and not self.gone(identifier):
            raise ProviderError(f"RDS does not show {identifier} now.", "Repeat the command.", transient=True)
        return found or self.require(identifier)

    def tag(self, found: Resource, tags: Mapping[str, str]) -> None:
        self.client.call("AddTagsToResource", {"ResourceName": found.attributes["DBInstanceArn"], "Tags": pairs(tags)})

    def state(self, found: Resource) -> State:
        """What its status means. Raises FailedError for one that leads nowhere."""
        if found.remedy:
            raise FailedError(f"{found.ref.name} is {found.status}.", found.remedy, code=found.status)
        return classify(found.status)

    def note(self, found: Resource, since: float) -> str:
        """Its status for the person who waits, who began to at ``since``."""
        percent = found.attributes.get("PercentProgress")
        unknown = ", a status that is not known here" if classify(found.status) is State.UNKNOWN else ""
        progress = f", {percent}%" if percent else ""
        return f"{found.ref.name}: {found.status}{unknown}{progress}, {self.now() - since:.0f} s"

    def patiently(self, step: Callable[[], T]) -> T:
        """Repeat ``step`` after a failure that may pass: it looks before it acts, and so makes nothing twice.

        Raises as ``persistently``.
        """
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
