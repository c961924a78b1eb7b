"""Pictures in the report: as tiles and mosaics, and the animation of their training."""

from __future__ import annotations

from maquette.modalities.image.report.animation import animate, moving
from maquette.modalities.image.report.tiles import AMOUNTS, draw, mosaic, previewed, shape_words, tiles

__all__ = ["AMOUNTS", "animate", "draw", "mosaic", "moving", "previewed", "shape_words", "tiles"]
