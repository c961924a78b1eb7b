"""What the command line says of itself, and what the Tab key does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result

from maquette.cli.main import cli, verbs
from maquette.core.errors import UserError
from maquette.core.find import runs_from


def asked(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def below(name: str, command: click.Command) -> Iterator[tuple[str, ...]]:
    yield (name,)
    for verb in command.commands if isinstance(command, click.Group) else ():
        yield name, verb


EVERY = [way for verb in verbs() if (found := cli.get_command(click.Context(cli), verb)) for way in below(verb, found)]


@pytest.mark.parametrize("way", [(), *EVERY], ids=" ".join)
@pytest.mark.parametrize("columns", [50, 80])
def test_help_is_there_without_a_run_and_cuts_no_sentence(
    way: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = asked(*way, "--help")
    assert done.exit_code == 0 and done.output.startswith("Usage:")
    listed = done.output.partition("\nCommands:\n")[2]
    assert "..." not in listed, listed
    shown = " ".join(done.output.split())
    assert (way[-1] if way else "maquette") in shown or not way


def test_help_comes_last_in_the_list_of_options() -> None:
    shown = CliRunner().invoke(cli, ["train", "--help"]).output
    assert shown.index("--size") < shown.index("--help  ")


def test_a_verb_of_a_run_says_that_the_run_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "edit RUN upscale [OPTIONS]" in asked("edit", "upscale", "-h").output
    done = asked("edit", "upscale", "small.png", "--factor", "4")
    assert done.exit_code == 2 and "Name the run first: maquette edit RUN upscale" in done.output
    (tmp_path / "upscale").mkdir()
    (tmp_path / "upscale/recipe.yaml").touch()
    assert "edit RUN restore [OPTIONS]" in asked("edit", "upscale", "restore", "-h").output


# -- completion ----------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs/a", "runs/b c", "own", "pictures"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("runs/a", "runs/b c", "own"):
        (tmp_path / name / "recipe.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "typed", "found"),
    [
        ("maquette", "comp", ["compare", "completion"]),
        ("maquette train", "image/ga", ["image/gan", "image/gan-mlp"]),
        ("maquette train", "my", [("file", "my")]),
        ("maquette train image/gan --data", "pic", [("file", "pic")]),
        ("maquette recipes show", "text/l", ["text/lm"]),
        ("maquette sample", "", ["own", "runs/a", "runs/b c"]),
        ("maquette translate", "runs/b", ["runs/b c"]),
        ("maquette edit", "runs/", ["runs/a", "runs/b c"]),
        ("maquette edit runs/a", "up", ["upscale"]),
        ("maquette compare runs/a", "o", ["own"]),
        ("maquette report", "pic", [("dir", "pic")]),
        ("maquette sample nowhere", "--form", ["--format"]),
        ("maquette runs rm", "ow", ["own"]),
        ("maquette cache clear", "da", ["data"]),
        ("maquette completion", "z", ["zsh"]),
    ],
)
def test_the_tab_key_finds_recipes_runs_and_verbs(
    shelf: Path, line: str, typed: str, found: list[str | tuple[str, str]]
) -> None:
    items = BashComplete(cli, {}, "maquette", "_MAQUETTE_COMPLETE").get_completions(line.split()[1:], typed)
    assert [item.value if item.type == "plain" else (item.type, item.value) for item in items] == found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how(shell: str) -> None:
    script = asked("completion", shell).output
    assert f"_MAQUETTE_COMPLETE={shell}_complete" in script
    assert asked("completion", "tcsh").exit_code == 2
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(shelf: Path) -> None:
    """As a person's bash does it, with the script that `maquette completion bash` prints."""
    command = shelf / "bin" / "maquette"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m maquette "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(maquette completion bash)"; COMP_WORDS=(maquette sample runs/); COMP_CWORD=2; '
        "_maquette_completion maquette; printf '%s\\n' \"${COMPREPLY[@]}\"; complete -p maquette"
    )
    env = {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[:2] == ["runs/a", "runs/b c"] and re.search(r"complete .* maquette", done.stdout)


def test_the_home_of_nobody_has_no_runs() -> None:
    assert runs_from("~nobody-of-this-name/r") == []


@pytest.mark.parametrize("variable", ["MAQUETTE_CACHE", "MAQUETTE_DATA"])
def test_the_home_of_nobody_in_a_variable_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, "~nobody-of-this-name")
    assert CliRunner().invoke(cli, ["cache"]).exit_code == 0
    assert isinstance(CliRunner().invoke(cli, ["data", "inspect", "digit"]).exception, UserError)
