"""The order of things: open a run, do its verbs, finish it."""
