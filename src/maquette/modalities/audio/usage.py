"""How a model of sounds is used: the lines of its model card."""

from __future__ import annotations

from maquette.core.spec import DataSpec
from maquette.report.usage import Usage, asked, keywords, rule


def usage(spec: DataSpec) -> Usage:
    """Files of sound."""
    return Usage(
        f"maquette sample .{asked(spec)} -n 8 --seed 1 --format flac -o sounds/",
        f'sounds = run.sample(8{keywords(spec)}, seed=1)\nsounds.save("out/")',
        rule("sound"),
        extra="audio",
    )
