"""Faults as a provider: the target's own command puts them in and takes them out."""
