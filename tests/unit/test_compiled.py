"""The cache of torch's compiler is whole, or made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maquette.engine import compiled

COMPILES = """
import torch
from maquette.engine import compiled
compiled.begin(print)
net = torch.compile(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.SiLU()))
net(torch.ones(2, 4)).sum().backward()
compiled.done()
print("compiled")
"""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path))
    monkeypatch.setenv(compiled.NAMED, "")
    monkeypatch.delenv(compiled.NAMED)
    monkeypatch.setattr(compiled, "_in_use", {})
    return compiled._folder()


def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said by a process that begins to compile, after the one before has ended."""
    for handle in compiled._in_use.values():
        os.close(handle)
    monkeypatch.setattr(compiled, "_in_use", {})
    said: list[str] = []
    compiled.begin(said.append)
    return said


def test_what_is_not_as_it_was_listed_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch) == [] and os.environ[compiled.NAMED] == str(cache)
    library = cache / "ab" / "net.so"
    library.parent.mkdir()
    library.write_bytes(b"a library")
    compiled.done()
    assert begun(monkeypatch) == [] and library.exists()
    for damage in (lambda: library.write_bytes(b"a lib"), lambda: library.with_suffix(".gch").touch(),
                   lambda: (cache / compiled.WHOLE).write_text("{")):  # fmt: skip
        library.parent.mkdir(exist_ok=True)
        library.write_bytes(b"a library")
        compiled.done()
        damage()
        assert "anew" in begun(monkeypatch)[0] and not library.exists()


def test_what_others_compile_into_or_the_user_named_is_left_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(monkeypatch)
    (cache / "half.so").write_bytes(b"a")  # of this process
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_in_use", {})  # another one
        said: list[str] = []
        compiled.begin(said.append)
        assert not said and (cache / "half.so").exists()
        os.close(compiled._in_use[cache])
    monkeypatch.setenv(compiled.NAMED, str(cache.parent / "own"))
    assert begun(monkeypatch) == [] and (cache / "half.so").exists()
    compiled.done()
    assert not (cache.parent / "own").exists()


def test_a_cache_that_cannot_be_written_or_locked_stops_no_training(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MAQUETTE_CACHE", "/dev/null/cache")
        assert begun(patch) == [] and compiled.NAMED not in os.environ
        patch.setenv("MAQUETTE_CACHE", str(cache.parents[1]))
        patch.setattr(os, "access", lambda path, mode: False)
        assert begun(patch) == [] and compiled.NAMED not in os.environ
        compiled.done()
    monkeypatch.setattr(compiled.fcntl, "flock", lambda *args: os.open("/nowhere", os.O_RDONLY))
    assert begun(monkeypatch) == [] and os.environ[compiled.NAMED] == str(cache)
    monkeypatch.setattr(compiled, "write_json", lambda *args: os.open("/nowhere", os.O_RDONLY))
    compiled.done()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_a_library_that_a_killed_compile_cut_short_is_compiled_again(cache: Path) -> None:
    def run() -> str:
        done = subprocess.run([sys.executable, "-c", COMPILES], capture_output=True, text=True, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run() == "compiled\n"
    for library in cache.rglob("*.so"):
        os.truncate(library, library.stat().st_size // 2)
    assert run().endswith("anew.\ncompiled\n")
    assert all(library.stat().st_size for library in cache.rglob("*.so"))
