"""The command line: one file a verb. They read arguments, call the Python face, and print."""

import os
import sys
import time

STARTED = time.monotonic()  # before anything heavy is imported: a budget of time begins here

# `PYTHONPATH=$PYTHONPATH:more` has an empty entry where there was none before, by which Python means the folder one
# stands in. That may be a run that somebody sent, whose files are not executed.
if "" in os.environ.get("PYTHONPATH", "none").split(os.pathsep):
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(".")]
