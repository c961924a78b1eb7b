"""Tensors by name, as files and in networks: none is used that is no number, or that does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.core.errors import UserError
from maquette.core.files import atomic

if TYPE_CHECKING:  # it takes a second to import, which listing runs can do without
    from torch import Tensor, nn

SHOWN = 3  # tensors that are named


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; anything else (a pickle, a truncated file), and one that holds NaN or infinity, is refused by
    name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"'{path}' is missing.", "The run has no weights yet: maquette resume it.")
    try:
        tensors = load_file(path)
    # KeyError: of a type that this torch does not know
    except (SafetensorError, ValueError, OSError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"'{path}' is refused: not a safetensors file ({error}).", "Nothing was loaded; use an undamaged copy."
        ) from None
    if odd := [name for name, tensor in tensors.items() if not _is_finite(tensor)]:
        raise UserError(
            f"'{path}' is refused: it holds NaN or infinity ({_some(odd)}).",
            "Use an undamaged copy, or train the run again.",
        )
    return tensors


def pack_tensors(tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file; tensors are copied to the CPU, contiguous."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, about)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Writes a safetensors file atomically."""
    with atomic(path) as temporary:
        # As bytes of ours to write: a full disk is then an OSError like any other, and explained.
        temporary.write_bytes(pack_tensors(tensors, about))


def fill(nets: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], problem: str, remedy: str) -> None:
    """Puts tensors, by `<net>.<name>`, into networks. Raises UserError(problem: what differs, remedy), and has changed
    nothing then, unless there is one of the right shape for each place and none too many. Tensors of other networks are
    left aside."""
    places = {name: net.state_dict() for name, net in nets.items()}
    shapes = {f"{net}.{key}": value.shape for net, state in places.items() for key, value in state.items()}
    others = [
        f"{name} is {_size(tensors[name].shape)} instead of {_size(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].shape != shape
    ]
    lacking = [name for name in shapes if name not in tensors]
    spare = [name for name in tensors if name not in shapes and name.startswith(tuple(f"{net}." for net in nets))]
    wrong = [
        *([f"it lacks {_some(lacking)}"] if lacking else []),
        *([f"it has no place for {_some(spare)}"] if spare else []),
        *([_some(others)] if others else []),
    ]
    if wrong:
        raise UserError(f"{problem}: {'; '.join(wrong)}.", remedy)
    for name, net in nets.items():
        net.load_state_dict({key: tensors[f"{name}.{key}"] for key in places[name]})


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool((tensor if tensor.element_size() > 1 else tensor.float()).isfinite().all())


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
