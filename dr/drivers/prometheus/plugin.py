"""The Prometheus that watches the service, as a plugin: a section that others read."""

from __future__ import annotations

from collections.abc import Iterable

from dr.config.context import Context
from dr.config.needs import Check
from dr.config.plugins import Plugin
from dr.domain.model import Facts
from dr.drivers.prometheus.config import PrometheusConfig


def _checks(context: Context, _facts: Facts) -> Iterable[Check]:
    from dr.drivers.prometheus.client import Prometheus

    url = context.target.of(PrometheusConfig).url
    return ((f"Prometheus at {url}", Prometheus(url).alert_rules),)


PLUGIN = Plugin("prometheus", section=PrometheusConfig, reads=("prometheus",), checks=_checks)
