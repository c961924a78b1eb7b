"""How a model of tunes is used: the lines of its model card."""

from __future__ import annotations

from maquette.core.spec import DataSpec
from maquette.report.usage import Usage, asked, keywords, rule


def usage(spec: DataSpec) -> Usage:
    """Files of MIDI and sound."""
    return Usage(
        f"maquette sample .{asked(spec)} -n 4 --seed 1 -o tunes/",
        f'tunes = run.sample(4{keywords(spec)}, seed=1)\ntunes.save("out/")',
        rule("tune"),
    )
