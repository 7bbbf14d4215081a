"""One API call: its action found, checked, carried out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr.lab.rds import names
from dr.lab.rds.errors import AwsError, invalid
from dr.lab.rds.records import Store
from dr.lab.rds.work import Work
from dr.ports import Clock

Asked = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lab:
    """What an action works with."""

    store: Store
    work: Work
    clock: Clock

    def now(self) -> float:
        return self.clock.now().at


Action = Callable[[Lab, Asked], Answer]


def page(items: Sequence[Any], asked: Asked, key: str, low: int = 20) -> Answer:
    """One page of an answer and the marker of the next. Markers are opaque to the client. Raises AwsError."""
    size = asked.get("MaxRecords", 100)
    names.between(size, "MaxRecords", low, 100)
    start = _position(asked.get("Marker"), len(items))
    answer: Answer = {key: list(items[start : start + size])}
    if start + size < len(items):
        answer["Marker"] = base64.urlsafe_b64encode(f"lab:{start + size}".encode()).decode()
    return answer


def _position(marker: str | None, count: int) -> int:
    if not marker:
        return 0
    try:
        scheme, _, number = base64.urlsafe_b64decode(marker.encode()).decode().partition(":")
        position = int(number)
    except (ValueError, binascii.Error):
        raise invalid("The parameter Marker is not valid.") from None
    if scheme != "lab" or position < 0:
        raise invalid("The parameter Marker is not valid.")
    return min(position, count)


def identity(lab: Lab, _: Asked) -> Answer:
    """STS GetCallerIdentity."""
    account = lab.store.account.id
    return {"UserId": "AIDALABLABLABLABLABLA", "Account": account, "Arn": f"arn:aws:iam::{account}:user/lab"}


def dispatch(actions: Mapping[str, Action], lab: Lab, name: str, asked: Asked) -> Answer:
    """Carry out an action. Raises AwsError."""
    action = actions.get(name)
    if action is None:
        raise AwsError("InvalidAction", f"The lab does not implement {name}.")
    return action(lab, asked)
