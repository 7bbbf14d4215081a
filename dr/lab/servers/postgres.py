"""One real PostgreSQL server in one directory: what stands behind an instance of the lab's RDS.

A directory holds data/, archive/ (finished WAL), log/ and the configuration files; the file ``ready`` is written last,
so a directory without it is half made: remove it.

The server listens on a loopback port, with TLS and passwords only. The superuser ``rdsadmin`` is reached through a
socket in a closed directory; the master user is what RDS makes it: no superuser, but a member of ``rds_superuser``.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from psycopg import sql

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.servers import process, settings
from dr.lab.servers.front import Front
from dr.lab.servers.settings import ADMIN, SEGMENT_BYTES
from dr.lab.servers.site import Site

SOCKET_LIMIT = 80
"""Bytes of a socket directory's path; the system's limit is 107 for the whole name, and a link's is shorter."""
START_LIMIT = 120.0
"""Seconds a start, recovery included, may take."""
STATUS_LINE = 7
"""Of postmaster.pid, counted from 0: "starting", "standby" while it recovers, "ready"."""
HEARTBEAT = "rds_heartbeat2"


def socket_place(directory: Path) -> Path:
    """A directory for sockets: the one given, or, where its path is too long for them, one in /tmp named after it."""
    if len(os.fsencode(directory)) <= SOCKET_LIMIT:
        return directory
    return Path("/tmp") / f"dr-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"  # noqa: S108


