"""Put the prediction service to work on a restored database: the verb ``serve``.

The service is a command that knows nothing of dr; a guardian runs it. Its password and its token travel in the
environment of the process alone. Whether it heeds the database it is given is not taken on trust: a service that has no
session on the copy is of some other database, and is not judged or probed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from urllib.parse import quote

from dr.config.context import Context
from dr.config.model import Login
from dr.config.secrets import secret
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, Request, RunIdentity, Verb
from dr.domain.refs import Endpoint, result_of
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.plugin import made_by
from dr.drivers.postgres.servers import Look, seen_beside, watching
from dr.drivers.sections import sections
from dr.drivers.service import guardian
from dr.drivers.service.asking import answer_digest, get, name_of, predict
from dr.drivers.service.config import ServiceConfig
from dr.host import children

LOOPBACK = "127.0.0.1"
START_DEADLINE, GOLDEN_DEADLINE = 120.0, 300.0
READY_PATIENCE = 2.0
READY_ASKS, GOLDEN_ASKS = 8, 3
"""Times that /readyz, then /predict is asked while the service's session is looked for: some two seconds, and one."""
UNANSWERED = "no answer"
"""Stands for an answer's digest where there was none: it equals no baseline's."""

Watch = Callable[[Endpoint, PostgresConfig, str], AbstractContextManager[Look]]
"""As ``watching``."""


