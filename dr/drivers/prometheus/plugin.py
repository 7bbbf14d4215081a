"""The Prometheus that watches the service, as a plugin: a section that others read."""

from __future__ import annotations

from dr.config.plugins import Plugin
from dr.drivers.prometheus.config import PrometheusConfig

PLUGIN = Plugin("prometheus", section=PrometheusConfig)
