"""Verbs that kinds of data have (VERBS of their module `verbs`). Several may have one of a name: of a run, it is that
of its kind."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from maquette.core.errors import UserError
from maquette.core.find import kinds_of_run, modalities_with


@functools.cache
def verbs_of(kind: str) -> dict[str, click.Command]:
    """The verbs that a modality has, by name."""
    from maquette.core.modality import part

    return {str(verb.name): verb for verb in part(kind, "VERBS", "verbs") or ()}


def own_verbs() -> dict[str, click.Command]:
    """The verbs of all kinds, by name."""
    offered: dict[str, dict[str, click.Command]] = {}
    for kind in modalities_with("verbs"):
        for name, verb in verbs_of(kind).items():
            offered.setdefault(name, {})[kind] = verb
    return {name: _joined(name, of) for name, of in offered.items()}


def _joined(name: str, offered: Mapping[str, click.Command]) -> click.Command:
    """One verb of several kinds, or of one; that of a group stands behind the run that the group is about."""
    first = next(iter(offered.values()))
    groups = {kind: verb for kind, verb in offered.items() if isinstance(verb, click.Group)}
    if len(groups) == len(offered) and any(parameter.name == "run" for parameter in first.params):
        below: dict[str, dict[str, click.Command]] = {}
        for kind, group in groups.items():
            for verb, command in group.commands.items():
                below.setdefault(verb, {})[kind] = command
        return BehindRun(
            name, {verb: OfKind(verb, of) for verb, of in below.items()}, params=first.params, callback=first.callback,
            help="\n\n".join(str(group.help) for group in groups.values()),
            short_help=" ".join(group.get_short_help_str(1000) for group in groups.values()),
        )  # fmt: skip
    return first if len(offered) == 1 else OfKind(name, offered)


class BehindRun(click.Group):
    """The verbs stand behind their run; what each of them takes is shown without one as well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in self.commands and not Path(args[0]).exists() and not ctx.resilient_parsing:
            if not set(args) & set(ctx.help_option_names):
                ctx.fail(f"Name the run first: maquette {self.name} RUN {args[0]} ...")
            args = ["RUN", *args]
        return super().parse_args(ctx, args)


class OfKind(click.Command):
    """A verb of several kinds of data: that of the run's kind; where there is no run, the first that takes what is
    typed."""

    def __init__(self, name: str, offered: Mapping[str, click.Command]) -> None:
        first = next(iter(offered.values()))
        super().__init__(name, params=first.params, callback=first.callback, help=first.help)
        self.offered = dict(offered)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:  # fmt: skip
        run = (parent.params.get("run") if parent else None) or next(iter(args), "")
        kinds = kinds_of_run(str(run))
        taken = [self.offered[kind] for kind in kinds if kind in self.offered]
        if kinds and not taken:
            from maquette.core.modality import noun

            makes, takes = (", ".join(map(noun, some)) for some in (kinds, self.offered))
            raise UserError(f"'{run}' makes {makes}; '{info_name}' is only for {takes}.", "Name a run of such a kind.")
        *others, last = taken or self.offered.values()
        for command in others:
            try:
                return command.make_context(info_name, list(args), parent, **extra)
            except click.UsageError:
                continue
        return last.make_context(info_name, args, parent, **extra)
