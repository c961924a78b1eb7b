"""The command line: one file a verb. They read arguments, call the Python face, and print."""