class ServingProvider:
    """Calls: ``serve`` starts the service, ``golden`` asks it for the answers that the baseline's has given."""

    def __init__(self, context: Context, watch: Watch = watching) -> None:
        self._context, self._target, self._watch = context, sections(context.target), watch
        self._pidfile, self._log = context.run / "serve.pid", context.run / "serve.log"

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        return Facts(self._context.clock.now().at)

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:  # noqa: ARG002
        """Start, then ask. Raises RefusedError where the target names no service, UsageError for an unknown role."""
        service, served, made = self._service(), children.process("serve"), made_by(verb)
        self._login()
        stop = Call(
            *("stop-serve", verb.name, "unwind", "service", "stop"),
            effect=Effect.CHANGES,
            touches=(served,),
            deadline=30.0,
        )
        serve = Call(
            id="serve",
            verb=verb.name,
            phase="warm-up",
            driver="service",
            operation="start",
            args={name: f"${{{made}.{name}}}" for name in ("host", "port")},
            effect=Effect.MAKES,
            touches=(result_of(made),),
            makes=(served,),
            undo=stop,
            until="the service ready on the copy",
            deadline=START_DEADLINE,
            volatile=True,
        )
        golden = Call(
            id="golden",
            verb=verb.name,
            phase="verify",
            driver="service",
            operation="ask",
            args={"url": "${serve.url}"},
            effect=Effect.CHANGES,  # each answer is a row of the copy
            touches=(served,),
            until="every golden request asked",
            deadline=GOLDEN_DEADLINE,
        )
        return (serve, golden) if service.requests else (serve,)

    def confirm_identity(self) -> None:
        """Nothing to compare: what is started here is given a copy of this run, over verified TLS, and seen there."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == "start":
            return self._start(Endpoint(str(args["host"]), int(args["port"])))
        if call.operation == "stop":
            children.stop(self._pidfile)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == "start":
            return self._ready(result)
        if call.operation == "ask":
            return self._golden(str(result["url"]))
        return Progress(done=True, result={})

    def _service(self) -> ServiceConfig:
        service = self._context.target.of(ServiceConfig)
        if not service.command:
            raise RefusedError(
                f"Target {self._context.name} names no service.command, so nothing can serve the restored database.",
                "Add it, or leave out the verb serve.",
            )
        return service

    def _login(self) -> Login:
        user = self._service().login
        found = next((role for role in self._target.postgres.roles if role.user == user), None)
        if found is None:
            raise UsageError(
                f"The service logs in as {user!r}, which is none of database.roles of {self._context.name}."
            )
        return found

    def _start(self, copy: Endpoint) -> Mapping[str, Any]:
        """Start the service, in place of one that an earlier attempt left. ``before``: whose sessions are not its."""
        children.stop(self._pidfile)
        with self._watching(copy) as look:
            before = look()
        own_port, started_at = _free_port(), self._now()
        argv, env = self._service().command, self._environment(copy, own_port)
        kept = partial(guardian.keep, argv, env, self._pidfile, self._context.owner)
        held = children.begin(kept, self._pidfile, self._log)
        url, started = f"http://{LOOPBACK}:{own_port}", held.who.partition(":")[2]
        served = {"url": url, "pid": held.pid, "started": started, "started_at": started_at}
        return {"served": served, "copy": copy, "before": before}

    def _watching(self, copy: Endpoint) -> AbstractContextManager[Look]:
        return self._watch(copy, self._target.postgres, self._login().user)

    def _environment(self, copy: Endpoint, own_port: int) -> dict[str, str]:
        service, login, database = self._service(), self._login(), self._target.postgres
        return {
            "DATABASE_URL": f"postgresql://{quote(login.user, safe='')}@{copy}/{quote(database.name, safe='')}",
            "PGPASSWORD": secret(login.secret),
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": database.ca or "system",
            "HOST": LOOPBACK,
            "PORT": str(own_port),
            "MODEL_DIR": service.artifacts,
            **({"API_TOKEN": secret(service.token)} if service.token else {}),
        }

    def _ready(self, result: Mapping[str, Any]) -> Progress:
        if children.running(self._pidfile) is None:
            held = children.held(self._pidfile)
            hidden = [secret(one) for one in (self._login().secret, self._service().token) if one]
            said = children.last_words(self._log, hidden)
            raise ProviderError(
                f"The prediction service ended early ({held.ended if held and held.ended else 'killed'}): {said}",
                "Its output stands in serve.log of the run directory.",
            )
        try:
            status, _ = get(str(result["served"]["url"]), "/readyz", patience=READY_PATIENCE)
        except ProviderError:
            return Progress(done=False, note="the service does not listen yet")
        if status != 200:
            return Progress(done=False, note=f"the service says it is not ready (status {status})")
        served = {**result["served"], "ready_at": self._now()}
        seen = self._seen(served["url"], result["copy"], result["before"])
        when = {"started": float(served["started_at"]), "served": float(served["ready_at"])}
        return Progress(done=True, result=served, observations=(seen,), milestones=when)

    def _seen(self, url: str, copy: Endpoint, before: frozenset[int]) -> Observation:
        """The service's sessions on the copy. Raises ProviderError where it has none, or where nobody can look."""
        user = self._login().user
        with self._watching(copy) as look:
            found = seen_beside(look, self._asks(url), before, self._context.clock)
        if not found:
            raise ProviderError(
                f"The prediction service has no session on the copy at {copy} as {user}: what it answers may be of"
                " another database, the source's even, and so it is not measured.",
                "Let service.command connect to the DATABASE_URL of its environment, as the user that it names.",
            )
        return Observation("service-sessions", "restored", {"user": user, "seen": len(found)}, self._now())

    def _asks(self, url: str) -> Iterator[Callable[[], object]]:
        """What may make the service connect: /readyz, which writes nothing and is all that most of them need. Only of
        one that connects for predictions alone are some asked, no more than any baseline asks of the source."""
        yield from (partial(get, url, "/readyz", patience=READY_PATIENCE) for _ in range(READY_ASKS))
        service = self._service()
        yield from (partial(predict, url, request, service.token) for request in service.requests[:GOLDEN_ASKS])

    def _golden(self, url: str) -> Progress:
        """Ask all requests. One that gets no answer is part of the observation: a finding, not a failure of the run.

        Raises RefusedError where the service refuses the token: then nothing is found out about the copy.
        """
        service = self._service()
        answers = {}
        for request in service.requests:
            try:
                answers[name_of(request)] = answer_digest(url, request, service.volatile, service.token)
            except ProviderError as error:
                answers[name_of(request)] = f"{UNANSWERED}: {error}"
        observation = Observation("golden", "restored", answers, self._now())
        return Progress(done=True, result={"asked": len(answers)}, observations=(observation,))

    def _now(self) -> float:
        return self._context.clock.now().at


def _free_port() -> int:
    """A port that nothing listens on now; whoever takes it first afterwards wins, and the service then ends early."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
