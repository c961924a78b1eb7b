"""How a model of texts is used: the lines of its model card."""

from __future__ import annotations

from maquette.core.spec import DataSpec, TokenSpec
from maquette.report.usage import Usage, asked, keywords, rule


def usage(spec: DataSpec) -> Usage:
    """Texts on the screen, or translations of a file."""
    if spec.givens(TokenSpec):
        return Usage(
            "maquette translate . --input FILE -o out.txt",
            'for text in run.translate(["..."]):\n    print(text)',
            "Each line of FILE is written anew by beam search; the same line gives the same text.",
        )
    return Usage(
        f"maquette sample .{asked(spec)} -n 4 --seed 1",
        f"for text in run.sample(4{keywords(spec)}, seed=1).texts:\n    print(text)",
        rule("text"),
    )
