"""maquette sample: files, one file of them all, or lines on the terminal, from a trained run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import asked_of, device, flag_of, of_any_sample, start, with_own
from maquette.console import give

if TYPE_CHECKING:
    from maquette.api import Run
    from maquette.core.light import LightRun
    from maquette.core.samples import Samples

RUN = "maquette.run"  # where the context keeps the run
OWN = "maquette.own"  # ... and its options


class OptionsOfRun(click.Command):
    """A command whose options are known when its run is: RUN is looked for first, and adds its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named, chosen = self._named(args)
        if named is not None and not ctx.resilient_parsing:  # the Tab key does not wait for it
            from maquette.core.held import held

            ctx.meta[RUN] = run = self._loaded(named, chosen or "auto", args)
            ctx.with_resource(held(run.folder.path))  # once it is moved, nothing more is written to it
            ctx.meta[OWN] = self._own(run)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if named is None:
                raise
            from maquette.core.modality import noun

            makes = ", ".join(noun(column.kind) for name, column in run.spec.columns.items() if name in run.spec.target)
            raise click.UsageError(
                f"'{named}' makes {makes} and has no option {error.option_name}. Its own are: "
                f"{', '.join(option.opts[0] for option in ctx.meta[OWN]) or 'none'}.",
                ctx,
            ) from None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return with_own(super().get_params(ctx), ctx.meta.get(OWN, ()))

    def _named(self, args: Sequence[str]) -> tuple[str | None, str | None]:
        """The run and the device that are named, wherever they stand; None: none is."""
        from maquette.core.run import is_run

        general = click.Command(self.name, params=[p for p in self.params if isinstance(p, click.Option)])
        context = click.Context(general, ignore_unknown_options=True, allow_extra_args=True)
        found, rest, _ = general.make_parser(context).parse_args(list(args))
        places = [word for word in rest if not word.startswith("-")]
        runs = [place for place in places if is_run(place)]
        return next(iter(runs or places), None), found.get("device")

    def _loaded(self, named: str, device: str, args: Sequence[str]) -> Run | LightRun:
        """The run; where it is streamed, without torch if it can be."""
        from maquette.core.light import light_run

        if "--stream" in args and device in ("auto", "cpu"):
            light = light_run(named, lambda note: click.echo(note, err=True))
            if light is not None:
                return light
        start(quiet="-q" in args or "--quiet" in args)
        from maquette import api

        return api.load(named, device)

    def _own(self, run: Run | LightRun) -> list[click.Option]:
        """The run's options, but for those that a general one has the name of."""
        general = {name for parameter in self.params for name in (parameter.name, *parameter.opts)}
        options = (option for option in run.options if option.only != "python")
        return [flag_of(option) for option in options if not {option.name, option.flag} & general]


