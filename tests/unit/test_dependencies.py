"""What is installed beside us: lower bounds without known holes, and an audit that is never silent."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"
HOLE = re.compile(r'"(?P<requirement>[^"]+)"[\],]*  # before (?P<version>[\d.]+): (?P<why>.+)')


def requirements() -> list[Requirement]:
    """All that is required, extras included."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    listed = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for lines in listed for line in lines if not line.startswith("maquette[")]


def holes() -> list[re.Match[str]]:
    """The lines of pyproject.toml whose bound a hole has set."""
    return list(HOLE.finditer(PROJECT.read_text()))


def test_what_opens_files_and_networks_is_looked_at() -> None:
    looked_at = {Requirement(hole["requirement"]).name for hole in holes()}
    assert looked_at >= {"torch", "pillow", "filelock", "requests", "urllib3", "jinja2", "scikit-learn", "accelerate"}


@pytest.mark.parametrize("hole", holes(), ids=lambda hole: Requirement(hole["requirement"]).name)
def test_a_bound_leaves_out_the_releases_with_the_hole_beside_it(hole: re.Match[str]) -> None:
    requirement = Requirement(hole["requirement"])
    (lowest,) = [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]
    assert lowest >= Version(hole["version"]), f"{requirement} takes a release with {hole['why']}"


def test_no_requirement_is_without_a_lower_bound() -> None:
    unbound = [str(r) for r in requirements() if not any(bound.operator == ">=" for bound in r.specifier)]
    assert unbound == ["types-PyYAML"], "its releases are dates, and it is no code"


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_what_is_installed_is_within_the_bounds(requirement: Requirement) -> None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{requirement.name} is not installed")
    assert requirement.specifier.contains(version, prereleases=True), "make setup installs what pyproject.toml asks for"


def audit(monkeypatch: pytest.MonkeyPatch, database: Callable[[str, list[str]], dict | str]) -> int:
    """The exit status of .ci/audit.py, where pip-audit answers as `database` does: a text is an error."""

    def run(command: list[str], *, input: str, **options: object) -> SimpleNamespace:
        service = command[command.index("--vulnerability-service") + 1]
        answer = database(service, input.split())
        if isinstance(answer, str):
            return SimpleNamespace(stdout="", stderr=answer)
        return SimpleNamespace(stdout=json.dumps({"dependencies": list(answer.values())}), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return runpy.run_path(str(ROOT / ".ci" / "audit.py"))["main"]()


def sound(releases: list[str], **vulns: list[dict]) -> dict:
    """What a database says of releases: only those in `vulns`, and pycrypto, have holes."""
    known = {"pycrypto": [{"id": "PYSEC-2017-94", "aliases": [], "fix_versions": []}], **vulns}
    pairs = [release.split("==") for release in releases]
    return {name: {"name": name, "version": version, "vulns": known.get(name, [])} for name, version in pairs}


def test_an_audit_without_a_database_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = {"pycrypto": {"name": "pycrypto", "skip_reason": "Dependency not found"}}
    assert (
        audit(monkeypatch, lambda service, _: unknown if service == "pypi" else "ERROR\nConnectionError: refused") == 0
    )
    assert "Dependency not found" in (printed := capsys.readouterr().out) and "ConnectionError: refused" in printed
    assert printed.endswith("No database could be reached: nothing has been checked.\n")


def test_a_database_that_knows_nothing_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(monkeypatch, lambda _, releases: sound(releases, pycrypto=[])) == 0
    assert "nothing has been checked" in capsys.readouterr().out


def test_an_audit_that_finds_nothing_counts_what_it_looked_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(monkeypatch, lambda _, releases: sound(releases)) == 0
    assert re.search(r"\d\d+ releases looked up in pypi: 0 known holes", capsys.readouterr().out)


def test_a_known_hole_fails_the_audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hole = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["99.0"]}
    assert audit(monkeypatch, lambda _, releases: sound(releases, torch=[hole])) == 1
    assert re.search(r"torch 2\.[\d.]+: PYSEC-2026-1 CVE-2026-1, mended in 99.0", capsys.readouterr().out)


def test_an_audit_that_breaks_off_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="invalid requirement"):
        audit(monkeypatch, lambda _, asked: sound(asked) if len(asked) == 1 else "ERROR: invalid requirement")
