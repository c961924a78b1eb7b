"""`maquette`: finds the verb, and turns every failure into one clear line and the right exit code."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from maquette.cli.kinds import own_verbs
from maquette.console import clean_streams
from maquette.core.errors import MaquetteError, hand_on, nearest
from maquette.core.find import modalities_with, runs_from
from maquette.core.shown import shown

COMPLETE = "_MAQUETTE_COMPLETE"  # set where a shell asks what may follow

# The general verbs; those of kinds of data come from their modalities, after "sample".
BEFORE = ("demo", "data", "recipes", "train", "resume", "watch", "sample")
AFTER = ("evaluate", "report", "compare", "runs", "export", "serve", "cache", "completion")


def verbs() -> list[str]:
    """The names of all verbs, in the order of the help."""
    return [*BEFORE, *(verb for verb in own_verbs() if verb not in (*BEFORE, *AFTER)), *AFTER]


class Verbs(click.Group):
    """Imports a verb when it is asked for; knows the nearest one to a typo."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return verbs()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in (*BEFORE, *AFTER):
            command: click.Command = importlib.import_module(f"maquette.cli.{name}").command
            return _ready(command)
        return _ready(own_verbs()[name]) if name in own_verbs() else None

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help, and below it the examples of each kind of data (EXAMPLES of its module `verbs`)."""
        from maquette.core.modality import part

        super().format_help_text(ctx, formatter)
        for kind in modalities_with("verbs"):
            for line in ("", *(part(kind, "EXAMPLES", "verbs") or ())):
                formatter.write(f"  {line}".rstrip() + "\n")

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in verbs():
            ctx.fail(f"There is no verb '{args[0]}'. {nearest(args[0], verbs())}")
        return super().resolve_command(ctx, args)


_SAYS_MORE = re.compile(r"""[$`;&|<>(){}\[\]*?!#"'\\]""")


class RunPath(click.Path):
    """The path of a run, which the Tab key completes."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # Shells put it into the line as it is: a name that says more to them, or to a terminal, is typed by hand.
        runs = [run for run in runs_from(incomplete) if not _SAYS_MORE.search(run) and shown(run) == run]
        return [*map(CompletionItem, runs)] or [CompletionItem(incomplete, type="dir")]


def _ready(command: click.Command) -> click.Command:
    """A command, and those below it: in lists with the first sentence of its help, which click itself would cut; its
    RUN is completed."""
    for verb in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        verb.short_help = verb.get_short_help_str(sys.maxsize)
        for parameter in verb.params:
            if parameter.name in ("run", "runs"):
                parameter.type = RunPath()
    return command


def load(run: str, device: str = "auto") -> Any:
    """The run in a folder."""
    from maquette.cli.options import start

    start()
    from maquette import api
    from maquette.core.held import held

    loaded = api.load(run, device)
    click.get_current_context().with_resource(held(loaded.folder.path))  # once moved, it is written to no more
    return loaded


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from maquette import __version__

        click.echo(f"maquette {__version__}")
        ctx.exit()


# color: that click leaves words alone, which it would strip for a pipe; we colour none, and `clean_streams` sees them
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "color": True}


@click.command(cls=Verbs, context_settings=_SETTINGS)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train small generative models of your own data, on the machine you have.

    \b
    maquette demo                                              see the whole way, in minutes
    maquette data inspect DATA                                 what is in there
    maquette train RECIPE --data DATA -o runs/a --budget 10m   `maquette recipes` lists them
    maquette sample runs/a                                     `maquette sample runs/a --help`: its own options
    maquette evaluate runs/a && maquette report runs/a
    """
    context.obj = load  # what verbs of a kind of data load a run with


def main() -> NoReturn:
    """Runs the command line and ends the process: exit code 2 for the user's mistake, 1 for ours, 130 for Ctrl-C."""
    if COMPLETE not in os.environ:  # click asks for bytes then; all it says are names of ours, and of RunPath
        clean_streams()
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
        line = f"{error.strerror or error}: {error.filename or ''}\n  Check the path and the space left."
        _fail(error, line, 2, debug)
    except Exception as error:
        line = f"{type(error).__name__}: {error}\n  This is a fault of ours; --debug shows where. Please report it."
        _fail(error, line, 1, debug)
    _leave(code if isinstance(code, int) else 0)


def _leave(code: int) -> NoReturn:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One process of several: everything is written, and gloo's threads now and then abort an interpreter
        # that says a longer goodbye.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _fail(error: BaseException, line: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise error
    if not hand_on(line, code):
        click.echo(f"maquette: {line}", err=True)
    _leave(code)
