"""As much of Velero as a driver speaks to, on a stub of the API server: it completes at once what it is asked for."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.stub_cluster import Objects, stub_cluster
from tests.support import serving

SPACE = "velero"
OWN = f"/apis/velero.io/v1/namespaces/{SPACE}"
KEY = "s1gnature"
"""What a signed URL holds."""
PROGRAM = f"""#!{sys.executable}
import json, sys, urllib.request, yaml
flags = dict(one[2:].partition("=")[::2] for one in sys.argv[1:] if one.startswith("--"))
words = [one for one in sys.argv[1:] if not one.startswith("--")]
server = yaml.safe_load(open(flags["kubeconfig"]))["clusters"][0]["cluster"]["server"]
if words[0] == "version":
    print("Client:\\n\\tVersion: v1.18.3\\nServer:\\n\\tVersion: VERSION")
    sys.exit()
kind, verb, name = words[:3]
path = f"{{server}}{OWN}/{{kind}}s"
if verb == "delete":
    urllib.request.urlopen(urllib.request.Request(f"{{path}}/{{name}}", b"{{}}", method="DELETE"))
    sys.exit()
labels = dict(one.split("=") for one in flags.get("labels", "").split(",") if one)
status = {{"phase": "PHASE", "startTimestamp": "2026-11-30T02:00:00Z", "completionTimestamp": "2026-11-30T02:00:05Z"}}
spec = {{"backupName": words[-1]}} if kind == "restore" else {{"storageLocation": "default"}}
body = {{"metadata": {{"name": name, "labels": labels}}, "spec": spec, "status": status}}
urllib.request.urlopen(urllib.request.Request(path, json.dumps(body).encode()))
"""


def archived(*objects: tuple[str, Mapping[str, Any]]) -> bytes:
    """A backup's archive: objects, each with its resource as Velero calls it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for resource, one in objects:
            space, name = one["metadata"].get("namespace"), one["metadata"]["name"]
            within = f"namespaces/{space}" if space else "cluster"
            for version in ("", "v1-preferredversion/"):
                text = json.dumps(one).encode()
                member = tarfile.TarInfo(f"resources/{resource}/{version}{within}/{name}.json")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
    return packed.getvalue()


def listed(*objects: Mapping[str, Any]) -> bytes:
    """Velero's own list of what a backup holds."""
    found: dict[str, list[str]] = {}
    for one in objects:
        space, name = one["metadata"].get("namespace"), one["metadata"]["name"]
        found.setdefault(f"{one.get('apiVersion')}/{one.get('kind')}", []).append(f"{space}/{name}" if space else name)
    return gzip.compress(json.dumps(found).encode())


def backup(name: str, phase: str = "Completed", day: int = 29, **status: Any) -> dict[str, Any]:
    times = {"startTimestamp": f"2026-11-{day}T02:00:00Z", "completionTimestamp": f"2026-11-{day}T02:00:05Z"}
    return {
        "metadata": {"name": name},
        "spec": {"storageLocation": "default"},
        "status": {"phase": phase, **times, **status},
    }


class Velero:
    """One. ``files``: what its storage holds, by kind and name."""

    def __init__(self, objects: Objects, directory: Path) -> None:
        self.objects, self.directory = objects, directory
        self.files: dict[str, bytes] = {}
        self.program = directory / "velero"
        self.says()
        location = {"metadata": {"name": "default"}, "status": {"phase": "Available"}}
        objects.hold(
            (f"{OWN}/backupstoragelocations", location),
            ("/apis/apps/v1/namespaces/velero/deployments", {"metadata": {"name": "velero"}}),
        )

    def says(self, phase: str = "Completed", version: str = "v1.18.3") -> None:
        """What becomes of a restore, and how old its server is."""
        self.program.write_text(PROGRAM.replace("PHASE", phase).replace("VERSION", version))
        self.program.chmod(0o700)

    def keep(self, one: dict[str, Any], *objects: tuple[str, Mapping[str, Any]]) -> None:
        """A backup, and what its archive holds."""
        self.objects.hold((f"{OWN}/backups", one))
        self.files[f"BackupContents/{one['metadata']['name']}"] = archived(*objects)
        self.files[f"BackupResourceList/{one['metadata']['name']}"] = listed(*(held for _, held in objects))

    def restores(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self.objects.found if key.startswith(f"{OWN}/restores/")]


@contextmanager
def stub_velero(directory: Path) -> Iterator[Velero]:
    """One that answers until the end of the block; ``directory``/kubeconfig leads to its cluster."""
    with stub_cluster(directory / "kubeconfig") as objects:
        velero = Velero(objects, directory)

        class Storage(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0].strip("/")
                empty = gzip.compress(b'{"warnings": {}, "errors": {}}') if path.startswith("RestoreResults") else None
                held = velero.files.get(path, empty)
                self.send_response(200 if held is not None else 404)
                self.end_headers()
                self.wfile.write(held or b"")

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        storage = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
        create = objects.create

        def signing(path: str, body: dict[str, Any]) -> dict[str, Any]:
            if path.endswith("/downloadrequests"):
                of = body["spec"]["target"]
                url = f"http://127.0.0.1:{storage.server_port}/{of['kind']}/{of['name']}?X-Amz-Signature={KEY}"
                body["status"] = {"downloadURL": url}
            return create(path, body)

        objects.create = signing  # type: ignore[method-assign]
        with serving(storage):
            yield velero
