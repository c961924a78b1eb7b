"""The model card of a run: README.md, for whoever the run folder is given to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from maquette.core.files import write_text
from maquette.core.modality import noun
from maquette.core.needs import undertrained
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.samples import quotes
from maquette.core.section import Missing
from maquette.core.shown import cleaned
from maquette.core.spec import ClassSpec, DataSpec, TokenSpec
from maquette.evaluation.results import NONE, Evaluation, Metric
from maquette.report import facts
from maquette.report.log import Log, read_log
from maquette.report.metrics import read_evaluation
from maquette.report.page import count, duration, file_size
from maquette.report.previews import previews
from maquette.report.show import excerpt
from maquette.report.usage import usage

SHOWN_BY_MARKDOWN = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")

# Everything that Markdown, or the HTML inside it, could take for a mark of its own inside a line, and at its
# start (a list, a heading); and what GitHub would make a link of.
_INSIDE = re.compile(r"([\\`*_{}\[\]<>#|~&$!])")
_START = re.compile(r"^(?:([-+=:])|(\d+)([.)])(?=\s|$))")
_LINKS = re.compile(r"(?i)(https?|ftp|mailto)(:)|(www)(\.)")


def write_card(folder: RunFolder) -> Path:
    """README.md: what the model makes, from which data, how well, and how to use it.

    Needs neither the model nor the data: only what the folder holds. Written again after an evaluation.
    """
    recipe, spec, log, evaluation = folder.recipe(), folder.spec(), read_log(folder), read_evaluation(folder)
    parts = (
        _head(folder, recipe, spec, log),
        _use(spec),
        _data(folder, spec),
        _quality(evaluation),
        _limits(spec, log, evaluation, facts.stopped_at(folder, recipe)),
        _training(folder, recipe),
    )
    return write_text(folder.card_file, cleaned("\n\n".join(parts)) + "\n")


def escape(words: object) -> str:
    """Words from a user as Markdown that shows exactly them, on one line."""
    line = _INSIDE.sub(r"\\\1", " ".join(str(words).split()))
    line = _START.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", line)
    return _LINKS.sub(lambda m: f"{m[1] or m[3]}\\{m[2] or m[4]}", line)


def fenced(words: str, language: str = "") -> str:
    """A code block whose fence is longer than any inside of it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", words)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{words.rstrip()}\n{fence}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells must be escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _head(folder: RunFolder, recipe: Recipe, spec: DataSpec, log: Log) -> str:
    what = "; ".join(f"{escape(name)}: {escape(facts.shape_words(spec, name))}" for name in spec.target)
    data = facts.data_of(folder).get("source") or recipe.data.source or "not named"
    trained = facts.trained_at(folder, log)
    lines = [
        f"# {escape(folder.path.resolve().name)}",
        *([f"**{escape(short)}**"] if (short := undertrained(folder)) else []),
        escape(recipe.about),
        _table(
            ("", ""),
            [
                ("Makes", what),
                ("Given", escape(_given(spec))),
                ("Family", escape(recipe.family)),
                ("Data", escape(facts.source_name(str(data)))),
                ("Training", f"{duration(log.seconds)}, {_steps(folder, recipe, log)}, {count(log.items)} items seen"),
                ("Weights", escape(_weights(folder))),
                *([("Trained", escape(facts.date_words(trained)))] if trained else []),
            ],
        ),
    ]
    for name in spec.target:
        lines += _preview(folder, spec, name)
    return "\n\n".join(lines)


def _steps(folder: RunFolder, recipe: Recipe, log: Log) -> str:
    stopped = facts.stopped_at(folder, recipe)
    return (
        facts.steps_words(recipe, log.steps)
        if stopped is None
        else f"stopped at step {stopped:,} of {recipe.train.steps:,}"
    )


def _preview(folder: RunFolder, spec: DataSpec, column: str) -> list[str]:
    """What was made at the end of the training, as Markdown can show it."""
    known = previews(folder, spec, column)
    if not known:
        return []
    path, items = known[-1][1], noun(spec.columns[column].kind)
    if path.suffix in SHOWN_BY_MARKDOWN:
        return [f"![{items.capitalize()} that this model made](samples/{path.name})"]
    drawn = ", drawn token by token rather than by beam search" if spec.givens(TokenSpec) else ""
    says = f"What it made at the end of its training{drawn}, none chosen by hand:"
    if path.suffix != ".txt":
        return [f"{says} [{items}](samples/{path.name})"]
    try:
        bare = quotes(spec, spec.columns[column].kind)  # a card is what is given away
        return [says, fenced(excerpt(path, spec.columns[column], bool(spec.given), bare))]
    except (OSError, ValueError):
        return []


def _given(spec: DataSpec) -> str:
    classes = spec.givens(ClassSpec)
    given = [
        f"{name}, one of {classes[name].num_classes} classes" if name in classes else f"{name}, {_a(spec, name)}"
        for name in spec.given
    ]
    return "; ".join(given) or "nothing"


def _a(spec: DataSpec, name: str) -> str:
    return f"a {noun(spec.columns[name].kind, 1)}"


def _weights(folder: RunFolder) -> str:
    if not folder.weights_file.is_file():
        return "none yet"
    return f"{file_size(folder.weights_file.stat().st_size)}, safetensors (nothing in this folder executes on load)"


def _use(spec: DataSpec) -> str:
    how = usage(spec)
    python = f'import maquette\n\nrun = maquette.load(".")\n{how.python}'
    package = f"'maquette[{how.extra}]'" if how.extra else "maquette"
    shown = (f"In this folder, with `pip install {package}`:", fenced(how.command, "sh"), fenced(python, "python"))
    return "\n\n".join(("## Use it", *shown, how.rule))


