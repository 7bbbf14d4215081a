"""One provider for each outside system. Only here are their client libraries imported; their errors never leak."""
