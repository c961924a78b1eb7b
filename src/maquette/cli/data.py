"""maquette data: what is in there, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.train import parse_size

if TYPE_CHECKING:
    from maquette.core.table import Dataset

SHOWN = 20  # lines of a list on the screen; --json has them all


@click.group("data")
def command() -> None:
    """Look at data before training on it."""


@command.command("inspect")
@click.argument("source", metavar="PATH")
@click.option("--size", callback=parse_size, help="Pixels: 64, or height x width as 48x64. [default: the data's own]")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file instead of leaving it out.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option("-o", "--out", type=click.Path(), help="The preview picture. [default: NAME-preview.png, here]")
def inspect(source: str, size: tuple[int, int] | None, strict: bool, as_json: bool, out: str | None) -> None:
    """Counts, sizes, classes, broken files, duplicates, and a preview picture of PATH.

    PATH: a folder, .zip or .tar of pictures, IDX, .npz or .npy files, digits, mnist, fashion-mnist, or hf:NAME.
    """
    import json

    from maquette.core.recipe import DataConfig
    from maquette.data import open_dataset

    say = _quiet if as_json else _say
    dataset = open_dataset(source, DataConfig(source=source, size=size, strict=strict), say=say)
    path = Path(out) if out else Path(f"{_stem(source)}-preview.png")
    _preview(dataset, path)
    if as_json:
        facts = {**dataset.summary, "fingerprint": dataset.fingerprint, "preview": str(path)}
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(dataset.summary, path)


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
    grid = find_modality("image").preview(table.columns["image"].take(rows), captions=captions)
    with atomic(path) as temporary:
        grid.save(temporary)


def _print(summary: dict[str, Any], preview: Path) -> None:
    from maquette.cli.tables import print_table

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
    for column, counts in summary["classes"].items():
        held_out = summary["test_classes"][column]
        rows = [(name, f"{n:,}", f"{held_out[name]:,}") for name, n in counts.items()]
        rows = rows[:SHOWN] + ([("...", f"{len(rows) - SHOWN:,} more", "")] if len(rows) > SHOWN else [])
        print_table((column, "learn", "held out"), rows)
    if summary["left_out"]:
        rows2 = [(entry["name"], entry["reason"]) for entry in summary["left_out"][:SHOWN]]
        count = summary["left_out_count"]
        rows2 += [("...", f"{count - SHOWN:,} more")] if count > SHOWN else []
        print_table(("left out", "reason"), rows2)
    if twins["examples"]:
        print_table(("copies of one another",), [(", ".join(group),) for group in twins["examples"]])
    for text in (*summary["warnings"], *summary["notes"]):
        click.echo(f"Note: {text}")
    if summary["ignored_count"]:
        listed = ", ".join(summary["ignored"][:3])
        click.echo(f"Note: {summary['ignored_count']:,} files are no pictures and were passed over: {listed}")
    click.echo(f"Preview: {preview}")


def _stem(source: str) -> str:
    """A file name made of what the user named."""
    name = Path(source.removeprefix("hf:")).expanduser().resolve().name.partition(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "data"


def _say(text: str) -> None:
    click.echo(text, err=True)


def _quiet(text: str) -> None:
    pass
