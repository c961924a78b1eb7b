"""maquette data: what is in there, before anything is trained."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maquette.cli.options import OptionsOfData, asked_of
from maquette.core.files import expanded
from maquette.core.shown import file_stem

if TYPE_CHECKING:
    from maquette.core.table import Dataset

EXAMPLES = 3  # items of a column that are shown on the terminal
TILES = 64  # items of a preview


@click.group("data")
def command() -> None:
    """Look at data before training on it."""


@command.command("inspect", cls=OptionsOfData)
@click.argument("source", metavar="PATH", type=click.Path())
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--target", multiple=True, help="The column to make. [default: the only one that can be]")
@click.option("--given", multiple=True, help="A column it depends on.")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file or row instead of leaving it out.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option("-o", "--out", type=click.Path(), help="The preview. [default: NAME-preview, here; or the terminal]")
def inspect(
    source: str, settings: tuple[str, ...], target: tuple[str, ...], given: tuple[str, ...], strict: bool,
    as_json: bool, out: str | None, **of_data: str | None,
) -> None:  # fmt: skip
    """What PATH holds: counts, sizes, classes, what is left out and why, duplicates, and a preview.

    PATH: a folder, .zip or .tar of files, IDX, .npz or .npy files, a document, a table (.csv, .tsv, .jsonl, .xlsx),
    parallel files (train.en, train.de); digits, mnist, fashion-mnist, or hf:NAME.

    Settings of data can be given as for `train`, as KEY=VALUE: data.splits=none data.kinds.width=number
    """
    import json

    from maquette import console
    from maquette.core.data_config import data_settings
    from maquette.core.recipe import data_config, load_recipe
    from maquette.training import inspected

    notify: Callable[[str], None] = (lambda note: None) if as_json else (lambda note: click.echo(note, err=True))
    config = data_config({"source": source, "strict": strict, **data_settings(of_data)}, settings)
    with console.shown(quiet=as_json):
        found = inspected(source, config, target, given, notify)
    dataset, recipe = found.dataset, found.recipe
    shown = _shown(dataset, (*found.target, *found.given))
    path = _preview_file(dataset, shown, source, out)
    if path:
        _preview(dataset, shown, path)
    if as_json:
        facts = {**dataset.summary, "fingerprint": dataset.fingerprint, "preview": str(path) if path else None}
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from maquette.cli.tables import print_data

    print_data(dataset.summary, {name: _examples(dataset, name) for name in shown})
    if recipe:
        said = {
            "target": found.target if found.target != load_recipe(recipe).target else (),
            "given": given or found.given,
        }
        said |= {name.replace("_", "-"): (value,) for name, value in asked_of(of_data).items()}
        options = [part for name, values in said.items() for value in values for part in (f"--{name}", value)]
        click.echo(
            f"To train on it: {shlex.join(['maquette', 'train', recipe, '--data', source, *settings, *options])}"
        )
    if path:
        click.echo(f"Preview: {path}")
        if note := _letters_missing(dataset):
            click.echo(f"Note: {note}")


def _shown(dataset: Dataset, used: tuple[str, ...]) -> list[str]:
    """The columns that are used, or all where nothing is chosen: no labels and no numbers, if there are others."""
    from maquette.core.spec import ClassSpec, NumberSpec

    columns = {name: column.spec for name, column in dataset.train.columns.items()}
    found = list(used or columns)
    return [name for name in found if not isinstance(columns[name], ClassSpec | NumberSpec)] or found


def _preview_file(dataset: Dataset, shown: list[str], source: str, out: str | None) -> Path | None:
    """Where the preview goes; None where nothing is asked for and items are shown on the terminal."""
    from maquette.core.errors import UserError
    from maquette.core.find import find_modality
    from maquette.core.modality import noun, part

    if not shown:
        return None
    kind = dataset.train.columns[shown[0]].spec.kind
    modality = find_modality(kind)
    if out is None:
        return None if part(kind, "PRINTED", "values") else Path(f"{_stem(source)}-preview{modality.PREVIEW_SUFFIX}")
    suffixes = (modality.PREVIEW_SUFFIX, *getattr(modality, "SUFFIXES", ()))
    if not out.lower().endswith(suffixes):
        raise UserError(
            f"A preview of {noun(kind)} cannot be written as '{out}'.",
            f"Use a name that ends in {modality.PREVIEW_SUFFIX}.",
        )
    return Path(out)


def _preview(dataset: Dataset, shown: list[str], path: Path) -> None:
    """Writes training items of the first such column, spread over the classes, each with the name of its class."""
    import numpy as np

    from maquette.core.about import About, software
    from maquette.core.find import find_modality
    from maquette.core.spec import ClassSpec

    table = dataset.train
    rows, captions = np.arange(min(TILES, len(table))), list[str]()
    label = next((column for column in table.columns.values() if isinstance(column.spec, ClassSpec)), None)
    if label is not None:
        codes = label.take(np.arange(len(table))).numpy()
        # One of each class in turn, until there are enough.
        turn = np.empty(len(codes), np.int64)
        for code in np.unique(codes):
            members = np.flatnonzero(codes == code)
            turn[members] = np.arange(len(members))
        rows = np.lexsort((codes, turn))[:TILES]
        captions = [label.spec.classes[code] for code in codes[rows]]
    column = table.columns[shown[0]]
    about = About(software(), made=False, more={"data": dataset.source})
    find_modality(column.spec.kind).preview(column.take(rows), path, column.spec, captions, about)


def _letters_missing(dataset: Dataset) -> str:
    """What to say of names of classes that cannot be drawn."""
    from maquette.core.spec import ClassSpec
    from maquette.report.fonts import missing

    columns = (column.spec for column in dataset.train.columns.values())
    return missing([name for spec in columns if isinstance(spec, ClassSpec) for name in spec.classes])


def _examples(dataset: Dataset, name: str) -> list[str]:
    """The first items of a column, where a terminal can show them."""
    import numpy as np

    from maquette.core.modality import part

    column = dataset.train.columns[name]
    view = part(column.spec.kind, "view", "values") if part(column.spec.kind, "PRINTED", "values") else None
    if view is None:
        return []
    return [str(view(item, column.spec)) for item in column.take(np.arange(min(EXAMPLES, len(dataset.train))))]


def _stem(source: str) -> str:
    """A file name made of what the user named."""
    name = expanded(source.removeprefix("hf:")).resolve().name.partition(".")[0]
    return file_stem(name) or "data"
