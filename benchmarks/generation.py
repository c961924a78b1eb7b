"""How fast a model of text writes, and how many sentences per second it translates.

    python benchmarks/generation.py                        # the network of text/lm as it is before training
    python benchmarks/generation.py model.width=192 model.heads=3
    python benchmarks/generation.py --run runs/lm
    python benchmarks/generation.py --run runs/en --sentences 1000 --beam 4

1. Without a source: one text, and 32 together that are as long as a window. Compiled, as it is for those who write
   much where numba is installed, and in numpy, beside plain decoding, one token at a time through the modules that
   training uses; and how many of the tokens are the same.
2. With a source: held-out sources of the run's own data (--data: other data), by beam search, a hundred or so of
   like length at a time.
Times are of the process: they count the work, not what else the machine does. Of one core, as the numbers in README.md:
OMP_NUM_THREADS=1; of one with AVX2 alone: ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell NUMBA_CPU_NAME=haswell
NUMBA_CPU_FEATURES=+avx2,+fma, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import _run
import lm_shakespeare
from maquette.core.errors import UserError
from maquette.core.generator import build_model
from maquette.core.model import Given, Model, Streams
from maquette.core.recipe import load_recipe
from maquette.core.rng import ItemRng
from maquette.core.spec import PAD, DataSpec, TokenSpec
from maquette.nets.writing import Step
from maquette.sampling import autoregressive
from maquette.sampling.beam import search
from maquette.testing.specs import column_spec, data_spec

TOGETHER = 32
WAYS = ("compiled", "numpy", "plain decoding") if find_spec("numba") else ("numpy", "plain decoding")
VOCAB = 72  # of tinyshakespeare, with the reserved tokens


class Way:
    """The same model in one of its WAYS of reading a token."""

    def __init__(self, model: Streams, way: str) -> None:
        self.model, self.way = model, way

    def begin(self, n: int, given: Given) -> Any:
        memory = self.model.begin(n, given)
        if isinstance(step := getattr(memory, "step", None), Step):
            step.times = math.inf if self.way == "compiled" else -math.inf  # as if it had written much, or nothing yet
            memory.step = None if self.way == "plain decoding" else step
        return memory

    def advance(self, memory: Any, tokens: Tensor) -> Tensor:
        return self.model.advance(memory, tokens)


def writing(model: Streams, spec: DataSpec, characters: int, rounds: int) -> None:
    column = spec.only()
    each = round(characters / column.chars_per_token)
    for n, steps in ((1, each), (TOGETHER, min(each, column.shape[0] - 1))):
        how = {"start": column.start, "length": steps, "framed": column.framed, "max_tokens": steps, "ends": False}
        found = {}
        for _ in range(rounds):  # one after the other: all see the same machine
            for name in WAYS:
                rng, began = ItemRng(0, range(n)), time.process_time()
                text = autoregressive.write(Way(model, name), n, {}, rng, **how)
                found.setdefault(name, []).append((time.process_time() - began, text))
        made = n * steps * column.chars_per_token
        print(f"{n} x {steps} tokens, {made:,.0f} characters")
        for name, runs in found.items():
            seconds = min(seconds for seconds, _ in runs)
            print(f"  {name:<16}{seconds:7.2f} s   {made / seconds:7,.0f} characters/s")
        *ours, plain = (runs[-1][1] for runs in found.values())
        alike = min(int((text == plain).long().cumprod(1).sum()) for text in ours)
        print(f"  {alike / plain.numel():.2%} of the texts are the same")


def untrained(settings: Sequence[str]) -> tuple[Model, DataSpec]:
    recipe = load_recipe("text/lm", settings)
    spec = data_spec(column_spec("text", recipe.data.text.context + 1, framed=False, vocab=VOCAB, unit="char"))
    model = build_model(recipe, spec).eval()
    for weight in model.parameters():
        if not weight.any():  # what begins at zero would leave all tokens as likely as each other
            nn.init.normal_(weight, std=0.05)
    return model, spec


def translating(model: Model, spec: DataSpec, given: str, sources: Tensor, beam: int, batch: int) -> None:
    assert isinstance(model, Streams)
    order = (sources != PAD).sum(1).argsort()
    began, tokens = time.process_time(), 0
    for rows in order.split(batch):
        source = sources[rows]
        source = source[:, : int((source != PAD).sum(1).max())]
        # Twice the source and a little: longer translations are repetitions.
        length = min(spec.only().shape[0], 2 * source.shape[1] + 10)
        found = search(model, len(rows), {given: source}, start=spec.only().start, length=length, beam=beam)
        tokens += int((found.tokens != PAD).sum())
    seconds = time.process_time() - began
    print(f"{len(sources)} sentences, beam {beam}: {seconds:.1f} s, {len(sources) / seconds:.1f} sentences/s, "
          f"{tokens / len(sources):.1f} tokens each")  # fmt: skip


def main() -> None:
    parser = _run.Parser(__doc__, lm_shakespeare.RUNS)
    parser.add_argument("--run", type=Path, help="by default a network that is not trained")
    parser.add_argument("--data", help="for its held-out sources; by default the run's own")
    parser.add_argument("--characters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128, help="sources translated at once")
    parser.add_argument("settings", nargs="*", help="of a network that is not trained: model.width=192")
    args = parser.parse_args()
    if args.smoke:
        args.characters, args.rounds, args.sentences = 20, 1, 4
    if args.run:
        run = _run.opened(args.run, lm_shakespeare.RUNS, args.smoke)
        model, spec = run.generator.model, run.spec
    else:
        model, spec = untrained(args.settings)
    if not isinstance(model, Streams):
        raise UserError(f"'{args.run}' does not write texts.", f"Make one that does:\n{lm_shakespeare.RUNS}")
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{args.run or 'not trained'}: {size:.1f} M parameters, {torch.get_num_threads()} threads")
    with torch.no_grad():
        given = next(iter(spec.givens(TokenSpec)), None)
        if given is None:
            writing(model, spec, args.characters, args.rounds)
        else:
            held_out = run.dataset(args.data).test
            rows = np.arange(min(args.sentences, len(held_out)))
            sources = held_out.batch(rows, spec).given[given]
            translating(model, spec, given, sources, args.beam, args.batch)


if __name__ == "__main__":
    _run.command(main)
