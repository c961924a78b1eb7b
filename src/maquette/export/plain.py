"""A graph as plain PyTorch: its weights as safetensors, and beside them a file of Python that computes it without us.

The file is what torch.export makes of the graph, an operation a line, and is run once, in a process of its own and
without Maquette, before it is written.
"""

from __future__ import annotations

import json
import keyword
import operator
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, fx

from maquette.core.about import About
from maquette.core.errors import MaquetteError, UserError
from maquette.core.files import atomic, temporary_folder, write_text
from maquette.core.graph import Graph, Port
from maquette.core.model import Model
from maquette.core.progress import stage
from maquette.core.spec import DataSpec
from maquette.export.traced import distance, examples, refuse, sizes, trace

ALLOWED = 1e-5
SECONDS = 300  # that the file may take to be tried
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "truediv": "/", "ge": ">=", "lt": "<",
         "le": "<=", "gt": ">", "ne": "!=", "eq": "=="}  # fmt: skip
SAYS_NOTHING = ("_assert", "sym_constrain")  # operations that only hold sizes and types against what they were
OWN = ("torch", "F", "aten", "Path", "load_file", "weights")  # names that the file has itself
OF_F = ("linear", "conv1d", "conv2d", "conv3d", "relu", "silu", "pad", "scaled_dot_product_attention")

TEMPLATE = '''"""The {graph} of {run}, in plain PyTorch: written by {software}, without which it works.

    import {name}
    {call}

{ports}

What it makes is AI-generated, which whoever passes it on should say.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

aten = torch.ops.aten


def load(file=Path(__file__).with_suffix(".safetensors")):
    """The weights, by name."""
    return load_file(file)


@torch.no_grad()
def make(weights, {arguments}):
{body}
'''

TRIAL = """
if __name__ == "__main__":
    import sys

    from safetensors.torch import save_file

    assert "maquette" not in sys.modules
    weights = load(sys.argv[1])
    for number, file in enumerate(sys.argv[2:]):
        made = make(weights, *(value for _, value in sorted(load_file(file).items())))
        made = made if isinstance(made, tuple) else (made,)
        save_file({f"{i:03}": value.contiguous() for i, value in enumerate(made)}, file + ".made")
"""


def write(model: Model, graph: Graph, spec: DataSpec, about: About, file: Path) -> list[str]:
    """Writes FILE.safetensors and FILE.py, once this says the same as the model; what is to be said of them."""
    script = file.with_suffix(".py")
    if not script.stem.isidentifier():
        raise UserError(f"'{script.stem}' is no name of a Python file.", "Take letters, digits and _: f.safetensors.")
    with stage(f"exporting the {graph.name}"):
        code, weights = printed(model, graph, about, script.stem)
        off = disagreement(code, weights, graph, file.parent)
        refuse(off, ALLOWED, f"The {graph.name} in plain PyTorch")
        with atomic(file) as temporary:
            save_file(weights, temporary, metadata={**about.fields, "graph": graph.name})
        write_text(script, code)
    tried = ", ".join(" x ".join(f"{name} {size}" for name, size in some.items()) for some in sizes(graph))
    lines = code.count("\n")
    return [f"{file} and {script} ({lines} lines): {graph.name}; the same as the model's within {off:.1g} ({tried})"]


def printed(model: Model, graph: Graph, about: About, name: str) -> tuple[str, dict[str, Tensor]]:
    """The file of Python, and the weights that it reads."""
    program = trace(model, graph)
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants}  # fmt: skip
    stored = {**program.constants, **program.state_dict}
    short = {name: re.sub(r"^(self\.)?model\.", "", held[name]) for name in held}
    arguments = [_argument(port.name) for port in graph.inputs]
    inputs = iter(arguments)
    names = dict[fx.Node, str]()
    lines = list[str]()
    weights = dict[str, Tensor]()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                names[node] = f"weights[{json.dumps(short[node.name])}]"
                weights[short[node.name]] = stored[held[node.name]].detach().clone().contiguous()
            else:
                names[node] = next(inputs)
        elif node.op == "output":
            (made,) = node.args
            lines.append(f"return {', '.join(_value(one, names) for one in made)}")
        elif not _says_nothing(node):
            names[node] = f"{node.name}_" if node.name in (*arguments, *OWN) else node.name
            lines.append(f"{names[node]} = {_operation(node, names)}{_shape(node, graph)}")
    asked = ", ".join(arguments)
    code = TEMPLATE.format(
        graph=graph.name, run=_words(f"'{about.run}' ({about.family})"), software=_words(about.software), name=name,
        call=f"{', '.join(port.name for port in graph.outputs)} = {name}.make({name}.load(), {asked})",
        ports="\n".join(_words(_said(port)) for port in (*graph.inputs, *graph.outputs)), arguments=asked,
        body="\n".join(f"    {line}" for line in lines),
    )  # fmt: skip
    return code, weights


