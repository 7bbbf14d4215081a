"""What people and machines read of a run, made from its evidence and its verdict alone."""
