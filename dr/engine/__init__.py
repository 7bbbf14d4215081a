"""Plan, guard, perform, unwind: the only way to an effect."""
