"""All that starts a program, executes a file or connects stands in a list, by file, each with its reason."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import maquette
from maquette.core.run import RunFolder
from maquette.training import _searched

SOURCE = Path(maquette.__file__).parent

ALLOWED = {
    "__init__.py": {"importlib.import_module": "of our own modules, from a list of them"},
    "cli/__init__.py": {"sys.path": "takes the folder one stands in out of it"},
    "cli/main.py": {"importlib.import_module": "of verbs that stand in a list"},
    "cli/report.py": {"click.launch": "--open: the user's browser, on the report that was just written"},
    "__main__.py": {"sys.path": "takes the folder one stands in out of it"},
    "core/find.py": {
        "importlib.import_module": "of families and modalities that are ours, or that the user vouched for",
        "importlib.util.find_spec": "of the same",
    },
    "core/lock.py": {"import socket": "the name of this machine"},
    "core/modality.py": {"importlib.import_module": "a module of a modality that was found"},
    "core/parse.py": {"yaml.load": "with a loader that is a SafeLoader"},
    "data/parallel.py": {
        "import multiprocessing": "forks that decode items",
        "concurrent.futures.ProcessPoolExecutor": "the pool of them",
    },
    "data/readers/__init__.py": {"importlib.import_module": "of the modules of the package"},
    "data/readers/hub.py": {
        "import datasets": "hf:NAME, where the user named it; and files on this machine",
        "import huggingface_hub": "where it keeps what was fetched",
    },
    "data/readers/named.py": {
        "import pooch": "sets that are known by name, where the user named one",
        "import requests": "the errors of that",
    },
    "engine/log.py": {
        "import accelerate": "starts the trackers that the user named",
        "importlib.util.find_spec": "of a tracker that accelerate knows",
    },
    "engine/memory.py": {"import ctypes": "asks the C library to keep freed memory"},
    "engine/world.py": {"import accelerate": "several processes of this machine"},
    "evaluation/__init__.py": {"importlib.import_module": "of our own modules"},
    "evaluation/measures/__init__.py": {"importlib.import_module": "of the modules of packages of measures"},
    "export/plain.py": {"import subprocess": "runs the file that it is about to write, apart from us"},
    "modalities/audio/__init__.py": {"importlib.import_module": "of our own modules"},
    "modalities/music/__init__.py": {"importlib.import_module": "of our own modules"},
    "modalities/image/__init__.py": {"importlib.import_module": "of our own modules"},
    "modalities/image/inception.py": {"torch.load": "of one published file, by its checksum, weights only"},
    "modalities/image/opening.py": {"Image.open": "the one place where pictures are opened"},
    "modalities/text/__init__.py": {"importlib.import_module": "of our own modules"},
    "modalities/video/__init__.py": {"importlib.import_module": "of our own modules"},
    "modalities/video/files.py": {"Image.open": "of the label in a file, by named formats"},
    "modalities/video/opening.py": {"Image.open": "the one place where frames are opened, by named formats"},
    "nets/machine_code.py": {"import numba": "code of ours, compiled, in a folder that nobody else may write to"},
    "nets/sounding_loop.py": {"import numba": "what is compiled"},
    "nets/writing_numba.py": {"import numba": "what is compiled"},
    "report/fonts.py": {"importlib.util.find_spec": "of an extra of ours"},
    "report/report.py": {"importlib.import_module": "of the modules of packages of sections"},
    **{
        f"serve/{name}.py": {"import asyncio": "waits for what is computed; it connects to nothing"}
        for name in ("app", "clips", "edits", "endpoints", "guard", "jobs", "pictures", "sounds", "standing", "texts")
    },
    "serve/document.py": {"importlib.import_module": "of our own modules, from a list of them"},
    "serve/start.py": {"import uvicorn": "listens where the user said: maquette serve"},
    "training.py": {
        "import torch.distributed.launcher": "starts the processes that train together",
        "import torch.distributed.elastic": "what it raises",
        "python -m": "these: ourselves",
        "sys.path": "where they look for modules; it is read",
    },
}

PROGRAMS = {"numba", "subprocess", "multiprocessing", "webbrowser", "pty", "runpy", "code", "codeop", "ctypes"}
PICKLES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
NETWORK = {"socket", "socketserver", "ssl", "http", "urllib", "urllib3", "ftplib", "smtplib", "xmlrpc", "telnetlib",
           "imaplib", "poplib", "nntplib", "asyncio", "requests", "httpx", "aiohttp", "websockets", "pooch", "gdown",
           "fsspec", "huggingface_hub", "datasets", "transformers", "diffusers", "timm", "torchvision", "evaluate",
           "uvicorn", "accelerate", "wandb", "mlflow", "comet_ml"}  # fmt: skip
OF_TORCH = ("torch.distributed.launcher", "torch.distributed.elastic", "torch.distributed.run", "torch.multiprocessing",
            "torch.hub", "torch.utils.model_zoo", "torch.utils.cpp_extension", "torch.package")  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"importlib.import_module", "importlib.util.find_spec", "torch.load", "torch.jit.load", "torch.package",
         "concurrent.futures.ProcessPoolExecutor", "click.launch", "tempfile.mktemp", "shutil.unpack_archive",
         "pandas.read_pickle", "sys.path", "PIL.Image.open", "PIL.ImageShow"}  # fmt: skip
OF_OS = ("system", "popen", "exec", "spawn", "posix_spawn", "startfile", "fork")
OF_YAML = ("load", "full", "unsafe", "Loader", "CLoader", "Full", "Unsafe", "CFull", "CUnsafe")
METHODS = {"extractall", "read_pickle", "to_pickle", "load_url", "load_state_dict_from_url"}
SHORT = {"PIL.Image.open": "Image.open"}


def names_of(tree: ast.AST) -> dict[str, str]:
    """What the names that are imported in a file stand for: `np` for `numpy`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name.partition(".")[0]: (one.asname and one.name) or one.name.partition(".")[0]
                      for one in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """`np.load` as `numpy.load`; "" of what is no name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def root(node: ast.AST) -> str:
    """`np` of `np.random.default_rng`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def may_run(name: str) -> bool:
    """Whether a thing of that dotted name starts a program, executes, or reads what might."""
    module, _, last = name.partition(".")
    of_builtins = module == "builtins" and last in BUILTINS
    return name in CALLS or of_builtins or last.startswith({"os": OF_OS, "yaml": OF_YAML}.get(module, "\0"))


