"""What can be asked of texts: of a model that writes them, and of how data is prepared; one object an option, for the
command line and for Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError
from maquette.core.option import Lazy, Option, Plan

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.core.about import About
    from maquette.core.generator import Generator
    from maquette.core.model import Model
    from maquette.core.spec import ColumnSpec, DataSpec
    from maquette.core.table import Dataset


def _within(name: str) -> Lazy:
    """A check against the limits that sampling itself keeps."""

    def limit() -> Any:
        from maquette.sampling.autoregressive import LIMITS

        return LIMITS[name]

    return Lazy(limit)


def _filled(value: str) -> str | None:
    return None if value else "a word or more: a text cannot end before an empty text"


# Of the recipe's section data.text, by the names they have there.
DATA_OPTIONS = (
    Option("items", str, None, "Of files of texts: what a text is, a file or each of its lines. [default: files]",
           choices=("files", "lines")),
)  # fmt: skip
DECODING = (
    Option("prompt", str, "", "How it begins."),
    Option("infill", str, "", "A text with [gap] where something is to be written."),
    Option("temperature", float, 1.0, "0 always takes the likeliest token.", _within("temperature")),
    Option("top_k", int, 0, "Choose among the k likeliest tokens; 0: all.", _within("top_k")),
    Option("top_p", float, 1.0, "... among those that make up this share.", _within("top_p")),
    Option("min_p", float, 0.0, "... that have this share of the likeliest one's.", _within("min_p")),
    Option("repetition_penalty", float, 1.0, "Above 1, what was written is less likely.",
           _within("repetition_penalty")),
    Option("max_tokens", int, None, "Tokens to write at most. [default: as long as an item]", _within("max_tokens")),
    Option("stop", str, (), "End before this; may be given more than once.", _filled, many=True),
    Option("pattern", str, None, "_ for a character, the rest as it is; 'form': the label's own. [default: any]"),
)  # fmt: skip
STREAM = Option("stream", bool, False, "Show each as it is written.", only="command")
BUNDLE = Option("decoding", lambda value: value, None, "All of these as one maquette.Decoding.", only="python")


def OPTIONS(model: Model, spec: ColumnSpec) -> tuple[Option, ...]:
    """Those of a model that writes token by token; none of another one. spec: of the target column."""
    from maquette.core.model import Streams

    if not isinstance(model, Streams):
        return ()
    lacks = set() if getattr(model, "fills_gaps", False) else {"infill"}
    lacks |= set() if spec.unit == "char" else {"pattern"}
    spelled = {"prompt": _spelled(spec, "", model.context)} if spec.unit == "char" else {}
    own = (replace(option, form=spelled.get(option.name)) for option in DECODING if option.name not in lacks)
    return (*own, STREAM, BUNDLE)


def _spelled(spec: ColumnSpec, more: str, most: int) -> dict[str, Any]:
    """JSON schema of texts in the characters that a model knows. more: further ones"""
    from maquette.core.spec import SPECIALS
    from maquette.modalities.text.tokens import vocabulary

    known = vocabulary(spec.tokenizer)
    characters = {*known.tokens[len(SPECIALS) :], *more}
    if known.lowercase:
        characters |= {upper for character in characters if len(upper := character.upper()) == 1}
    inside = "".join(f"\\{c}" if c in r"\]^-[&~|" else c for c in sorted(characters))
    return {"type": "string", "pattern": f"^[{inside}]*$", "maxLength": most}


def plan(
    generator: Generator, column: str, asked: Mapping[str, Any], given: Mapping[str, Tensor], n: int,
    facts: Mapping[str, Any],
) -> Plan:  # fmt: skip
    """How n texts are sampled as asked. facts: of the run's data, such as the layouts of its labels."""
    from maquette.modalities.text import writing

    decoding = _decoding(asked)
    if decoding is None:
        return Plan()
    forms = writing.forms_of(decoding, given, generator.spec, facts)
    spec = generator.spec.columns[column]
    return Plan(
        decoding.options(generator, n, forms),
        lambda items: writing.cut(items, decoding, spec),
        at_once=bool(decoding.pattern),  # a form is kept row by row
    )


def written(spec: ColumnSpec, asked: Mapping[str, Any]) -> Any:
    """What shows a text as it is written, by the options that it was asked with: writing.Shown."""
    from maquette.modalities.text import writing

    return writing.Shown(_decoding(asked) or writing.Decoding(), spec)


def stream(
    generator: Generator, column: str, asked: Mapping[str, Any], given: dict[str, Tensor], seed: int, item: int,
    facts: Mapping[str, Any], about: About,
) -> Iterator[str]:  # fmt: skip
    """One text as it is written, piece by piece; it has no place for what it is about."""
    from maquette.modalities.text import writing

    known = {option.name for option in (*DECODING, BUNDLE)}
    decoding = _decoding({name: value for name, value in asked.items() if name in known}) or writing.Decoding()
    forms = writing.forms_of(decoding, given, generator.spec, facts)
    return writing.stream(generator, given, seed, item, decoding, forms)


def facts(dataset: Dataset, spec: DataSpec, column: str) -> dict[str, Any]:
    """What sampling will want to know of the training data: the layout of each label's texts."""
    from maquette.modalities.text import writing

    found = writing.layouts(dataset, spec)
    return {"layouts": found} if found else {}


def first_recipe(given: Sequence[type[ColumnSpec]], spec: ColumnSpec | None = None) -> str:
    """What to begin with. given: forms of the columns that texts are made from."""
    from maquette.core.spec import TokenSpec

    return "text/transformer" if any(issubclass(form, TokenSpec) for form in given) else "text/lm"


def extent(spec: ColumnSpec) -> tuple[float, str]:
    """How large texts are, as the table of needs counts it: their tokens; there is no other size to speak of."""
    return spec.mean_length or float(spec.shape[0]), ""


def first_command(spec: DataSpec, run: str) -> str:
    """What to try after training."""
    from maquette.core.spec import TokenSpec

    return f"translate {run} --input FILE" if spec.givens(TokenSpec) else f"sample {run} -n 3"


def _decoding(asked: Mapping[str, Any]) -> Any:
    """The options as one Decoding; None where nothing is asked for."""
    from maquette.modalities.text.writing import Decoding

    single = {name: value for name, value in asked.items() if name != "decoding" and value is not None}
    bundle = asked.get("decoding")
    if bundle is None:
        return Decoding(**single) if single else None
    if not isinstance(bundle, Decoding):
        raise UserError(f"decoding = {bundle!r} is not possible.", "It must be a maquette.Decoding.")
    if single:
        raise UserError(f"decoding was given, and {', '.join(single)} as well.", "Give all of them in one way.")
    return bundle
