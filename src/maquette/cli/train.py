"""maquette train: recipe + data -> run folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from maquette.cli import started
from maquette.cli.options import OptionsOfData, fetch, recipe_argument, start, trackers
from maquette.core.modality import part


@click.command("train", cls=OptionsOfData)
@recipe_argument("recipe")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--data",
    type=click.Path(),
    help="Folder, archive, array file, document, table, digits, mnist, fashion-mnist, or hf:NAME.",
)
@click.option("-o", "--out", type=click.Path(), help="A new folder for the run. [default: runs/ and the recipe's name]")
@click.option("--target", multiple=True, help="Column to make. [default: the recipe's]")
@click.option("--given", multiple=True, help="Column the model is conditional on; 'none' for nothing. [default: label]")
@click.option("--budget", help="Time for all of it, such as 90s, 10m, 1h30m: the steps are chosen by it. auto: enough.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the training data.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the weights, the order and the noise. [default: 0]")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file instead of leaving it out.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Train in several processes of this machine.")
@fetch
@trackers
@click.option("--device", help="auto (a GPU where there is one), cpu, cuda, cuda:1 or mps. [default: the recipe's]")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(
    recipe: str, settings: tuple[str, ...], data: str | None, out: str | None, target: tuple[str, ...],
    given: tuple[str, ...], budget: str | None, steps: int | None, epochs: float | None, seed: int | None, strict: bool,
    processes: int, fetch: bool, trackers: tuple[str, ...], device: str | None, quiet: bool, **of_data: Any,
) -> None:  # fmt: skip
    """Train RECIPE on your data; `maquette recipes` lists what there is.

    Any setting of the recipe can be given as KEY=VALUE: train.batch_size=64 model.latent_dim=128
    """
    start(quiet)
    from maquette import api

    run = api.train(
        recipe, data, out=out, target=target or None, given=given or None, steps=steps, epochs=epochs, budget=budget,
        settings=settings, device=device, seed=seed, strict=strict or None, processes=processes, fetch=fetch,
        trackers=trackers or None, quiet=quiet, began=started(), **of_data,
    )  # fmt: skip
    if not quiet and leads():
        out = out or str(run.folder.path)
        if processes == 1:  # or the first of them has said so
            click.echo(ended(run.folder.path))
        own = part(run.spec.columns[run.spec.target[0]].kind, "first_command", "options")
        use = own(run.spec, out) if own else f"sample {out}"
        click.echo(f"Next: maquette {use}, maquette evaluate {out}, maquette report {out}")


def ended(run: str | Path) -> str:
    """The last line about a training; one that saw too little for a first look is not called trained."""
    from maquette.core.needs import undertrained
    from maquette.core.run import RunFolder

    return undertrained(RunFolder(Path(run)), run) or f"Trained: {run}"


def leads() -> bool:
    """Whether this is the one process of several that speaks to people, or the only one."""
    return _processes() == 1 or os.environ.get("RANK", "0") == "0"


def _processes() -> int:
    """Those that were started together by torchrun or `accelerate launch`, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))
