"""What a person names of a label, and what is shown of it: a class, by its name or number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from maquette.core.errors import UserError, nearest
from maquette.core.spec import ColumnSpec, plain

if TYPE_CHECKING:  # it takes a second to import, which names of classes can do without
    from torch import Tensor

PRINTED = True


def asked(value: Any, spec: ColumnSpec, notify: Callable[[str], None]) -> Tensor:
    """i64[]: the number of a class that is named by its name, or by its number when no class has that name."""
    import torch

    return torch.tensor(number(value, spec))


def number(value: Any, spec: ColumnSpec) -> int:
    """The same, as a plain number."""
    name, classes = plain(str(value)), [*map(plain, spec.classes)]
    if name in classes:
        return classes.index(name)
    # In ASCII alone: `７` is no number of a class, but what a class called `7` may be taken for.
    if name.isascii() and name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise UserError(f"There is no class {name!r}.", nearest(name, classes))


def caption(item: Tensor, spec: ColumnSpec) -> str:
    """The name of the class."""
    return view(item, spec)


def view(item: Tensor, spec: ColumnSpec) -> str:
    """The name of the class."""
    return str(spec.classes[int(item)])
