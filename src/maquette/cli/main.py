"""`maquette`: finds the verb, and turns every failure into one clear line and the right exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from maquette.core.errors import MaquetteError, nearest

VERBS = (
    "demo", "data", "recipes", "train", "resume", "watch", "sample", "edit", "translate", "summarise", "evaluate",
    "report", "compare",
)  # fmt: skip


class Verbs(click.Group):
    """Imports a verb when it is asked for; knows the nearest one to a typo."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"maquette.cli.{name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS:
            ctx.fail(f"There is no verb '{args[0]}'. {nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from maquette import __version__

        click.echo(f"maquette {__version__}")
        ctx.exit()


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Train small generative models of your own data, on the machine you have.

    \b
    maquette demo                                              see the whole way, in minutes
    maquette data inspect PICTURES                             what is in there; texts likewise
    maquette train image/gan --data PICTURES -o runs/a --budget 10m
    maquette sample runs/a -n 64 --grid -o grid.png
    maquette evaluate runs/a && maquette report runs/a
    \b
    maquette train text/lm --data shakespeare.txt -o runs/lm --budget 15m
    maquette sample runs/lm --prompt "ROMEO:" --temperature 0.8 --stream
    maquette train text/transformer --data pairs/ --given en --target de -o runs/de
    maquette translate runs/de --input test.en -o test.de
    maquette summarise runs/titles --input poems.txt           as translate: one text a line
    """


def main() -> NoReturn:
    debug = "--debug" in sys.argv
    args = [arg for arg in sys.argv[1:] if arg != "--debug"]
    try:
        code = cli.main(args, prog_name="maquette", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # `maquette ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except MaquetteError as error:
        _fail(error, str(error), error.exit_code, debug)
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename or ''}\n  Check the path and the space left."
        _fail(error, text, 2, debug)
    except Exception as error:
        text = f"{type(error).__name__}: {error}\n  This is a fault of ours; --debug shows where. Please report it."
        _fail(error, text, 1, debug)
    code = code if isinstance(code, int) else 0
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One process of several: everything is written, and gloo's threads now and then abort an interpreter
        # that says a longer goodbye.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _fail(error: BaseException, text: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise error
    click.echo(f"maquette: {text}", err=True)
    sys.exit(code)
