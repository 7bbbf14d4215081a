"""Put the prediction service to work on a restored database: the verb ``serve``.

The service is a command that knows nothing of dr; a guardian runs it. Its password and its token travel in the
environment of the process alone. Whether it heeds the database it is given is not taken on trust: a service that has no
session on the copy is of some other database, and is not judged or probed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from dr.config.context import Context
from dr.config.model import Login
from dr.config.secrets import secret
from dr.domain.errors import ProviderError, RefusedError, UsageError
from dr.domain.model import Call, Effect, Facts, Observation, Progress, Purpose, Request, RunIdentity, Verb
from dr.domain.refs import Endpoint, Ref, result_of
from dr.drivers.measuring.paths import RESTORED
from dr.drivers.postgres.config import PostgresConfig
from dr.drivers.postgres.plugin import made_by
from dr.drivers.postgres.servers import Look, seen_beside, watching
from dr.drivers.postgres.source import database_of
from dr.drivers.service import guardian
from dr.drivers.service.asking import answer_to, get, name_of, predict, predictions
from dr.drivers.service.config import ServiceConfig, Stored
from dr.drivers.service.rows import plant, uproot
from dr.drivers.service.variants import Variant, variants
from dr.drivers.service.withheld import REQUESTS, Said, withheld
from dr.evidence.answers import UNANSWERED, Names, form_of, stored_form
from dr.evidence.samples import next_number, samples_file
from dr.host import children
from dr.host.bounded import NO_ANSWER

LOOPBACK = "127.0.0.1"
PLANT_DEADLINE, START_DEADLINE, GOLDEN_DEADLINE = 120.0, 120.0, 300.0
READY_PATIENCE = 2.0
GOLDEN_AGAIN = 4
"""Golden requests that are asked once more in all: what a service that stood still for half a minute did not answer."""
READY_ASKS, GOLDEN_ASKS = 8, 3
"""Times that /readyz, then /predict is asked while the service's session is looked for: some two seconds, and one."""
NOT_SAID = "the target does not say how (service.planted)"

Watch = Callable[[Endpoint, PostgresConfig, str], AbstractContextManager[Look]]
"""As ``watching``."""


