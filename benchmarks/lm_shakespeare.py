"""Held-out loss of a language model over its whole held-out split, with windows that do not overlap and that do.

    MAQUETTE_DATA=... python benchmarks/lm_shakespeare.py --run runs/lm

Each token is predicted once. Without overlap, the first tokens of a window have little before them: the harder
number, and the one to compare with. Sliding windows move by half the context and score their newer half.
Nats per character can be compared between tokenizers. Intervals (95 %) resample windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import _run
from maquette.modalities.text.measures.loss import HeldOut, held_out, held_out_sliding

RUNS = 'maquette train text/lm --data "$MAQUETTE_DATA/tinyshakespeare" --budget 15m -o runs/lm'


def main() -> None:
    parser = _run.Parser(__doc__, RUNS)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--split", help="of the run's data, or a path [default: what was held out]")
    args = parser.parse_args()
    run = _run.opened(args.run, RUNS, args.smoke)
    table, model, spec = run.dataset(args.split).test, run.generator.model, run.spec
    size = sum(p.numel() for net in model.kept.values() for p in net.parameters())
    column = spec.only()
    context = column.shape[0] - 1
    print(f"{run.recipe.family}, {size:,} parameters, {column.vocab:,} {column.unit} tokens, context {context}")
    _print(f"windows of {context}, no overlap", lambda: held_out(model, table, spec))  # type: ignore[arg-type]
    if not column.framed and not spec.given:
        _print(f"sliding by {context // 2}", lambda: held_out_sliding(model, table, spec))  # type: ignore[arg-type]


def _print(how: str, measure: Callable[[], HeldOut]) -> None:
    began = time.monotonic()
    found = measure()
    seconds = time.monotonic() - began
    e = found.per_character(np.random.default_rng(0))
    interval = "" if e.low is None else f" [{e.low:.4f}, {e.high:.4f}]"
    tokens, characters = found.tokens.sum(), found.characters.sum()
    print(
        f"{how}: {e.value:.4f} nats/char{interval}, {e.value / np.log(2):.4f} bits/char, "
        f"{found.nats.sum() / tokens:.4f} nats/token; {tokens:,.0f} tokens, {characters:,.0f} characters, "
        f"{seconds:.0f} s"
    )


if __name__ == "__main__":
    _run.command(main)
