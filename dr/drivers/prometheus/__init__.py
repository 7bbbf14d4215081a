"""The Prometheus that watches the service."""
