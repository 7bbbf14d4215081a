"""Velero as a provider: what a cluster's backups hold is restored, and compared with what stands after that."""
