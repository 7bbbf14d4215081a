"""PostgreSQL as a provider: what a database holds, and whether a copy holds it too."""
