"""How ``dr.lab.control`` reaches the daemon: JSON over an authenticated loopback connection, apart from the API.

Called by: ``dr.lab.daemon`` (Remote) and ``dr.lab.control`` (call). The key is a file only the lab's user reads.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from dr.domain.errors import DrError, ProviderError, RefusedError
from dr.lab.site import write_closed

log = logging.getLogger(__name__)
KEY = "control.key"


class Remote:
    """Answers calls by name, each connection in a thread of its own."""

    def __init__(self, directory: Path, commands: Mapping[str, Callable[..., Any]]) -> None:
        key = secrets.token_urlsafe(32)
        write_closed(directory / KEY, key)
        self._commands = commands
        self._listener = Listener(("127.0.0.1", 0), authkey=key.encode())
        self.port = int(self._listener.address[1])
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, ConnectionError) as error:
                log.warning("a control connection was refused: %s", type(error).__name__)
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                name, arguments = json.loads(connection.recv_bytes())
                if name not in self._commands:
                    raise RefusedError(f"The lab knows no command {name!r}.")
                answer = {"result": self._commands[name](**arguments)}
            except DrError as error:
                answer = {"error": str(error), "exit_code": error.exit_code}
            except (ValueError, TypeError) as error:
                answer = {"error": f"The lab was asked wrongly: {error}.", "exit_code": RefusedError.exit_code}
            except (EOFError, OSError):
                return
            connection.send_bytes(json.dumps(answer).encode())


def call(directory: Path, port: int, name: str, **arguments: Any) -> Any:
    """Ask the daemon. Raises RefusedError or ProviderError with its sentence."""
    try:
        key = (directory / KEY).read_bytes()
        with Client(("127.0.0.1", port), authkey=key) as connection:
            connection.send_bytes(json.dumps([name, arguments]).encode())
            answer = json.loads(connection.recv_bytes())
    except (OSError, EOFError, AuthenticationError) as error:
        raise ProviderError(f"The lab does not answer ({type(error).__name__}).", "See 'dr lab status'.") from None
    if "error" in answer:
        kind = RefusedError if answer["exit_code"] == RefusedError.exit_code else ProviderError
        raise kind(answer["error"])
    return answer["result"]
