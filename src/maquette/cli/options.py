"""Options of models and of kinds of data as flags, and those that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
from click.shell_completion import CompletionItem

from maquette.console import shown
from maquette.core.find import recipe_names
from maquette.core.modality import data_options
from maquette.core.option import OF_ANY_SAMPLE, Kind, Option
from maquette.core.progress import stage

METAVARS: Mapping[Kind, str] = {int: "INTEGER", float: "NUMBER", str: "VALUE"}


def recipe_argument(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The name of a recipe, or the path of a recipe file."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(recipe) for recipe in recipe_names() if recipe.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]

    return click.argument(name, shell_complete=complete)


device = click.option("--device", help="auto (a GPU where there is one), cpu, cuda, cuda:1 or mps. [default: auto]")


fetch = click.option(
    "--fetch", is_flag=True, help="Fetch the data from the network, where it is a file and not you that names it."
)
trackers = click.option(
    "--tracker", "trackers", multiple=True,
    help="Mirror the log to tensorboard, wandb or another one; 'none' to none. [default: the recipe's, if it is local]",
)  # fmt: skip


def start(quiet: bool = False) -> None:
    """Imports what most verbs need, which takes seconds where the disk is slow."""
    with shown(quiet), stage("starting"):
        import maquette.api  # noqa: F401


def flag_of(option: Option) -> click.Option:
    """The flag of an option. Its value stays as it was typed: the option itself checks it, as it does for Python."""
    return click.Option([option.flag, option.name], **_attributes(option))


def of_any_sample(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of what is asked of any sample, their values checked."""
    for option in reversed(OF_ANY_SAMPLE):
        flag = f"-{option.name}" if len(option.name) == 1 else option.flag
        command = click.option(flag, option.name, callback=_checks(option), **_attributes(option))(command)
    return command


def _checks(option: Option) -> Callable[..., Any]:
    return lambda ctx, param, value: option.checked(option.default if value is None else value)


def _attributes(option: Option) -> dict[str, Any]:
    default = f" [default: {option.default:g}]" if isinstance(option.default, int | float) else ""
    if option.default is None and not option.help.endswith("]"):  # it says so itself
        default = " [default: the run's own]"
    if option.kind is bool:
        return {"is_flag": True, "default": False, "help": option.help}
    metavar = "|".join(option.choices) if 0 < len(option.choices) < 4 else METAVARS.get(option.kind, "VALUE")
    return {"type": str, "multiple": option.many, "metavar": metavar, "help": option.help + default}


def asked_of(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value not in (None, (), False)}


def with_own(params: list[click.Parameter], own: Sequence[click.Parameter]) -> list[click.Parameter]:
    """Parameters of a command with further ones, --help last."""
    helps = [parameter for parameter in params if "--help" in parameter.opts]  # its name differs by version of click
    return [*(parameter for parameter in params if parameter not in helps), *own, *helps]


class OptionsOfData(click.Command):
    """A command that has the options which kinds of data have for preparing it (DATA_OPTIONS)."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = dict[str, Option]()
        for option in data_options().values():  # kinds that have one of a name share a flag, and each says its own
            first = own.setdefault(option.name, option)
            own[option.name] = first if first is option else replace(first, help=f"{first.help} {option.help}")
        return with_own(super().get_params(ctx), [flag_of(option) for option in own.values()])
