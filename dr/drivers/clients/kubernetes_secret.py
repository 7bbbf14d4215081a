"""Where a Kubernetes Secret leads the service: its host and port changed, and the deployments restarted that read it.

Nothing ambient is looked at: the target names kubeconfig and context. What else the Secret holds, a password in its
URL, say, is left as it is, and neither told nor recorded: led back by host and port alone, each value is to the letter
what it was. What two clients could read differently in a URL (several hosts, a host in the query, a password with a
bare @ or ?) is not read at all.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from dr.domain.errors import OddAnswerError, ProviderError, RefusedError
from dr.drivers.clients.config import SecretConfig
from dr.drivers.clients.place import DEFAULT_PORT, Place, secret
from dr.drivers.kubernetes.kubeconfig import connected, not_installed
from dr.host.bounded import persistently, within
from dr.host.clock import SystemClock

SECONDS, ANSWER_SECONDS = 15.0, 30.0
"""For each piece of an answer, and for a whole one."""
ODD_SECONDS = 10.0
"""How long an odd answer is asked for again."""
ANNOTATION = "dr/database"
"""On the pods' template: another value makes Kubernetes replace the pods, the same one again does nothing."""
_CONFLICT, _SERVER_ERROR = 409, 500

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_SCHEME = re.compile(r"\s*(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.ASCII)
_URL = re.compile(
    _SCHEME.pattern + r"(?:[^\s@/?#]*@)?"
    r"(?P<place>(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[1-9][0-9]{0,4}))?)"
    r"(?:/[^\s?]*)?(?:\?(?P<query>\S*))?\s*",
    re.ASCII,
)
_ELSEWHERE = frozenset({"host", "hostaddr", "port", "service", "pghost", "pgport"})
"""Parameters by which libpq or JDBC go to another host than the URL's own."""


class Secret:
    """One Secret: a key with the host and one with the port, or one with a URL of both."""

    def __init__(self, config: SecretConfig) -> None:
        self._config = config
        self.ref = secret(config)
        self._client: Any = None

    def identity(self) -> Mapping[str, str]:
        """The UID of the cluster that the kubeconfig leads to, which is that of its namespace kube-system."""
        what = "looking at the cluster of"
        return {"cluster": str(self._ask(what, "read_namespace", "kube-system", found=lambda held: held.metadata.uid))}

    def present(self) -> Place:
        """Raises RefusedError where the Secret names no single host that can be replaced."""
        return self._place(self._read()[0])

    def check(self) -> None:
        """What cannot be led back is none that is ``present``."""

    def lead(self, to: Place) -> None:
        """Raises RefusedError where the Secret or a deployment is not there or may not be changed."""
        data, version = self._read()
        if self._place(data) != to:
            changed = {
                key: None if value is None else base64.b64encode(value.encode()).decode()
                for key, value in self._led(data, to).items()
            }  # None: deleted
            body = {"metadata": {"resourceVersion": version}, "data": changed}  # refused if changed meanwhile
            self._ask("changing", "patch_namespaced_secret", self._config.name, body)
        for name in self._config.restart:
            body = {"spec": {"template": {"metadata": {"annotations": {ANNOTATION: str(to)}}}}}
            self._ask(f"restarting deployment {name} of", "patch_namespaced_deployment", name, body)

    def waiting(self, to: Place, seconds: float) -> str:  # noqa: ARG002 - nothing is hurried here
        """A pod that was started before the change knows nothing of it: all are to be new ones, and available."""
        now = self.present()
        if now != to:
            return f"{self.ref} leads to {now}"
        for name in self._config.restart:
            what = f"looking at deployment {name} of"
            if left := self._ask(what, "read_namespaced_deployment", name, found=_unfinished):
                return f"deployment {name}: {left}"
        return ""

    # -- what it holds

    def _read(self) -> tuple[dict[str, str], str]:
        """What its keys for host and port hold, or that for both, and its version."""
        keys = self._config
        named = (keys.url_key,) if keys.url_key else (keys.host_key, keys.port_key)
        held, version = self._ask("reading", "read_namespaced_secret", keys.name, found=_held)
        return {key: self._decoded(key, value) for key, value in held.items() if key in named}, version

    def _decoded(self, key: str, value: str) -> str:
        try:
            return base64.b64decode(value).decode()
        except ValueError:
            raise self._unreadable(key, "is no text") from None

    def _place(self, data: Mapping[str, str]) -> Place:
        keys = self._config
        needed = keys.url_key or keys.host_key
        if needed not in data:
            raise RefusedError(f"{self.ref} has no key {needed!r}.", "Correct the target's secret.")
        if keys.url_key:
            found = self._url(data)
            host, port = found["v6"] or found["name"], found["port"]
        else:
            host, port = data[keys.host_key].strip(), data.get(keys.port_key)
            if not _HOST.fullmatch(host):
                raise self._unreadable(keys.host_key, "is no host")
            if port is not None and not _PORT.fullmatch(port.strip()):  # only what can be written back the same is one
                raise self._unreadable(keys.port_key, "is no port")
        return Place(host, DEFAULT_PORT, (host, "")) if port is None else Place(host, int(port))

    def _url(self, data: Mapping[str, str]) -> re.Match[str]:
        """A URL as libpq, SQLAlchemy and JDBC write it."""
        key, url = self._config.url_key, data[self._config.url_key]
        if _SCHEME.match(url) is None:
            raise self._unreadable(key, "is no URL of a scheme that is known: postgresql:// or jdbc:postgresql://")
        found = _URL.fullmatch(url)
        if found is None:
            raise self._unreadable(key, "names no single host of its own, or holds a character that has to be encoded")
        if _ELSEWHERE & {name.lower() for name, _ in parse_qsl(found["query"] or "", keep_blank_values=True)}:
            raise self._unreadable(key, "names a host or a port in its query, too: it would still lead to the old one")
        return found

    def _unreadable(self, key: str, because: str) -> RefusedError:
        """A sentence without what the key holds, which may be a password."""
        return RefusedError(f"{self.ref} cannot be led elsewhere: its key {key!r} {because}.", "Correct the Secret.")

    def _led(self, data: Mapping[str, str], to: Place) -> dict[str, str | None]:
        """What is to be changed, by key; None: a key that is to be gone. Raises RefusedError."""
        keys, port = self._config, to.written[1] if to.written else str(to.port)
        if keys.url_key:
            url, (begin, end) = data[keys.url_key], self._url(data).span("place")
            return {keys.url_key: url[:begin] + (str(to) if port else str(to).removesuffix(f":{to.port}")) + url[end:]}
        changed: dict[str, str | None] = {keys.host_key: _instead(data[keys.host_key], to.host)}
        if keys.port_key:
            changed[keys.port_key] = _instead(data.get(keys.port_key, ""), port) if port else None
        elif to.port != DEFAULT_PORT:
            raise RefusedError(f"{self.ref} has no key for a port, and {to} needs one.", "Add the secret's port_key.")
        return changed

    # -- asking the cluster

    def _ask(
        self, what: str, method: str, name: str, *body: object, found: Callable[[Any], Any] = lambda _: None
    ) -> Any:
        """What is ``found`` in the object called ``name``, which a ``method`` of the client's library reads or patches.
        Its errors become the harness's own. An odd answer to a reading is asked for again; a patch is never
        repeated."""
        clock, called = SystemClock(), f"{what.capitalize()} {self.ref}"

        def patience(error: ProviderError) -> float:
            return ODD_SECONDS if not body and isinstance(error, OddAnswerError) else 0.0

        def answer() -> Any:
            return within(clock, ANSWER_SECONDS, called, lambda: self._answer(what, method, name, body, found))

        return persistently(clock, patience, answer)

    def _answer(self, what: str, method: str, name: str, body: tuple[object, ...], found: Callable[[Any], Any]) -> Any:
        try:
            from kubernetes import client
            from urllib3.exceptions import HTTPError
        except ImportError:
            raise not_installed(str(self.ref)) from None
        api = client.AppsV1Api if method.endswith("deployment") else client.CoreV1Api
        within_it = () if method.endswith("_namespace") else (self._config.namespace,)
        try:
            ask = getattr(api(self._connected()), method)
            held = ask(name, *within_it, *body, _request_timeout=SECONDS)
            if held.metadata.name != name:  # the client takes anything for an object
                raise ValueError(name)
            return found(held)
        except client.ApiException as error:
            said = f"Kubernetes refused {what} {self.ref}: {error.status} {error.reason}."
            if error.status == _CONFLICT or (error.status or 0) >= _SERVER_ERROR:
                raise ProviderError(said, "Repeat the command.", transient=True) from None
            raise RefusedError(said, "Check the target's secret, and what its credentials may do.") from None
        except HTTPError as error:
            raise ProviderError(
                f"Kubernetes cannot be reached for {what} {self.ref} ({type(error).__name__}).",
                "Check the network and the target's kubeconfig.",
                transient=True,
            ) from None
        except (LookupError, ValueError, TypeError, AttributeError) as error:  # it expects an answer that is sound
            raise OddAnswerError(f"{what.capitalize()} {self.ref}", type(error).__name__) from None

    def _connected(self) -> Any:
        """A client of the cluster that the target names; made at the first request."""
        if self._client is None:
            self._client = connected(self._config.kubeconfig, self._config.context)
        return self._client


def _held(found: Any) -> tuple[dict[str, str], str]:
    return {str(key): str(value) for key, value in (found.data or {}).items()}, str(found.metadata.resource_version)


def _instead(old: str, new: str) -> str:
    """``new`` within the blanks that ``old`` stands in: led back, the value is to the letter what it was."""
    core = old.strip()
    return old.replace(core, new) if core else new


def _unfinished(deployment: Any) -> str:
    """Why a deployment's pods are not all new and available, or ""."""
    wanted, status = deployment.spec.replicas or 0, deployment.status
    if (status.observed_generation or 0) < (deployment.metadata.generation or 0):
        return "Kubernetes has not seen its change yet"
    new, ready, there = status.updated_replicas or 0, status.available_replicas or 0, status.replicas or 0
    if new < wanted or there > new or ready < wanted:
        return f"{new} of {wanted} pods are new, {ready} available, {there - new} old ones left"
    return ""
