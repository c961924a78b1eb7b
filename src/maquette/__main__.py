"""`python -m maquette`: the command line."""

from maquette.cli.main import main

main()
