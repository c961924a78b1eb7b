"""How well a run restores held-out spoken digits to which something known was done (fsdd, takes 0 to 4).

    MAQUETTE_DATA=... OMP_NUM_THREADS=1 python benchmarks/restoration.py --run runs/r      # or a run of audio/flow

1. Noise at 5 dB, gaps of 50 ms, half the band (a copy at 4 kHz), clipping, reverberation, the coarsest MP3: SI-SDR,
   log-spectral distance and STOI, as they were, of the mean of all answers, and of one answer. A gap is bridged by a
   straight line, and compared where it is; a copy of half the rate is resampled by soxr.
2. What the issue asks for: the gain in SI-SDR of noise, and the ratios of log-spectral distances of gaps and bands.
3. CPU seconds for a second of sound.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

import _run
from maquette.core.model import Fills
from maquette.core.rng import ItemRng
from maquette.modalities.audio.judges import stoi
from maquette.modalities.audio.restored import WORDS, Trial, restored, trial
from maquette.sampling.degrade_sound import KINDS

RUN = (
    'maquette train audio/restore --data "$MAQUETTE_DATA/fsdd" "data.label_pattern={label}_{speaker}_{take}" '
    '"data.test_where=take=0,1,2,3,4" --steps 4000 -o runs/r'
)


def main() -> None:
    parser = _run.Parser(__doc__, RUN)
    parser.add_argument("--run", type=Path, default=Path("runs/r"))
    parser.add_argument("--items", type=int, default=300, help="held-out clips of each trial")
    args = parser.parse_args()
    if args.smoke:
        args.items = 2
    run = _run.opened(args.run, RUN, args.smoke)
    model, spec, test = run.generator.model, run.spec.only(), run.dataset().test
    rows = np.random.default_rng(0).permutation(len(test))[: args.items]
    items = test.columns[run.spec.only_name].take(rows)
    print(f"{len(items)} held-out clips, {spec.rate_hz:,} Hz; {_run.machine()}\n")
    print(f"{'':26}{'SI-SDR, dB':>26}{'log-spectral distance':>26}{'STOI':>22}")
    print(f"{'':26}" + f"{'before':>10}{'mean':>8}{'one':>8}" * 2 + f"{'before':>8}{'mean':>7}{'one':>7}")
    trials = {}
    fills = isinstance(model, Fills)  # not trained for it: gaps and the band
    for kind in ("gap", "lowpass") if fills else KINDS:
        trials[kind] = trial(model, items, kind, spec.rate_hz)
        _line(WORDS[kind], trials[kind], spec.rate_hz)
    with torch.no_grad():
        gap, band = (trials[kind] for kind in ("gap", "lowpass"))
        if not fills:
            gained = trials["noise"].sdr(trials["noise"].expected) - trials["noise"].sdr(trials["noise"].heard)
            print(f"\nSI-SDR gained from noise at 5 dB: {gained.mean():.2f} dB")
        for words, one in (("gaps, over a straight line's", gap), ("half the band, over soxr's", band)):
            before, mean, sample = (one.distance(side).mean() for side in (one.heard, one.expected, one.sampled))
            print(f"log-spectral distance of {words}: {sample / before:.3f} (of the mean: {mean / before:.3f})")
        sound, began = torch.randn(1, 1, 10 * spec.rate_hz) / 10, time.process_time()
        restored(model, sound, ItemRng(0, [0]), torch.ones_like(sound), 1)
        print(f"a second of sound, one step: {(time.process_time() - began) / 10:.4f} CPU s")


def _line(words: str, found: Trial, rate: int) -> None:
    sides = (found.heard, found.expected, found.sampled)
    sdr = "".join(f"{found.sdr(side).mean():{width}.2f}" for side, width in zip(sides, (10, 8, 8), strict=True))
    far = "".join(f"{found.distance(side).mean():{width}.2f}" for side, width in zip(sides, (10, 8, 8), strict=True))
    heard = [stoi(side, found.real, rate) for side in sides]
    understood = "".join("      -" if one is None else f"{one.mean():7.3f}" for one in heard)
    print(f"  {words:24}{sdr}{far} {understood}", flush=True)


if __name__ == "__main__":
    _run.command(main)
