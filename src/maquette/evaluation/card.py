"""The model card of a run: README.md, for whoever the run folder is given to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from maquette.core.files import write_text
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec
from maquette.evaluation.results import NONE, Evaluation, Metric, Settings
from maquette.report.animation import previews
from maquette.report.facts import data_facts, data_of, date_text, shape_text, trained_at, versions
from maquette.report.log import Log, read_log
from maquette.report.metrics import read_evaluation
from maquette.report.missing import Missing
from maquette.report.page import count, duration, file_size
from maquette.report.texts import TextStage, text_stages

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
    sections = (
        _head(folder, recipe, spec, log),
        _use(folder, spec),
        _data(folder, spec),
        _quality(evaluation, "texts" if _makes_text(spec) else "pictures"),
        _limits(spec, log, evaluation),
        _training(folder, recipe, log),
    )
    return write_text(folder.card_file, "\n\n".join(sections) + "\n")


def escape(text: object) -> str:
    """Text from a user as Markdown that shows exactly it, on one line."""
    line = _INSIDE.sub(r"\\\1", " ".join(str(text).split()))
    line = _START.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", line)
    return _LINKS.sub(lambda m: f"{m[1] or m[3]}\\{m[2] or m[4]}", line)


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any inside the text."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells must be escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _head(folder: RunFolder, recipe: Recipe, spec: DataSpec, log: Log) -> str:
    what = "; ".join(f"{escape(name)}: {escape(shape_text(spec, name))}" for name in spec.target)
    # A file is given to others: the name of the data says enough, the path to it is its owner's business.
    source = escape(_data_name(folder, recipe))
    lines = [
        f"# {escape(folder.path.resolve().name)}",
        escape(recipe.about),
        _table(
            ("", ""),
            [
                ("Makes", what),
                ("Given", escape(_given(spec))),
                ("Family", escape(recipe.family)),
                ("Data", source),
                ("Training", f"{duration(log.seconds)}, {count(log.steps)} steps, {count(log.items)} items seen"),
                ("Weights", escape(_weights(folder))),
                *([("Trained", escape(date_text(trained)))] if (trained := trained_at(folder, log)) else []),
            ],
        ),
    ]
    known, written = previews(folder), text_stages(folder)
    if known:
        lines.append(f"![Pictures that this model made](samples/{known[-1][1].name})")
    elif written:
        drawn = ", drawn token by token rather than by beam search" if spec.source else ""
        lines.append(f"What it wrote at the end of its training{drawn}, none chosen by hand:")
        lines.append(fenced(_shown(written[-1]), "text"))
    return "\n\n".join(lines)


def _shown(stage: TextStage) -> str:
    """The texts of a preview with a rule between them that no page is too narrow for."""
    texts = (f"[{part.caption}]\n{part.text}" if part.caption else part.text for part in stage.texts)
    return f"\n{'─' * 20}\n".join(texts)


def _given(spec: DataSpec) -> str:
    if spec.source:
        return f"{spec.source}, a text"
    return f"{spec.label}, one of {spec.num_classes} classes" if spec.label else "nothing"


def _makes_text(spec: DataSpec) -> bool:
    return spec.columns[spec.target[0]].kind == "text"


def _data_name(folder: RunFolder, recipe: Recipe) -> str:
    source = recipe.data.source or str(data_of(folder, None).get("source", "")) or "not named"
    return Path(source).name or source


def _weights(folder: RunFolder) -> str:
    if not folder.weights_file.is_file():
        return "none yet"
    return f"{file_size(folder.weights_file.stat().st_size)}, safetensors (nothing in this folder executes on load)"


def _use(folder: RunFolder, spec: DataSpec) -> str:
    if _makes_text(spec):
        return _use_text(spec)
    label = f", label={_first_class(spec)!r}" if spec.label else ""
    asked = f" --label {_shell(_first_class(spec))}" if spec.label else ""
    command = f"maquette sample .{asked} -n 64 --seed 1 --grid -o samples.png"
    python = "\n".join(
        (
            "import maquette",
            "",
            'run = maquette.load(".")',
            f"pictures = run.sample(16{label}, seed=1)",
            'pictures.save("out/")',
        )
    )
    return "\n\n".join(
        (
            "## Use it",
            "In this folder, with `pip install maquette`:",
            fenced(command, "sh"),
            fenced(python, "python"),
            "Picture number *i* of a sample depends on the seed, on *i*, and on the class alone: it stays the same "
            "however many are made.",
        )
    )


def _use_text(spec: DataSpec) -> str:
    if spec.source:
        command = "maquette translate . --input FILE -o out.txt"
        python = 'for text in run.translate(["..."]):\n    print(text)'
        rule = "Each line of FILE is written anew by beam search; the same line gives the same text."
    else:
        asked = f" --label {_shell(_first_class(spec))}" if spec.label else ""
        label = f", label={_first_class(spec)!r}" if spec.label else ""
        command = f"maquette sample .{asked} -n 4 --seed 1"
        python = f"for text in run.sample(4{label}, seed=1).texts:\n    print(text)"
        rule = (
            "Text number *i* of a sample depends on the seed, on *i*, and on what was asked alone: it stays the same "
            "however many are written."
        )
    python = f'import maquette\n\nrun = maquette.load(".")\n{python}'
    shown = ("In this folder, with `pip install maquette`:", fenced(command, "sh"), fenced(python, "python"), rule)
    return "\n\n".join(("## Use it", *shown))


def _first_class(spec: DataSpec) -> str:
    return spec.columns[str(spec.label)].classes[0]


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(" ".join(text.split()))


def _data(folder: RunFolder, spec: DataSpec) -> str:
    lines = ["## Data"]
    about = data_facts(data_of(folder, None), None, spec)
    if about is None:
        return "\n\n".join([*lines, "The run does not say what it was trained on."])
    rows = [(escape(fact.name), escape(fact.value)) for fact in about.facts]
    if about.fingerprint:
        rows.append(("Fingerprint", escape(about.fingerprint)))
    if rows:
        lines.append(_table(("", ""), rows))
    if about.classes:
        shown = about.classes[:30]
        rest = f", and {len(about.classes) - 30} more classes" if len(about.classes) > 30 else ""
        lines.append("Classes: " + ", ".join(f"{escape(name)} ({n:,})" for name, n in shown) + rest + ".")
    lines += [escape(note) for note in about.notes]
    if about.left_out_count:
        lines.append(f"{about.left_out_words} could not be used, as data.json says of each.")
    return "\n\n".join(lines)


def _quality(evaluation: Evaluation | Missing, things: str) -> str:
    lines = ["## How good it is"]
    if isinstance(evaluation, Missing):
        # Its command names the folder as this machine does; whoever reads the card is inside it.
        return "\n\n".join([*lines, f"{escape(evaluation.why)} `maquette evaluate .`"])
    lines.append(
        f"Measured on {escape(evaluation.settings.judged_on)}. The floor is what real {things} score against other "
        f"real {things}: no generator can be asked to do better. "
        + (
            "Numbers per token cannot be compared between tokenizers; those per character can."
            if things == "texts"
            else "Numbers of different feature networks cannot be compared."
        )
    )
    lines.append(
        _table(
            ("Measure", "Value", "95 % interval", "Floor", "Good is"),
            [_metric_row(metric) for metric in evaluation.metrics],
        )
    )
    lines.append(_rests_on(evaluation.settings))
    lines += [f"Careful: {escape(text)}" for text in evaluation.warnings]
    lines += [f"Note: {escape(text)}" for text in evaluation.notes]
    return "\n\n".join(lines)


def _metric_row(metric: Metric) -> tuple[str, ...]:
    senses = {"lower": "low", "higher": "high", "floor": "near the floor", "no more": "not above the floor"}
    value, good = f"{metric.show(metric.value)} {metric.unit_text}".strip(), senses[metric.better]
    floor = metric.show(metric.floor) or NONE
    return tuple(escape(cell) for cell in (metric.title, value, metric.interval_text or NONE, floor, good))


def _rests_on(settings: Settings) -> str:
    return escape(
        f"Measured with {count(settings.samples)} samples with seed {settings.seed}, "
        f"{'tokens' if settings.kind == 'text' else 'feature network'} {settings.network}."
    )


def _limits(spec: DataSpec, log: Log, evaluation: Evaluation | Missing) -> str:
    text = _makes_text(spec)
    names = list(evaluation.names()) if isinstance(evaluation, Evaluation) else []
    measured = any(name == "copies" or name.startswith("copied_") for name in names)
    look = "Look at the copies measured above and" if measured else "Copies were not looked for: look"
    items = [
        "It knows its training data and nothing else; what was rare there is rare or missing here, and what was "
        "unfair there is unfair here.",
        f"It can repeat training {'text' if text else 'pictures'}. {look} at the report before giving away samples of "
        "private data; no number proves that nothing leaks.",
        "It is small and was trained for a short time. Do not rest a decision about a person on what it makes.",
        "What it makes is **AI-generated content**. Say so where you publish it; each file that Maquette writes says "
        "so in its metadata.",
    ]
    if text:
        items.insert(1, "What it writes can be untrue, and can hurt: nobody has told it what is right or kind.")
    items += [f"Training raised an alarm, {escape(alarm.name)}: {escape(alarm.saw)}." for alarm in log.alarms]
    kinds = escape(" and ".join(spec.columns[name].kind for name in spec.target))
    good_for = f"Learning, sketching, and trying ideas with generated {kinds} data."
    if spec.source:
        good_for = f"Learning how models write {escape(spec.target[0])} from {escape(spec.source)}, and trying ideas."
    return "\n".join(("## What it is for, and what not", "", good_for, "", *(f"- {item}" for item in items)))


def _training(folder: RunFolder, recipe: Recipe, log: Log) -> str:
    try:
        text = folder.recipe_file.read_text(encoding="utf-8")
    except OSError:
        text = recipe.dump()
    source = recipe.data.source
    if source and source != _data_name(folder, recipe):
        text = text.replace(source, Path(source).name)
    rows = [(escape(fact.name), escape(fact.value)) for fact in versions()]
    return "\n\n".join(
        (
            "## Training",
            "The whole recipe, every default written out (`recipe.yaml`):",
            fenced(text, "yaml"),
            "Train it again: `maquette train recipe.yaml --data PATH -o again`",
            "Software when this card was written:",
            _table(("", ""), rows),
            "Written by [Maquette](https://github.com/maquette-ai/maquette).",
        )
    )
