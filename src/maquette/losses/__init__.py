"""Losses as pure functions, one equation each."""
