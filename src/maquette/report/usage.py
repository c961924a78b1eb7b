"""How somebody uses a run: a command and a few lines of Python, as the kind that it makes has them."""

from __future__ import annotations

from dataclasses import dataclass
from keyword import iskeyword

from maquette.core.modality import noun, part
from maquette.core.option import identifier
from maquette.core.spec import ClassSpec, DataSpec
from maquette.report.facts import quoted


@dataclass(frozen=True)
class Usage:
    """command: of a shell in the run's folder; python: of a `run` that was loaded; rule: what stays the same; extra: of
    the package, which its files take."""

    command: str
    python: str
    rule: str
    extra: str = ""


def usage(spec: DataSpec) -> Usage:
    """As the modality says (its `usage(spec)`, in its package or its module `usage`), or as any run can be used."""
    own = part(spec.columns[spec.target[0]].kind, "usage", "usage") if len(spec.target) == 1 else None
    if own is not None:
        found: Usage = own(spec)
        return found
    return Usage(
        f"maquette sample . -n 16{asked(spec)} --seed 1 -o samples/",
        f'samples = run.sample(16{keywords(spec)}, seed=1)\nsamples.save("samples/")',
        rule(noun(spec.columns[spec.target[0]].kind, 1) if len(spec.target) == 1 else "item"),
    )


def asked(spec: DataSpec) -> str:
    """The flags that ask for the first class of each given column of classes, e.g. ` --label cat`."""
    return "".join(f" --{flag(name)} {quoted(c.classes[0])}" for name, c in spec.givens(ClassSpec).items())


def keywords(spec: DataSpec) -> str:
    """The same in Python, e.g. `, label='cat'`; `, given={'class': 'cat'}`, where a name is none of Python's."""
    asked = {name: column.classes[0] for name, column in spec.givens(ClassSpec).items()}
    if any(not identifier(name).isidentifier() or iskeyword(identifier(name)) for name in asked):
        return f", given={asked!r}"
    return "".join(f", {identifier(name)}={value!r}" for name, value in asked.items())


def flag(name: str) -> str:
    """The name of a column as the flag of a command has it."""
    return identifier(name).replace("_", "-")


def rule(item: str) -> str:
    """What stays the same from sample to sample."""
    return (
        f"{item.capitalize()} number *i* of a sample depends on the seed, on *i*, and on what was asked alone: it "
        "stays the same however many are made."
    )
