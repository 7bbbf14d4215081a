"""What is a name, how things are named in plans, and how names at the provider compare.

An instance is named by its identifier, as the provider has it. What stands inside one, a table of the harness's own
say, has the instance's name before it; no identifier of an instance holds a slash.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from dr.domain.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}", re.ASCII)


def check_name(name: str, what: str) -> str:
    """``name``, which becomes part of a path. Raises UsageError where it could lead elsewhere, or is none: ``what``."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name[:100]!r} is no name of a {what}.",
            "A name is a letter or digit, followed by at most 99 letters, digits, dots, hyphens and underscores.",
        )
    return name


def is_run(name: str) -> bool:
    """Whether ``name`` is a run's: what a provider's tag says may be anything."""
    return _RUN.fullmatch(name) is not None


def on_loopback(endpoint: str) -> bool:
    """Whether an endpoint URL names this machine itself."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def same(one: str, other: str) -> bool:
    """Whether two identifiers name one thing: RDS keeps them in lower case, whatever case they were typed in."""
    return one.lower() == other.lower()


def inside(instance: str, thing: str) -> str:
    """The name of something that stands inside an instance."""
    return f"{instance}/{thing}"


def holder(name: str) -> str:
    """The instance inside which something of this name stands; "" of what stands in none."""
    instance, slash, _ = name.partition("/")
    return instance if slash else ""


def predictions(instance: str) -> str:
    """The rows that a service writes into its database when it is asked for synthetic patients."""
    return inside(instance, "predictions of synthetic patients")


def markers(instance: str, path: str) -> str:
    """The table of markers that a run writes on ``path``."""
    return inside(instance, f"markers of path {path}")


def process(call: str) -> str:
    """A process of the harness's own, which ``call`` starts on this machine."""
    return f"process {call}"


def service(url: str) -> str:
    """A prediction service that this run did not start."""
    return f"service at {url}"


def pooler_entry(entry: str) -> str:
    """What leads clients to a database by PgBouncer."""
    return f"PgBouncer's entry {entry}"


def cluster_secret(namespace: str, name: str) -> str:
    """What leads clients to a database in a Kubernetes cluster."""
    return f"Secret {namespace}/{name}"
