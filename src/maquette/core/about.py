"""Where a written thing comes from: the label that every file of made content carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from maquette.core.shown import cleaned


@dataclass(frozen=True)
class About:
    """Who made what is in a file; a required argument of everything that writes one.

    software: e.g. "Maquette 0.1.0"       run, family: of the model; "" where no model made it
    seed, item: what makes it again, None for a file of several items, or of none
    made:     whether a model made it ("AI-generated"), or it shows real data ("real data")
    more:     what else is to be said, e.g. the label or the prompt, by name
    """

    software: str = ""
    run: str = ""
    family: str = ""
    seed: int | None = None
    item: int | None = None
    made: bool = True
    more: Mapping[str, str] = field(default_factory=dict)

    def of(self, seed: int | None = None, item: int | None = None, **more: str) -> About:
        """The same for one item, or for a file that says more."""
        seed, item = (self.seed if seed is None else seed), (self.item if item is None else item)
        return replace(self, seed=seed, item=item, more={**self.more, **more})

    def with_more(self, more: Mapping[str, str]) -> About:
        """The same, and what else is to be said, by any name."""
        return replace(self, more={**self.more, **more})

    @property
    def fields(self) -> dict[str, str]:
        """As metadata, strings by name; what is not known is left out."""
        plain = {
            "Software": self.software, "Source": "AI-generated" if self.made else "real data", "run": self.run,
            "family": self.family, "seed": "" if self.seed is None else str(self.seed),
            "item": "" if self.item is None else str(self.item),
        }  # fmt: skip
        # A column of the data may have the name of a field, and must not speak for it.
        more = {f"given {name}" if name in plain else name: value for name, value in self.more.items()}
        return {cleaned(name): cleaned(value) for name, value in {**plain, **more}.items() if value}


def software() -> str:
    """This version, as files name it."""
    from maquette import __version__

    return f"Maquette {__version__}"


def of_run(path: Path, family: str) -> About:
    """What every file that the run in a folder writes says of where it comes from."""
    return About(software(), path.resolve().name, family)
