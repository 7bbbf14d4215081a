"""What the cluster's prediction path needs beside the cluster: a filled database, the artifact's bucket, Secrets."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dr.lab.cluster.platform import known_here
from dr.lab.platform import roles
from dr.lab.platform.install import install
from dr.lab.platform.model import ARTIFACT
from dr.lab.servers.access import Access
from dr.lab.servers.site import IN_CLUSTER, Site
from tests.lab_servers import DATABASE, MASTER, PASSWORD, make_server
from tests.support import serving

TOKEN = "t0ken"


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as hands out objects."""

    content: bytes

    def do_GET(self) -> None:
        found = self.path == f"/readmission-models/{ARTIFACT.name}"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(self.content if found else b"")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@dataclass
class Parts:
    """``known``: the Secrets and ConfigMaps that lead the platform to what is here."""

    bucket: type[Bucket]
    known: list[dict[str, Any]]


@contextmanager
def parts(site: Site) -> Iterator[Parts]:
    """All of it, until the end of the block."""
    server = make_server(site, "primary")
    own = site.directory / "platform"
    install(
        Access("localhost", server.port, MASTER, PASSWORD, DATABASE, str(site.ca)), 30, own / "models", own / "secrets"
    )
    bucket = type("Own", (Bucket,), {"content": ARTIFACT.read_bytes()})
    store = ThreadingHTTPServer(("127.0.0.1", 0), bucket)
    login = f"{roles.API}:{roles.password(own / 'secrets', roles.API)}"
    with serving(store):
        yield Parts(
            bucket,
            known_here(
                database_url=f"postgresql://{login}@{IN_CLUSTER}:5432/{DATABASE}?sslmode=verify-full",
                ca=site.ca.read_bytes(),
                token=TOKEN,
                artifacts={
                    "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.server_port}",
                    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                    "AWS_SECRET_ACCESS_KEY": "none",
                    "AWS_DEFAULT_REGION": "us-east-1",
                },
                tls=(b"-", b"-"),
                upstream=f"127.0.0.1:{server.port}",
            ),
        )


def predict(url: str, admission: dict[str, str], token: str = TOKEN) -> tuple[int, dict[str, Any]]:
    """Status and body of one prediction."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url}/predict", json.dumps(admission).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
