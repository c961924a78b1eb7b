"""maquette sample: files, one grid, or lines of text, from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from maquette.api import Run
    from maquette.core.samples import Samples
    from maquette.modalities.text.writing import Decoding


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
    from maquette.modalities.text.writing import Decoding

    loaded = api.load(run)
    solving = {"steps": steps, "sampler": sampler, "guidance": guidance}
    solving = {name: value for name, value in solving.items() if value is not None}
    if loaded.spec.x.kind == "text":
        of_pictures = [f"--{name}" for name in solving] + ["--grid"] * grid
        if suffix not in (None, "txt"):
            of_pictures.append(f"--format {suffix}")
        _refuse(of_pictures, f"for pictures; '{run}' makes texts")
        _texts(loaded, 1 if n is None else n, label, unconditional, seed, out, stream, Decoding(**decoding))
    else:
        asked = [f"--{name.replace('_', '-')}" for name, value in decoding.items() if value != getattr(Decoding, name)]
        of_texts = asked + ["--stream"] * stream + ["--format txt"] * (suffix == "txt")
        _refuse(of_texts, f"for texts; '{run}' makes {loaded.spec.x.kind}s")
        _pictures(loaded, 16 if n is None else n, label, unconditional, seed, out, grid, suffix or "png", solving)


def _refuse(options: list[str], why: str) -> None:
    if options:
        raise click.UsageError(f"{', '.join(options)} {'is' if len(options) == 1 else 'are'} {why}.")


def _pictures(
    run: Run, n: int, label: str | None, unconditional: bool, seed: int, out: str | None, grid: bool, suffix: str,
    solving: dict[str, Any],
) -> None:  # fmt: skip
    from maquette.modalities.image import save

    samples = run.sample(n, label=label, seed=seed, unconditional=unconditional, **solving)
    if not grid:
        folder = Path(out) if out else run.folder.samples / f"seed-{seed}"
        paths = samples.save(folder, f".{suffix}")
        click.echo(f"{len(paths)} files in {folder}")
        return
    path = Path(out) if out else run.folder.samples / f"grid-seed-{seed}.{suffix}"
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):  # `-o out/` names a folder
        path = path / f"grid-seed-{seed}.{suffix}"
    save(samples.preview(), path, samples.about.of(samples.seed, items=str(len(samples))))
    click.echo(str(path))


def _texts(
    run: Run, n: int, label: str | None, unconditional: bool, seed: int, out: str | None, stream: bool,
    decoding: Decoding,
) -> None:  # fmt: skip
    from maquette.core.generator import check_asked
    from maquette.modalities.text import RULE

    if stream:
        if out:
            raise click.UsageError("--stream shows texts as they are written: leave out -o.")
        check_asked(n, seed)
        for item in range(n):
            pieces = run.stream(item, label=label, seed=seed, unconditional=unconditional, decoding=decoding)
            for piece in pieces:
                click.echo(piece, nl=False)
            click.echo(f"\n{RULE}" if item < n - 1 else "")
        return
    file = _one_file(out)
    samples = run.sample(n, label=label, seed=seed, unconditional=unconditional, decoding=decoding)
    if file:
        _write_all(samples, file)
        click.echo(out)
    elif out:
        click.echo(f"{len(samples.save(out))} files in {out}")
    else:
        click.echo(_together(samples))


def _one_file(out: str | None) -> Path | None:
    """The file that all texts go into; None where `-o` names a folder, or nothing. Refuses names of other things."""
    from maquette.core.errors import UserError
    from maquette.modalities.text import SUFFIXES

    if out is None or out.endswith("/") or Path(out).is_dir() or not Path(out).suffix:
        return None
    if not out.lower().endswith((*SUFFIXES, ".gz")):
        raise UserError(
            f"Texts cannot be written as '{Path(out).name}'.",
            "Use a name that ends in .txt (or .txt.gz), or name a folder for a file each: -o out/",
        )
    return Path(out)


def _write_all(samples: Samples, file: Path) -> None:
    """All texts into one file, and beside it what says that they are AI-generated."""
    from maquette.modalities.text import save

    save(_together(samples) + "\n", file, samples.about.of(samples.seed, items=str(len(samples))))


def _together(samples: Samples) -> str:
    """One text as it is; several under their labels, with ruled lines between them."""
    return str(samples) if len(samples) > 1 else samples.texts[0]
