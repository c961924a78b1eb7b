"""An option, whole: a flag of the command line, a keyword of Python, a field of the server, and what is checked of its
value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from maquette.core.errors import UserError, nearest

if TYPE_CHECKING:  # it takes a second to import, which listing options can do without
    from torch import Tensor

Kind = Callable[[Any], Any]
WORDS: Mapping[Kind, str] = {int: "a whole number", float: "a number", str: "a string"}
MANY = 64  # values of an option that may be given more than once
TYPES: Mapping[Kind, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}
MOST_ITEMS = 10**7  # of one sample


@dataclass(frozen=True)
class Option:
    """One option. `top_p` is `--top-p` on the command line, `run.sample(top_p=...)` in Python.

    kind:    int, float, str or bool, of one value; or a function that makes one of what was given (ValueError)
    default: what counts where nothing is asked for; None: the model's own settings
    help:    one line, without the default
    check:   value -> what it must be, e.g. "above 0", where it is not; None: fits. Its `schema`, where it has one, says
             the same as keywords of JSON schema
    choices: the values there are; () any
    many:    whether it may be given more than once; its value is then a tuple
    metavar: how its value is named in the help
    only:    "command": it is about how the command line shows what is made; "python": its value is no string
    form:    its JSON schema, where kind and check do not say it
    file:    whether its value is the path of a file
    """

    name: str
    kind: Kind
    default: Any
    help: str
    check: Callable[[Any], str | None] | None = None
    choices: tuple[str, ...] = ()
    many: bool = False
    metavar: str = ""
    only: Literal["", "command", "python"] = ""
    form: Mapping[str, Any] | None = None
    file: bool = False

    @property
    def flag(self) -> str:
        """As the command line has it: top_p -> --top-p."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def schema(self) -> dict[str, Any]:
        """What its value may be, as JSON schema."""
        form = dict(self.form) if self.form is not None else {"type": TYPES[self.kind]} if self.kind in TYPES else {}
        form |= {"enum": list(self.choices)} if self.choices else {}
        form |= getattr(self.check, "schema", {})
        if self.many:
            form = {"anyOf": [form, {"type": "array", "items": form, "maxItems": MANY}]}
        default = {} if self.default is None else {"default": self.default}
        return {**form, "description": self.help, **default}

    def checked(self, value: Any) -> Any:
        """The value in its type; UserError where it does not fit."""
        if value is None:
            return None
        values = [self._one(part) for part in (value if self.many and not isinstance(value, str) else [value])]
        return tuple(values) if self.many else values[0]

    def _one(self, value: Any) -> Any:
        if self.kind is bool:
            if not isinstance(value, bool):
                raise UserError(f"{self.name} = {value!r} is not possible.", "It must be True or False.")
            return value
        try:
            made = self.kind(value)
            if isinstance(made, float) and not math.isfinite(made):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            what = WORDS.get(self.kind, self.metavar)
            raise UserError(f"{self.name} = {value!r} is not possible.", f"It must be {what}.") from None
        if self.kind is int and isinstance(value, float) and value != made:
            raise UserError(f"{self.name} = {value!r} is not possible.", "It must be a whole number.")
        if self.choices and made not in self.choices:
            raise UserError(f"There is no {self.name} '{made}'.", nearest(str(made), self.choices))
        expected = self.check(made) if self.check else None
        if expected:
            raise UserError(f"{self.name} = {value!r} is not possible.", f"It must be {expected}.")
        return made


@dataclass(frozen=True)
class Range:
    """A check: numbers from `low` to `high`, both ends included, and the words for it. above: `low` is not included"""

    words: str
    low: float
    high: float = math.inf
    above: bool = False

    def __call__(self, value: Any) -> str | None:
        fits = (self.low < value if self.above else self.low <= value) and value <= self.high
        return None if fits else self.words

    @property
    def schema(self) -> dict[str, Any]:
        """The same as JSON schema."""
        low = {"exclusiveMinimum" if self.above else "minimum": self.low}
        return low if self.high == math.inf else {**low, "maximum": self.high}


