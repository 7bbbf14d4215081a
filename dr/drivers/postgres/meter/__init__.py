"""Writing and reading rows at a rate, each with its end: what meters of a database do."""
