"""The target's cluster, asked with a deadline, and its refusals as sentences that say what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dr.domain.errors import OddAnswerError, ProviderError, RefusedError
from dr.drivers.kubernetes.api import CONFLICT, MERGE, NOT_FOUND, Api, Body
from dr.drivers.kubernetes.config import KubernetesConfig
from dr.host.bounded import persistently, within
from dr.host.clock import SystemClock
from dr.ports import Clock

T = TypeVar("T")
SECONDS, ANSWER_SECONDS = 10.0, 30.0
"""For each piece of an answer, and for a whole one."""
ODD_SECONDS = 10.0
"""How long it is asked again after an odd answer."""
LOST_SECONDS = 8.0
"""How long it is asked again where the API server does not answer: it may be restarted."""
FEW = 3
"""Resources of one verb that are asked for one by one at once."""
NODES, NAMESPACES = "/api/v1/nodes", "/api/v1/namespaces"
KUBE_SYSTEM = f"{NAMESPACES}/kube-system"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WEBHOOK_REFUSES, WEBHOOK_FAILS = "admission webhook", "failed calling webhook"
"""What the API server says where it was one that refused, with whatever status that chose, and where it could not ask
one that has to be asked."""
UNAUTHORIZED, FORBIDDEN = "401", "403"


@dataclass(frozen=True, slots=True)
class Access:
    """Something that has to be allowed: ``verb`` of ``resource``, which is called as RBAC does ("pods/eviction"), of an
    API ``group`` ("" is the core's), in ``namespace``; "": in all, or of the whole cluster."""

    verb: str
    resource: str
    namespace: str = ""
    group: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}{where}"

    @property
    def attributes(self) -> dict[str, str]:
        """As a SelfSubjectAccessReview has them."""
        resource, _, sub = self.resource.partition("/")
        found = {"verb": self.verb, "resource": resource, "subresource": sub}
        return {**found, "namespace": self.namespace, "group": self.group}


