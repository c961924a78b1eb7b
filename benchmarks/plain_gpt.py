"""The small GPT of peers/gpt.py on tinyshakespeare, for as many steps as its recipe says; race.py has ours beside it.

    MAQUETTE_DATA=... python benchmarks/plain_gpt.py

Prints the wall time, and the loss over the whole validation split in windows that do not overlap.
"""

from __future__ import annotations

import time

import torch

import _run
from peers import gpt


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    steps = 2 if args.smoke else args.steps
    train, held_out, vocab = gpt.halves(_run.data("tinyshakespeare", "input.txt"))
    torch.manual_seed(0)
    peer = gpt.Peer(vocab)
    began = time.perf_counter()
    for step in range(steps):
        peer.step(train, step / steps)
    seconds = time.perf_counter() - began
    print(f"plain GPT: {seconds:.1f} s, {steps * peer.batch * gpt.CONTEXT / seconds:,.0f} characters/s")
    print(f"validation loss, {len(held_out):,} characters: {peer.nats(held_out):.3f} nats/character")


if __name__ == "__main__":
    _run.command(main)
