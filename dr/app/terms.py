"""What the guard has to know of a target."""

from __future__ import annotations

from dr.config.model import Target
from dr.engine.guard import Terms


def terms(target: Target) -> Terms:
    """The pins, endpoints, grants and word of consent of ``target``."""
    endpoints = [target.endpoint or f"https://rds.{target.region}.amazonaws.com"]
    endpoints += [part.url for part in (target.service, target.prometheus) if part is not None]
    endpoints += [f"postgresql://{target.pooler.host}:{target.pooler.port}"] if target.pooler is not None else []
    pins = {"rds": {"account": target.account, "region": target.region}}
    return Terms(target.grants, pins, endpoints, target.instance)