@click.command("sample", cls=OptionsOfRun)
@click.argument("run", type=click.Path())
@of_any_sample
@click.option("-o", "--out", type=click.Path(), help="Folder, or one file. [default: RUN/samples, or the terminal]")
@click.option("--format", "suffix", help="Of the files, such as jpg. [default: as their kind has it]")
@device
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def command(
    context: click.Context, run: str, n: int | None, seed: int, unconditional: bool, out: str | None,
    suffix: str | None, device: str | None, quiet: bool, **asked: Any,
) -> None:  # fmt: skip
    """Make N new items with the model of RUN.

    RUN adds options of its own, one for each column that its model is given, and those of the model and of what it
    makes: maquette sample RUN --help shows them.
    """
    from maquette.core.asking import Ungiven
    from maquette.core.modality import part

    loaded: Run = context.meta[RUN]
    wanted = asked_of(asked)
    columns = loaded.generator.columns
    given = {columns[name]: wanted.pop(name) for name in list(wanted) if name in columns}
    asks: dict[str, Any] = {"seed": seed, "unconditional": unconditional, "given": given}
    grid, streamed = wanted.pop("grid", False), wanted.pop("stream", False)
    kind = loaded.spec.only().kind if len(loaded.spec.target) == 1 else ""
    printed = bool(kind and part(kind, "PRINTED", "values"))
    count = (1 if printed or streamed else 16) if n is None else n
    try:
        if streamed:
            if out or suffix:
                raise click.UsageError("--stream shows items as they are made: leave out -o and --format.")
            _stream(loaded, count, kind, printed, asks | wanted)
            return
        file = _one_file(out, kind, sure=grid or printed) if kind else None
        if file is not None and suffix and not file.name.lower().endswith(_suffix(suffix, kind).lower()):
            raise click.UsageError(f"-o names {file.name} and --format {suffix}: leave one of them out.")
        began = time.monotonic()
        samples = loaded.sample(count, quiet=quiet, **asks, **wanted)
        took = time.monotonic() - began
    except Ungiven as error:
        error.add(_verbs_for(loaded.spec.columns[error.column].kind))
        raise
    if grid and file is None:
        folder = Path(out) if out else loaded.folder.samples
        file = folder / f"grid-seed-{seed}{_suffix(suffix, kind)}"
    if file is not None and count == 1 and not printed:
        click.echo(str(samples.write(file)))
    elif file is not None:
        click.echo(str(samples.write_preview(file)))
    elif printed and out is None and suffix is None:
        give(_together(samples))
    else:
        folder = Path(out) if out else loaded.folder.samples / f"seed-{seed}"
        paths = samples.save(folder, f".{suffix.lstrip('.')}" if suffix else None)
        pace = part(kind, "pace", "values") if kind else None
        click.echo(f"{len(paths)} files in {folder}{pace(samples.only, loaded.spec.only(), took) if pace else ''}")


def _stream(run: Run, n: int, kind: str, printed: bool, asks: dict[str, Any]) -> None:
    """Shows one item after the other as they are made."""
    from maquette.core.asking import check_asked
    from maquette.core.modality import part

    check_asked(n, asks["seed"])
    if not printed and (n > 1 or sys.stdout.isatty()):
        raise click.UsageError(
            "--stream gives one item to a program: leave out -n, and send it on: ... --stream | PROGRAM"
        )
    for item in range(n):
        for piece in run.stream(item, **asks):
            give(piece, end="")
        if printed:  # a file ends where it ends
            give(f"\n{part(kind, 'RULE', 'values') or ''}" if item < n - 1 else "")


def _one_file(out: str | None, kind: str, sure: bool) -> Path | None:
    """The file that all items go into; None where `-o` names a folder, or nothing.

    sure: whether one file is wanted: then names of other things are refused; else only those of other files are, since
          a folder may be called `run.v2`
    """
    import mimetypes

    from maquette.core.errors import UserError
    from maquette.core.find import find_modality
    from maquette.core.modality import noun

    if out is None or out.endswith("/") or Path(out).is_dir() or not Path(out).suffix:
        return None
    own = find_modality(kind).PREVIEW_SUFFIX
    if not out.lower().endswith((own, *getattr(find_modality(kind), "SUFFIXES", ()))):
        if not sure and mimetypes.guess_type(out)[0] is None:
            return None
        raise UserError(
            f"{noun(kind).capitalize()} cannot be written as '{Path(out).name}'.",
            f"Use a name that ends in {own}, or name a folder for a file each: -o out/",
        )
    return Path(out)


def _suffix(asked: str | None, kind: str) -> str:
    from maquette.core.find import find_modality

    return f".{asked.lstrip('.')}" if asked else find_modality(kind).PREVIEW_SUFFIX


def _together(samples: Samples) -> str:
    """One item as it is; several under their captions."""
    return str(samples) if len(samples) > 1 else str(samples.objects[0])


def _verbs_for(kind: str) -> str:
    """Verbs that read what is to be given from files."""
    from maquette.cli.kinds import verbs_of

    named = [f"maquette {verb} RUN" for verb in verbs_of(kind)]
    return f"For many of them: {', '.join(named)}." if named else ""
