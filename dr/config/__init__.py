"""dr.yaml and the DR_ environment: targets, objectives, where state lives."""
