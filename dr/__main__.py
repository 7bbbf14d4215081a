"""``python -m dr``: the command line without its console script."""

from dr.cli import main

main()
