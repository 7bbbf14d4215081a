"""The Prometheus that watches the service, as a plugin: what a target says of it, which others read, and what is
demanded of what it saw."""

from __future__ import annotations

from collections.abc import Iterable

from dr.config.context import Context
from dr.config.model import Section, without_login
from dr.config.needs import Check
from dr.config.plugins import Plugin
from dr.domain.model import Facts
from dr.drivers.prometheus.judge import OBJECTIVES


class PrometheusConfig(Section, frozen=True, forbid_unknown_fields=True):
    """The Prometheus that scrapes the service."""

    url: str
    selector: str = ""
    """Labels of the service's series (``job="readmission-api"``); empty: whatever has their names."""
    interval: float = 15.0
    """Seconds between two scrapes."""
    alerts: tuple[str, ...] = ("HighErrorRate", "SlowAPIResponse")
    """Its alert rules of which a drill tells whether they would have fired; empty: that is not asked."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL with a login."""
        without_login("prometheus.url", self.url)

    def endpoints(self) -> tuple[str, ...]:
        return (self.url,)


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    from dr.drivers.prometheus.client import Prometheus

    url = context.target.of(PrometheusConfig).url
    return ((f"Prometheus at {url}", Prometheus(url).alert_rules),)


PLUGIN = Plugin("prometheus", objectives=OBJECTIVES, section=PrometheusConfig, reads=("prometheus",), checks=_checks)
