"""As much of a Kubernetes API server as a node's agent speaks to: objects by their paths, merge patches, and watches.

It schedules nothing and controls nothing; what a real one does beyond that is tested where one can be had.
"""

from __future__ import annotations

import copy
import json
import queue
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.support import serving

LISTS = (
    *("pods", "services", "endpointslices", "ingresses", "namespaces", "nodes", "persistentvolumeclaims"),
    *("deployments", "replicasets", "statefulsets", "daemonsets", "storageclasses", "events", "secrets"),
    *("backups", "restores", "deletebackuprequests", "backupstoragelocations", "configmaps"),
    "customresourcedefinitions",
)
TOKEN = "stub-t0ken"


class ConflictError(Exception):
    """What is asked for names another object of that name."""


class Objects:
    """What there is, by path, and what has changed: the path, and what a watch tells of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.found: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[str, dict[str, Any]]] = []
        self.watching: list[queue.Queue[tuple[str, dict[str, Any]]]] = []

        self.url = ""
        self.denied: set[tuple[str, str]] = set()
        """Verb and resource of what its users may not do."""
        self.refuses: tuple[int, str] | None = None
        """The status of its answer to whatever would change something, and what it says."""
        self.writers: set[str] = set()
        """As whom its users have changed something, by the name that a real one keeps in managedFields."""
        self.gone = False
        """It answers nothing any more, and closes its connections."""
        self.lost = 0
        """So many answers of changes are lost, which are made all the same."""

    def hold(self, *objects: tuple[str, dict[str, Any]]) -> None:
        """Have objects of one's own, each with the path of its list."""
        for path, one in objects:
            self.found[f"{path}/{one['metadata']['name']}"] = copy.deepcopy(one)

    def listed(self, path: str) -> dict[str, Any]:
        with self.lock:
            items = [one for key, one in sorted(self.found.items()) if within(key, path)]
            return {"items": items, "metadata": {"resourceVersion": str(len(self.history))}}

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if path.endswith("/token"):
                return {"status": {"token": "t0ken"}}
            if path.endswith("/selfsubjectaccessreviews"):
                asked = body["spec"]["resourceAttributes"]
                every = asked["resource"] == "*"
                wrong = {verb for verb, resource in self.denied if every or resource == asked["resource"]}
                return {"status": {"allowed": asked["verb"] not in wrong}}
            path, _, tried = path.partition("?")
            space = path.split("/namespaces/")[1].split("/")[0] if "/namespaces/" in path else ""
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            given = {"uid": str(uuid.uuid4()), "namespace": space, "creationTimestamp": now}
            body = merged(body, {"metadata": given})
            if tried:
                return body
            if f"{path}/{body['metadata']['name']}" in self.found:
                raise ConflictError
            return self._keep(f"{path}/{body['metadata']['name']}", body, "ADDED")

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            path = path.removesuffix("/status")
            before = self.found.get(path)
            if before is None:
                return None
            if body.get("metadata", {}).get("uid") not in (None, before["metadata"].get("uid")):
                raise ConflictError
            return self._keep(path, merged(before, body), "MODIFIED")

    def delete(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """A pod on a node stays until its agent says that it is gone."""
        with self.lock:
            before = self.found.get(path)
            if before is None:
                return None
            seconds = body.get("gracePeriodSeconds", before.get("spec", {}).get("terminationGracePeriodSeconds", 30))
            if "/pods/" in path and seconds:
                told = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds}
                return self._keep(path, merged(before, {"metadata": told}), "MODIFIED")
            del self.found[path]
            self._tell(path, before, "DELETED")
            return before

    def _keep(self, path: str, one: dict[str, Any], kind: str) -> dict[str, Any]:
        self.found[path] = one
        self._tell(path, one, kind)
        return one

    def _tell(self, path: str, one: dict[str, Any], kind: str) -> None:
        self.history.append((path, {"type": kind, "object": one}))
        for watcher in self.watching:
            watcher.put(self.history[-1])


