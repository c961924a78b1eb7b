"""A part of the report that cannot be made says why in one line, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from maquette.core.errors import MaquetteError
from maquette.core.section import Missing

T = TypeVar("T")


def attempt(make: Callable[[], T | Missing]) -> T | Missing:
    """The section, or the reason that it is not there: one broken part must not cost the whole report.

    A family or a modality may be a user's own, so anything can be raised here.
    """
    try:
        return make()
    except MaquetteError as error:
        return Missing(error.problem, error.remedy)
    except Exception as error:
        return Missing(f"This part could not be made: {type(error).__name__}: {error}")
