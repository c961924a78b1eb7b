"""Tensors by name, as files and in networks: none is used that is no number, or that does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.core.errors import UserError
from maquette.core.files import atomic

if TYPE_CHECKING:  # it takes a second to import, which listing runs can do without
    import numpy as np
    from torch import Tensor, nn

SHOWN = 3  # tensors that are named
MOST = 2**16  # tensors of a file, each of which takes its time to read; the largest of ours have a few thousand


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; anything else (a pickle, a truncated file), and one that holds NaN or infinity, is refused by
    name."""
    from safetensors.torch import load_file

    shapes_in(path)
    with _refused(path):
        tensors = load_file(path)
    _check_finite(path, [name for name, tensor in tensors.items() if not _is_finite(tensor)])
    return tensors


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The same in numpy, without torch."""
    import numpy as np
    from safetensors.numpy import load_file

    shapes_in(path)
    with _refused(path):
        arrays: dict[str, np.ndarray] = load_file(path)
    _check_finite(path, [name for name, array in arrays.items() if not np.isfinite(array).all()])
    return arrays


def _check_finite(path: Path, odd: Sequence[str]) -> None:
    if odd:
        raise UserError(
            f"'{path}' is refused: it holds NaN or infinity ({_some(odd)}).",
            "Use an undamaged copy, or train the run again.",
        )


def pack_tensors(tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file; tensors are copied to the CPU, contiguous."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, about)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict[str, str] | None = None) -> None:
    """Writes a safetensors file atomically."""
    with atomic(path) as temporary:
        # As bytes of ours to write: a full disk is then an OSError like any other, and explained.
        temporary.write_bytes(pack_tensors(tensors, about))


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file by name, as its header says; refuses what read_tensors refuses."""
    from safetensors import safe_open

    with _refused(path), safe_open(path, framework="numpy") as file:
        names = file.keys()
        if len(names) > MOST:
            raise ValueError(f"it has {len(names):,} tensors")
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def fill(nets: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], problem: str, remedy: str) -> None:
    """Puts tensors, by `<net>.<name>`, into networks. Raises UserError(problem: what differs, remedy) where they do not
    fit, and has changed nothing then."""
    import torch

    if wrong := misfit(nets, {name: tensor.shape for name, tensor in tensors.items()}):
        raise UserError(f"{problem}: {wrong}.", remedy)
    for name, net in nets.items():
        for key, value in net.state_dict().items():
            if not torch.can_cast(found := tensors[f"{name}.{key}"].dtype, value.dtype):
                raise UserError(f"{problem}: {name}.{key} is {_type(found)} instead of {_type(value.dtype)}.", remedy)
    for name, net in nets.items():
        own = net.state_dict()
        if not any(value.is_meta for value in own.values()):  # an outline has no values, and torch warns of each
            net.load_state_dict({key: tensors[f"{name}.{key}"] for key in own})


def misfit(nets: Mapping[str, nn.Module], found: Mapping[str, Sequence[int]]) -> str:
    """What keeps tensors of these shapes, by `<net>.<name>`, out of networks: one is missing, of another shape, or too
    many; "" where nothing does. Those of other networks are left aside."""
    shapes = {f"{name}.{key}": value.shape for name, net in nets.items() for key, value in net.state_dict().items()}
    ours = tuple(f"{name}." for name in nets)
    lacking = [name for name in shapes if name not in found]
    spare = [name for name in found if name not in shapes and name.startswith(ours)]
    other = [name for name, shape in shapes.items() if name in found and tuple(found[name]) != tuple(shape)]
    others = [f"{name} is {_size(found[name])} instead of {_size(shapes[name])}" for name in other]
    reasons = (("it lacks ", lacking), ("it has no place for ", spare), ("", others))
    return "; ".join(words + _some(which) for words, which in reasons if which)


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    if not path.is_file():
        raise UserError(f"'{path}' is missing.", "The run has no weights yet: maquette resume it.")
    try:
        yield
    # KeyError and the like: of a type that this torch does not know
    except (SafetensorError, ValueError, OSError, KeyError, AttributeError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"'{path}' is refused: not a safetensors file ({why}).", "Nothing was loaded; use an undamaged copy."
        ) from None


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    values = tensor if tensor.element_size() > 1 else tensor.float()
    # The sum is no number where one of them is none, and takes half the time; of large numbers it may overflow.
    return bool(values.sum().isfinite() or values.isfinite().all())


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _type(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
