"""Velero in a lab: its server beside the cluster, its objects in it, and where it keeps what it has backed up."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

from dr.domain.errors import ProviderError
from dr.lab.beside.companion import Companion, Program
from dr.lab.cluster.binaries import Programs
from dr.lab.cluster.control import MASTERS, ControlPlane
from dr.lab.cluster.furnish import Kubectl
from dr.lab.cluster.modules import VELERO
from dr.lab.cluster.platform import secret
from dr.lab.cluster.storage import BACKUPS, ObjectStore
from dr.lab.servers.binaries import Account
from dr.lab.servers.postgres import socket_place
from dr.lab.servers.site import Site, free_port

SPACE, LOCATION = "velero", "default"
"""Velero's own namespace, and its storage location."""
FOLDER = "velero"
"""Under a cluster's folder: its Velero."""
SCHEDULE = "readmission-backup"
NIGHTLY, KEPT = "0 2 * * *", "336h0m0s"
"""When the platform is backed up, and how long that is kept."""
SYNCED = "5s"
"""How often backups are looked for that the storage has and the cluster does not."""
CREDENTIALS = "cloud-credentials"
START_LIMIT, BACKUP_LIMIT, ANSWER_LIMIT = 60.0, 120.0, 2.0
GLANCE = 0.2


def nightly(at: float) -> str:
    """The name of the backup of the night before ``at``, wall time, as the platform's runbook calls it."""
    return f"{SCHEDULE}-{datetime.fromtimestamp(at, UTC):%Y%m%d}"


