"""Which columns of the data an evaluation looks at."""

from __future__ import annotations

from maquette.core.errors import UserError, nearest
from maquette.core.spec import DataSpec
from maquette.core.table import Dataset


def image_column(spec: DataSpec, dataset: Dataset) -> str:
    """The one picture column that the model makes; it must be in the data at the same shape."""
    images = [name for name in spec.target if spec.columns[name].kind == "image"]
    if len(images) != 1 or len(spec.target) != 1:
        kinds = ", ".join(sorted({spec.columns[name].kind for name in spec.target}))
        raise UserError(f"This model makes {kinds}; evaluation judges models of one picture.", "See `maquette report`.")
    (name,) = images
    if name not in dataset.train.columns:
        raise UserError(f"The data has no column '{name}'.", nearest(name, dataset.train.columns))
    ours, theirs = spec.columns[name].shape, dataset.train.columns[name].spec.shape
    if ours != theirs:
        raise UserError(
            f"The model makes pictures of shape {ours}, the data has {theirs}.",
            "Evaluate on the data it was trained on, prepared at the same size.",
        )
    return name


def text_column(spec: DataSpec, dataset: Dataset) -> str:
    """The one text column that the model writes; it must be in the data with the same vocabulary."""
    if len(spec.target) != 1:
        raise UserError(f"This model makes {', '.join(spec.target)}; evaluation judges models of one text.", "")
    (name,) = spec.target
    if name not in dataset.train.columns:
        raise UserError(f"The data has no column '{name}'.", nearest(name, dataset.train.columns))
    ours, theirs = spec.columns[name], dataset.train.columns[name].spec
    if (ours.vocab, ours.tokenizer, ours.framed) != (theirs.vocab, theirs.tokenizer, theirs.framed):
        raise UserError(
            f"Column '{name}' of the data is in other tokens than the model's.",
            "Evaluate on data that is prepared with the model's own tokenizer.",
        )
    return name


def label_column(spec: DataSpec, dataset: Dataset) -> str | None:
    """The label the model was given, or else the first of the data; None without two classes."""
    columns = dataset.train.columns
    labels = [name for name, column in columns.items() if column.spec.kind == "label"]
    first = [spec.label] if spec.label in labels else []
    useful = [n for n in (*first, *labels) if n is not None and columns[n].spec.num_classes >= 2]
    return useful[0] if useful else None
