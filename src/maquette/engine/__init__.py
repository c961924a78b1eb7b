"""The one training loop and its state. It knows phases; it knows no family and no modality."""

from maquette.engine.job import Job, Outcome, Progress
from maquette.engine.train import train

__all__ = ["Job", "Outcome", "Progress", "train"]
