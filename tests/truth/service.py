"""``python -m tests.truth.service HOW [MORE]``: the lab's service, and what is wrong with it.

TRUTH_SOURCE_URL is how the source is reached with the same password.
"""

from __future__ import annotations

import os
import sys
import uuid
from dataclasses import replace
from typing import Any

import psycopg

from dr.lab.platform.model import Admission, Model, Prediction
from dr.lab.service.__main__ import main
from dr.lab.service.app import Rejected, Service
from dr.lab.service.http import Request, Response
from dr.lab.service.store import Store

_predict, _answered, _keep, _look_up = Model.predict, Service._predict, Store.keep, Store.look_up
_DECOYS: list[Any] = []
"""Sessions that are held, and in which nothing is asked."""


def astray() -> None:
    """It works on the source, and holds a session on the copy that nothing is asked in."""
    _DECOYS.append(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True))
    os.environ["DATABASE_URL"] = os.environ["TRUTH_SOURCE_URL"]


def cached() -> None:
    """It answers what it has once been asked from memory, and at first from the source."""
    astray()
    known: dict[bytes, Response] = {}

    async def answer(self: Service, request: Request) -> Response:
        if request.body not in known:
            known[request.body] = await _answered(self, request)
        return known[request.body]

    Service._predict = answer  # type: ignore[method-assign]


def elsewhere_first() -> None:
    """It asks the source, and the copy for what the source lacks."""

    async def look_up(self: Store, session: Any, admission: str) -> Any:
        async with await psycopg.AsyncConnection.connect(os.environ["TRUTH_SOURCE_URL"], autocommit=True) as source:
            return await _look_up(self, source, admission) or await _look_up(self, session, admission)

    Store.look_up = look_up  # type: ignore[method-assign]


def storing(by: str) -> None:
    """The risks that it stores are higher by ``by`` than those that it answers."""

    async def keep(self: Store, session: Any, found: Any, admission: str, version: str, said: Prediction) -> str:
        return await _keep(self, session, found, admission, version, replace(said, risk=said.risk + float(by)))

    Store.keep = keep  # type: ignore[method-assign]


def remembering() -> None:
    """It reads each admission once, which is its right."""
    known: dict[str, Any] = {}

    async def look_up(self: Store, session: Any, admission: str) -> Any:
        if admission not in known:
            known[admission] = await _look_up(self, session, admission)
        return known[admission]

    Store.look_up = look_up  # type: ignore[method-assign]


def forgetful() -> None:
    """It stores nothing."""

    async def keep(*_: Any) -> str:
        return str(uuid.uuid4())

    Store.keep = keep  # type: ignore[method-assign,assignment]


def doubling() -> None:
    """It stores each prediction twice."""

    async def keep(*kept: Any) -> str:
        await _keep(*kept)
        return await _keep(*kept)

    Store.keep = keep  # type: ignore[method-assign,assignment]


def inverted(after: str = "12", of: str = "1") -> None:
    """From the answer ``after`` on, it turns the risk of each ``of``-th round."""
    asked = 0

    def predict(self: Model, admission: Admission) -> Prediction:
        nonlocal asked
        asked += 1
        said = _predict(self, admission)
        turned = asked > int(after) and asked % int(of) == 0
        return replace(said, risk=round(1 - said.risk, 6)) if turned else said

    Model.predict = predict  # type: ignore[method-assign]


def nearly(by: str) -> None:
    """Its risks are higher by ``by``."""

    def predict(self: Model, admission: Admission) -> Prediction:
        said = _predict(self, admission)
        return replace(said, risk=said.risk + float(by))

    Model.predict = predict  # type: ignore[method-assign]


def failing(each: str) -> None:
    """One of ``each`` answers is an error."""
    asked = 0

    async def answer(self: Service, request: Request) -> Response:
        nonlocal asked
        asked += 1
        if asked % int(each) == 0:
            raise Rejected(503, "It fails at times.")
        return await _answered(self, request)

    Service._predict = answer  # type: ignore[method-assign]


HOW = {
    "astray": astray,
    "cached": cached,
    "elsewhere-first": elsewhere_first,
    "storing": storing,
    "remembering": remembering,
    "forgetful": forgetful,
    "doubling": doubling,
    "inverted": inverted,
    "nearly": nearly,
    "failing": failing,
}

if __name__ == "__main__":
    HOW[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    sys.exit(main())
