"""What leads clients to the primary: PgBouncer's entries and a Secret in a cluster."""
