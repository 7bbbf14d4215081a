"""What a target says of its Prometheus."""

from __future__ import annotations

from dr.config.model import Section, without_login


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
