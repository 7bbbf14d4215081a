"""Where a Kubernetes Secret leads the service: its host and port changed, and the deployments restarted that read it.

The only module that imports the Kubernetes client, which is an extra of its own: ``pip install 'dr[kubernetes]'``.
Nothing ambient is looked at: the target names kubeconfig and context. What else the Secret holds, a password in its
URL, say, is left as it is, and neither told nor recorded: led back by host and port alone, each value is to the letter
what it was.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dr.domain.errors import OddAnswerError, ProviderError, RefusedError
from dr.domain.refs import Ref
from dr.drivers.clients import database_url
from dr.drivers.clients.config import SecretConfig
from dr.drivers.clients.provider import Place, secret
from dr.host.bounded import persistently, within
from dr.host.clock import SystemClock

T = TypeVar("T")

SECONDS, ANSWER_SECONDS = 15.0, 30.0
"""For each piece of an answer, and for a whole one."""
ODD_SECONDS = 10.0
"""How long an odd answer is asked for again."""
ANNOTATION = "dr/database"
"""On the pods' template: another value makes Kubernetes replace the pods, the same one again does nothing."""
DEFAULT_PORT = 5432
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_CONFLICT, _SERVER_ERROR = 409, 500


class Secret:
    """One Secret: a key with the host and one with the port, or one with a URL of both."""

    def __init__(self, config: SecretConfig) -> None:
        self._config = config
        self._client: Any = None

    @property
    def ref(self) -> Ref:
        return secret(self._config)

    def present(self) -> Place:
        """Raises RefusedError where the Secret names no single host that can be replaced."""
        return self._place(self._read()[0])

    def check(self) -> None:
        """What cannot be led back is none that is ``present``."""

    def lead(self, to: Place) -> None:
        """Raises RefusedError where the Secret or a deployment is not there or may not be changed."""
        data, version = self._read()
        if self._place(data) != to:
            led = self._led(data, to)
            changed = {key: None if value is None else _encoded(value) for key, value in led.items()}  # None: deleted
            body = {"metadata": {"resourceVersion": version}, "data": changed}  # refused if changed meanwhile
            self._ask("changing", lambda: self._patch_secret(body))
        template = {"metadata": {"annotations": {ANNOTATION: str(to)}}}
        for deployment in self._config.restart:
            self._ask(f"restarting deployment {deployment} of", partial(self._patch, deployment, template))

    def waiting(self, to: Place, seconds: float) -> str:  # noqa: ARG002 - nothing is hurried here
        """A pod that was started before the change knows nothing of it: all are to be new ones, and available."""
        now = self.present()
        if now != to:
            return f"{self.ref} leads to {now}"
        for name in self._config.restart:
            left = self._ask(f"looking at deployment {name} of", partial(self._left, name), again=True)
            if left:
                return f"deployment {name}: {left}"
        return ""

    def _read(self) -> tuple[dict[str, str], str]:
        held, version = self._ask("reading", self._found, again=True)
        named = (self._config.url_key,) if self._config.url_key else (self._config.host_key, self._config.port_key)
        return {key: self._decoded(key, value) for key, value in held.items() if key in named}, version

    def _found(self) -> tuple[dict[str, str], str]:
        found = self._core().read_namespaced_secret(self._config.name, self._config.namespace, _request_timeout=SECONDS)
        held = _named(found, self._config.name).data or {}
        return {str(key): str(value) for key, value in held.items()}, str(found.metadata.resource_version)

    def _patch_secret(self, body: Mapping[str, Any]) -> None:
        named = (self._config.name, self._config.namespace)
        _named(self._core().patch_namespaced_secret(*named, body, _request_timeout=SECONDS), self._config.name)

    def _patch(self, deployment: str, template: Mapping[str, Any]) -> None:
        changed = self._apps().patch_namespaced_deployment(
            deployment, self._config.namespace, {"spec": {"template": template}}, _request_timeout=SECONDS
        )
        _named(changed, deployment)

    def _left(self, deployment: str) -> str:
        found = self._apps().read_namespaced_deployment(deployment, self._config.namespace, _request_timeout=SECONDS)
        return _unfinished(_named(found, deployment))

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
            try:
                host, port = database_url.host_and_port(data[keys.url_key])
            except ValueError as error:
                raise self._unreadable(keys.url_key, str(error)) from None
        else:
            host, port = data[keys.host_key].strip(), self._port(data)
            if not database_url.HOST.fullmatch(host):
                raise self._unreadable(keys.host_key, "is no host")
        return Place(host, DEFAULT_PORT if port is None else port, bare=port is None)

    def _port(self, data: Mapping[str, str]) -> int | None:
        """The port of the key for it; None where there is none. Only what can be written back the same is one."""
        written = data.get(self._config.port_key)
        if written is None:
            return None
        if not _PORT.fullmatch(written.strip()):
            raise self._unreadable(self._config.port_key, "is no port")
        return int(written)

    def _unreadable(self, key: str, because: str) -> RefusedError:
        """A sentence without what the key holds, which may be a password."""
        return RefusedError(f"{self.ref} cannot be led elsewhere: its key {key!r} {because}.", "Correct the Secret.")

    def _led(self, data: Mapping[str, str], to: Place) -> dict[str, str | None]:
        """What is to be changed, by key; None: a key that is to be gone. Raises RefusedError."""
        keys, port = self._config, None if to.bare else to.port
        if keys.url_key:
            return {keys.url_key: database_url.led(data[keys.url_key], to.host, port)}
        changed: dict[str, str | None] = {keys.host_key: _instead(data[keys.host_key], to.host)}
        if keys.port_key:
            changed[keys.port_key] = None if port is None else _instead(data.get(keys.port_key, ""), str(port))
        elif to.port != DEFAULT_PORT:
            raise RefusedError(f"{self.ref} has no key for a port, and {to} needs one.", "Add the secret's port_key.")
        return changed

    def _api(self) -> Any:
        """A client of the cluster that the target names; made at the first request."""
        if self._client is None:
            from kubernetes import config

            path = Path(self._config.kubeconfig).expanduser()
            try:
                self._client = config.new_client_from_config(str(path), self._config.context)
            except config.ConfigException as error:
                raise RefusedError(
                    f"{path} has no usable context {self._config.context!r}: {str(error).rstrip('.')}.",
                    "Correct the target's secret.kubeconfig and secret.context.",
                ) from None
            self._client.configuration.retries = False  # a request is repeated by whoever knows what it did
        return self._client

    def _core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self._api())

    def _apps(self) -> Any:
        from kubernetes import client

        return client.AppsV1Api(self._api())

    def _ask(self, what: str, step: Callable[[], T], *, again: bool = False) -> T:
        """``step``, which uses the client's library; its errors become the harness's own. A body is never repeated: it
        may hold a secret. ``again``: an odd answer is asked for again."""

        def patience(error: ProviderError) -> float:
            return ODD_SECONDS if again and isinstance(error, OddAnswerError) else 0.0

        clock = SystemClock()
        called = f"{what.capitalize()} {self.ref}"
        return persistently(
            clock, patience, lambda: within(clock, ANSWER_SECONDS, called, lambda: self._translated(what, step))
        )

    def _translated(self, what: str, step: Callable[[], T]) -> T:
        try:
            from kubernetes import client
            from urllib3.exceptions import HTTPError
        except ImportError:
            raise RefusedError(
                f"{self.ref} cannot be reached: the Kubernetes client is not installed.",
                "Install it: pip install 'dr[kubernetes]'.",
            ) from None
        try:
            return step()
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


def _named(found: Any, name: str) -> Any:
    """``found``, where it is the object of that name. Raises ValueError: the client takes anything for one."""
    if found.metadata.name != name:
        raise ValueError(name)
    return found


def _instead(old: str, new: str) -> str:
    """``new`` within the blanks that ``old`` stands in: led back, the value is to the letter what it was."""
    core = old.strip()
    return old.replace(core, new) if core else new


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _unfinished(deployment: Any) -> str:
    """Why a deployment's pods are not all new and available, or ""."""
    wanted, status = deployment.spec.replicas or 0, deployment.status
    if (status.observed_generation or 0) < (deployment.metadata.generation or 0):
        return "Kubernetes has not seen its change yet"
    new, ready, there = status.updated_replicas or 0, status.available_replicas or 0, status.replicas or 0
    if new < wanted or there > new or ready < wanted:
        return f"{new} of {wanted} pods are new, {ready} available, {there - new} old ones left"
    return ""
