"""maquette edit: clips in, clips out, with a run of clips.

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


@click.group("edit")
@click.argument("run", type=click.Path())
@click.pass_context
def edit(context: click.Context, run: str) -> None:
    """Change clips with the model of RUN: video/flow continues, slows and closes them to loops.

    \b
    maquette edit runs/v continue clip.mp4 --frames 30 -o next.mp4
    maquette edit runs/v slow clip.mp4 --factor 4 -o slow.mp4
    maquette edit runs/v loop clip.mp4 -o loop.gif
    """
    context.obj = functools.partial(context.obj, run)


def options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """What the verbs share."""
    for option in (
        click.option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps."),
        click.option("-o", "--out", type=click.Path(), required=True, help="A file, or a folder for several."),
    ):
        verb = option(verb)
    return verb


CLIPS = click.argument("clips", nargs=-1, required=True, type=click.Path())


@edit.command("continue")
@CLIPS
@options
@click.option("--frames", type=int, default=16, show_default=True, help="How many come after.")
@click.option("-n", "--samples", type=int, default=1, show_default=True, help="Answers for each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another answer.")
@click.option("--given", multiple=True, metavar="COLUMN=VALUE", help="What is known of them. [default: nothing]")
@click.pass_obj
def continued(load: Load, clips: tuple[str, ...], out: str, device: str, given: tuple[str, ...], **asked: Any) -> None:
    """Go on where CLIPS end."""
    from maquette.core.option import given_of

    count = len(clips) * asked["samples"]
    _edit(load, device, clips, out, count, lambda editor: editor.continued(clips, given=given_of(given), **asked))


@edit.command("slow")
@CLIPS
@options
@click.option("--factor", type=int, default=4, show_default=True, help="So many times as long.")
@click.pass_obj
def slow(load: Load, clips: tuple[str, ...], out: str, device: str, factor: int) -> None:
    """Show CLIPS more slowly, with new frames between theirs."""
    _edit(load, device, clips, out, len(clips), lambda editor: editor.slow(clips, factor))


@edit.command("loop")
@CLIPS
@options
@click.option("--frames", type=int, default=4, show_default=True, help="From the last frame back to the first.")
@click.pass_obj
def loop(load: Load, clips: tuple[str, ...], out: str, device: str, frames: int) -> None:
    """Close CLIPS, so that they can be shown over and over."""
    _edit(load, device, clips, out, len(clips), lambda editor: editor.loop(clips, frames))


def _edit(
    load: Load, device: str, clips: tuple[str, ...], out: str, count: int, made: Callable[[Any], Any]
) -> None:  # fmt: skip
    from maquette.core.edited import check_kept, one_file
    from maquette.modalities.video.files import SUFFIXES

    editor, target = load(device).edit, Path(out)
    editor.notify = lambda words: click.echo(words, err=True)
    one = one_file(target, count, SUFFIXES, "clips")
    check_kept(map(Path, clips), target)
    with shown():
        edited = made(editor)
    click.echo(str(edited.write(target)) if one else f"{len(edited.save(target))} clips in {target}")


VERBS = (edit,)
EXAMPLES = ("maquette edit runs/v continue clip.mp4 --frames 30 -o next.mp4",)
