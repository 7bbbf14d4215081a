"""The text of a server's configuration files. Pure.

The files stand outside the data directory, so that a physical backup carries none of them and a restored server gets
its own port, socket, archive and certificate.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

ADMIN = "rdsadmin"
"""The superuser, named as RDS names it: it is reached through the socket alone."""

SEGMENT_BYTES = 1 << 20
"""One WAL segment: small, since one is archived every few seconds."""
SPACING = 1.2
"""Seconds between a baseline and the backup beside it: recovery points are known to the second, and a baseline judges
only what surely lies between itself and the next."""

DEFAULTS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "60",
    # A copy of a source that allows fewer would not start with what that had prepared.
    "max_prepared_transactions": "5",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "jit": "off",
    # In the data directory, and so gone with it: a server that is killed leaves in the system's what it had there.
    "dynamic_shared_memory_type": "mmap",
    "wal_level": "replica",
    # A standby, two replicas and their rebuilding (two each), and a backup (two).
    "max_wal_senders": "12",
    # What a standby that is away may hold back, and what one that changes its primary still finds.
    "max_slot_wal_keep_size": "256MB",
    "wal_keep_size": "32MB",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "500ms",
    "min_wal_size": "8MB",
    "max_wal_size": "256MB",
    "archive_mode": "on",
    "archive_timeout": "2s",
    "ssl_min_protocol_version": "TLSv1.3",
    # Servers are killed here, and their machine lives on: nobody uses a lab's data after that has failed.
    "fsync": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # Statements hold password verifiers, and DETAIL lines hold patients' rows: neither belongs into a log.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def quoted(value: str) -> str:
    """A value as postgresql.conf wants it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def render(settings: Mapping[str, str]) -> str:
    """A postgresql.conf."""
    return "".join(f"{name} = {quoted(value)}\n" for name, value in settings.items())


def access_rules() -> str:
    """pg_hba.conf: passwords everywhere; over TCP only with TLS, and never as the superuser."""
    return (
        f"local all all scram-sha-256\n"
        f"local replication {ADMIN} scram-sha-256\n"
        f"hostssl all {ADMIN} all reject\n"
        f"hostssl all all 127.0.0.1/32 scram-sha-256\n"
    )


def _placed(path: Path) -> str:
    """A path inside a command that PostgreSQL expands: for the shell, and with its percent signs doubled."""
    return shlex.quote(str(path)).replace("%", "%%")


def archive_command(archive: Path) -> str:
    """Copy one finished segment: whole or not at all, and again after a crash without harm.

    Segments are mostly zeros after a switch; on Linux they are stored as holes.
    """
    sparse = "--sparse=always " if sys.platform == "linux" else ""
    place = _placed(archive)
    return (
        f'if test -f {place}/%f; then cmp -s "%p" {place}/%f; '
        f'else cp {sparse}"%p" {place}/.%f.half && mv {place}/.%f.half {place}/%f; fi'
    )


def fetch_command(archive: Path) -> str:
    """Bring one segment back from an archive."""
    return f'cp {_placed(archive)}/%f "%p"'


def stream_from(directory: Path, port: int, slot: str, passfile: Path, readable: bool) -> dict[str, str]:
    """What makes a server with a standby.signal follow another, through a socket in ``directory``."""
    parts = {
        "host": str(directory),
        "port": str(port),
        "user": ADMIN,
        "passfile": str(passfile),
        "application_name": slot,
    }
    return {
        "primary_conninfo": conninfo(parts),
        "primary_slot_name": slot,
        "recovery_target_timeline": "latest",
        "hot_standby": "on" if readable else "off",
    }


def conninfo(parts: Mapping[str, str]) -> str:
    """A connection string as libpq reads it."""
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in parts.items()}
    return " ".join(f"{name}='{value}'" for name, value in escaped.items())


def synchronous(name: str) -> dict[str, str]:
    """Let every COMMIT wait until standby ``name`` has it on disk; "": none waits."""
    names = 'FIRST 1 ("{}")'.format(name.replace('"', '""')) if name else ""
    return {"synchronous_standby_names": names, "synchronous_commit": "on"}


def recover_to_end_of_backup() -> dict[str, str]:
    """Replay exactly what a backup contains. It holds all its WAL, so nothing is fetched."""
    return {
        "restore_command": "false",
        "recovery_target": "immediate",
        "recovery_target_action": "promote",
        "hot_standby": "off",
    }


def recover_to_time(archive: Path, when: str) -> dict[str, str]:
    """Replay every commit up to ``when`` (ISO 8601 with a zone), that moment included."""
    return {
        "restore_command": fetch_command(archive),
        "recovery_target_time": when,
        "recovery_target_inclusive": "on",
        "recovery_target_action": "promote",
        "hot_standby": "off",
    }
