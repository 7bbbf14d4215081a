"""Disaster-recovery drills and restores, measured and proven."""

__version__ = "0.1.0"
