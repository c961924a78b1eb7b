"""A trained model as files that other programs run: what of it leaves, in which form, and that it computes the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maquette.core.about import About
from maquette.core.errors import UserError, nearest
from maquette.core.files import ready
from maquette.core.hardware import whole_precision
from maquette.core.model import Exports, Model
from maquette.core.option import Option, checked
from maquette.core.spec import DataSpec
from maquette.core.ways import two_ways
from maquette.export import onnx_file, plain

WRITERS: Mapping[str, tuple[str, Callable[..., list[str]]]] = {
    "onnx": (".onnx", onnx_file.write),
    "safetensors": (".safetensors", plain.write),
}


@dataclass(frozen=True)
class Exported:
    """files: what was written      said: about each of them, a line for people"""

    files: tuple[Path, ...]
    said: tuple[str, ...]


def options(model: Model) -> tuple[Option, ...]:
    """Those of a model's options that are settled when it leaves."""
    return tuple(option for option in model.options if option.name in model.settled)


def export(
    model: Model, spec: DataSpec, about: About, to: str, out: Path, int8: bool = False, **asked: Any
) -> Exported:  # fmt: skip
    """Writes what of a model, on the CPU and in eval mode, leaves, a file for each of its graphs, once it was seen that
    they compute the same.

    asked: of `options`      int8: with weights of 8 bits, and what that costs
    """
    if to not in WRITERS:
        raise UserError(f"There is no form '{to}' that models leave in.", nearest(to, WRITERS))
    suffix, write = WRITERS[to]
    if int8 and to != "onnx":
        raise UserError(f"--int8 is of onnx, and {to} was asked for.", "Leave it out, or name --to onnx.")
    if out.suffix != suffix:
        raise UserError(f"'{out}' is no name for it.", f"Name a file that ends in {suffix}.")
    if out.is_dir():
        raise UserError(f"'{out}' is a folder.", f"Name a file that ends in {suffix}.")
    if not isinstance(model, Exports):
        raise UserError(f"Models of the family {about.family} cannot leave.", "docs/export.md lists those that can.")
    values = {name: value for name, value in checked(options(model), asked, "Export").items() if value is not None}
    graphs = model.graphs(**values)
    files, said = [], []
    for graph in graphs:
        file = out if len(graphs) == 1 else out.with_name(f"{out.stem}-{graph.name}{suffix}")
        with _as_it_leaves(model):
            said += write(model, graph, spec, about, ready(file), **({"int8": True} if int8 else {}))
        files.append(file)
    return Exported(tuple(files), tuple(said))


@contextlib.contextmanager
def _as_it_leaves(model: Model) -> Iterator[None]:
    """Computing as plainly as other programs do: in float32, and each convolution as the sum that it is."""
    layers = two_ways(model)
    before = {name: layer.fewer for name, layer in layers.items()}
    for layer in layers.values():
        layer.fewer = "never"
    try:
        with whole_precision(), torch.no_grad():
            yield
    finally:
        for name, layer in layers.items():
            layer.fewer = before[name]


__all__ = ["Exported", "export", "options"]
