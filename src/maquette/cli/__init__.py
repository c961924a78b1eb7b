"""The command line: one file a verb. They read arguments, call the Python face, and print."""

import os
import sys
import time

_STARTED = time.monotonic()  # before anything heavy is imported
_BEFORE = 30.0  # seconds that Python takes until then at most; more is another program that calls us


def started() -> float:
    """time.monotonic() as this command began, Python's own start included: budgets of time begin there."""
    import psutil

    began = time.monotonic() - (time.time() - psutil.Process().create_time())
    return min(max(began, _STARTED - _BEFORE), _STARTED)  # whatever the clock of a sandbox says


# `PYTHONPATH=$PYTHONPATH:more` has an empty entry where there was none before, by which Python means the folder one
# stands in. That may be a run that somebody sent, whose files are not executed.
if "" in os.environ.get("PYTHONPATH", "none").split(os.pathsep):
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != os.path.realpath(".")]
