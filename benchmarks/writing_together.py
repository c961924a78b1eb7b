"""What language models gain by writing together, on the held-out text of a run of text/cooperative or writer-critic.

    MAQUETTE_DATA=... python benchmarks/writing_together.py --run runs/both       # loss against the best member
    MAQUETTE_DATA=... python benchmarks/writing_together.py --prepare DATA/mixed  # in MAQUETTE_DATA, for the second
    MAQUETTE_DATA=... python benchmarks/writing_together.py --run runs/steered    # told from real text, how often

1. Experts: nats per character of each member alone and of all together, on the same windows; the gain over the best
   member with its interval (95 %, resampling windows: both are scored on the same ones).
2. Writer and critic: held-out beginnings are continued by the writer alone and under the critic; a classifier by
   letters (modalities/text/measures/two_sample.py) tells either from how the text really goes on. Accuracies are means
   over several shufflings of its folds; the interval (95 %) of their difference resamples the beginnings. The last
   tenth of tinyshakespeare is two plays of its own, told from the rest by their names alone (93 % of cases), so
   --prepare holds out a tenth of its pieces of 1,280 characters instead: mixed/train.txt, mixed/test.txt. Its writer is
   a hurried one: a better one leaves a critic less to choose.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import _run
import maquette
from maquette.core.rng import ItemRng
from maquette.modalities.text.measures.loss import held_out
from maquette.modalities.text.measures.read import decoded, joined
from maquette.modalities.text.measures.two_sample import judged
from maquette.models.cooperative import Experts, WriterAndCritic

PIECE = 1280  # characters
AT_ONCE = 100  # texts that are written side by side
RESAMPLED = 1000
LSTM = (
    "data.text.tokenizer=char model.layers=1 model.width=512 model.embedding=128 model.attention=none "
    "model.dropout=0.1 model.label_smoothing=0 model.lr=4e-3 train.batch_size=16"
)
BOTH = f"""\
maquette train text/lm --data "$MAQUETTE_DATA/tinyshakespeare" --budget 15m -o runs/lm
maquette train text/seq2seq --data "$MAQUETTE_DATA/tinyshakespeare" --steps 1200 -o runs/lstm {LSTM}
maquette train text/cooperative --data "$MAQUETTE_DATA/tinyshakespeare" -o runs/both model.members=[runs/lm,runs/lstm]
"""
STEERED = f"""\
maquette train text/seq2seq --data "$MAQUETTE_DATA/mixed" --steps 600 -o runs/hurried {LSTM}
maquette train text/writer-critic --data "$MAQUETTE_DATA/mixed" -o runs/steered model.members=[runs/hurried]
"""


def main() -> None:
    parser = _run.Parser(__doc__, BOTH + STEERED)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--run", type=Path)
    chosen.add_argument("--prepare", type=Path, metavar="FOLDER")
    parser.add_argument("--beginning", type=int, default=64, help="tokens of real text that are continued")
    parser.add_argument("--continuation", type=int, default=128, help="tokens that are written")
    parser.add_argument("--candidates", type=int, help="drafts of each block [default: the run's]")
    parser.add_argument("--most", type=int, default=600, help="texts")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.prepare:
        return prepare(args.prepare)
    steered = args.run.name == "steered"
    if args.smoke:
        args.most, args.beginning, args.continuation = 24, 8, 24
        prepare(_run.data("tinyshakespeare").with_name("mixed"))
    run = _run.opened(args.run, STEERED if steered else BOTH, args.smoke)
    model = run.generator.model
    if isinstance(model, Experts):
        experts(run, model)
    elif isinstance(model, WriterAndCritic):
        critic(run, model, args)
    else:
        parser.error(f"'{args.run}' is a run of {run.recipe.family}; name one whose models write together.")


def prepare(folder: Path) -> None:
    text = _run.data("tinyshakespeare", "input.txt").read_text(encoding="utf-8")
    pieces = [text[start : start + PIECE] for start in range(0, len(text) - PIECE + 1, PIECE)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("".join(piece for i, piece in enumerate(pieces) if i % 10 != 3))
    (folder / "test.txt").write_text("".join(piece for i, piece in enumerate(pieces) if i % 10 == 3))


def experts(run: maquette.Run, model: Experts) -> None:
    table, spec = run.dataset().test, run.spec
    found = [held_out(one, table, spec) for one in (*model.members, model)]
    for name, one in zip((*model.names, "together"), found, strict=True):
        e = one.per_character(np.random.default_rng(0))
        print(f"{name:24} {e.value:.4f} nats/char [{e.low:.4f}, {e.high:.4f}]")
    best = min(found[:-1], key=lambda one: one.nats.sum())
    saved, characters = best.nats - found[-1].nats, best.characters
    draws = np.random.default_rng(0).integers(len(saved), size=(RESAMPLED, len(saved)))
    gains = saved[draws].sum(1) / characters[draws].sum(1)
    low, high = np.quantile(gains, (0.025, 0.975))
    print(f"better than the best member by {saved.sum() / characters.sum():.4f} nats/char [{low:.4f}, {high:.4f}]")


def critic(run: maquette.Run, model: WriterAndCritic, args: argparse.Namespace) -> None:
    spec = run.spec
    size = args.beginning + args.continuation
    text = torch.cat([part.tokens for part in joined(run.dataset().test, spec.target[0])])
    real = text[: len(text) // size * size].view(-1, size)[: args.most]
    print(f"{len(real)} held-out beginnings of {args.beginning} tokens, each continued by {args.continuation}")
    goes_on = decoded(real[:, args.beginning :], spec.only())
    right = {}
    for name, drafts in (("writer alone", 1), ("with the critic", args.candidates or model.config.candidates)):
        began = time.process_time()
        written = []
        for start in range(0, len(real), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(real)))
            prompt = real[rows.start : rows.stop, : args.beginning]
            rng = ItemRng(args.seed, rows)
            options = {"prompt": prompt, "max_tokens": args.continuation, "candidates": drafts}
            written.append(model.sample_with_deciders(len(rows), {}, rng, **options)[0][:, args.beginning :])
        seconds = time.process_time() - began
        texts = decoded(torch.cat(written), spec.only())
        right[name] = np.mean([judged(texts, goes_on, np.random.default_rng(s)) for s in range(5)], 0)
        print(f"{name:16} {right[name].mean():.4f} told apart; {seconds:.0f} s of processor; e.g. {texts[0][:60]!r}")
    alone, steered = right.values()
    draws = np.random.default_rng(0).integers(len(real), size=(RESAMPLED, len(real)))
    nearer = (alone[draws] - steered[draws]).mean((1, 2))
    low, high = np.quantile(nearer, (0.025, 0.975))
    print(f"nearer to 0.5 by {(alone - steered).mean():.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    _run.command(main)
