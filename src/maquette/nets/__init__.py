"""Networks by role, in plain torch."""
