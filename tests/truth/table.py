"""What a case is: a recovery whose truth is known, what is done to it, and what dr has to say of it.

Everything is done beneath dr, which is driven by its command line alone. The cases stand in ``cases``, a module for
each truth; ``driver`` plays them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Acts = tuple[str, ...]
"""Each is SQL, done as superuser in a transaction of its own; or, after a !, a doing of ``hand`` and its words."""


class Truth(StrEnum):
    """What is true of a recovery, whoever judges it."""

    HEALTHY = "healthy"
    SABOTAGED = "sabotaged"
    BLINDED = "blinded"
    """Nobody could have seen whether it is good."""


EXPECTED = {Truth.HEALTHY: "met", Truth.SABOTAGED: "missed", Truth.BLINDED: "inconclusive"}


class When(StrEnum):
    """When something is done: ``BEFORE`` the drill begins, once its baseline has ``LOOKED``, once the recovery point
    has ``PASSED``, and on the ``COPY`` between its restore and its examination, which is also when the source is
    changed once more, ``LATER``."""

    BEFORE = "before"
    LOOKED = "looked"
    PASSED = "passed"
    COPY = "copy"
    LATER = "later"


class Drill(StrEnum):
    """Which drill shows it: the least that does."""

    EXAMINED = "examined"
    """Rows vanish; a copy of just before is examined."""
    MARKED = "marked"
    """The same, with canary rows on the source."""
    SERVED = "served"
    """The same as examined, and a service is put on the copy and measured there."""
    WHOLE = "whole"
    """All of that, and how long it took."""
    SNAPSHOT = "snapshot"
    """The last backup, which stands between two baselines, is restored and examined."""
    CALLED = "called"
    """``dr restore`` with the words that the case has."""
    SINCE = "since"
    """``dr restore --latest`` some seconds after a baseline: what is done once it has looked lies between the two."""
    VERIFIED = "verified"
    """No drill: the evidence of one that was played before is altered, and judged again offline."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recovery, and what has to be said of it.

    ``tells``: the demands of which one has to tell, where it is not met, and of a healthy one any whose sentence is
    held to ``says``, a regular expression. ``load``: statements that sessions of the source repeat all the while, each
    a transaction, and ``rate`` such a second. ``around``: what is done to processes, answers and evidence, as
    ``driver`` knows it. ``base``: the case whose evidence it is. ``config``: sections of dr.yaml, of which ``target``
    is laid over the lab's.
    """

    name: str
    truth: Truth
    tells: str = ""
    says: str = ""
    expect: str = ""
    drill: Drill = Drill.EXAMINED
    before: Acts = ()
    looked: Acts = ()
    passed: Acts = ()
    copy: Acts = ()
    later: Acts = ()
    after: Acts = ()
    load: Acts = ()
    rate: float = 0.0
    around: str = ""
    base: str = "quiet"
    words: Acts = ()
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False

    @property
    def expected(self) -> str:
        """The verdict; several are parted by |."""
        return self.expect or EXPECTED[self.truth]

    def acts(self, when: When) -> Acts:
        found: Acts = getattr(self, when.value)
        return found


@dataclass(frozen=True)
class Told:
    """What dr said of a case. ``said``: by demand, status and sentence. ``broken``: why it could not be played."""

    status: str = ""
    said: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    code: int = 0
    broken: str = ""
    seconds: float = 0.0


CODES = {"met": 0, "missed": 1, "inconclusive": 4}


def wrong(case: Case, told: Told) -> str:
    """What is wrong with what was ``told``, or ""."""
    if told.broken:
        return f"could not be played: {told.broken}"
    if told.status not in case.expected.split("|"):
        return f"{told.status} instead of {case.expected}: {_worst(told, case)}"
    if told.code != CODES[told.status]:
        return f"exit {told.code} of a verdict that is {told.status}"
    if not case.tells:
        return ""
    wanted = case.tells.split("|")
    speaking = [because for name, (status, because) in told.said.items() if name in wanted and status == told.status]
    if not speaking:
        return f"{case.tells} does not tell it: {_worst(told, case)}"
    if not any(re.search(case.says, because) for because in speaking):
        return f"{case.tells} does not say {case.says!r}: {' / '.join(speaking)}"
    return ""


def _worst(told: Told, case: Case) -> str:
    """The sentences that are not met; where all are, those that should have told."""
    bad = [f"{name} {status}: {because}" for name, (status, because) in told.said.items() if status != "met"]
    silent = [f"{name}: {told.said[name][1]}" for name in case.tells.split("|") if name in told.said]
    return " / ".join(bad or silent) or "all is met"


def grid(rows: Iterable[tuple[Case, Told]]) -> str:
    """Truth against verdict, as a table."""
    played = list(rows)
    columns = (*EXPECTED.values(), "not played")
    lines = [f"{'':<12}" + "".join(f"{column:>14}" for column in columns)]
    for truth in Truth:
        statuses = [("not played" if told.broken else told.status) for case, told in played if case.truth is truth]
        lines.append(f"{truth:<12}" + "".join(f"{statuses.count(column):>14}" for column in columns))
    return "\n".join(lines)
