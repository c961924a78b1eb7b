"""maquette edit: sounds in, sounds out, with a run of sounds.

The context's object is what loads a run: (path, device) -> Run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maquette.console import shown

Load = Callable[[str], Any]  # a device -> the run


class Gap(click.ParamType):
    """A stretch of time in seconds: 1.20-1.25."""

    name = "start-end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        start, _, end = str(value).partition("-")
        try:
            return float(start), float(end)
        except ValueError:
            self.fail(f"'{value}' is no stretch of time: two numbers of seconds, such as 1.20-1.25.", param, ctx)


@click.group("edit")
@click.argument("run", type=click.Path())
@click.pass_context
def edit(context: click.Context, run: str) -> None:
    """Change sounds with the model of RUN: audio/restore restores them, audio/flow fills gaps and the band,
    audio/wavenet continues.

    \b
    maquette edit runs/r restore noisy.wav -o clean.wav
    maquette edit runs/r restore broken.wav --gap 1.20-1.25 -o whole.wav
    maquette edit runs/w continue start.wav -n 4 -o ends/
    """
    context.obj = functools.partial(context.obj, run)


def options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """What the verbs share."""
    for option in (
        click.option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps."),
        click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another answer."),
        click.option("-o", "--out", type=click.Path(), required=True, help="A file, or a folder for several."),
    ):
        verb = option(verb)
    return verb


GIVEN = click.option("--given", multiple=True, metavar="COLUMN=VALUE", help="What is known of them. [default: nothing]")
SOUNDS = click.argument("sounds", nargs=-1, required=True, type=click.Path())


@edit.command("restore")
@SOUNDS
@options
@click.option(
    "--gap", "gaps", type=Gap(), multiple=True, help="Fill this alone, in seconds: 1.20-1.25. May be repeated."
)
@click.option(
    "--expected/--sampled", default=None,
    help="The mean of all answers, closest and more muffled, or one of them, which fills what is missing. "
    "[default: sampled where there are gaps, or where the upper half of the band is empty]",
)  # fmt: skip
@click.option("--steps", type=int, help="More are slower and finer. [default: as the run is set]")
@click.option("-n", "--samples", type=int, default=1, show_default=True, help="Answers for each.")
@click.pass_obj
def restore(load: Load, sounds: tuple[str, ...], out: str, gaps: tuple[tuple[float, float], ...], **asked: Any) -> None:
    """Take noise and reverberation away, fill gaps, widen the band, undo clipping: of any length, rate and channels."""
    _edit(load, "restore", sounds, out, asked, gaps=gaps)


@edit.command("continue")
@SOUNDS
@options
@GIVEN
@click.option("-n", "--samples", type=int, default=1, show_default=True, help="Answers for each.")
@click.pass_obj
def continued(load: Load, sounds: tuple[str, ...], out: str, **asked: Any) -> None:
    """Go on where SOUNDS end."""
    _edit(load, "continued", sounds, out, asked)


@edit.command("variations")
@SOUNDS
@options
@GIVEN
@click.option("--strength", type=float, default=0.5, show_default=True, help="From 0, the same, to 1, any sound.")
@click.option("-n", "--samples", type=int, default=8, show_default=True, help="How many of each.")
@click.pass_obj
def variations(load: Load, sounds: tuple[str, ...], out: str, strength: float, **asked: Any) -> None:
    """Make sounds like these."""
    _edit(load, "variations", sounds, out, asked, strength=strength)


@edit.command("interpolate")
@SOUNDS
@options
@GIVEN
@click.option("--frames", type=int, default=8, show_default=True, help="Sounds in all, both ends included.")
@click.pass_obj
def interpolate(load: Load, sounds: tuple[str, ...], out: str, frames: int, **asked: Any) -> None:
    """Go from each sound to the next; -o a folder."""
    _edit(load, "interpolate", sounds, out, asked, frames=frames)


def _edit(load: Load, verb: str, sounds: tuple[str, ...], out: str, asked: dict[str, Any], **own: Any) -> None:
    from maquette.core.edited import check_kept, one_file
    from maquette.core.option import given_of
    from maquette.modalities.audio.edit import EditOptions
    from maquette.modalities.audio.files import SUFFIXES
    from maquette.modalities.audio.sounds import files

    editor, inputs, target = load(asked.pop("device")).edit, files(sounds), Path(out)
    editor.notify = lambda words: click.echo(words, err=True)
    wanted = EditOptions(**asked | {"given": given_of(asked.get("given", ()))})
    count = own["frames"] if verb == "interpolate" else len(inputs) * (1 if wanted.expected else wanted.samples)
    one = one_file(target, count, SUFFIXES, "sounds")
    check_kept(inputs, target)
    with shown():
        made = getattr(editor, verb)(inputs, options=wanted, **own)
    click.echo(str(made.write(target)) if one else f"{len(made.save(target))} files in {target}")


VERBS = (edit,)
EXAMPLES = (
    "maquette train audio/restore --data SOUNDS -o runs/r --budget 15m",
    "maquette edit runs/r restore noisy.wav -o clean.wav",
)
