"""Texts in the report: as they were written, token by token, and beside the passages that they resemble."""

from __future__ import annotations

from maquette.modalities.text.report.alignment import Alignment
from maquette.modalities.text.report.form import Form
from maquette.modalities.text.report.passages import Passages
from maquette.modalities.text.report.tiles import excerpt, facts, previewed, shape_words, tiles, uncaption
from maquette.modalities.text.report.tokens import Agents, Tokens

SECTIONS = (Form(), Tokens(), Agents(), Alignment(), Passages())

__all__ = ["SECTIONS", "excerpt", "facts", "previewed", "shape_words", "tiles", "uncaption"]
