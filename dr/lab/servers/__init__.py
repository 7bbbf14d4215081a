"""Real PostgreSQL servers: made, configured, replicated, broken and ended."""