def disagreement(code: str, weights: Mapping[str, Tensor], graph: Graph, beside: Path) -> float:
    """Of the file, run without us, and the model, over all sizes that the graph is tried with."""
    tried = [examples(graph, number) for number in range(len(graph.sizes))]
    with temporary_folder(beside) as folder:
        script, held = folder / "trial.py", folder / "weights.safetensors"
        script.write_text(code + TRIAL, encoding="utf-8")
        save_file(dict(weights), held)
        files = [folder / f"{number}.safetensors" for number in range(len(tried))]
        for file, inputs in zip(files, tried, strict=True):
            save_file({f"{i:03}": value.contiguous() for i, value in enumerate(inputs)}, file)
        ran = subprocess.run([sys.executable, "-I", script, held, *files], capture_output=True, timeout=SECONDS)
        if ran.returncode:
            said = ran.stderr.decode(errors="replace").strip().splitlines()
            raise MaquetteError(f"The {graph.name} in plain PyTorch does not run: {said[-1] if said else ''}.",
                                "This is a fault of ours; please report it.")  # fmt: skip
        made = [[value for _, value in sorted(load_file(f"{file}.made").items())] for file in files]
        return max(distance(one, list(graph.run(*inputs))) for one, inputs in zip(made, tried, strict=True))


def _argument(name: str) -> str:
    """An input's name as that of an argument: names of columns may be any word."""
    if keyword.iskeyword(name) or name in OWN:
        return f"{name}_"
    return name if name.isidentifier() else f"_{name}"


def _words(said: str) -> str:
    """As it may stand in the file's docstring: what a run says of itself is somebody else's."""
    return " ".join(said.split()).replace("\\", "/").replace('"', "'")


def _said(port: Port) -> str:
    kind = {"float32": "f32", "int64": "i64"}[port.dtype]
    return f"{_argument(port.name)}: {kind}[{', '.join(map(str, port.shape))}], {port.means}"


def _says_nothing(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", "")
    return name.startswith(SAYS_NOTHING) or not node.users


def _operation(node: fx.Node, names: Mapping[fx.Node, str]) -> str:
    """A call, as people would write it where that is known."""
    values = [_value(one, names) for one in node.args]
    named = [f"{name}={_value(one, names)}" for name, one in node.kwargs.items()]
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        word = target._schema.name.removeprefix("aten::")
        called = f"F.{word}" if word in OF_F else f"aten.{word}"
        if not target._schema.name.startswith("aten::"):
            raise UserError(f"{target} is no operation of PyTorch's own.", "Export it to onnx.")
        if word == "sym_size":
            return f"{values[0]}.shape[{values[1]}]"
    elif target is operator.getitem:
        return f"{values[0]}[{values[1]}]"
    elif getattr(target, "__module__", "") in ("_operator", "torch", "math"):
        word = getattr(target, "__name__", "")
        module = {"_operator": "operator", "torch": "torch", "math": "math"}[target.__module__]
        called = f"__import__('{module}').{word}"
    else:
        raise UserError(f"{target} has no line of plain PyTorch.", "Export it to onnx.")
    if word in INFIX and len(values) == 2 and not named:
        return f"{values[0]} {INFIX[word]} {values[1]}"
    return f"{called}({', '.join([*values, *named])})"


def _value(value: Any, names: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(one, names) for one in value)}]"
    if isinstance(value, torch.device):
        return f'torch.device("{value.type}")'
    if isinstance(value, float):
        return f'float("{value}")' if value in (float("inf"), float("-inf")) or value != value else repr(value)
    return str(value) if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)) else repr(value)


def _shape(node: fx.Node, graph: Graph) -> str:
    """The shape of what a line makes, as a remark."""
    made = node.meta.get("val")
    if not isinstance(made, Tensor) or not made.ndim:
        return ""
    return f"  # [{', '.join(str(size) if isinstance(size, int) else '-' for size in made.shape)}]"
