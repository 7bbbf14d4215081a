"""RDS as a provider: snapshots, points in time, restorations, failovers and promotions."""
