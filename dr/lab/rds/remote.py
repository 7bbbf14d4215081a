"""How ``dr.lab.control`` reaches the daemon: JSON over an authenticated loopback connection, apart from the API.

The key is a file only the lab's user reads.
"""

from __future__ import annotations

import inspect
import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any, get_args

import msgspec

from dr.domain.errors import DrError, ProviderError, RefusedError, UsageError
from dr.lab.servers.site import write_closed

log = logging.getLogger(__name__)
KEY = "control.key"
BACKLOG = 16
KINDS = {str: "text", bool: "true or false", int: "whole number", float: "number"}
"""What an argument may be, in words."""


class Remote:
    """Answers calls by name, each connection in a thread of its own."""

    def __init__(self, directory: Path, commands: Mapping[str, Callable[..., Any]]) -> None:
        key = secrets.token_urlsafe(32)
        write_closed(directory / KEY, key)
        self._key = key.encode()
        self._commands = commands
        self._listener = Listener(("127.0.0.1", 0), backlog=BACKLOG)
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
            except ConnectionError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection, suppress(EOFError, OSError):  # whoever asks may go away
            try:
                # As a Listener with a key would, which answers nobody else meanwhile.
                deliver_challenge(connection, self._key)
                answer_challenge(connection, self._key)
            except AuthenticationError:
                log.warning("a control connection was refused: it has another key")
                return
            name, arguments = json.loads(connection.recv_bytes())
            connection.send_bytes(json.dumps(self._answer(name, arguments)).encode())

    def _answer(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if name not in self._commands:
                raise RefusedError(f"The lab knows no command {name!r}.")
            fit(name, self._commands[name], arguments)
            return {"result": self._commands[name](**arguments)}
        except DrError as error:
            return {"error": str(error), "exit_code": error.exit_code}
        except Exception as error:
            log.exception("%s failed", name)
            sentence = f"The lab failed at {name} ({type(error).__name__}). See daemon.log."
            return {"error": sentence, "exit_code": ProviderError.exit_code}


def fit(name: str, command: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Check ``arguments`` against what ``command`` is annotated to take. Pure. Raises UsageError, which says that."""
    takes = inspect.signature(command, eval_str=True)
    try:
        takes.bind(**arguments)
        for argument, value in arguments.items():
            msgspec.convert(value, takes.parameters[argument].annotation)
    except (TypeError, msgspec.ValidationError):
        shown = ", ".join(map(_shown, takes.parameters.values())) or "no arguments"
        raise UsageError(f"{name} takes {shown}, not {json.dumps(arguments)}.") from None


def _shown(parameter: inspect.Parameter) -> str:
    """An argument as a person writes it: in JSON."""
    words = KINDS.get(parameter.annotation) or " or ".join(map(json.dumps, get_args(parameter.annotation)))
    if parameter.default is inspect.Parameter.empty:
        return f"{parameter.name} ({words})"
    return f"{parameter.name} ({words}; {json.dumps(parameter.default)} if left out)"


def as_error(exit_code: int, sentence: str) -> DrError:
    """What the daemon said, as the error that it was."""
    kinds: dict[int, type[DrError]] = {2: UsageError, 3: RefusedError}
    return kinds.get(exit_code, ProviderError)(sentence)


def call(directory: Path, port: int, name: str, **arguments: Any) -> Any:
    """Ask the daemon. Raises UsageError, RefusedError or ProviderError with its sentence."""
    try:
        key = (directory / KEY).read_bytes()
        with Client(("127.0.0.1", port), authkey=key) as connection:
            connection.send_bytes(json.dumps([name, arguments]).encode())
            answer = json.loads(connection.recv_bytes())
    except (OSError, EOFError, AuthenticationError) as error:
        raise ProviderError(f"The lab does not answer ({type(error).__name__}).", "See 'dr lab status'.") from None
    if "error" in answer:
        raise as_error(answer["exit_code"], answer["error"])
    return answer["result"]
