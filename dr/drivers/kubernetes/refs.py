"""What there is in a cluster, as references."""

from __future__ import annotations

from dr.domain.refs import Ref

DRIVER = "kubernetes"


def namespace(name: str) -> Ref:
    return Ref(DRIVER, "namespace", name)


def node(name: str) -> Ref:
    return Ref(DRIVER, "node", name)