class VeleroServer(Companion):
    """Its server, which runs as whoever runs the lab. It tells its metrics once it works."""

    title = "Velero"
    ready_limit = START_LIMIT

    def __init__(self, site: Site, programs: Programs, directory: Path, kubeconfig: Path) -> None:
        program, *plugins = VELERO
        super().__init__(site, Program(programs.path(program), ""), directory, free_port())
        self._kubeconfig = kubeconfig
        self._plugins = directory / "plugins"
        self._plugins.mkdir(mode=0o700, exist_ok=True)
        for name in plugins:
            link = self._plugins / name
            link.unlink(missing_ok=True)
            link.symlink_to(programs.path(name))
        self._temporary = socket_place(directory / "tmp")
        self.extra = {"HOME": str(directory), "VELERO_SCRATCH_DIR": str(directory), "TMPDIR": str(self._temporary)}

    @property
    def account(self) -> Account | None:
        return None

    @property
    def configuration(self) -> Path:
        return self._kubeconfig

    def command(self) -> list[str]:
        flags = {
            "kubeconfig": self._kubeconfig,
            "namespace": SPACE,
            "plugin-dir": self._plugins,
            "metrics-address": f"127.0.0.1:{self.port}",
            "profiler-address": "127.0.0.1:0",
            "backup-sync-period": SYNCED,
            "default-backup-ttl": KEPT,
            "colorized": "false",
        }
        return [str(self._program.path), "server", *(f"--{name}={value}" for name, value in flags.items())]

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _spawn(self) -> None:
        """Its temporary files are its own: Velero keeps the keys of its storage there, in a file that every Velero of a
        machine calls the same."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        try:
            self._temporary.mkdir(mode=0o700)
        except OSError as error:
            raise ProviderError(f"Velero's temporary files: {error.filename}: {error.strerror}.") from None
        super()._spawn()

    def answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            url = f"http://127.0.0.1:{self.port}/metrics"
            return urllib3.request("GET", url, timeout=ANSWER_LIMIT, retries=False).status == 200
        return False


class Velero:
    """Velero for one cluster, its backups in ``storage``."""

    def __init__(self, site: Site, programs: Programs, plane: ControlPlane, storage: ObjectStore) -> None:
        self.directory = plane.directory / FOLDER
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._program, self._storage, self._plane = programs.path(VELERO[0]), storage, plane
        self._kubectl = Kubectl(programs.path("kubectl"), plane.kubeconfig)
        kubeconfig = plane.user("velero", MASTERS, self.directory / "velero.kubeconfig")
        self._server = VeleroServer(site, programs, self.directory, kubeconfig)

    def start(self) -> None:
        """Put its definitions and objects into the cluster, and start its server. Raises ProviderError."""
        definitions = self._run("install", "--crds-only", "--dry-run", "--output", "json")
        self._kubectl.run("apply", "--filename", "-", said=definitions)
        self._kubectl.run("wait", "--for=condition=Established", "--timeout=30s", "crd", "--selector=component=velero")
        self._kubectl.apply(objects(self._storage))
        self._server.launch()
        available = ("--for=jsonpath={.status.phase}=Available", "--timeout=30s", "backupstoragelocation", LOCATION)
        self._kubectl.run("wait", "--namespace", SPACE, *available)  # a backup that comes earlier fails

    def back_up(self, name: str) -> None:
        """Take a backup as the schedule would, and return when it is complete. Raises ProviderError."""
        self._run("backup", "create", name, "--from-schedule", SCHEDULE)
        limit = time.monotonic() + BACKUP_LIMIT
        while (phase := (seen := self._status(name)).get("phase", "")) != "Completed":
            if "Fail" in phase or time.monotonic() > limit:
                why = (
                    seen.get("failureReason") or "; ".join(seen.get("validationErrors") or ()) or "it does not say why"
                )
                told = f"Velero's backup {name} is {phase or 'not begun'}: {str(why).rstrip('.')}."
                raise ProviderError(told, f"See {self._server.log}.")
            time.sleep(GLANCE)

    def keep(self) -> None:
        """Start the server again if it died."""
        self._server.keep()

    def stop(self) -> None:
        self._server.stop()

    @property
    def program(self) -> Path:
        """Its command line."""
        return self._program

    @property
    def pid(self) -> int | None:
        """The server's process id, if it lives."""
        return self._server.pid()

    def set_down(self, down: bool = True) -> None:
        """End the server, and let it be; False starts it again."""
        if down:
            self._server.stop()
        elif self._server.pid() is None:
            self._server.launch()

    def _status(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self._run("backup", "get", name, "--output", "json")).get("status") or {})

    def _run(self, *arguments: str) -> str:
        command = [str(self._program), "--kubeconfig", str(self._plane.kubeconfig), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if ran.returncode:
            last = ran.stderr.strip().rpartition("\n")[2]
            raise ProviderError(f"velero {arguments[0]} failed: {last.rstrip('.') or 'it said nothing'}.")
        return ran.stdout


def objects(storage: ObjectStore) -> list[dict[str, Any]]:
    """What of Velero is in the cluster beside its definitions. A restore of pods needs its Deployment, which has none:
    its server runs beside the cluster."""
    keys = storage.environment
    cloud = "[default]\n" + "".join(
        f"{name.lower()} = {keys[name]}\n" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    )
    labels = {"deploy": "velero"}
    container = {"name": "velero", "image": "dr.lab/stand-in:1"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        secret(CREDENTIALS, {"cloud": cloud}, SPACE),
        _made(
            "apps/v1",
            "Deployment",
            "velero",
            {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        ),
        _made(
            "velero.io/v1",
            "BackupStorageLocation",
            LOCATION,
            {
                "provider": "aws",
                "default": True,
                "objectStorage": {"bucket": BACKUPS},
                "credential": {"name": CREDENTIALS, "key": "cloud"},
                "backupSyncPeriod": SYNCED,
                "config": {
                    "region": keys["AWS_DEFAULT_REGION"],
                    "s3Url": storage.url,
                    "s3ForcePathStyle": "true",
                },
            },
        ),
        _made(
            "velero.io/v1",
            "Schedule",
            SCHEDULE,
            {
                "schedule": NIGHTLY,
                "template": {"includeClusterResources": True, "ttl": KEPT},
            },
        ),
    ]


def _made(version: str, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SPACE}, "spec": dict(spec)}
