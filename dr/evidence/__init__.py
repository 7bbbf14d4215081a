"""What a run leaves behind: the ledger and the run directory."""