def typing_only(tree: ast.AST) -> set[ast.AST]:
    """What stands below `if TYPE_CHECKING`."""
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.If) and dotted(node.test, {}) == "TYPE_CHECKING"]
    return {below for test in tests for statement in test.body for below in ast.walk(statement)}


def deeds(code: str) -> Iterator[str]:
    """What in a file might start, execute or connect."""
    tree = ast.parse(code)
    names, left_out = names_of(tree), typing_only(tree)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in modules:
                if (top := module.partition(".")[0]) in PROGRAMS | PICKLES | NETWORK:
                    yield f"import {top}"
                yield from (f"import {one}" for one in OF_TORCH if f"{module}.".startswith(f"{one}."))
            if isinstance(node, ast.ImportFrom):
                yield from (name for one in node.names if may_run(name := f"{node.module}.{one.name}"))
        elif isinstance(node, ast.Constant) and node.value == "-m":
            yield "python -m"
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = dotted(node, names)
            if root(node) in names and may_run(name):
                yield SHORT.get(name, name)
            elif (isinstance(node, ast.Name) and name in BUILTINS) or getattr(node, "attr", "") in METHODS:
                yield name.rpartition(".")[2]
        if isinstance(node, ast.Call):
            plain = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            name = dotted(node.func, names)
            if name in ("numpy.load", "numpy.lib.format.read_array") and plain.get("allow_pickle") is not False:
                yield "numpy.load with pickles"
            if name == "torch.load" and plain.get("weights_only") is not True:
                yield "torch.load of anything"
            if name == "PIL.Image.open" and "formats" not in {word.arg for word in node.keywords}:
                yield "Image.open of any format"
            if plain.get("shell") is True:
                yield "a shell"


def files() -> list[str]:
    return sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", files())
def test_what_a_file_may_do_is_listed(file: str) -> None:
    found = {*deeds((SOURCE / file).read_text(encoding="utf-8"))}
    assert found == {*ALLOWED.get(file, {})}, "the list in this file says what is allowed where, and why"


def test_the_list_names_files_that_are_there() -> None:
    assert ALLOWED.keys() <= {*files()}


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess",
        "from subprocess import run",
        "def f():\n    import socket as s",
        "import os\nos.system('x')",
        "from os import popen",
        "import os as o\no.execvp('x', [])",
        "import urllib.request",
        "from huggingface_hub import snapshot_download",
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "from numpy import load\nload('x')",
        "import torch\ntorch.load('x')",
        "from torch import load as read\nread('x', weights_only=False)",
        "import torch\ntorch.hub.load_state_dict_from_url('x')",
        "import pickle",
        "import yaml\nyaml.load('x')",
        "import yaml as y\ny.unsafe_load('x')",
        "from yaml import full_load",
        "eval('x')",
        "f = exec",
        "compile('x', 'y', 'exec')",
        "__import__('x')",
        "import builtins\nbuiltins.exec('x')",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module as found\nfound(name)",
        "import importlib.util\nimportlib.util.find_spec(name)",
        "from PIL import Image\nImage.open('x')",
        "import PIL.Image\nPIL.Image.open('x')",
        "from PIL import Image\nImage.open('x', formats=None)",
        "archive.extractall('x')",
        "import shutil\nshutil.unpack_archive('x')",
        "import tempfile\ntempfile.mktemp()",
        "import webbrowser",
        "command = [sys.executable, '-m', 'x']",
        "run('x', shell=True)",
        "import sys\nsys.path.insert(0, 'x')",
    ],
)
def test_what_might_run_or_connect_is_found(code: str) -> None:
    assert [*deeds(code)]


def test_what_does_neither_may_stay() -> None:
    harmless = """
import re, os, yaml, numpy as np
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from subprocess import Popen
re.compile("x"); net.eval(); net.compile(); compile: str = "auto"
yaml.safe_dump({}); os.path.join("a", "b"); os.replace("a", "b"); yaml.safe_load("x")
np.load("x", allow_pickle=False)
"""
    assert not {*deeds(harmless)} - {"numpy.load"}


def test_other_processes_search_neither_here_nor_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = str(SOURCE.parent)
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), str(tmp_path / "run" / "lib"), str(tmp_path / "mine")])
    assert _searched(RunFolder(tmp_path / "run"), ("maquette",)) == [own, str(tmp_path / "mine")]
    (tmp_path / "of_my_own.py").write_text("")
    importlib.invalidate_caches()
    importlib.import_module("of_my_own")  # the user's choice, and so is where it lies
    assert str(tmp_path) in _searched(RunFolder(tmp_path / "run"), ("maquette", "of_my_own"))
