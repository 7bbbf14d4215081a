"""What stands beside the lab's servers: PgBouncer in front of them, Prometheus on the service."""
