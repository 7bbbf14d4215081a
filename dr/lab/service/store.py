"""The service's side of the database: a few sessions that come back by themselves, and its three statements."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from dr.lab.platform.model import LOOK_BACK, Admission, Prediction
from dr.lab.service.metrics import Histogram
from dr.lab.service.names import found

SESSIONS = 4
CONNECT_LIMIT = 3
QUERY_LIMIT = 5.0
"""Seconds until a query that does not answer is given up, with its session."""
PLACE_LIMIT = 1.0
"""Seconds that a request waits for its turn. Clients leave after two: answers that wait longer come too late, and while
they are worked on others wait in vain, so that an outage would never end where a machine is slow."""

_ACTIVE = "SELECT jsonb_agg(jsonb_build_array(model_version, performance_metrics)) FROM model_versions WHERE active"
_LOOK_UP = f"""
    SELECT a.patient_id, p.demographics, a.admission_date, a.discharge_date, a.primary_diagnosis, a.diagnoses,
           a.medications,
           (SELECT count(*) FROM admissions b WHERE b.patient_id = a.patient_id
               AND b.admission_date < a.admission_date
               AND b.admission_date >= a.admission_date - interval '{LOOK_BACK.days} days'),
           ({_ACTIVE})
    FROM admissions a JOIN patients p USING (patient_id) WHERE a.admission_id = %s
"""  # noqa: S608
_STORE = """
    INSERT INTO predictions
        (patient_id, admission_id, readmission_risk, confidence_interval, risk_factors, model_version)
    VALUES (%s, %s, %s, %s, %s, %s) RETURNING prediction_id::text
"""

Session: TypeAlias = psycopg.AsyncConnection[Any]


class Unavailable(Exception):  # noqa: N818 - a state that becomes a 503
    """The database cannot be asked now. The text may be shown."""


@dataclass(frozen=True, slots=True)
class Found:
    """An admission, its patient, and the model versions that are active: [version, performance_metrics] each."""

    patient: str
    admission: Admission
    active: list[list[Any]]


class Store:
    """Up to ``SESSIONS`` sessions, opened when needed; one that fails is dropped, and the idle ones with it.

    ``stubborn``: sabotage; the first that fails is used for everything from then on, and never comes back.
    """

    def __init__(self, url: str, seconds: Histogram, stubborn: bool = False) -> None:
        self._url = url
        self._seconds = seconds
        self._idle: list[Session] = []
        self._stubborn = stubborn
        self._dead: Session | None = None
        self._places = asyncio.Semaphore(SESSIONS)
        self._connecting = asyncio.Lock()

    async def active(self) -> list[list[Any]]:
        """The active model versions. Raises Unavailable."""
        async with self.session() as session:
            row = await self._one(session, _ACTIVE, ())
        return list(row[0] or []) if row else []

    async def look_up(self, session: Session, admission: str) -> Found | None:
        """An admission; None: there is none of that id. To be asked within ``session``."""
        row = await self._one(session, _LOOK_UP, (admission,))
        if row is None:
            return None
        patient, demographics, admitted, discharged, primary, diagnoses, medications, earlier, active = row
        known = Admission(demographics, admitted, discharged, primary, diagnoses, medications, earlier)
        return Found(patient, known, list(active or []))

    async def keep(self, session: Session, found: Found, admission: str, version: str, said: Prediction) -> str:
        """Write a prediction; its id. To be asked within ``session``. Raises Unavailable."""
        factors = Jsonb(list(said.factors))
        row = await self._one(
            session, _STORE, (found.patient, admission, said.risk, list(said.interval), factors, version)
        )
        if row is None:
            raise Unavailable("The prediction was not stored.")
        return str(row[0])

    async def close(self) -> None:
        self._discard()

    async def _one(self, session: Session, statement: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        started = time.perf_counter()
        # Cancelling would wait for the server, which is what hangs; hanging up makes the query fail at once.
        watchdog = asyncio.get_running_loop().call_later(QUERY_LIMIT, _hang_up, session)
        try:
            return await (await session.execute(statement, values)).fetchone()
        finally:
            watchdog.cancel()
            self._seconds.observe(time.perf_counter() - started)

    @asynccontextmanager
    async def session(self, gone: Callable[[], bool] = lambda: False) -> AsyncIterator[Session]:
        """A session for all the statements of one request: one that waited anew for each would be answered too late.

        Raises Unavailable where the database cannot be asked, also in the midst of it, and where whoever asks is
        ``gone`` once it is their turn: after an outage all who wait have left, and new ones would wait behind them.
        """
        async with self._place():
            if gone():
                raise Unavailable("Whoever asked has left.")
            session: Session | None = None
            try:
                session = self._dead or (self._idle.pop() if self._idle else await self._connect())
                yield session
            except psycopg.OperationalError as error:
                # One broken session means a server that went away: the others are of the same server.
                self._discard(session)
                if self._stubborn:
                    self._dead = self._dead or session
                raise Unavailable(f"The database does not answer ({type(error).__name__}).") from None
            except psycopg.Error as error:
                self._discard(session)
                raise Unavailable(f"The database refused ({error.sqlstate or type(error).__name__}).") from None
            except asyncio.CancelledError:
                self._discard(session)
                raise
            except Exception:
                self._idle += [session] if session else []
                raise
            self._idle.append(session)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the few places."""
        try:
            async with asyncio.timeout(PLACE_LIMIT):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("The database does not keep up.") from None
        try:
            yield
        finally:
            self._places.release()

    async def _connect(self) -> Session:
        async with self._connecting:
            return await psycopg.AsyncConnection.connect(
                _led(self._url),
                autocommit=True,
                connect_timeout=CONNECT_LIMIT,
                application_name="readmission-api",
                # Behind a pooler in transaction mode the next query may meet a server that never prepared it.
                prepare_threshold=None,
            )

    def _discard(self, broken: Session | None = None) -> None:
        """Close without a farewell: a server that hangs would not take it."""
        for session in [*self._idle, *([broken] if broken else [])]:
            with suppress(psycopg.Error):
                session.pgconn.finish()
        self._idle.clear()


def _led(url: str) -> str:
    """``url`` with its host's address, where a file tells it: the certificate has to be the name's all the same."""
    host = str(conninfo_to_dict(url).get("host", ""))
    address = found(host)
    return url if address == host else make_conninfo(url, hostaddr=address)


def _hang_up(session: Session) -> None:
    """End a session's connection under it."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.pgconn.socket)) as connection:
        connection.shutdown(socket.SHUT_RDWR)
