"""maquette train: recipe + data -> run folder."""

from __future__ import annotations

import os
from pathlib import Path

import click


def parse_size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """'64' or '48x64' (height x width) -> (height, width)."""
    if value is None:
        return None
    height, _x, width = value.lower().partition("x")
    try:
        size = int(height), int(width or height)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a size; write 64 or 48x64 (height x width).") from None
    if min(size) < 1:
        raise click.BadParameter("a side has at least one pixel.")
    return size


@click.command("train")
@click.argument("recipe")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", help="Folder, archive, array file, text, table, digits, mnist, fashion-mnist, or hf:NAME.")
@click.option("-o", "--out", type=click.Path(), help="A new folder for the run. [default: runs/ and the recipe's name]")
@click.option("--target", help="Column to make. [default: the recipe's: image, or text]")
@click.option("--given", multiple=True, help="Column the model is conditional on; 'none' for nothing. [default: label]")
@click.option("--size", callback=parse_size, help="Pixels: 64, or height x width as 48x64. [default: the data's own]")
@click.option("--budget", help="Wall time, such as 90s, 10m, 1h30m: the plan chooses the steps.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the training data.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the weights, the order and the noise. [default: 0]")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file instead of leaving it out.")
@click.option("--processes", type=click.IntRange(min=1), default=1, help="Train in several processes of this machine.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(
    recipe: str, settings: tuple[str, ...], data: str | None, out: str | None, target: str | None,
    given: tuple[str, ...], size: tuple[int, int] | None, budget: str | None, steps: int | None,
    epochs: float | None, seed: int | None, strict: bool, processes: int, quiet: bool,
) -> None:  # fmt: skip
    """Train RECIPE on your data; `maquette recipes` lists what there is.

    Any setting of the recipe can be given as KEY=VALUE: train.batch_size=64 model.latent_dim=128
    """
    from maquette import api
    from maquette.core.run import free_folder

    extra = list(settings)
    if seed is not None:
        extra.append(f"train.seed={seed}")
    if strict:
        extra.append("data.strict=true")
    if out is None and _processes() > 1:
        raise click.UsageError("Several processes need one name for the run: give it with -o.")
    out = out or str(free_folder(Path("runs") / Path(recipe).stem))
    run = api.train(
        recipe, data, out=out, target=target, given=given or None, size=size, steps=steps, epochs=epochs, budget=budget,
        settings=extra, processes=processes, quiet=quiet,
    )  # fmt: skip
    if not quiet and leads():
        if processes == 1:  # or the first of them has said so
            click.echo(f"Trained: {run.folder.path}")
        use = "sample {} -n 64 --grid" if run.spec.x.kind == "image" else "sample {} -n 3"
        use = "translate {} --input FILE" if run.spec.source else use
        click.echo(f"Next: maquette {use.format(out)}, maquette evaluate {out}, maquette report {out}")


def leads() -> bool:
    """Whether this is the one process of several that speaks to people, or the only one."""
    return _processes() == 1 or os.environ.get("RANK", "0") == "0"


def _processes() -> int:
    """Those that were started together by torchrun or `accelerate launch`, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))
