"""The machinery names no kind of data: what is true of one kind alone stands in its modality."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import maquette
from maquette.core.find import modality_names

SOURCE = Path(maquette.__file__).parent
ROOMS = ("core", "data", "engine", "evaluation", "export", "report", "cli", "api.py", "console.py", "training.py",
         "members.py", "overview.py", "testing")  # fmt: skip

NAMES_A_KIND = re.compile(
    r"\b(picture|pixel|image|text)s?\b(?!-(align|anchor|decoration|indent|overflow|transform))", re.IGNORECASE
)


def machinery() -> list[str]:
    """Every file of the rooms that any kind of data passes through."""
    found = [path for room in ROOMS for path in (SOURCE / room, *(SOURCE / room).rglob("*.py")) if path.is_file()]
    return sorted(str(path.relative_to(SOURCE)) for path in found)


def asks_for_a_kind(code: str) -> list[str]:
    """Comparisons of a kind with one that is named; two kinds may be compared with each other."""
    found = []
    for node in ast.walk(ast.parse(code)):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if isinstance(node, ast.Match):
            sides = [node.subject, *(case.pattern for case in node.cases)]
        inside = [part for side in sides for part in ast.walk(side)]
        names = {getattr(part, "attr", getattr(part, "id", "")) for part in inside}
        values = {part.value for part in inside if isinstance(part, ast.Constant)}
        if names & {"kind", "kinds"} and values & {*modality_names()}:
            found.append(ast.unparse(node).splitlines()[0])
    return found


def code_of(file: str) -> str:
    return (SOURCE / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", machinery())
def test_the_machinery_asks_for_no_kind(file: str) -> None:
    assert asks_for_a_kind(code_of(file)) == []


@pytest.mark.parametrize("file", machinery())
def test_the_machinery_names_no_kind(file: str) -> None:
    numbered = enumerate(code_of(file).splitlines(), 1)
    assert [f"{number}: {line.strip()}" for number, line in numbered if NAMES_A_KIND.search(line)] == []


@pytest.mark.parametrize(
    "code",
    [
        "spec.kind == 'image'",
        "'image' != kind",
        "column.kind in ('image', 'y')",
        "kind not in {'image'}",
        "{column.kind for column in spec} == {'image'}",
        "match kind:\n    case 'image':\n        pass",
    ],
)
def test_a_kind_that_is_asked_for_is_found(code: str) -> None:
    assert asks_for_a_kind(code)


def test_what_names_no_kind_may_stay() -> None:
    assert asks_for_a_kind("[a.kind for a in kinds if a.kind == b.kind or a.kind in known]") == []
    assert all(NAMES_A_KIND.search(line) for line in ("Pictures of", "a pixel", "IMAGE", "the texts", "text=1"))
    assert not NAMES_A_KIND.search("read_text context texture text-align")
