"""Families of models, one file each, found by name: there is no registry."""
