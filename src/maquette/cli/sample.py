"""maquette sample: files, one grid, or lines of text, from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from maquette.api import Run
    from maquette.writing import Decoding


@click.command("sample")
@click.argument("run", type=click.Path())
@click.option("-n", "n", type=int, help="How many. [default: 16 pictures, 1 text]")
@click.option("--label", help="One class for all, by name or number. [default: drawn by share]")
@click.option("--unconditional", is_flag=True, help="Ask the model that was trained with its labels dropped.")
@click.option("--seed", type=int, default=0, show_default=True, help="Item i depends on the seed and i alone.")
@click.option(
    "-o", "--out", type=click.Path(), help="Folder, or one file. [default: pictures RUN/samples; texts shown]"
)
@click.option("--grid", is_flag=True, help="Pictures: one picture of them all instead of a file each.")
@click.option("--format", "suffix", type=click.Choice(["png", "jpg", "webp", "txt"]), help="[default: png, or txt]")
@click.option("--steps", type=int, help="Flows: steps from noise to picture; 1 is fastest. [default: the recipe's]")
@click.option("--sampler", help="Flows: shortcut, euler, midpoint, heun, dopri5, stochastic. [default: the recipe's]")
@click.option("--guidance", type=float, help="Flows: above 1, more typical of the label. [default: the recipe's]")
@click.option("--prompt", default="", help="Texts: how they begin.")
@click.option("--infill", default="", help="Texts: a text with [gap] where something is to be written.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Texts: 0 always takes the likeliest.")
@click.option("--top-k", type=int, default=0, help="Texts: choose among the k likeliest tokens; 0: all.")
@click.option("--top-p", type=float, default=1.0, help="Texts: ... among those that make up this share.")
@click.option("--min-p", type=float, default=0.0, help="Texts: ... that have this share of the likeliest one's.")
@click.option("--repetition-penalty", type=float, default=1.0, help="Texts: above 1, what was written is less likely.")
@click.option("--max-tokens", type=int, help="Texts: tokens to write at most. [default: as long as an item]")
@click.option("--stop", multiple=True, help="Texts: end before this; may be given more than once.")
@click.option("--pattern", help="Texts: _ for a character, the rest as it is; 'form': the layout of the label's texts.")
@click.option("--stream", is_flag=True, help="Texts: show each as it is written.")
def command(
    run: str, n: int | None, label: str | None, unconditional: bool, seed: int, out: str | None, grid: bool,
    suffix: str | None, steps: int | None, sampler: str | None, guidance: float | None, stream: bool, **decoding: Any,
) -> None:  # fmt: skip
    """Make N new items with the model of RUN."""
    from maquette import api
    from maquette.writing import Decoding

    loaded = api.load(run)
    solving = {"steps": steps, "sampler": sampler, "guidance": guidance}
    solving = {name: value for name, value in solving.items() if value is not None}
    if loaded.spec.x.kind == "text":
        if solving:
            raise click.UsageError(
                f"{', '.join(f'--{name}' for name in solving)} is for pictures; '{run}' makes texts."
            )
        _texts(loaded, 1 if n is None else n, label, unconditional, seed, out, stream, Decoding(**decoding))
    else:
        asked = [f"--{name.replace('_', '-')}" for name, value in decoding.items() if value != getattr(Decoding, name)]
        if asked or stream:
            raise click.UsageError(
                f"{', '.join(asked) or '--stream'} is for texts; '{run}' makes {loaded.spec.x.kind}s."
            )
        _pictures(loaded, 16 if n is None else n, label, unconditional, seed, out, grid, suffix or "png", solving)


def _pictures(
    run: Run, n: int, label: str | None, unconditional: bool, seed: int, out: str | None, grid: bool, suffix: str,
    solving: dict[str, Any],
) -> None:  # fmt: skip
    from maquette.core.files import atomic

    samples = run.sample(n, label=label, seed=seed, unconditional=unconditional, **solving)
    if not grid:
        folder = Path(out) if out else run.folder.samples / f"seed-{seed}"
        paths = samples.save(folder, f".{suffix}")
        click.echo(f"{len(paths)} files in {folder}")
        return
    path = Path(out) if out else run.folder.samples / f"grid-seed-{seed}.{suffix}"
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):  # `-o out/` names a folder
        path = path / f"grid-seed-{seed}.{suffix}"
    with atomic(path) as temporary:
        samples.preview().save(temporary)
    click.echo(str(path))


def _texts(
    run: Run, n: int, label: str | None, unconditional: bool, seed: int, out: str | None, stream: bool,
    decoding: Decoding,
) -> None:  # fmt: skip
    from maquette.core.files import write_text
    from maquette.core.generator import check_asked

    if stream:
        if out:
            raise click.UsageError("--stream shows texts as they are written: leave out -o.")
        check_asked(n, seed)
        for item in range(n):
            pieces = run.stream(item, label=label, seed=seed, unconditional=unconditional, decoding=decoding)
            for piece in pieces:
                click.echo(piece, nl=False)
            click.echo("\n" if item < n - 1 else "")
        return
    samples = run.sample(n, label=label, seed=seed, unconditional=unconditional, decoding=decoding)
    if out is None:
        click.echo(str(samples) if n > 1 else samples.texts[0])
    elif Path(out).suffix:
        write_text(Path(out), "\n\n".join(samples.texts) + "\n")
        click.echo(out)
    else:
        click.echo(f"{len(samples.save(out))} files in {out}")
