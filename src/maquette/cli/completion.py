"""maquette completion: the Tab key finishes verbs, options, recipes and runs."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print what makes the Tab key complete commands.

    \b
    bash:  echo 'eval "$(maquette completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(maquette completion zsh)"' >> ~/.zshrc
    fish:  maquette completion fish > ~/.config/fish/completions/maquette.fish
    """
    from click.shell_completion import get_completion_class

    from maquette.cli.main import COMPLETE, cli

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(cli, {}, "maquette", COMPLETE).source())
