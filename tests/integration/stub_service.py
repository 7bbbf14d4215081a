"""A prediction service that does what a test tells it to, by STUB_ variables. Run as a script by integration tests."""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

STARTED = time.monotonic()
COUNTS = {"n": 0}
CONNECTS = os.environ.get("STUB_CONNECT", "")
"""When it connects to its database: start, for good, or readyz or predict, for each such request."""

TOKEN = os.environ.get("STUB_TOKEN", os.environ.get("API_TOKEN"))
"""What a POST has to show; without one it has to show none."""


def connected(when: str) -> psycopg.Connection | None:
    return psycopg.connect(os.environ["DATABASE_URL"]) if when == CONNECTS else None


def use(when: str) -> None:
    if session := connected(when):
        with session:
            session.execute("select pg_sleep(0.1)")  # a busy machine looks less often than every 2 ms


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/readyz":
            use("readyz")
            ready = time.monotonic() - STARTED > float(os.environ.get("STUB_READY_AFTER", "0"))
            self.answer(200 if ready else 503, b"{}")
        elif self.path == "/metrics":
            name, n = "readmission_model_prediction_duration_seconds", COUNTS["n"]
            text = f'{name}_bucket{{le="0.1"}} {n}\n{name}_bucket{{le="+Inf"}} {n}\n{name}_count {n}\n'
            self.answer(200, text.encode())
        else:
            self.answer(200, json.dumps({"url": os.environ["DATABASE_URL"], "argv": sys.argv}).encode())

    def do_POST(self) -> None:
        if self.headers["Authorization"] != (f"Bearer {TOKEN}" if TOKEN else None):
            self.answer(401, b"{}")
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        COUNTS["n"] += 1
        use("predict")
        if body.get("fail"):
            self.answer(500, b"{}")
            return
        answer = {"risk": 0.5, "patient": body, "prediction_id": COUNTS["n"], "created_at": time.time()}
        self.answer(200, json.dumps(answer).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    if os.environ.get("STUB_DIE"):
        print("the database schema is too old")
        print(f"connecting with {os.environ['PGPASSWORD']}", flush=True)
        sys.exit(7)
    kept = connected("start")
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
