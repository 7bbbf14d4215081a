"""Put the prediction service to work on a restored database: the verb ``serve``.

Called by: the engine, through ``dr.wiring``. The service is a command that knows nothing of dr; a guardian runs it.
Its password travels in the environment of the process alone.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dr.config.context import Context
from dr.config.load import secret
from dr.config.model import Login, ServiceConfig
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Facts, Observation, Progress, Request, RunIdentity, Verb
from dr.drivers import process
from dr.drivers.arguments import check_arguments, made_by
from dr.drivers.asking import answer_digest, ask_golden, get, name_of

__all__ = ["ServingProvider", "ask_golden"]

LOOPBACK = "127.0.0.1"
START_DEADLINE, GOLDEN_DEADLINE = 120.0, 300.0
READY_PATIENCE = 2.0
UNANSWERED = "no answer"
"""Stands for an answer's digest where there was none: it equals no baseline's."""


class ServingProvider:
    """Calls: ``serve`` starts the service, ``golden`` asks it for the answers that the baseline's has given."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        target = self._context.target
        return Facts(self._context.clock.now().at, target.account, target.region)

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        """Start, then ask. Raises RefusedError where the target names no service, UsageError for an unknown role."""
        check_arguments(verb, "of")
        service = self._service()
        self._login(service)
        stop = Call("stop-serve", verb.name, "unwind", "serving", "stop", deadline=30.0)
        serve = Call(
            id="serve",
            verb=verb.name,
            phase="warm-up",
            driver="serving",
            operation="start",
            args={name: f"${{{made_by(verb)}.{name}}}" for name in ("host", "port")},
            undo=stop,
            until="the service ready",
            deadline=START_DEADLINE,
            volatile=True,
        )
        golden = Call(
            id="golden",
            verb=verb.name,
            phase="verify",
            driver="serving",
            operation="ask",
            args={"url": "${serve.url}"},
            until="every golden request asked",
            deadline=GOLDEN_DEADLINE,
        )
        return (serve, golden) if service.requests else (serve,)

    def confirm_identity(self) -> None:
        """Nothing to compare: what is started here talks to a copy of this run, over verified TLS."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == "start":
            return self._start(str(args["host"]), int(args["port"]))
        if call.operation == "stop":
            process.stop(self._pidfile)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == "start":
            return self._ready(result)
        if call.operation == "ask":
            return self._golden(str(result["url"]))
        return Progress(done=True, result={})

    @property
    def _pidfile(self) -> Path:
        return self._context.run / "serve.pid"

    @property
    def _log(self) -> Path:
        return self._context.run / "serve.log"

    def _service(self) -> ServiceConfig:
        service = self._context.target.service
        if service is None or not service.command:
            raise RefusedError(
                f"Target {self._context.name} names no service command, so nothing can serve the restored database.",
                "Add service.command to the target, or leave out the verb serve.",
            )
        return service

    def _login(self, service: ServiceConfig) -> Login:
        known = {role.user: role for role in self._context.target.database.roles}
        if service.login not in known:
            raise UsageError(
                f"The service logs in as {service.login!r}, which is none of database.roles of {self._context.name}."
            )
        return known[service.login]

    def _start(self, host: str, port: int) -> Mapping[str, Any]:
        """Start the service, in place of one that an earlier attempt left."""
        process.stop(self._pidfile)
        service = self._service()
        own_port = _free_port()
        started_at = self._context.clock.now().at
        held = process.spawn(
            [sys.executable, "-m", "dr.drivers.guardian"],
            self._pidfile,
            self._log,
            {"argv": list(service.command), "pidfile": str(self._pidfile), "owner": self._context.owner},
            self._environment(service, host, port, own_port),
        )
        url = f"http://{LOOPBACK}:{own_port}"
        return {"url": url, "pid": held.pid, "started": held.who.partition(":")[2], "started_at": started_at}

    def _environment(self, service: ServiceConfig, host: str, port: int, own_port: int) -> dict[str, str]:
        login, database = self._login(service), self._context.target.database
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": database.ca or "system"}
        return {
            "DATABASE_URL": f"postgresql://{quote(login.user, safe='')}@{host}:{port}/{quote(database.name, safe='')}",
            "PGPASSWORD": secret(login.secret),
            **verified,
            "HOST": LOOPBACK,
            "PORT": str(own_port),
            "MODEL_DIR": service.artifacts,
        }

    def _ready(self, result: Mapping[str, Any]) -> Progress:
        if process.running(self._pidfile) is None:
            held = process.held(self._pidfile)
            said = process.last_words(self._log, [secret(self._login(self._service()).secret)])
            raise ProviderError(
                f"The prediction service ended early ({held.ended if held and held.ended else 'killed'}): {said}",
                "Its output stands in serve.log of the run directory.",
            )
        try:
            status, _ = get(str(result["url"]), "/readyz", patience=READY_PATIENCE)
        except ProviderError:
            return Progress(done=False, note="the service does not listen yet")
        if status != 200:
            return Progress(done=False, note=f"the service says it is not ready (status {status})")
        return Progress(done=True, result={**result, "ready_at": self._context.clock.now().at})

    def _golden(self, url: str) -> Progress:
        """Ask all requests. One that gets no answer is part of the observation: a finding, not a failure of the run."""
        service = self._service()
        answers = {}
        for request in service.requests:
            try:
                answers[name_of(request)] = answer_digest(url, request, service.volatile)
            except ProviderError as error:
                answers[name_of(request)] = f"{UNANSWERED}: {error}"
        observation = Observation("golden", "restored", answers, self._context.clock.now().at)
        return Progress(done=True, result={"asked": len(answers)}, observations=(observation,))


def _free_port() -> int:
    """A port that nothing listens on now; whoever takes it first afterwards wins, and the service then ends early."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
