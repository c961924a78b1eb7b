"""A part of the report that cannot be made says why in one line, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from maquette.core.errors import MaquetteError

T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """why: one sentence. command: what makes it, if a command does."""

    why: str
    command: str = ""


def attempt(make: Callable[[], T | Missing]) -> T | Missing:
    """The section, or the reason that it is not there: one broken part must not cost the whole report.

    A family may be a user's own, so anything can be raised here.
    """
    try:
        return make()
    except MaquetteError as error:
        return Missing(error.problem, error.remedy)
    except Exception as error:
        return Missing(f"This part could not be made: {type(error).__name__}: {error}")
