"""maquette sample: files, or one grid, from a trained run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sample")
@click.argument("run", type=click.Path())
@click.option("-n", "n", type=int, default=16, show_default=True, help="How many.")
@click.option("--label", help="One class for all, by name or number. [default: drawn by share]")
@click.option("--unconditional", is_flag=True, help="Ask the model that was trained with its labels dropped.")
@click.option("--seed", type=int, default=0, show_default=True, help="Item i depends on the seed and i alone.")
@click.option("--grid", is_flag=True, help="One picture of them all instead of a file each.")
@click.option("-o", "--out", type=click.Path(), help="Folder, or the file of the grid. [default: RUN/samples/...]")
@click.option("--format", "suffix", type=click.Choice(["png", "jpg", "webp"]), default="png", show_default=True)
def command(
    run: str, n: int, label: str | None, unconditional: bool, seed: int, grid: bool, out: str | None, suffix: str
) -> None:
    """Make N new items with the model of RUN."""
    from maquette import api
    from maquette.core.files import atomic

    loaded = api.load(run)
    samples = loaded.sample(n, label=label, seed=seed, unconditional=unconditional)
    if not grid:
        folder = Path(out) if out else loaded.folder.samples / f"seed-{seed}"
        paths = samples.save(folder, f".{suffix}")
        click.echo(f"{len(paths)} files in {folder}")
        return
    path = Path(out) if out else loaded.folder.samples / f"grid-seed-{seed}.{suffix}"
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):  # `-o out/` names a folder
        path = path / f"grid-seed-{seed}.{suffix}"
    with atomic(path) as temporary:
        samples.preview().save(temporary)
    click.echo(str(path))
