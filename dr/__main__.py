"""``python -m dr``: the command line without its console script. Called by: tests."""

from dr.cli import main

main()