class ServingProvider:
    """Calls: ``plant`` puts rows of the run's own into the copy, ``serve`` starts the service, ``golden`` asks it for
    the answers that the baseline's has given, and for those to what was planted; ``ask-PATH`` asks the target's own."""

    def __init__(self, context: Context, watch: Watch = watching) -> None:
        self._context, self._watch, self._database = context, watch, context.target.of(PostgresConfig)
        self._pidfile, self._log = context.run / guardian.PIDFILE, context.run / "serve.log"
        self._asked = self._again = 0
        """How many requests were sent, and how many more may be where one was not answered in time."""

    def look(self, request: Request) -> Facts:  # noqa: ARG002  (the Protocol's)
        """``extra``: {"stored": whether the service stores predictions, as far as dr.yaml tells}."""
        service = self._context.target.section(ServiceConfig)
        return Facts(self._context.clock.now().at, extra={"stored": service is None or service.stored is not False})

    def propose(self, verb: Verb, facts: Facts, run: RunIdentity) -> tuple[Call, ...]:
        """Plant, start, then ask. Raises RefusedError where the target names no service, UsageError for an unknown
        role or path."""
        if verb.name == "ask":
            return (self._asking(verb, facts, run),)
        service, served, made = self._service(), children.process("serve"), made_by(verb)
        self._login()
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
            until="the service ready on the copy",
            deadline=START_DEADLINE,
            volatile=True,
        ).undone_by("stop-serve", "stop", {}, deadline=30.0)
        golden = Call(
            id="golden",
            verb=verb.name,
            phase="verify",
            driver="service",
            operation="ask",
            args={
                **{name: f"${{serve.{name}}}" for name in ("url", "host", "port")},
                "run": run.id,
                "planted": "${plant.rows}" if service.planted else 0,
                "because": "${plant.because}" if service.planted else NOT_SAID,
                "planting": "${plant.at}" if service.planted else None,
            },
            effect=Effect.CHANGES,  # each answer is a row of the copy
            touches=(served, result_of(made)),
            until="every golden request asked",
            deadline=GOLDEN_DEADLINE,
        )
        if not service.requests:
            return (serve,)
        return (*self._planting(verb, made, run), serve, golden)

    def _asking(self, verb: Verb, facts: Facts, run: RunIdentity) -> Call:
        """What the service answers now, against what was recorded before it was lost."""
        path, service = str(verb.args["path"]), self._context.target.of(ServiceConfig)
        if not service.way(path):
            raise UsageError(f"Where path {path!r} is served is not known.", "Add it to service.ways of the target.")
        lost = facts.at if run.since is None else run.since
        return Call(
            *(f"ask-{path}", verb.name, "verify", "service", "ask-way"),
            {"path": path, "url": service.way(path), "before": lost},
            effect=Effect.MAKES,  # each answer is a row
            makes=(predictions(database_of(self._context.target).ref),),
            until="every golden request asked",
            deadline=GOLDEN_DEADLINE,
        )

    def _planting(self, verb: Verb, made: str, run: RunIdentity) -> Iterator[Call]:
        """Rows in the copy, which are taken out of one that a restore on call leaves; a drill's goes with them."""
        if self._service().planted is None:
            return
        rows = Ref("service", "rows", f"of run {run.id}", result_of(made))
        args = {**{name: f"${{{made}.{name}}}" for name in ("host", "port")}, "run": run.id}
        plant = Call(
            *("plant", verb.name, "verify", "service", "plant", args),
            effect=Effect.MAKES,
            touches=(result_of(made),),
            makes=(rows,),
            until="a synthetic patient of the run's own in the copy",
            deadline=PLANT_DEADLINE,
        )
        keeps = run.purpose is Purpose.RESTORE
        yield plant.undone_by("undo-plant", "uproot", deadline=PLANT_DEADLINE) if keeps else plant

    def confirm_identity(self) -> None:
        """Nothing to compare: what is started here is given a copy of this run, over verified TLS, and seen there."""

    def apply(self, call: Call, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.operation == "start":
            return self._start(Endpoint(str(args["host"]), int(args["port"])))
        if call.operation in ("plant", "uproot"):
            return self._change_rows(call.operation, args)
        if call.operation == "stop":
            children.stop(self._pidfile)
        return dict(args)

    def poll(self, call: Call, result: Mapping[str, Any]) -> Progress:
        if call.operation == "start":
            return self._ready(result)
        if call.operation == "ask":
            return self._golden(result)
        if call.operation == "ask-way":
            return self._asked_on(str(result["path"]), result)
        return Progress(done=True, result=dict(result) if call.operation == "plant" else {})

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
        found = next((role for role in self._database.roles if role.user == user), None)
        if found is None:
            raise UsageError(
                f"The service logs in as {user!r}, which is none of database.roles of {self._context.name}."
            )
        return found

    def _change_rows(self, operation: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """What cannot be planted is a finding, and keeps the copy from nothing else. ``at`` tells one planting from
        another; ``next``: the number from which on requests under load can be for it."""
        copy, database, service = Endpoint(str(args["host"]), int(args["port"])), self._database, self._service()
        planting, run = service.planted, str(args["run"])
        if planting is None:
            raise UsageError("The target no longer says how rows are planted (service.planted).", "Say it as before.")
        stored = service.stored if isinstance(service.stored, Stored) else None
        if operation == "uproot":
            made = args["undone"]["result"]
            if made and not made["rows"] and not made["unsure"]:
                return {"rows": 0}
            return {"rows": uproot(copy, database, planting, stored, run, made.get("rows", 0))}
        told = {"at": self._now(), "next": next_number(samples_file(self._context.run, RESTORED))}
        try:
            return {**told, "rows": plant(copy, database, planting, stored, run), "because": ""}
        except (ProviderError, RefusedError) as error:
            lost = isinstance(error, ProviderError) and error.transient  # before it was known whether they are there
            return {**told, "rows": 0, "because": str(error), "unsure": lost}

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
        return {"served": {**served, "host": copy.host, "port": copy.port}, "copy": copy, "before": before}

    def _watching(self, copy: Endpoint) -> AbstractContextManager[Look]:
        return self._watch(copy, self._database, self._login().user)

    def _environment(self, copy: Endpoint, own_port: int) -> dict[str, str]:
        service, login, database = self._service(), self._login(), self._database
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

    def _golden(self, args: Mapping[str, Any]) -> Progress:
        """Ask all requests, and what was planted. One that gets no answer is part of the observation: a finding, not a
        failure of the run.

        Raises RefusedError where the service refuses the token: then nothing is found out about the copy.
        """
        service, url, self._again = self._service(), str(args["url"]), GOLDEN_AGAIN
        planted = variants(service, str(args["run"]), planted=True) if args.get("planted") else ()
        with self._seeing_it_stopped() as stood:
            asked_before = self._asked
            waits, unwatched, said = self._withheld(args, planted)  # first: a service may remember what it answered
            withheld_from = self._asked - asked_before  # for planted rows no more than these
            answers = {name_of(request): self._form(self._answer(url, request), {}) for request in service.requests}
            before = self._asked
            asked = [(one, self._answer(url, one.request)) for one in planted]
        found = {
            "answers": {one.golden: self._form(answer, one.names) for one, answer in asked},
            "because": args.get("because", NOT_SAID),
            **({"waits": waits, "unwatched": unwatched} if planted else {}),
        }
        seen = (
            Observation("golden", "restored", answers, self._now()),
            Observation("planted", "restored", found, self._now()),
            Observation("asked", "restored", {"stood": round(stood(), 1)}, self._now()),
        )
        good = sum(not isinstance(answer, str) for answer in (*said, *(answer for _, answer in asked)))
        told = {"good": good, "sent": max(good, self._asked - before + withheld_from), "planting": args.get("planting")}
        told["kept"] = self._kept(asked)
        return Progress(done=True, result={"asked": len(answers), "answers": answers, **told}, observations=seen)

    def _asked_on(self, path: str, args: Mapping[str, Any]) -> Progress:
        from dr.drivers.service.recorded import recorded

        self._again = GOLDEN_AGAIN
        requests = self._context.target.of(ServiceConfig).requests
        answers = {name_of(request): self._form(self._answer(str(args["url"]), request), {}) for request in requests}
        baseline, now = recorded(self._context, float(args["before"])), self._now()
        held = None if baseline is None else msgspec.to_builtins(baseline)
        seen = (Observation("baseline", "source", held, now), Observation("golden", path, answers, now))
        return Progress(done=True, result={"asked": len(answers)}, observations=seen)

    def _withheld(
        self, args: Mapping[str, Any], planted: Sequence[Variant]
    ) -> tuple[dict[str, list[str]], str, list[Said]]:
        """What the first golden requests, and the planted ones that are equal to them, do while nobody may read their
        rows in the copy; why that was not seen; and what the planted ones came to."""
        service, url, waits, said = self._service(), str(args["url"]), dict[str, list[str]](), list[Said]()
        golden = {name_of(request): request for request in service.requests}
        if service.planted is None or "host" not in args:  # a run that an earlier version began has none
            return {}, "", []
        copy = Endpoint(str(args["host"]), int(args["port"]))
        try:
            for one in planted[:REQUESTS]:
                asks = [partial(self._answer, url, request) for request in (golden[one.golden], one.request)]
                done = [withheld(copy, self._database, service.planted, ask, self._context.clock) for ask in asks]
                waits[one.golden] = [what for what, _ in done]
                said.append(done[1][1])
        except (ProviderError, RefusedError) as error:
            return waits, str(error), said
        return waits, "", said

    def _kept(self, asked: Iterable[tuple[Variant, Said]]) -> dict[str, list[str]]:
        """What the rows that the service stores of its answers are to hold, by each name that they may be found by."""
        service, kept = self._service(), dict[str, list[str]]()
        fields = service.stored.values if isinstance(service.stored, Stored) else {}
        for one, answer in asked:
            if fields and not isinstance(answer, str):
                form = stored_form({field: answer.get(field) for field in fields}, service.tolerance)
                for name in one.names:
                    kept.setdefault(str(name), []).append(form)
        return kept

    def _answer(self, url: str, request: Mapping[str, object]) -> Said:
        """The answer, or why there was none. One that was not answered in time is asked again: a process that stood
        still for half a minute says nothing of the copy."""
        service = self._context.target.of(ServiceConfig)
        while True:
            self._asked += 1
            try:
                return answer_to(url, request, service.token)
            except ProviderError as error:
                if error.code != NO_ANSWER or not self._again:
                    return f"{UNANSWERED}: {error}"
                self._again -= 1

    def _form(self, said: Said, names: Names) -> str:
        service = self._context.target.of(ServiceConfig)
        return said if isinstance(said, str) else form_of(said, service.volatile, service.tolerance, names)

    def _seeing_it_stopped(self) -> AbstractContextManager[Callable[[], float]]:
        """For how many seconds the service's process stood still meanwhile."""
        held = children.running(self._pidfile)
        return nullcontext(lambda: 0.0) if held is None else children.standing_still(held.pid)

    def _now(self) -> float:
        return self._context.clock.now().at


def _free_port() -> int:
    """A port that nothing listens on now; whoever takes it first afterwards wins, and the service then ends early."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
