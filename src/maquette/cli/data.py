"""maquette data: what is in there, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.train import parse_size

if TYPE_CHECKING:
    from maquette.core.table import Dataset


@click.group("data")
def command() -> None:
    """Look at data before training on it."""


@command.command("inspect")
@click.argument("source", metavar="PATH")
@click.option("--size", callback=parse_size, help="Pixels: 64, or height x width as 48x64. [default: the data's own]")
@click.option("--target", help="The text column to make. [default: text, or the only one]")
@click.option("--given", help="A column it depends on.")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file or row instead of leaving it out.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option("-o", "--out", type=click.Path(), help="The preview. [default: NAME-preview.png, here; texts: none]")
def inspect(
    source: str, size: tuple[int, int] | None, target: str | None, given: str | None, strict: bool, as_json: bool,
    out: str | None,
) -> None:  # fmt: skip
    """What PATH holds: counts, sizes, classes, what is left out and why, duplicates, and a preview.

    PATH: a folder, .zip or .tar of pictures, IDX, .npz or .npy files; a text or a folder of texts, a table of texts
    (.csv, .tsv, .jsonl), parallel files (train.en, train.de); digits, mnist, fashion-mnist, or hf:NAME.
    """
    import json

    from maquette.core.recipe import DataConfig
    from maquette.data import open_dataset

    say = _quiet if as_json else _say
    config = DataConfig.model_validate({"source": source, "strict": strict, "image": {"size": size}})
    depends = (given,) if given and given != "none" else ()
    dataset = open_dataset(source, config, target=(target,) if target else (), given=depends, notify=say)
    is_text = dataset.summary["kind"] == "text"
    path = Path(out) if out else None if is_text else Path(f"{_stem(source)}-preview.png")
    if path:
        (_preview_texts if is_text else _preview)(dataset, path)
    if as_json:
        facts = {**dataset.summary, "fingerprint": dataset.fingerprint, "preview": str(path) if path else None}
        click.echo(json.dumps(facts, indent=2, ensure_ascii=not is_text))
    elif is_text:
        from maquette.cli.tables import print_texts

        print_texts(dataset.summary)
    else:
        _print(dataset.summary)
    if path and not as_json:
        click.echo(f"Preview: {path}")


def _preview_texts(dataset: Dataset, path: Path) -> None:
    """Writes some training texts below one another."""
    from maquette.core.errors import UserError
    from maquette.core.files import write_text

    if path.suffix.lower() != ".txt":
        raise UserError(f"A preview of texts cannot be written as '{path}'.", "Use a name that ends in .txt.")
    parts = [f"[{name}]\n{text}" for name, facts in dataset.summary["columns"].items() for text in facts["examples"]]
    write_text(path, "\n\n".join(parts) + "\n")


def _preview(dataset: Dataset, path: Path) -> None:
    """Writes a grid of training pictures, spread over the classes, each with the name of its class."""
    import numpy as np

    from maquette.core.errors import UserError
    from maquette.core.files import atomic
    from maquette.core.find import find_modality

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise UserError(f"A preview cannot be written as '{path}'.", "Use a name that ends in .png, .jpg or .webp.")
    table = dataset.train
    rows, captions = np.arange(min(64, len(table))), []
    label = next((column for column in table.columns.values() if column.spec.kind == "label"), None)
    if label is not None:
        codes = label.take(np.arange(len(table))).numpy()
        # One of each class in turn, until there are 64.
        turn = np.empty(len(codes), np.int64)
        for code in np.unique(codes):
            members = np.flatnonzero(codes == code)
            turn[members] = np.arange(len(members))
        rows = np.lexsort((codes, turn))[:64]
        captions = [label.spec.classes[code] for code in codes[rows]]
    grid = find_modality("image").sheet(table.columns["image"].take(rows), captions=captions)
    with atomic(path) as temporary:
        grid.save(temporary)


def _print(summary: dict[str, Any]) -> None:
    from maquette.cli.tables import print_classes, print_left_out, print_remarks, print_table

    shape, twins = summary["prepared"], summary["duplicates"]
    sizes = ", ".join(f"{s['height']}x{s['width']} ({s['pictures']:,})" for s in summary["sizes"][:5])
    more = summary["different_sizes"] - 5
    facts = [
        ("source", f"{summary['source']} ({summary['kind']})"),
        ("pictures", f"{summary['found']:,} found, {summary['used']:,} usable"),
        ("split", f"{summary['train']:,} to learn from, {summary['test']:,} held out"
                  f" ({'as the data set says' if summary['own_split'] else 'by content'})"),
        ("sizes", sizes + (f" and {more:,} more" if more > 0 else "")),
        ("colours", ", ".join(f"{n:,} {name}" for name, n in summary["channels"].items())),
        ("formats", ", ".join(f"{n:,} {name}" for name, n in summary["formats"].items())),
        ("prepared as", f"{shape['channels']} x {shape['height']} x {shape['width']} ({shape['fit']}),"
                        f" {shape['bytes'] / 2**20:,.1f} MiB"),
        ("exact copies", f"{twins['exact_copies']:,} in {twins['exact_groups']:,} groups"),
        ("near copies", f"{twins['near_copies']:,} in {twins['near_groups']:,} groups"),
        ("seconds", ", ".join(f"{name} {value:.2f}" for name, value in summary["seconds"].items())),
    ]  # fmt: skip
    print_table(("what", "found"), facts)
    print_classes(summary)
    print_left_out(summary)
    if twins["examples"]:
        print_table(("copies of one another",), [(", ".join(group),) for group in twins["examples"]])
    print_remarks(summary)


def _stem(source: str) -> str:
    """A file name made of what the user named."""
    name = Path(source.removeprefix("hf:")).expanduser().resolve().name.partition(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "data"


def _say(text: str) -> None:
    click.echo(text, err=True)


def _quiet(text: str) -> None:
    pass
