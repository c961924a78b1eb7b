"""BLEU of a run that translates, on a split of its own data, and how fast it translates.

    MAQUETTE_DATA=... python benchmarks/translation_bleu.py --run runs/en --split test_2016_flickr
    MAQUETTE_DATA=... python benchmarks/translation_bleu.py --run runs/en --split val --beam 1

Two numbers, as papers give two: lower-cased and tokenised by sacreBLEU's 13a (what multi-bleu.perl computed on
lower-cased, tokenised Multi30k), and cased with the signature. The references are the split's own texts as the
tokenizer keeps them. Intervals (95 %) resample sentences.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import _run
from maquette.core.errors import UserError
from maquette.core.spec import TokenSpec
from maquette.modalities.text.measures import translation
from maquette.modalities.text.measures.read import texts_of
from maquette.modalities.text.measures.script import script_of

RUNS = """\
maquette train text/seq2seq --data "$MAQUETTE_DATA/multi30k" --given de --target en --epochs 6 -o runs/seq2seq
maquette train text/transformer --data "$MAQUETTE_DATA/multi30k" --given de --target en --epochs 3.35 -o runs/en"""


def main() -> None:
    parser = _run.Parser(__doc__, RUNS)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--split", help="of the run's data, such as val, or a path [default: what was held out]")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--length-penalty", type=float, default=1.0)
    parser.add_argument("--show", type=int, default=3, help="translations to print")
    args = parser.parse_args()
    run = _run.opened(args.run, RUNS, args.smoke)
    table = run.dataset(args.split).test
    target, source = run.spec.only_name, next(iter(run.spec.givens(TokenSpec)), None)
    if source is None:
        raise UserError(f"'{args.run}' translates nothing: it is given no text.", f"Make one that does:\n{RUNS}")
    rows = np.arange(len(table))
    asked, real = (texts_of(table, name, rows) for name in (source, target))
    began, processor = time.monotonic(), time.process_time()
    made = list(run.translate(asked, beam=args.beam, length_penalty=args.length_penalty))
    wall, used = time.monotonic() - began, time.process_time() - processor
    script = script_of(real)
    for name, lower in (("BLEU, lower-cased, tokenised", True), ("BLEU, cased", False)):
        found = translation.bleu(made, real, script, np.random.default_rng(0), lower)
        print(f"{name}: {_interval(found)}  {found.signature}")
    found = translation.chrf(made, real, np.random.default_rng(0))
    print(f"chrF: {_interval(found)}  {found.signature}")
    print(f"{len(made):,} sentences, beam {args.beam}: {len(made) / wall:.1f} sentences/s (processor {used:.0f} s)")
    for i in range(min(args.show, len(made))):
        print(f"\n{asked[i]}\n  {made[i]}\n  {real[i]}")


def _interval(found: translation.Scored) -> str:
    e = found.estimate
    return f"{e.value:.2f}" + ("" if e.low is None else f" [{e.low:.2f}, {e.high:.2f}]")


if __name__ == "__main__":
    _run.command(main)