def within(key: str, path: str) -> bool:
    """Whether an object is in the list at ``path``, also in one over all namespaces."""
    parent = key.rpartition("/")[0]
    group, _, rest = parent.partition("/namespaces/")
    return parent == path or f"{group}/{rest.rpartition('/')[2]}" == path


def selects(selector: str, one: dict[str, Any]) -> bool:
    """Whether an object is one of a fieldSelector's, such as spec.nodeName=x."""
    field, _, value = selector.partition("=")
    found: Any = one
    for part in field.split(".") if field else ():
        found = found.get(part, {})
    return not field or found == value


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def stepped(before: dict[str, Any] | None, steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    """RFC 6902, as far as objects are added to, replaced in and removed from."""
    if before is None:
        return None
    found = json.loads(json.dumps(before))
    for step in steps:
        *way, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
        place = found
        for part in way:
            place = place[int(part) if isinstance(place, list) else part]
        if step["op"] == "remove":
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = step["value"]
    return dict(found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: Objects

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        selector = query.get("fieldSelector", [""])[0]
        if "watch" in query:
            return self._watch(parts.path, int(query["resourceVersion"][0]), selector)
        found = self.objects.found.get(parts.path)
        if found is None and parts.path.rpartition("/")[2] in LISTS:
            found = self.objects.listed(parts.path)
            found["items"] = [one for one in found["items"] if selects(selector, one)]
        return self._answer(found)

    def do_POST(self) -> None:
        self._note_writer()
        try:
            self._answer(self.objects.create(self.path, self._body()))
        except ConflictError:
            self._answer(None, (409, "already exists"))

    def do_PATCH(self) -> None:
        self._note_writer()
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if isinstance(body, list):  # the steps of a JSON patch
            path = urlsplit(self.path).path
            found = stepped(self.objects.found.get(path), body)
            if found is not None and "dryRun" not in self.path and self.objects.refuses is None:
                self.objects.hold((path.rpartition("/")[0], found))
            return self._answer(found)
        try:
            return self._answer(self.objects.patch(self.path, body))
        except ConflictError:
            return self._send(409, {"message": "the UID in the precondition is another one"})

    def do_DELETE(self) -> None:
        self._answer(self.objects.delete(self.path, self._body()))

    def _note_writer(self) -> None:
        self.objects.writers.add(str(self.headers["User-Agent"]).partition("/")[0])

    def _watch(self, path: str, version: int, selector: str) -> None:
        events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        with self.objects.lock:
            for event in self.objects.history[version:]:
                events.put(event)
            self.objects.watching.append(events)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                key, event = events.get()
                if within(key, path) and selects(selector, event["object"]):
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        except OSError:
            self.objects.watching.remove(events)

    def _body(self) -> dict[str, Any]:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return dict(json.loads(text or b"{}"))

    def _answer(self, found: dict[str, Any] | None, refusal: tuple[int, str] | None = None) -> None:
        lost = self.objects.lost > 0 and self.command != "GET"
        self.objects.lost -= lost
        if self.objects.gone or lost:
            self.close_connection = True
            return
        status, said = refusal or ((404, "not found") if found is None else (200, ""))
        if self.objects.refuses is not None and self.command != "GET":
            status, said = self.objects.refuses
        self._send(status, {"message": said} if said else found)

    def _send(self, status: int, told: Any) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def stub_cluster(kubeconfig: Path) -> Iterator[Objects]:
    """One that answers until the end of the block; ``kubeconfig`` leads there."""
    objects = Objects()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"objects": objects}))
    server.daemon_threads = True
    objects.url = f"http://127.0.0.1:{server.server_port}"
    server.block_on_close = False
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "stub",
                "clusters": [{"name": "stub", "cluster": {"server": objects.url}}],
                "users": [{"name": "stub", "user": {"token": TOKEN}}],
                "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
            }
        )
    )
    with serving(server):
        yield objects
