"""What is held out where a model is judged: the test split, another split that its data names, or other data."""

from __future__ import annotations

from maquette.core.table import Dataset


def split_name(dataset: Dataset) -> str:
    """The name of the split that is judged on where the data names it; "" for the split that is held out anyway."""
    return next((name for name, table in dataset.splits.items() if table is dataset.test), "")


def other_data(copies: bool, things: str) -> str:
    """The warning of an evaluation on data that the model was not trained on. copies: whether they are looked for."""
    start = "This is not the data that the model was trained on: "
    start += f"copies of its training {things} were not looked for, and " if copies else ""
    return f"{start}what is held out here may have been trained on."
