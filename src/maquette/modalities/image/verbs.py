"""maquette edit: pictures in, pictures out, with a run of pictures.

The context's object is what loads a run: (path, device) -> Run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from maquette.console import shown

Load = Callable[[str], Any]  # a device -> the run
ANIMATED = (".gif", ".png")
WRITTEN = (".png", ".jpg", ".jpeg", ".webp")


@click.group("edit")
@click.argument("run", type=click.Path())
@click.pass_context
def edit(context: click.Context, run: str) -> None:
    """Change pictures with the model of RUN: a flow can do all of it; a VAE varies and interpolates.

    \b
    maquette edit runs/f upscale small.png --factor 4 -o big.png
    maquette edit runs/f inpaint photo.png --mask mask.png -o filled.png
    maquette edit runs/f restore noisy.png --expected -o clean.png
    maquette edit runs/f variations picture.png -n 8 --strength 0.5 -o variations
    maquette edit runs/f interpolate a.png b.png --frames 16 -o way.gif
    maquette edit runs/f style content.png --like style.png -o out.png
    """
    context.obj = functools.partial(context.obj, run)


def options(samples: bool = True, expected: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What the verbs share."""

    def add(verb: Callable[..., Any]) -> Callable[..., Any]:
        shared = [
            click.option("-o", "--out", type=click.Path(), required=True, help="A file, or a folder for several."),
            click.option("--label", help="The class of the pictures, by name or number. [default: not known]"),
            click.option(
                "--given", multiple=True, metavar="COLUMN=VALUE", help="What else is known of them. [default: nothing]"
            ),
            click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another answer."),
            click.option("--steps", type=int, help="More are slower and finer. [default: as the way needs]"),
            click.option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps."),
            click.option("--fit", type=click.Choice(["crop", "pad", "stretch"]), help="Pictures of another size."),
        ]
        if samples:
            shared.append(click.option("-n", "--samples", type=int, default=1, help="Answers for each. [default: 1]"))
        if expected:
            shared += [
                click.option("--expected", is_flag=True, help="The mean of all answers: closest, and softer."),
                click.option(
                    "--zero-shot", is_flag=True, help="Guide the sampling, even if the run was trained for it."
                ),
            ]
        for option in reversed(shared):
            verb = option(verb)
        return verb

    return add


PICTURES = click.argument("pictures", nargs=-1, required=True, type=click.Path())


@edit.command("upscale")
@PICTURES
@click.option("--factor", type=int, required=True, help="How many times larger.")
@options(expected=True)
@click.pass_obj
def upscale(load: Load, pictures: tuple[str, ...], factor: int, out: str, fit: str | None, **asked: Any) -> None:
    """Enlarge PICTURES to the size that the model makes."""
    _edit(load, "upscale", pictures, out, asked, factor=factor, fit=fit)


@edit.command("inpaint")
@PICTURES
@click.option("--mask", required=True, type=click.Path(), help="White is filled. A file, or a folder of one for each.")
@options(expected=True)
@click.pass_obj
def inpaint(load: Load, pictures: tuple[str, ...], mask: str, out: str, fit: str | None, **asked: Any) -> None:
    """Fill what is white in the mask; the rest stays as it is."""
    _edit(load, "inpaint", pictures, out, asked, also=[mask], mask=mask, fit=fit)


@edit.command("restore")
@PICTURES
@options(expected=True)
@click.option("--noise", type=float, help="Zero-shot: its standard deviation, of 255 steps. [default: estimated]")
@click.option("--blur", type=float, help="Zero-shot: its standard deviation in pixels.")
@click.option("--jpeg", type=int, help="Zero-shot: the quality it was saved with.")
@click.pass_obj
def restore(
    load: Load, pictures: tuple[str, ...], out: str, fit: str | None, noise: float | None, blur: float | None,
    jpeg: int | None, **asked: Any,
) -> None:  # fmt: skip
    """Take noise, blur or JPEG artefacts away."""
    _edit(load, "restore", pictures, out, asked, fit=fit, noise=noise, blur=blur, jpeg=jpeg)


@edit.command("variations")
@PICTURES
@click.option("--strength", type=float, default=0.5, show_default=True, help="From 0, the same, to 1, any picture.")
@click.option("-n", "--samples", type=int, default=8, show_default=True, help="How many of each.")
@options(samples=False)
@click.pass_obj
def variations(
    load: Load, pictures: tuple[str, ...], strength: float, out: str, fit: str | None, **asked: Any
) -> None:  # fmt: skip
    """Make pictures like these."""
    _edit(load, "variations", pictures, out, asked, strength=strength, fit=fit)


@edit.command("interpolate")
@PICTURES
@click.option("--frames", type=int, default=16, show_default=True, help="Pictures in all, both ends included.")
@options(samples=False)
@click.pass_obj
def interpolate(load: Load, pictures: tuple[str, ...], frames: int, out: str, fit: str | None, **asked: Any) -> None:
    """Go from each picture to the next; -o a folder of frames, or an animated .gif or .png."""
    _edit(load, "interpolate", pictures, out, asked, frames=frames, fit=fit)


@edit.command("style")
@PICTURES
@click.option("--like", required=True, type=click.Path(), help="The picture whose strokes are taken.")
@click.option("--strength", type=float, default=0.5, show_default=True, help="How far it may go from the picture.")
@options()
@click.pass_obj
def style(
    load: Load, pictures: tuple[str, ...], like: str, strength: float, out: str, fit: str | None, **asked: Any
) -> None:  # fmt: skip
    """Draw what PICTURES show with the strokes of another picture."""
    _edit(load, "style", pictures, out, asked, also=[like], like=like, strength=strength, fit=fit)


def _edit(
    load: Load, verb: str, pictures: Sequence[str], out: str, asked: dict[str, Any], also: Sequence[str] = (),
    **own: Any,
) -> None:  # fmt: skip
    from maquette.core.edited import check_kept, one_file
    from maquette.core.option import given_of
    from maquette.modalities.image.edit import EditOptions
    from maquette.modalities.image.pictures import files, write_frames

    editor, inputs, target = load(asked.pop("device")).edit, files(pictures), Path(out)
    wanted = EditOptions(**asked | {"given": given_of(asked["given"])})
    count = own["frames"] if verb == "interpolate" else len(inputs) * (1 if wanted.expected else wanted.samples)
    animated = verb == "interpolate" and target.suffix.lower() in ANIMATED and not target.is_dir()
    single = not animated and one_file(target, count, WRITTEN, "pictures")
    check_kept([*inputs, *(files(also) if also else [])], target)
    with shown():
        samples = getattr(editor, verb)(inputs, options=wanted, **own)
    if animated:
        click.echo(str(write_frames(samples, target)))
    elif single:
        click.echo(str(samples.write(target)))
    else:
        click.echo(f"{len(samples.save(target))} files in {target}")


VERBS = (edit,)
EXAMPLES = (
    "maquette train image/gan --data PICTURES -o runs/a --budget 10m",
    "maquette sample runs/a -n 64 --grid -o grid.png",
    "maquette edit runs/f upscale small.png --factor 4 -o big.png",
)
