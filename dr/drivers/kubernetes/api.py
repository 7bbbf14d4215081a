"""The API server, asked in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dr.domain.errors import OddAnswerError, ProviderError
from dr.drivers.kubernetes.kubeconfig import connected

SECONDS = 5.0
"""For each piece of an answer."""
WATCH_SECONDS = 240
"""After which the API server ends a watch, so that one that fell silent is noticed."""
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
NOT_FOUND, CONFLICT = "404", "409"
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""An object, or the steps of a JSON patch."""


class Api:
    """One API server, as a kubeconfig and its ``context`` lead there; "": its current one. Each process has its own:
    connections are not shared by a fork.

    What it raises is ProviderError, whose ``code`` is the HTTP status; "" where there was no answer.
    """

    def __init__(self, kubeconfig: Path, context: str = "", seconds: float = SECONDS, manager: str = "dr") -> None:
        """``seconds``: for each piece of an answer. ``manager``: as whom it writes. Raises RefusedError where the
        kubeconfig leads nowhere."""
        self._client = connected(str(kubeconfig), context, manager)
        self._seconds = seconds

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the API server."""
        parts = urlsplit(self._client.configuration.host)
        return parts.hostname or "", parts.port or 443

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, or a list of some; None where there is none."""
        try:
            return self._ask("GET", path)
        except ProviderError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, body)

    def patch(self, path: str, body: Body, kind: str = MERGE) -> dict[str, Any]:
        return self._ask("PATCH", path, body, kind)

    def delete(self, path: str, body: Mapping[str, Any]) -> None:
        """Harmless where it is not there."""
        try:
            self._ask("DELETE", path, body)
        except ProviderError as error:
            if error.code not in (NOT_FOUND, CONFLICT):  # a conflict: another object of that name by now
                raise

    def watch(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        """What changes from ``version`` on, as {type, object}, until the API server ends it."""
        sign = "&" if "?" in path else "?"
        query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        answer = self._send("GET", f"{path}{sign}{query}", None, "", (self._seconds, WATCH_SECONDS + 30))
        try:
            rest = b""
            for chunk in answer.stream(amt=None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line.strip())
        except Exception as error:
            raise _failed(f"The watch of {path}", error) from None
        finally:
            answer.close()

    def _ask(self, method: str, path: str, body: Body | None = None, kind: str = "") -> dict[str, Any]:
        answer = self._send(method, path, body, kind, (self._seconds, self._seconds))
        try:
            found = json.loads(answer.data)
        except ValueError:
            raise OddAnswerError(f"{method} {path}", "It is not JSON") from None
        if not isinstance(found, dict):
            raise OddAnswerError(f"{method} {path}", "It is no object")
        return found

    def _send(self, method: str, path: str, body: Body | None, kind: str, seconds: tuple[float, float]) -> Any:
        headers = {"Accept": "application/json", "Content-Type": kind or "application/json"}
        try:
            asked = self._client.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = self._client.call_api(*asked, _request_timeout=seconds).response
            if answer.status < 300:
                return answer
            said = answer.data
        except Exception as error:
            raise _failed(f"{method} {path.partition('?')[0]}", error) from None
        raise _refused(f"{method} {path.partition('?')[0]}", answer.status, said)


def _failed(what: str, error: Exception) -> ProviderError:
    """A client's error, told without its text: that may hold the request's headers."""
    return ProviderError(f"{what} was not answered ({type(error).__name__}).", transient=True)


def _refused(what: str, status: int, said: bytes) -> ProviderError:
    """An answer that is no success, with the API server's own sentence."""
    try:
        why = f": {json.loads(said)['message']}".rstrip(".")
    except (ValueError, LookupError, TypeError):
        why = ""
    return ProviderError(f"{what} was answered with HTTP {status}{why}.", code=str(status), transient=status >= 500)
