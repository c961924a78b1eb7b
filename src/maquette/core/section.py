"""A section of the report, whole: its data, its template and its wording in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Missing:
    """A part of the report that cannot be made says why in one line. command: what makes it, if a command does."""

    why: str
    command: str = ""


@dataclass(frozen=True)
class Markup:
    """A section as it is laid into the page.

    html:    its body, in which everything that is not ours was escaped (report/page.py renders templates so)
    charts:  what page.js draws in it, by the id of the element
    points:  sentences for the summary on top: ("good" | "note" | "warn", sentence)
    figures: what is written as PNG beside the report, by name: a function of the path
    training_items: whether it shows items of the training data, which `report --for-sharing` leaves out
    """

    html: str
    charts: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[tuple[str, str], ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    training_items: bool = False


class Section(Protocol):
    """id: of its anchor; title: its heading; after: the id of the section that it comes after ("" the first)."""

    id: str
    title: str
    after: str

    def make(self, run: Any) -> Markup | Missing | None:
        """The section of a run (report/view.py); Missing where it cannot be made; None where it does not apply."""
        ...
