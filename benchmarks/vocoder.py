"""How near to the real sounds a voice comes that knows their mel bands alone, and how fast it speaks.

    MAQUETTE_DATA=... OMP_NUM_THREADS=1 python benchmarks/vocoder.py --budget 15m
    MAQUETTE_DATA=... OMP_NUM_THREADS=1 python benchmarks/vocoder.py --run runs/voice --sheet voices.png

Trains the voice of models/_voice.py by itself on takes 5 and up of fsdd, as it is trained beside a family that makes
mel bands, and prints the log-spectral distance on takes 0-4 beside that of Griffin-Lim with 60 iterations, and how many
seconds of sound there are to a CPU second. The distance counts all that is less than 100 dB below full scale, the hum
and hiss of the recordings, too; a second one is of what is within 60 dB of the loudest moment of a clip.

This file is the family that the run names; settings are model.width and the others of the voice.
"""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import _run
from maquette.core.batch import lengths
from maquette.core.model import Given, Model, Phase
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.evaluation.similarity import log_spectral_distance
from maquette.models._voice import Voice, VoiceConfig, voice
from maquette.nets.spectrogram import FLOOR, full_scale, power

SUPPORTS = (GridSpec,)
Config = VoiceConfig
RECIPE = """about: A voice by itself
family: vocoder
target: [audio]
given: []
data: {label_pattern: "{label}_{speaker}_{take}", test_where: "take=0,1,2,3,4"}
train: {batch_size: 16, preview_items: 1, ema_decay: 0.995, compile: "off"}
"""


def build(config: VoiceConfig, spec: DataSpec) -> VoiceAlone:
    return VoiceAlone(config, spec)


class VoiceAlone(Model):
    """It is given no grids: samples are what it says to noise."""

    def __init__(self, config: VoiceConfig, spec: DataSpec) -> None:
        super().__init__()
        column = spec.only(GridSpec)
        self.target, self.channels, self.voice = spec.only_name, column.channels, voice(config, column)
        for name, network in self.voice.networks().items():
            self.add_module(name, network)
        self.keeps = self.voice.keeps

    def phases(self) -> list[Phase]:
        return self.voice.phases()

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        mel = self.voice.mel
        grids = rng.uniform(n, self.channels, mel.bands, mel.frames(self.voice.samples)) - 1
        return {self.target: self.voice.sound(grids)}


def whole_distance(made: Tensor, real: Tensor, size: int = 256) -> Tensor:
    """`log_spectral_distance` of f32[B, N] that counts all down to -100 dB, f32[B]."""
    a, b = (
        10 * (power(x, size, size // 4) / full_scale(size)).clamp_min(10 ** (FLOOR / 10)).log10() for x in (made, real)
    )
    return (a - b).square().mean(-2).sqrt().mean(-1)


def judged(name: str, heard: Voice, clips: list[Tensor]) -> tuple[float, float, list[Tensor]]:
    """Prints what a voice makes of clips f32[C, n]; the distances, and what it made."""
    rate, grids = heard.mel.rate, [heard.mel.of(clip[None]) for clip in clips]
    began = time.process_time()
    made = [heard.inverse(grid[0], clip.shape[-1]) for grid, clip in zip(grids, clips, strict=True)]
    took = time.process_time() - began
    pairs = [*zip(made, clips, strict=True)]
    distance = sum(float(log_spectral_distance(a, b).mean()) for a, b in pairs) / len(pairs)
    whole = sum(float(whole_distance(a, b).mean()) for a, b in pairs) / len(pairs)
    bands = sum(float((heard.mel.of(a[None]) - g).abs().mean()) for a, g in zip(made, grids, strict=True)) / len(pairs)
    seconds = sum(clip.shape[-1] for clip in clips) / rate
    print(
        f"{name}: log-spectral distance {distance:.3f} dB, down to -100 dB {whole:.3f} dB, "
        f"bands {50 * bands:.2f} dB; {seconds / took:.1f} times real time on one core"
    )
    return distance, whole, made


def main() -> None:
    parser = _run.parser(__doc__, "the voice", "15m")
    parser.add_argument("--clips", type=int, help="held-out clips to judge [default: all]")
    parser.add_argument("--sheet", type=Path, help="a picture of some clips: real, Griffin-Lim, voice")
    args = parser.parse_args()
    importlib.import_module("vocoder")  # the family, vouched for
    print(_run.machine())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "voice.yaml").write_text(RECIPE)
        args.recipe = f"{folder}/voice.yaml"
        with _run.trained(args, _run.data("fsdd")) as run, torch.no_grad():
            dataset, spec = run.dataset(quiet=True), run.spec
            rows = range(min(len(dataset.test), 4 if args.smoke else args.clips or len(dataset.test)))
            x = dataset.test.batch(torch.tensor(rows).numpy(), spec).only()
            clips = [clip[:, :n] for clip, n in zip(x, lengths(x).tolist(), strict=True)]
            column, learned = spec.only(GridSpec), run.generator.model
            plain, plain_whole, first = judged("Griffin-Lim", voice(VoiceConfig(vocoder="griffin-lim"), column), clips)
            ours, whole, second = judged("voice", learned.voice, clips)  # type: ignore[arg-type,union-attr]
            print(f"{len(clips)} clips: {ours / plain:.3f} and {whole / plain_whole:.3f} times those of Griffin-Lim")
            if args.sheet:
                shown(args.sheet, clips, first, second, column)


def shown(path: Path, *voices: Any) -> None:
    """The first clip of each of eight stretches, real and made."""
    from maquette.modalities.audio.shown import sheet

    *kinds, column = voices
    some = range(0, len(kinds[0]), -(-len(kinds[0]) // 8))
    size = max(kinds[0][i].shape[-1] for i in some)
    rows = [torch.nn.functional.pad(kind[i], (0, size - kind[i].shape[-1])) for i in some for kind in kinds]
    sheet(torch.stack(rows), column, columns=len(kinds)).save(path)


if __name__ == "__main__":
    _run.command(main)
