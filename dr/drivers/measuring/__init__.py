"""Meters as a provider: processes that probe, write and read until the run unwinds."""
