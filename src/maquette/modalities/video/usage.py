"""How a model of clips is used: the lines of its model card."""

from __future__ import annotations

from maquette.core.spec import DataSpec
from maquette.report.usage import Usage, asked, keywords, rule


def usage(spec: DataSpec) -> Usage:
    """A moving grid, and files of clips."""
    return Usage(
        f"maquette sample .{asked(spec)} -n 16 --seed 1 --grid -o samples.gif",
        f'clips = run.sample(8{keywords(spec)}, seed=1)\nclips.save("out/", suffix=".webp")',
        rule("clip"),
    )
