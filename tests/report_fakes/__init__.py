"""Run folders as the engine leaves them, made in a second: for tests of the report."""