class Cluster:
    """The cluster of ``config``. A client is made at the first request.

    Raises RefusedError where it does not take the credentials, where these may not do what is asked, where it knows no
    such kind, or where what is asked is wrong; ProviderError where it does not answer: that may pass.
    """

    def __init__(self, config: KubernetesConfig, clock: Clock | None = None) -> None:
        self._config, self._clock = config, clock or SystemClock()
        self._api: Api | None = None

    def uid(self) -> str:
        """By which it is known."""
        found = self._persist("The cluster's identity", lambda api: api.get(KUBE_SYSTEM))
        uid = ((found or {}).get("metadata") or {}).get("uid")
        if not uid:
            raise OddAnswerError(KUBE_SYSTEM, "It has no UID")
        return str(uid)

    def confirm(self) -> None:
        """Raises RefusedError where it is not the one that the target is pinned to."""
        seen = self.uid()
        if seen != self._config.cluster_uid:
            raise RefusedError(
                f"The context {self._config.context} leads to the cluster {seen}, and the target is pinned to"
                f" {self._config.cluster_uid} (the UID of the namespace kube-system).",
                "Nothing was changed there. Correct the target's kubeconfig and context, or its cluster_uid.",
            )

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, or None where there is none. Of what is listed only the list is asked for a kind that is not
        there: see ``items``."""
        return self._persist(path, lambda api: api.get(path))

    def items(self, path: str) -> list[dict[str, Any]]:
        """What is listed at ``path``. Raises RefusedError where the cluster knows no such kind."""
        found = self.get(path)
        if found is None:
            raise RefusedError(
                f"The cluster of context {self._config.context} knows nothing at {path.partition('?')[0]}.",
                "See whether the definition of that kind (CustomResourceDefinition) is there, and the namespace.",
            )
        items = found.get("items")
        if items is None and found.get("kind", "").endswith("List"):
            return []  # Go writes an empty list as null
        if not isinstance(items, list):
            raise OddAnswerError(path, "It is no list")
        return items

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What was made, also where the answer that told so was lost: there is one of its name."""
        tried = False

        def make(api: Api) -> dict[str, Any]:
            nonlocal tried
            again, tried = tried, True
            try:
                return api.create(path, body)
            except ProviderError as error:
                if not again or error.code != CONFLICT:
                    raise
            return api.get(f"{path}/{body['metadata']['name']}") or {}

        return self._persist(path, make)

    def patch(self, path: str, body: Body, kind: str = MERGE) -> dict[str, Any]:
        return self._persist(path, lambda api: api.patch(path, body, kind))

    def delete(self, path: str, body: Mapping[str, Any]) -> None:
        """Harmless where it is not there."""
        self._persist(path, lambda api: api.delete(path, body))

    def check_access(self, wanted: Iterable[Access]) -> None:
        """Raises RefusedError that names each verb and resource that the credentials may not use. Whoever may do all is
        asked once for each verb."""
        asked = tuple(dict.fromkeys(wanted))
        counted = Counter(one.verb for one in asked)
        free = {verb for verb, count in counted.items() if count > FEW and self._may(Access(verb, "*", group="*"))}
        denied = [one for one in asked if one.verb not in free and not self._may(one)]
        if denied:
            raise RefusedError(
                f"The credentials of context {self._config.context} may not {', '.join(map(str, denied))}.",
                "Grant that by a Role or ClusterRole, or name other credentials in the target's kubeconfig.",
            )

    def _may(self, wanted: Access) -> bool:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted.attributes},
        }
        found = self._persist(f"May I {wanted}", lambda api: api.create(REVIEWS, body))  # it makes nothing
        return bool((found.get("status") or {}).get("allowed"))

    # -- asking

    def _persist(self, what: str, ask: Callable[[Api], T]) -> T:
        """The answer to what comes to the same when it is asked again."""

        def patience(error: ProviderError) -> float:
            if isinstance(error, OddAnswerError):
                return ODD_SECONDS
            return LOST_SECONDS if error.transient else 0.0

        return persistently(self._clock, patience, partial(self._once, what, ask))

    def _once(self, what: str, ask: Callable[[Api], T]) -> T:
        if self._api is None:
            self._api = Api(Path(self._config.kubeconfig), self._config.context, SECONDS)
        try:
            return within(self._clock, ANSWER_SECONDS, what, partial(ask, self._api))
        except ProviderError as error:
            raise _told(error, self._config.context) from None


def of_webhook(said: str) -> str:
    """What to do about a webhook that stands in the way, by what the API server ``said``; "" where none does."""
    if WEBHOOK_FAILS in said:
        return "See to the webhook's Service and pods, or take its configuration away until they are back."
    if WEBHOOK_REFUSES in said:
        return "A webhook of the cluster refuses it: see whether that is meant."
    return ""


def _told(error: ProviderError, context: str) -> Exception:
    """What the API server, or its absence, comes to."""
    said = str(error.args[0])
    if error.code == UNAUTHORIZED:
        return RefusedError(
            f"The cluster of context {context} does not take the credentials: they are wrong, or have expired.",
            "Renew them in the target's kubeconfig.",
        )
    if advice := of_webhook(said):
        return RefusedError(said, advice)
    if error.code == FORBIDDEN:
        return RefusedError(said, f"Grant that to the credentials of context {context}, or name others.")
    if error.code == NOT_FOUND:
        return RefusedError(said, "See whether it is there, and whether the cluster knows its kind.")
    if error.code.startswith("4") and error.code not in ("408", "409", "429"):
        return RefusedError(said, "The cluster takes it in no other form; see what it says.")
    if not error.code and error.transient and not isinstance(error, OddAnswerError):
        return ProviderError(
            f"The API server of context {context} does not answer: {said}",
            "See whether it runs and can be reached from here, then repeat the command.",
            transient=True,
        )
    return error
