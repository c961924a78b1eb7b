"""`python -m maquette`: the command line."""

import sys

if not sys.flags.safe_path:  # Python puts the folder one stands in first, which may be a run that somebody sent
    del sys.path[0]

from maquette.cli.main import main

main()
