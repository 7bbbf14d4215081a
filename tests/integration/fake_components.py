"""Programs that take the flags of a control plane's components, answer as they would and note when they begin and end.

They are scripts, for tests of how such processes are kept: no cluster is behind them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dr.lab.cluster.binaries import CONTROL_PLANE, Programs

SCRIPT = """\
#!{python}
import signal, ssl, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

name, noted = Path(sys.argv[0]).name, Path({noted!r})
flags = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])


def note(what):
    with noted.open("a") as file:
        file.write(f"{{what}} {{name}}\\n")


def end(*_):
    note("ended")
    sys.exit(0)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


note("began")
if name in {broken!r}:
    sys.exit("flags are wrong")
signal.signal(signal.SIGTERM, end)
etcd = name == "etcd"
certificate, key = ("cert-file", "key-file") if etcd else ("tls-cert-file", "tls-private-key-file")
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(flags[certificate], flags[key])
authority = flags.get("trusted-ca-file") or flags.get("client-ca-file")
if authority:
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
port = flags["listen-client-urls"].rpartition(":")[2] if etcd else flags["secure-port"]
server = HTTPServer(("127.0.0.1", int(port)), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def programs(folder: Path, broken: tuple[str, ...] = ()) -> Programs:
    """Those of a control plane, in ``folder``; what they note stands there. ``broken``: those that end at once."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in CONTROL_PLANE:
        found[name] = folder / name
        script = SCRIPT.format(python=sys.executable, noted=str(noted(folder)), broken=broken)
        found[name].write_text(script)
        found[name].chmod(0o755)
    return Programs(found)


def noted(folder: Path) -> Path:
    return folder / "noted.txt"
