"""How a model of pictures is used: the lines of its model card."""

from __future__ import annotations

from maquette.core.spec import DataSpec
from maquette.report.usage import Usage, asked, keywords, rule


def usage(spec: DataSpec) -> Usage:
    """A grid of pictures, and files of them."""
    return Usage(
        f"maquette sample .{asked(spec)} -n 64 --seed 1 --grid -o samples.png",
        f'pictures = run.sample(16{keywords(spec)}, seed=1)\npictures.save("out/")',
        rule("picture"),
    )
