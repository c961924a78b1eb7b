"""A graph as an ONNX file, which says what goes in and out and where it comes from; looked at in onnxruntime first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.counts import counted
from maquette.core.errors import UserError
from maquette.core.files import atomic, temporary_folder
from maquette.core.graph import Graph, Port
from maquette.core.model import Model
from maquette.core.progress import stage
from maquette.core.spec import DataSpec
from maquette.export.traced import distance, examples, quiet, refuse, sizes, trace

ALLOWED = 1e-4  # of what onnxruntime computes beside torch, in float32
MANY = 32  # items by which the cost of 8 bits is told


def write(
    model: Model, graph: Graph, spec: DataSpec, about: About, file: Path, int8: bool = False
) -> list[str]:  # fmt: skip
    """Writes it, once onnxruntime says the same as the model; what is to be said of it."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"For ONNX, {error.name} is not installed.", "pip install 'maquette[export]'") from None

    with stage(f"exporting the {graph.name}"):
        proto = _proto(model, graph, spec, about)
        off = disagreement(proto, graph)
        refuse(off, ALLOWED, f"The {graph.name} in ONNX")
        cost = []
        if int8:
            whole, proto = proto, _in_8_bits(proto, file.parent)
            cost = [_cost(whole, proto, graph)]
        with atomic(file) as temporary:
            onnx.save(proto, temporary)
    opset = next(one.version for one in proto.opset_import if one.domain in ("", "ai.onnx"))
    tried = ", ".join(" x ".join(f"{name} {size}" for name, size in some.items()) for some in sizes(graph))
    said = f"{file}: {graph.name}, {file.stat().st_size / 1e6:.1f} MB, opset {opset}"
    return [f"{said}; the same as the model's within {off:.1g} in onnxruntime ({tried})", *cost]


def described(graph: Graph, spec: DataSpec, about: About) -> dict[str, str]:
    """What a file says of itself, strings by name: where it comes from, and as JSON what goes in and out and which
    columns it was learned from, their classes and vocabularies among them."""
    ports = {
        side: [
            {name: value for name, value in asdict(port).items() if name == "shape" or value not in (None, ())}
            for port in ports
        ]
        for side, ports in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }
    columns = {name: spec.columns[name].model_dump(mode="json") for name in (*spec.target, *spec.given)}
    return {
        **about.fields,
        "graph": graph.name,
        **{side: json.dumps(told, ensure_ascii=False) for side, told in ports.items()},
        "target": json.dumps(spec.target, ensure_ascii=False),
        "columns": json.dumps(columns, ensure_ascii=False),
    }


def _proto(model: Model, graph: Graph, spec: DataSpec, about: About) -> Any:
    with quiet():
        program = torch.onnx.export(
            trace(model, graph), dynamo=True, external_data=False, verbose=False, optimize=False,
            input_names=[port.name for port in graph.inputs], output_names=[port.name for port in graph.outputs],
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    for values, ports in ((proto.graph.input, graph.inputs), (proto.graph.output, graph.outputs)):
        for value, port in zip(values, ports, strict=True):
            _name_axes(value, port)
    del proto.graph.value_info[:]  # sizes of what is between, by names of torch's own
    del proto.metadata_props[:]
    for name, told in described(graph, spec, about).items():
        proto.metadata_props.add(key=name, value=told)
    for node in proto.graph.node:  # which line of whose file it came from
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def _name_axes(value: Any, port: Port) -> None:
    for axis, size in zip(value.type.tensor_type.shape.dim, port.shape, strict=True):
        if isinstance(size, str):
            axis.dim_param = size
        else:
            axis.dim_value = size
    value.doc_string = port.means


def answers(proto: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What onnxruntime makes of inputs."""
    return _answers(_session(proto), inputs)


def _session(proto: Any) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.enable_mem_reuse = (
        False  # it takes axes of one name, which differ within the memory of sequences, for equal
    )
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def _answers(session: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    # What nothing depends on has no input.
    named = {port.name: value.numpy() for port, value in zip(session.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(made) for made in session.run(None, named)]


def disagreement(proto: Any, graph: Graph) -> float:
    """Of onnxruntime and the model, the greatest over all sizes that the graph is tried with."""
    session = _session(proto)
    tried = [examples(graph, number) for number in range(len(graph.sizes))]
    return max(distance(_answers(session, inputs), list(graph.run(*inputs))) for inputs in tried)


def _in_8_bits(proto: Any, beside: Path) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with temporary_folder(beside) as folder, quiet():
        quantize_dynamic(proto, folder / "int8.onnx", weight_type=QuantType.QUInt8)
        return onnx.load(folder / "int8.onnx")


def _cost(whole: Any, small: Any, graph: Graph) -> str:
    """What weights of 8 bits cost, by what comes out."""
    inputs = examples(graph, len(graph.sizes) - 1, batch=MANY)
    parts = []
    for port, one, other in zip(graph.outputs, answers(whole, inputs), answers(small, inputs), strict=True):
        if port.what == "logits":
            p, q = one.log_softmax(-1), other.log_softmax(-1)
            parts.append(f"{port.name} {(p.exp() * (p - q)).sum(-1).mean():.4f} nats a prediction worse (KL)")
        elif port.what == "values":
            off = (one - other).abs()
            parts.append(f"{port.name} off by {off.mean():.4f} on average, {off.max():.3f} at most")
    return f"8 bits instead of 32: over {counted(MANY, 'item', 'items')}, {'; '.join(parts)}"
