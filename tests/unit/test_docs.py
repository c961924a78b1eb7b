"""The documents against the code: links resolve, commands parse, recipes exist, both READMEs say the same."""

from __future__ import annotations

import ast
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from maquette.cli.main import cli, verbs
from maquette.cli.options import flag_of
from maquette.core.find import recipe_names
from maquette.core.model import Model
from maquette.core.option import Option
from maquette.core.recipe import load_recipe
from maquette.modalities.audio.options import LIKE
from maquette.modalities.image import options as image_options
from maquette.modalities.music import options as music_options
from maquette.modalities.text import options as text_options
from maquette.models import flow, wavenet
from specs import image_spec

ROOT = Path(__file__).parents[2]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
RECIPES = sorted((ROOT / "src" / "maquette" / "recipes").glob("*/*.yaml"))


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced code block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Words of each `maquette ...` command in the page: lines of its blocks, and what is quoted in the prose; of a
    recipe, lines of its comments."""
    lines = [line for language, text in blocks(page) if language in ("", "sh") for line in text.splitlines()]
    lines += re.findall(r"^# +(maquette .*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    lines += [span for span in re.findall(r"`([^`\n]+)`", prose(page)) if span.startswith("maquette ")]
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue  # a drawing, not a command
        for command in " ".join(map(shlex.quote, words)).replace("'|'", "'&&'").split("'&&'"):
            parts = shlex.split(command)
            while parts and re.fullmatch(r"[A-Z_]+=.*", parts[0]):
                parts = parts[1:]
            if parts[:1] == ["maquette"]:
                yield parts[1:]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path = target.partition("#")[0]
        if re.match(r"[a-z]+:", target) or not path or path.startswith("docs/images/"):
            continue  # pictures are made by a trained model, not written
        assert (page.parent / path).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_in_code_marks_exist(page: Path) -> None:
    """`engine/loop.py` in a text is a promise. Placeholders such as <family> are left alone. The modality that a page
    goes through has files as well."""
    rooms = (ROOT, ROOT / "src" / "maquette", ROOT / "tests" / "toy_modality")
    for span in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|yaml|ipynb|toml))`", prose(page)):
        assert any((room / span).exists() for room in rooms), f"{page.name} names {span}"


def every_option() -> dict[str, Option]:
    """The options that some run has: of a label, of the families that ship, and of what models of text and pictures
    have."""
    found = [Option("label", str, None, ""), *image_options.OPTIONS(Model(), image_spec(1, 8, 8).only())]
    found += [*flow.OPTIONS, *wavenet.OPTIONS, *text_options.DECODING, text_options.STREAM, music_options.BARS, LIKE]
    return {option.name: option for option in found}


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=[*IDS, *(f"{r.parent.name}/{r.stem}" for r in RECIPES)])
def test_commands_parse(page: Path) -> None:
    """Verb, options and settings exist; nothing is run. A recipe file that is the reader's own is not opened, and what
    a run is given can be asked of it by name."""
    given = {name for words in commands(page) for flag, name in pairwise(words) if flag == "--given"} - {"none"}
    options = {**{name: Option(name, str, None, "") for name in given}, **every_option()}
    for words in commands(page):
        if words[:1] in (["--help"], ["--version"]) or words == ["..."]:
            continue
        verb, rest = words[0], words[1:]
        assert verb in verbs(), f"maquette {' '.join(words)}"
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        if verb in ("sample", "export"):  # their options are known when the run is, and there is none
            params = [*command.params, *(flag_of(option) for option in options.values())]
            command = click.Command(verb, params=params)
        if isinstance(command, click.Group):
            if not rest:
                continue
            own = sum(isinstance(parameter, click.Argument) for parameter in command.params)  # `edit RUN upscale ...`
            if len(rest) <= own:
                continue
            if rest[own] not in command.commands:  # `runs FOLDER` is `runs list FOLDER`
                rest = [*rest[:own], "list", *rest[own:]]
            command, rest = command.commands[rest[own]], rest[own + 1 :]
        if not rest and any(parameter.required for parameter in command.params):
            continue  # the verb is only named
        if rest[-1:] == ["--help"]:
            continue
        context = command.make_context(verb, list(rest))
        if verb == "train":
            name, settings = context.params["recipe"], context.params["settings"]
            if name == "NAME" or (name.endswith(".yaml") and "/" not in name):
                continue
            load_recipe(str(ROOT / name) if name.endswith(".yaml") else name, settings)


@pytest.fixture(autouse=True)
def examples_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setenv("MAQUETTE_FAMILIES", "my_family")


def test_the_readmes_have_commands_to_check() -> None:
    assert len(list(commands(README))) >= 12 and list(commands(README)) == list(commands(CHINESE))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_recipes_exist(page: Path) -> None:
    named = set(re.findall(r"\b(?:audio|image|music|text)/[a-z][a-z0-9-]+\b(?![./])", page.read_text(encoding="utf-8")))
    assert named <= set(recipe_names()), named - set(recipe_names())


def test_the_readmes_list_every_recipe() -> None:
    for page in (README, CHINESE):
        rows = re.findall(r"^\| `([a-z]+/[a-z0-9-]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(rows) == recipe_names()


def test_both_readmes_are_in_step() -> None:
    def outline(page: Path) -> list[int]:
        return [len(marks) for marks in re.findall(r"^(#+) ", prose(page), re.MULTILINE)]

    def code(page: Path) -> list[tuple[str, list[str]]]:
        """Blocks without their comments, which are translated."""
        return [
            (language, [line.partition(" #")[0].rstrip() for line in text.splitlines()])
            for language, text in blocks(page)
        ]

    def facts(page: Path, pattern: str) -> list[str]:
        return sorted(re.findall(pattern, prose(page)))

    assert outline(README) == outline(CHINESE)
    assert code(README) == code(CHINESE)
    for pattern in (r"\{\{.*?\}\}", r"\]\(((?!README)[^)]+)\)", r"^\|.*\|$"):
        ours, theirs = facts(README, pattern), facts(CHINESE, pattern)
        assert len(ours) == len(theirs), pattern
        if not pattern.startswith("^"):
            assert ours == theirs


def test_the_where_is_x_sentence_is_in_both_readmes() -> None:
    for page in (README, CHINESE):
        for place in ("`engine/loop.py`", "`models/<family>.py`", "`modalities/<kind>/`", "`core/run.py`"):
            assert place in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_blocks_parse(page: Path) -> None:
    for language, text in blocks(page):
        if language == "python":
            ast.parse(textwrap.dedent(text))


def test_the_notebook_is_one() -> None:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", name) for name in ids)
    for cell in book["cells"]:
        assert isinstance(cell["source"], list) and isinstance(cell["metadata"], dict)
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            assert cell["cell_type"] == "markdown"


def test_readme_python_uses_what_exists() -> None:
    """Keywords of maquette.train, and the methods of a run, are those of api.py."""
    import inspect

    from maquette import api

    for language, text in blocks(README):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            assert isinstance(node.func.value, ast.Name)
            owner = api if node.func.value.id == "maquette" else api.Run
            known = set(inspect.signature(getattr(owner, node.func.attr)).parameters)
            known |= set(every_option()) if node.func.attr in ("sample", "stream") else set()
            assert {keyword.arg for keyword in node.keywords} <= known


def test_benchmarks_that_are_named_exist() -> None:
    for page in (README, CHINESE):
        named = re.findall(r"benchmarks/\w+\.py", page.read_text(encoding="utf-8"))
        assert named and all((ROOT / path).exists() for path in named)


def test_files_in_the_drawing_of_the_house_exist() -> None:
    drawing = next(text for _, text in blocks(ROOT / "docs" / "architecture.md") if text.startswith("src/maquette/"))
    room = package = ROOT / "src" / "maquette"
    for line in drawing.partition("tests/")[0].splitlines()[1:]:
        if found := re.match(r"  (\w+)(/|\.py)", line):
            room = package / found[1] if found[2] == "/" else package
        for name in re.findall(r"\b\w+\.py\b", line):
            assert (room / name).is_file(), f"{room.name}/{name}"
