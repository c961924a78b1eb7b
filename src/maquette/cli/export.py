"""maquette export: a trained model as files that other programs run."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli.options import asked_of, flag_of
from maquette.cli.sample import RUN, OptionsOfRun


class OptionsOfExport(OptionsOfRun):
    """Adds those of the run's options that are settled when it leaves."""

    def _own(self, run: Any) -> list[click.Option]:
        from maquette.export import options

        return [flag_of(option) for option in options(run.generator.model)]


@click.command("export", cls=OptionsOfExport)
@click.argument("run", type=click.Path())
@click.option("--to", metavar="onnx|safetensors", default="onnx", show_default=True,
              help="safetensors: with a file of plain PyTorch beside it.")  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(), required=True, help="The file; of several graphs, their names are added."
)
@click.option("--int8", is_flag=True, help="Of onnx: weights of 8 bits; says what that costs.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.pass_context
def command(context: click.Context, run: str, to: str, out: str, int8: bool, quiet: bool, **asked: Any) -> None:
    """Write the model of RUN as files that other programs run.

    They are compared with the model first, and not written where they differ. What is settled then, such as the steps
    of a flow, RUN adds as options: maquette export RUN --help. docs/export.md says what the files hold.
    """
    made = context.meta[RUN].export(to, out, int8=int8, quiet=quiet, **asked_of(asked))
    if not quiet:
        click.echo("\n".join(made.said))
