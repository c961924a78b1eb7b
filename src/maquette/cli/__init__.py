"""The command line: one file a verb. They read arguments, call the Python face, and print."""

import time

STARTED = time.monotonic()  # before anything heavy is imported: a budget of time begins here