@dataclass(frozen=True)
class Plan:
    """What a modality makes of what is asked of a sample by its own options.

    keywords: of Model.sample
    finish:   what is done with the items of its column that come out
    at_once:  whether all items are to be sampled side by side
    """

    keywords: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[Tensor], Tensor] = lambda items: items
    at_once: bool = False


def checked(options: Iterable[Option], asked: Mapping[str, Any], what: str = "This model") -> dict[str, Any]:
    """What is asked, each value checked by its option; UserError for what there is no option for."""
    known = {option.name: option for option in options}
    if unknown := [name for name in asked if name not in known]:
        raise UserError(
            f"{what} takes no {', '.join(unknown)}.",
            f"It takes {', '.join(known)}." if known else "There is one way to sample from it.",
        )
    return {name: known[name].checked(value) for name, value in asked.items()}


def given_of(pairs: Iterable[str]) -> dict[str, str]:
    """What stands for given columns as `COLUMN=VALUE`, by column; UserError for what is none, or twice there.

    For verbs that are known before their run is, and so have no flag for each column as `maquette sample` does.
    """
    from maquette.core.spec import plain  # pydantic, which listing verbs can do without

    found = dict[str, str]()
    for pair in pairs:
        column, sign, value = pair.partition("=")
        column = plain(column)
        if not sign or not column:
            raise UserError(f"--given '{pair}' names no column and value.", "Write --given COLUMN=VALUE.")
        if column in found:
            raise UserError(f"--given names '{column}' twice.", "Give one value for all.")
        found[column] = value
    return found


def identifier(name: str) -> str:
    """A column's name as that of an option: `stroke width` -> `stroke_width`."""
    return re.sub(r"\W+", "_", name).strip("_") or "_"


def sides(value: Any) -> tuple[int, int]:
    """64, '64' or '48x64' (height x width), or a pair -> (height, width); ValueError for anything else."""
    if isinstance(value, int):
        return value, value
    parts = value.lower().split("x") if isinstance(value, str) else list(value)
    height, width = int(parts[0]), int(parts[-1])
    if len(parts) > 2 or min(height, width) < 1:
        raise ValueError(value)
    return height, width


def at_least(least: float) -> Range:
    """A check."""
    return Range(f"{least:g} or more", least)


def between(low: float, high: float) -> Range:
    """A check; both ends fit."""
    return Range(f"from {low:g} to {high:g}", low, high)


def above(low: float) -> Range:
    """A check."""
    return Range(f"above {low:g}", low, above=True)


@dataclass(frozen=True)
class Lazy:
    """A check that is made where it is first asked for, since what it comes from takes a second to import."""

    make: Callable[[], Any]  # words, value -> whether it fits, schema

    def __call__(self, value: Any) -> str | None:
        words, fits, _ = self.make()
        return None if fits(value) else str(words)

    @property
    def schema(self) -> dict[str, Any]:
        """The same as JSON schema."""
        return dict(self.make()[2])


# What is asked of any sample, whatever makes it.
OF_ANY_SAMPLE = (
    Option("n", int, None, "How many. [default: 16 files, or 1 on the terminal]",
           Range(f"from 1 to {MOST_ITEMS:,}", 1, MOST_ITEMS)),
    Option("seed", int, 0, "Item i depends on the seed and i alone.",
           Range("0 or more, and below 2**63", 0, 2**63 - 1)),
    Option("unconditional", bool, False, "Ask the model that was trained with all it is given dropped."),
)  # fmt: skip

# How data of any kind may be prepared: keys of the section `data` of a recipe.
OF_ANY_DATA = (
    Option("label_pattern", str, None, "Columns that the names of files tell, such as '{label}_{speaker}_{take}'. "
           "[default: none]"),
    Option("test_where", str, None, "What is held out, by a column: take=0..4 or speaker=theo,lucas. [default: a "
           "tenth, by content]"),
    Option("split_by", str, None, "A column whose values are never on both sides of the split, such as speaker. "
           "[default: none]"),
)  # fmt: skip
