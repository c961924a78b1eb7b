"""How pictures become comparable."""

from __future__ import annotations

from maquette.evaluation.copies import shrink as comparable

__all__ = ["comparable"]