class Server:
    """A server and its directory. Holds no state of its own: two objects for one directory are the same server.

    ``port``: the loopback port. ``archive``: where finished WAL goes; absent: inside the directory.
    ``parameters``: what a parameter group sets; it goes before the lab's own settings of the same name.
    """

    def __init__(
        self,
        site: Site,
        directory: Path,
        port: int,
        archive: Path | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.site = site
        self.directory = directory
        self.port = port
        self.archive = archive or directory / "archive"
        self.parameters = dict(parameters or {})
        self.data = directory / "data"
        self.log = directory / "log" / "postgresql.log"
        # The wheel's server does not speak TLS itself.
        self._front = None if site.binaries.tls else Front(directory, port, self.socket, site.certificate, site.key)

    @property
    def socket_directory(self) -> Path:
        """Where the superuser connects."""
        return socket_place(self.directory / "socket")

    @property
    def socket(self) -> Path:
        return self.socket_directory / f".s.PGSQL.{self.port}"

    @property
    def configuration(self) -> Path:
        return self.directory / "postgresql.conf"

    @property
    def role(self) -> Path:
        """Settings of its part in replication: kept apart, since the others are written anew at every start."""
        return self.directory / "replication.conf"

    @property
    def lost(self) -> Path:
        """Where its data are while its disk is gone."""
        return self.directory / "lost"

    @property
    def is_ready(self) -> bool:
        """Whether it was made, or restored, to the end. False: half made, or nothing there; ``remove`` it."""
        return (self.directory / "ready").exists()

    # ---- making

    def create(self, master: str, password: str, database: str = "") -> None:
        """Make a cluster with its master user and, if named, a database of his; it runs afterwards.

        Raises RefusedError where something is there already or the place cannot be used, ProviderError where it fails;
        nothing stays behind then.
        """
        self.prepare_directory()
        try:
            self._initialise()
            self.start()
            self._bootstrap(master, password, database)
            self.mark_ready()
        except BaseException:
            self.remove()
            raise

    def prepare_directory(self) -> None:
        """Make the empty directory. Raises RefusedError where it is not empty or cannot be made."""
        if self.directory.exists() and any(self.directory.iterdir()):
            raise RefusedError(f"There is something in {self.directory} already.", "Remove it first.")
        for path in (self.directory, self.log.parent):
            self.site.make_directory(path)

    def mark_ready(self) -> None:
        self.site.write(self.directory / "ready", "")

    def _initialise(self) -> None:
        secret = self.directory / "initdb.password"
        self.site.write(secret, self.site.admin_password())
        arguments = ["--pgdata", str(self.data), "--username", ADMIN, "--pwfile", str(secret), "--auth=scram-sha-256"]
        arguments += [f"--wal-segsize={SEGMENT_BYTES >> 20}", "--data-checksums", "--encoding=UTF8", "--no-locale"]
        answer = self.site.binaries.run("initdb", [*arguments, "--no-sync", "--no-instructions"])
        secret.unlink(missing_ok=True)
        if answer.returncode:
            raise ProviderError(f"PostgreSQL could not make a cluster: {last_line(answer.stderr)}.")

    def _bootstrap(self, master: str, password: str, database: str) -> None:
        with self.connect("template1") as connection:
            self._offer_amcheck(connection)
        with self.connect("postgres") as connection:
            for statement in superuser_role(self.site.binaries.major):
                connection.execute(statement)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(ADMIN)))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(ADMIN)))
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {} VALID UNTIL 'infinity'").format(
                    sql.Identifier(master), sql.Literal(verifier(connection, master, password))
                )
            )
            connection.execute(sql.SQL("GRANT rds_superuser TO {}").format(sql.Identifier(master)))
            if database:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(master))
                )
        with self.connect(ADMIN) as connection:
            connection.execute(f"CREATE TABLE {HEARTBEAT} (id int PRIMARY KEY, value timestamptz NOT NULL)")
            connection.execute(f"INSERT INTO {HEARTBEAT} VALUES (1, now())")  # noqa: S608

    def _offer_amcheck(self, connection: psycopg.Connection[Any]) -> None:
        """RDS lets its master create amcheck; here every new database has it, where this PostgreSQL has it at all."""
        known = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").fetchone()
        if known is None:
            return
        connection.execute("CREATE ROLE rds_superuser NOLOGIN")
        connection.execute("CREATE EXTENSION amcheck")
        checks = connection.execute(
            "SELECT p.oid::regprocedure::text FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid"
            " JOIN pg_extension e ON e.oid = d.refobjid"
            " WHERE e.extname = 'amcheck' AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'"
        ).fetchall()
        for (signature,) in checks:
            connection.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO rds_superuser WITH GRANT OPTION")

    # ---- running

    def start(self, recovery: Mapping[str, str] | None = None, limit: float = START_LIMIT) -> None:
        """Start, and return when it takes connections. ``recovery``: settings under which it first replays WAL.

        Raises RefusedError where it is half gone, ProviderError with PostgreSQL's own reason where it does not start.
        """
        if self.pid() is None:
            if self._front:  # it ends soon after its server, but would pass for the new one's until then
                self._front.stop()
            self._start_postgres(recovery or {}, limit)
        if self._front and not self._front.is_running():
            try:
                self._front.start()
            except ProviderError:
                self.kill()
                raise

    def _start_postgres(self, recovery: Mapping[str, str], limit: float) -> None:
        if not (self.data / "PG_VERSION").exists():
            raise RefusedError(f"There is no database in {self.data}.", "Restore it from a backup.")
        self._configure(recovery)
        self._forget_stale_pid()
        mark = self.log.stat().st_size if self.log.exists() else 0
        options = f"-c config_file={shlex.quote(str(self.configuration))}"
        arguments = ["start", "-D", str(self.data), "-l", str(self.log), "-o", options, "-s", "-w"]
        deadline = self.site.clock.now().mono_ns + round(limit * 1e9)
        answer = self.site.binaries.run("pg_ctl", [*arguments, "-t", f"{limit:.0f}"], limit=limit + 10)
        # pg_ctl does not wait for the end of a recovery.
        started = answer.returncode == 0 and (not recovery or self.recovers(deadline))
        if not started:
            reason = self._why(mark) or last_line(answer.stderr) or f"it was not ready within {limit:.0f} s"
            with suppress(DrError):
                self.kill()
            raise ProviderError(f"PostgreSQL on port {self.port} did not start: {reason}.")
        if recovery:
            self._configure({})
        # The checkpointer looked at archive_timeout while the server still recovered, and would now sleep for minutes.
        self.reload()

    def reload(self) -> None:
        """Have it read its configuration again. It does so a moment later."""
        self._tell(signal.SIGHUP)

    def _tell(self, number: signal.Signals) -> process.Process | None:
        """Send the postmaster a signal, as pg_ctl does. Returns it, if it lives."""
        found = self._postmaster()
        if found is not None:
            with suppress(psutil.NoSuchProcess):
                found.send_signal(number)
        return found

    def recovers(self, deadline: int) -> bool:
        """Wait until the recovery has ended. Whether it takes sessions then; False: it gave up, or ran out of time.

        ``deadline``: in monotonic nanoseconds.
        """
        while self._postmaster() is not None and self.site.clock.now().mono_ns < deadline:
            with suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().split("\n")
                if len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready":
                    return True
            self.site.clock.sleep(0.02)
        return False

    def _configure(self, recovery: Mapping[str, str]) -> None:
        """Write every file anew: the port, the archive and the certificate are this server's, not its origin's."""
        site = self.site
        for path in (self.archive, self.socket_directory, self.log.parent):
            site.make_directory(path)
        key, certificate = self.directory / "server.key", self.directory / "server.pem"
        site.write(key, site.key.read_text())
        site.write(certificate, site.certificate.read_text())
        rules = self.directory / "pg_hba.conf"
        site.write(rules, settings.access_rules())
        values = {
            **settings.DEFAULTS,
            **self.parameters,
            "data_directory": str(self.data),
            "hba_file": str(rules),
            "ident_file": str(self.data / "pg_ident.conf"),
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_directory),
            "archive_command": settings.archive_command(self.archive),
            **recovery,
        }
        if site.binaries.tls:
            values |= {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
        else:
            values["listen_addresses"] = ""
            del values["ssl_min_protocol_version"]
        if not self.role.exists():
            site.write(self.role, "")
        values["include"] = str(self.role)
        site.write(self.configuration, settings.render(values))

    def _forget_stale_pid(self) -> None:
        """After a kill its lock files may name somebody else's process, or its own that nobody has reaped yet:
        PostgreSQL would refuse to start over them."""
        for path in (self.data / "postmaster.pid", self.socket.with_name(f"{self.socket.name}.lock")):
            path.unlink(missing_ok=True)

    def _why(self, mark: int) -> str:
        """The reason a start failed: the last FATAL or PANIC that the log gained since ``mark``."""
        if not self.log.exists():
            return ""
        with self.log.open(errors="replace") as file:
            file.seek(mark)
            lines = file.read().splitlines()
        bad = [line.split(": ", 1)[1].strip() for line in lines if "FATAL:" in line or "PANIC:" in line]
        # The first names the cause; what follows is its consequence ("shutting down").
        return bad[0].rstrip(".") if bad else ""

    def pid(self) -> int | None:
        """The postmaster's, if it lives and is this directory's."""
        found = self._postmaster()
        return found.pid if found else None

    def _postmaster(self) -> process.Process | None:
        number = process.recorded(self.data / "postmaster.pid")
        return process.alive(number, str(self.data)) if number is not None else None

    def roots(self) -> list[process.Process]:
        """The processes that all others of this server descend from: its postmaster's, and its TLS front's."""
        found = [self._postmaster(), self._front.living() if self._front else None]
        return [one for one in found if one is not None]

    def is_running(self) -> bool:
        """Whether its processes are there. A server whose TLS front died counts as not running."""
        return self.pid() is not None and (self._front is None or self._front.is_running())

    def stop(self, limit: float = 60.0, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Shut down; sessions are ended. Harmless where it does not run. Raises ProviderError.

        ``mode``: "fast" leaves a clean cluster and a complete archive; "immediate" leaves both as they are.
        """
        if self._front:
            self._front.stop()
        found = self._tell(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        if found is not None and not process.ended(found, limit):
            raise ProviderError(f"PostgreSQL on port {self.port} did not stop within {limit:.0f} s.")

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL to all its processes."""
        if self._front:
            self._front.stop()
        found = self._postmaster()
        if found is not None:
            process.kill_tree(found)
        process.unshare(self.data / "postmaster.pid")

    def remove(self) -> None:
        """End it and delete its directory; an archive elsewhere stays. Harmless where nothing is there."""
        try:
            self.stop(limit=10, mode="immediate")
        except ProviderError:
            self.kill()
        for data in (self.data, self.lost):
            process.unshare(data / "postmaster.pid")
        for path in (self.directory, self.socket_directory):
            shutil.rmtree(path, ignore_errors=True)
        if self.directory.exists():
            raise ProviderError(f"{self.directory} could not be removed whole.", "Look at what holds it.")

    # ---- using

    @contextmanager
    def connect(self, database: str = ADMIN) -> Iterator[psycopg.Connection[Any]]:
        """A session of the superuser's, through the socket, each statement its own transaction.

        Raises ProviderError (transient where there is no connection) instead of psycopg's errors.
        """
        with translated(f"PostgreSQL on port {self.port}"), self.session(database) as connection:
            yield connection

    def session(self, database: str = ADMIN) -> psycopg.Connection[Any]:
        """As ``connect``, for whoever keeps it. Raises psycopg's errors."""
        return psycopg.connect(
            host=str(self.socket_directory),
            port=self.port,
            user=ADMIN,
            password=self.site.admin_password(),
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def set_password(self, user: str, password: str) -> None:
        """Give a role a new password; only its SCRAM verifier reaches the server. Raises ProviderError."""
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(user), sql.Literal(verifier(connection, user, password))
                )
            )

    def beat(self) -> None:
        """Commit one heartbeat, so that there is something to restore up to. Raises ProviderError."""
        with self.connect() as connection:
            connection.execute(BEAT)

    def switch_wal(self) -> None:
        """Commit a heartbeat and finish its WAL segment, so that it is archived now. Raises ProviderError."""
        with self.connect() as connection:
            connection.execute(BEAT)
            connection.execute("SELECT pg_switch_wal()")


BEAT = f"UPDATE {HEARTBEAT} SET value = clock_timestamp() WHERE id = 1"  # noqa: S608


class Heartbeat(threading.Thread):
    """Commits a heartbeat about every ``interval`` seconds over one session, for as long as the server lives.

    A server that is down is tried again at every beat; ``stop`` ends it.
    """

    def __init__(self, server: Server, interval: float = 1.0) -> None:
        super().__init__(name=f"heartbeat-{server.port}", daemon=True)
        self._server = server
        self._interval = interval
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(ProviderError), self._server.connect() as connection:
                while not self._over.is_set():
                    connection.execute(BEAT)
                    self._over.wait(self._interval)
            self._over.wait(self._interval)

    def stop(self, limit: float = 30.0) -> None:
        """No more heartbeats; wait up to ``limit`` seconds for one under way, which may wait for a standby."""
        self._over.set()
        self.join(timeout=limit)


def superuser_role(major: int) -> list[str]:
    """What RDS gives its master through ``rds_superuser``: watch, read, write, end sessions, and pass that on."""
    roles = ["pg_monitor", "pg_signal_backend", "pg_read_all_data", "pg_write_all_data"]
    if major >= 15:
        roles.append("pg_checkpoint")
    create = "DO $$ BEGIN CREATE ROLE rds_superuser NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    return [create, *(f"GRANT {role} TO rds_superuser WITH ADMIN OPTION" for role in roles)]


def verifier(connection: psycopg.Connection[Any], user: str, password: str) -> str:
    """The SCRAM verifier of a password, made on this side: the password itself never crosses."""
    return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """psycopg's errors as ours. ``what``: whose error it is, for the sentence."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise ProviderError(f"{what} cannot be used: {last_line(str(error))}.", transient=True) from None
    except psycopg.Error as error:
        primary = error.diag.message_primary or last_line(str(error))
        raise ProviderError(f"{what} refused a statement: {primary}.", code=error.sqlstate or "") from None


def last_line(text: str) -> str:
    """The last thing a program said, fit to stand inside a sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""
