"""How fast a trained run of text writes: what remembering saves, and how many sentences per second it translates.

    python benchmarks/generation.py --run runs/lm
    python benchmarks/generation.py --run runs/en --sentences 1000 --beam 4

1. Without a source: one text of 1,000 characters, with what the model remembers of it (`advance`, a token at a time)
   and reading all of it anew for each token, which must write the same; and reading anew only the last `context`
   tokens, which is what many implementations do: another function, as it forgets what older tokens saw.
2. With a source: held-out sources of the run's own data (--data: other data), by beam search, a hundred or so of
   like length at a time.
Times are of the process: they count the work, not what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

import maquette
from maquette.core.model import Given, Model, Streams
from maquette.core.rng import ItemRng
from maquette.core.spec import PAD, DataSpec, TokenSpec
from maquette.sampling import autoregressive
from maquette.sampling.beam import search


class Forgetful:
    """The same model, reading anew for each token all that it can see."""

    class Memory:
        def __init__(self, n: int, given: Given) -> None:
            self.n, self.given, self.text = n, given, torch.empty(n, 0, dtype=torch.int64)

        def rows(self, index: Tensor) -> Forgetful.Memory:
            other = Forgetful.Memory(len(index), {name: x[index] for name, x in self.given.items()})
            other.text = self.text[index]
            return other

    def __init__(self, model: Streams, window: int | None) -> None:
        """window: tokens to read; None: the whole text, for a model whose states reach back to its beginning."""
        self.model, self.window = model, window

    def begin(self, n: int, given: Given) -> Memory:
        return Forgetful.Memory(n, given)

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        memory.text = torch.cat([memory.text, tokens], 1)
        seen = memory.text if self.window is None else memory.text[:, -self.window :]
        return self.model.advance(self.model.begin(memory.n, memory.given), seen)[:, -1:]


def timed(write: Iterator[Tensor]) -> tuple[Tensor, float]:
    began = time.process_time()
    text = torch.cat(list(write))
    return text, time.process_time() - began


def writing(model: Streams, spec: DataSpec, characters: int) -> None:
    column = spec.only()
    steps = round(characters / column.chars_per_token)

    def text(of: Streams | Forgetful) -> Iterator[Tensor]:
        return autoregressive.stream(
            of, 1, {}, ItemRng(0, [0]), start=column.start, length=steps, framed=column.framed,
            max_tokens=steps, ends=False,
        )  # fmt: skip

    text(model).__next__()  # warms up
    remembered, fast = timed(text(model))
    print(f"{characters} characters ({steps} tokens), one text")
    print(f"  remembering                      {fast:7.2f} s   {characters / fast:7.0f} characters/s")
    for name, window in (("all of it", None), (f"the last {model.context} tokens", model.context)):
        anew, slow = timed(text(Forgetful(model, window)))
        same = int((remembered == anew).long().cumprod(0).sum())
        print(f"  reading anew {name:<20}{slow:7.2f} s   {slow / fast:7.1f} times as long")
        print(f"    the first {same} of {steps} tokens are the same")


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", help="for its held-out sources; by default the run's own")
    parser.add_argument("--characters", type=int, default=1000)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128, help="sources translated at once")
    args = parser.parse_args()
    run = maquette.load(args.run)
    model, spec = run.generator.model, run.spec
    if not isinstance(model, Streams):
        raise SystemExit(f"{args.run} does not write texts")
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{args.run}: {run.recipe.family}, {size:.1f} M parameters, {torch.get_num_threads()} threads")
    with torch.no_grad():
        given = next(iter(spec.givens(TokenSpec)), None)
        if given is None:
            writing(model, spec, args.characters)
        else:
            held_out = run.dataset(args.data).test
            rows = np.arange(min(args.sentences, len(held_out)))
            sources = held_out.batch(rows, spec).given[given]
            translating(model, spec, given, sources, args.beam, args.batch)


if __name__ == "__main__":
    main()