def _data(folder: RunFolder, spec: DataSpec) -> str:
    lines = ["## Data"]
    data = facts.data_facts(folder, spec, for_sharing=True)  # a card is what is given away
    if not data.facts:
        return "\n\n".join([*lines, "The run does not say what it was trained on."])
    rows = [(escape(fact.name), escape(fact.value)) for fact in data.facts]
    if data.fingerprint:
        rows.append(("Fingerprint", escape(data.fingerprint)))
    lines.append(_table(("", ""), rows))
    for column, classes in data.classes.items():
        shown = ", ".join(f"{escape(name)} ({n:,})" for name, n in classes[:30])
        rest = f", and {len(classes) - 30} more classes" if len(classes) > 30 else ""
        named = f"Classes of {escape(column)}" if len(data.classes) > 1 else "Classes"
        lines.append(f"{named}: {shown}{rest}.")
    if data.left_out_count:
        lines.append(f"{data.left_out_words} could not be used.")
    return "\n\n".join(lines)


def _quality(evaluation: Evaluation | Missing) -> str:
    lines = ["## How good it is"]
    if isinstance(evaluation, Missing):
        return "\n\n".join([*lines, f"{escape(evaluation.why)} `{evaluation.command}`"])
    settings, items = evaluation.settings, evaluation.settings.nouns[1]
    tokens = settings.features == "tokens"
    lines.append(
        f"Measured on {escape(settings.judged_on)}. The floor is what real {items} score against other real {items}: "
        "no generator can be asked to do better. "
        + (
            "Numbers per token cannot be compared between tokenizers; those per character can."
            if tokens
            else "Numbers of different feature networks cannot be compared."
        )
    )
    lines.append(f"**{escape(evaluation.verdict.words)}**")
    header = ("Measure", "Value", "95 % interval", "Floor", "Good is")
    lines.append(_table(header, [_metric_row(metric) for metric in evaluation.shown]))
    network = f", {'tokens' if tokens else 'feature network'} {settings.network}" if settings.network else ""
    lines.append(escape(f"Measured with {count(settings.samples)} samples with seed {settings.seed}{network}."))
    lines += [f"Careful: {escape(words)}" for words in evaluation.remarks]
    lines += [f"Note: {escape(words)}" for words in evaluation.notes]
    return "\n\n".join(lines)


def _metric_row(metric: Metric) -> tuple[str, ...]:
    senses = {"lower": "low", "higher": "high", "floor": "near the floor", "no more": "not above the floor"}
    value, good = f"{metric.show(metric.value)} {metric.unit_text}".strip(), senses[metric.better]
    floor = metric.show(metric.floor) or NONE
    return tuple(escape(cell) for cell in (metric.title, value, metric.interval_text or NONE, floor, good))


def _limits(spec: DataSpec, log: Log, evaluation: Evaluation | Missing, stopped: int | None = None) -> str:
    """stopped: the step that the training was left at, where that is not its last one"""
    names = [name.rpartition(": ")[2] for name in evaluation.names()] if isinstance(evaluation, Evaluation) else []
    measured = any(name == "copies" or name.startswith("copied_") for name in names)
    look = "Look at the copies measured above and" if measured else "Copies were not looked for: look"
    made = " and ".join(dict.fromkeys(noun(spec.columns[name].kind) for name in spec.target))
    items = [
        "It knows its training data and nothing else; what was rare there is rare or missing here, and what was "
        "unfair there is unfair here.",
        f"It can repeat {made} of its training. {look} at the report before giving away samples of "
        "private data; no number proves that nothing leaks.",
        "It is small and was trained for a short time. Do not rest a decision about a person on what it makes.",
        "What it makes is **AI-generated content**. Say so where you publish it; each file that Maquette writes says "
        "so in its metadata.",
    ]
    if any(isinstance(spec.columns[name], TokenSpec) for name in spec.target):
        items.insert(1, "What it writes can be untrue, and can hurt: nobody has told it what is right or kind.")
    if any(quotes(spec, spec.columns[name].kind) for name in spec.target):
        items.insert(-1, "The previews in `samples/` may quote, as captions, held-out items that they were made from; "
                     "`maquette report . --for-sharing` takes these out.")  # fmt: skip
    items.insert(-1, "`data.json` and `metrics.json` may hold names of files of the data.")
    items += [f"Training raised an alarm, {escape(alarm.name)}: {escape(alarm.saw)}." for alarm in log.alarms]
    if stopped is not None:
        items.insert(0, f"Its training was stopped at step {stopped:,}, before its end: `maquette resume .` goes on.")
    kinds = escape(" and ".join(spec.columns[name].kind for name in spec.target))
    good_for = f"Learning, sketching, and trying ideas with generated {kinds} data."
    if sources := [name for name in spec.given if not isinstance(spec.columns[name], ClassSpec)]:
        made_from = escape(" and ".join(sources))
        good_for = f"Learning how models make {escape(' and '.join(spec.target))} from {made_from}, and trying ideas."
    return "\n".join(("## What it is for, and what not", "", good_for, "", *(f"- {item}" for item in items)))


def _training(folder: RunFolder, recipe: Recipe) -> str:
    rows = [(escape(fact.name), escape(fact.value)) for fact in facts.versions()]
    return "\n\n".join(
        (
            "## Training",
            "The whole recipe, every default written out (`recipe.yaml`):",
            fenced(facts.recipe_words(folder, recipe), "yaml"),
            "Train it again: `maquette train recipe.yaml --data PATH -o again`",
            "Software when this card was written:",
            _table(("", ""), rows),
            "Written by [Maquette](https://github.com/maquette-ai/maquette).",
        )
    )
