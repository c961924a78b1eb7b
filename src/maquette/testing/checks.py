"""A check of a contract, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from maquette.core.errors import MaquetteError


class ContractError(MaquetteError):
    """A model or a modality does not meet the contract."""


@dataclass(frozen=True)
class Passed:
    """The check applied, and what it asks is met."""


@dataclass(frozen=True)
class Skipped:
    """The check does not apply, and why. That is not the same as passed."""

    reason: str


@dataclass(frozen=True)
class Check:
    """One thing that a contract asks.

    name:  what is asked, as words joined by "_"      about: one sentence
    of:    raises ContractError where it is not met; Skipped where it does not apply
    """

    name: str
    about: str
    of: Callable[[], Skipped | None]

    def run(self) -> Passed | Skipped:
        """ContractError where it is not met, its message beginning with the name; what the code under test raises goes
        through."""
        try:
            return self.of() or Passed()
        except ContractError as error:
            raise ContractError(f"{self.name}: {error}") from None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """What became of a contract none of whose checks failed. `name in result`: whether it passed, not only ran."""

    passed: tuple[str, ...]
    skipped: dict[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.passed


def run_all(checks: Iterable[Check]) -> Result:
    """Runs them in order; ContractError at the first that fails."""
    outcomes = {check.name: check.run() for check in checks}
    return Result(
        tuple(name for name, outcome in outcomes.items() if isinstance(outcome, Passed)),
        {name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, Skipped)},
    )


def bound(functions: Iterable[Callable[[Any], Skipped | None]], bench: Any) -> Iterator[Check]:
    """Functions of a bench as checks, named after them; the first line of the docstring says what each asks."""
    for function in functions:
        about = (function.__doc__ or "").strip().partition("\n")[0]
        yield Check(function.__name__, about, lambda function=function: function(bench))  # type: ignore[misc]


def require(condition: bool, what: str) -> None:
    """Raises ContractError(what) unless the condition holds."""
    if not condition:
        raise ContractError(what)
