"""ROUGE of a run that summarises, beside what costs nothing: the first words of the source.

    MAQUETTE_DATA=... python benchmarks/summary_rouge.py --run runs/titles

Of Tang poems and their titles, say (--help: the command that makes the run). A title names persons and places of which
the poem often says nothing, so no model can come near 100. Intervals (95 %) resample texts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import _run
from maquette.core.errors import UserError
from maquette.core.spec import TokenSpec
from maquette.modalities.text.measures import translation
from maquette.modalities.text.measures.read import texts_of
from maquette.modalities.text.measures.script import Script, script_of

RUNS = (
    'maquette train text/transformer --data "$MAQUETTE_DATA/tang" --target title --given text --epochs 2 '
    "-o runs/titles data.text.tokenizer=char"
)


def main() -> None:
    parser = _run.Parser(__doc__, RUNS)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=2000, help="of the held-out ones, drawn at random")
    parser.add_argument("--show", type=int, default=5, help="summaries to print")
    args = parser.parse_args()
    run = _run.opened(args.run, RUNS, args.smoke)
    table = run.dataset().test
    target, source = run.spec.only_name, next(iter(run.spec.givens(TokenSpec)), None)
    if source is None:
        raise UserError(f"'{args.run}' summarises nothing: it is given no text.", f"Make one that does:\n{RUNS}")
    rows = np.sort(np.random.default_rng(0).permutation(len(table))[: args.texts])
    sources, real = (texts_of(table, name, rows) for name in (source, target))
    made = list(run.translate(sources))
    script = script_of(real)
    usual = int(np.median([len(text) for text in real]))
    first = [text.replace("\n", " ")[:usual] for text in sources]
    print(f"{len(rows):,} held-out texts; characters of a summary: {usual} (median)")
    _print("the run, beam search", made, real, script)
    _print(f"the first {usual} characters", first, real, script)
    for i in range(min(args.show, len(made))):
        print(f"\n{sources[i]}\n  {made[i]}\n  {real[i]}")


def _print(what: str, made: list[str], real: list[str], script: Script) -> None:
    scores = translation.rouge(made, real, script, np.random.default_rng(0))
    shown = "  ".join(f"{name} {e.value:.1f} [{e.low:.1f}, {e.high:.1f}]" for name, e in scores.items())
    print(f"{what}: {shown}")


if __name__ == "__main__":
    _run.command(main)
