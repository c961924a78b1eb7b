"""The model of the family `wavenet`.

One phase minimises, over the samples x_1 .. x_n of a clip and its end,

    -sum_t log p(x_t | x_1 .. x_(t-1), y) - log p(end | x_1 .. x_n, y)

with y what is given, if anything is. A clip ends where nothing but exact zeros follows: the end is an outcome of its
own beside the values of a sample, so clips of any length have a probability, and padding costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.batch import Batch, lengths
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.progress import stage
from maquette.core.rng import Rng
from maquette.core.spec import ClassSpec, DataSpec, GridSpec
from maquette.core.watches import exploding
from maquette.losses import logistics, mu_law
from maquette.models._given import condition, drop, given_columns, vector
from maquette.models.wavenet import OPTIONS, SLOWLY, Config, remark, voice_of
from maquette.nets import sounding
from maquette.nets.mel import Mel
from maquette.nets.sounding import AT_ONCE, Array, Voice
from maquette.nets.wavenet import Frames, WaveNet

NOT_MUON = ("embedding", "condition", "given", "head")  # where values come in and go out, and what steers
PIECE = 2**14  # samples that are scored at once


class WaveNetModel(Model):
    """p(clip | y), sample by sample; with `mel`, p(clip | its mel bands, y). Meets Unfolds and Scores.

    log p of a clip is in nats; its end is counted, and its padding is not. With mu-law that is the probability of the
    clip's codes, with logistics that of its 16-bit values.
    """

    density: Literal["discrete", "continuous", "none"] = "discrete"
    exact = True
    options = OPTIONS
    watches = (exploding("nll", above=50.0),)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        c, column = config, spec.only(GridSpec)
        self.config, self.target, self.columns = config, spec.only_name, given_columns(spec)
        if len(column.grid) != 1:
            raise UserError(
                f"A WaveNet makes what goes on in time alone; '{self.target}' has {len(column.grid)} dimensions.",
                "`maquette recipes` lists what can make it.",
            )
        if column.channels != 1:
            raise UserError(
                f"A WaveNet makes one channel; '{self.target}' has {column.channels}.",
                f"Mix them: data.{column.kind}.mix=mono.",
            )
        (self.length,) = column.grid
        self.coder: mu_law.Coder | logistics.Coder = mu_law.Coder() if c.codes else logistics.Coder(c.mixtures)
        self.mel = Mel(column.rate_hz) if c.mel else None
        frames = Frames(self.mel.bands, self.mel.hop, c.condition) if self.mel else None
        self.net = WaveNet(c.sizes, condition(self.columns, c.condition), frames)

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("nll", ("net",), self.nll, c.optim(not_muon=NOT_MUON))]

    def nll(self, batch: Batch, step: Step) -> Loss:
        """-log p of a crop of each item, over the samples of the largest; its part is that of a sample, in nats."""
        n, crop = batch.size, min(self.config.crop, self.length + 1)
        given = drop(batch.given, self.columns, n, self.config.label_dropout, step.rng)
        hidden = step.rng.uniform(n) < self.config.label_dropout if self.mel else [True] * n
        y, places = vector(self.net, given, n), step.rng.uniform(n)
        total, count = batch.only().new_zeros(()), 0
        for i, x in enumerate(_clips(batch.only())):
            there = self._outcomes(x)
            size = min(crop, there)
            begin = min(max(int(places[i] * there) - size // 2, 0), there - size)  # the ends as often as the rest
            grid = None if hidden[i] else self.grid(x)
            total = total - self._log_prob(x, None if y is None else y[i : i + 1], begin, begin + size, grid).sum()
            count += size
        return Loss(total / (n * crop), {"nats_per_sample": total.detach() / max(count, 1)})

    def _outcomes(self, x: Tensor) -> int:
        """Samples of a clip, and its end unless it is as long as there is room for."""
        return min(len(x) + 1, self.length)

    def grid(self, x: Tensor) -> Tensor | None:
        """The mel bands of a clip f32[n], f32[bands, F]; None where they are not heard."""
        if self.mel is None:
            return None
        return self.mel.of(F.pad(x, (0, max(0, 1 - len(x))))[None, None])[0, 0]  # a silent clip has no sample

    def _log_prob(
        self, x: Tensor, y: Tensor | None, begin: int, end: int, grid: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """log p of the outcomes begin .. end of a clip f32[n], each, nats. y: what is given of it, f32[1, width]; grid:
        its mel bands"""
        heard = max(0, begin - self.net.receptive_field + 1)
        before = self.coder.before(x[max(heard - 1, 0) : end - 1], start=heard == 0)
        return self.coder.log_prob(self.net(before, y, begin - heard, grid, heard), x[begin:end])

    # -- sounding ------------------------------------------------------------------------------------

    def sample(
        self, n: int, given: Given, rng: Rng, temperature: float = 1.0, int8: bool = False,
        like: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """temperature: below 1, likelier samples; int8: with weights of 8 bits; like: with the mel bands of this sound,
        f32[1, N], canonical."""
        made, rows = torch.zeros(n, 1, self.length), np.arange(n)
        voice, noise = self._voice(int8), self._noise(n, rng)
        state = voice.begin(self._steering(n, given, like), self.net.hop)
        with stage("sounding" if voice.compiled else f"sounding {SLOWLY}", self.length) as sounded:
            while len(rows) and state.time < self.length:
                here = slice(state.time, state.time + AT_ONCE)
                drawn = voice.advance(state, noise[rows, here], temperature)
                made[rows, 0, here] = torch.from_numpy(np.nan_to_num(drawn))
                sounded.done = state.time
                if not state.goes_on.all():
                    going = np.flatnonzero(state.goes_on)
                    state, rows = state.rows(going), rows[going]
        return {self.target: made.to(self.net.bias.device)}

    def unfold(
        self, given: Given, rng: Rng, temperature: float = 1.0, int8: bool = False, prompt: Tensor | None = None,
        like: Tensor | None = None,
    ) -> Iterator[Tensor]:  # fmt: skip
        """One item in pieces f32[1, n], of which the first is short."""
        voice, noise, steering = self._voice(int8), self._noise(1, rng), self._steering(1, given, like)
        state = voice.begin(steering, self.net.hop)
        if prompt is not None:
            before = self.coder.before(prompt[0], start=True)
            heard = self.net.inputs(before[:-1], torch.from_numpy(steering[0]).to(before.device))
            voice.hear(state, (x.float().cpu().numpy() for x in heard), prompt.shape[1], float(before[-1].flatten()[0]))
        return map(torch.from_numpy, sounding.unfolded(voice, state, noise, temperature))

    @property
    def remark(self) -> str:
        return remark()

    def _voice(self, int8: bool) -> Voice:
        return voice_of(self.config, self.net.weights(), int8, torch.get_num_threads())

    def _noise(self, n: int, rng: Rng) -> Array:
        """What each sample is drawn by, f32[n, N, 2]."""
        return sounding.drawn_by(rng.uniform(n, self.length, 1 if self.config.codes else 2).cpu().numpy())

    def _steering(self, n: int, given: Given, like: Tensor | None = None) -> Array:
        """What is given of each, f32[n, F, layers x 2 residual]; F = 1 where no sound is that they are to be like."""
        if self.mel is None and all(isinstance(column, ClassSpec) for column in self.columns.values()):
            arrays = self.net.arrays()  # as without torch
            of_each = [[int(given[name][i]) if name in given else -1 for name in self.columns] for i in range(n)]
            return np.stack([sounding.steering(arrays, classes)[None] for classes in of_each])
        grid = None if like is None else self.grid(like[0, : max(1, int(lengths(like[None])))])
        # One by one: a product of many rows is another to the last bit, and so could a draw be.
        each = (vector(self.net, {name: value[i : i + 1] for name, value in given.items()}, 1) for i in range(n))
        return np.stack([self.net.steering(y, grid).detach().float().cpu().numpy() for y in each])

    # -- Scores --------------------------------------------------------------------------------------

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def counted(self, batch: Batch) -> Tensor:
        """Samples of each clip, i64[B]."""
        return lengths(batch.only())

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        y = vector(self.net, batch.given, batch.size)
        found = []
        for i, x in enumerate(_clips(batch.only())):
            there, grid = self._outcomes(x), self.grid(x)
            pieces = (
                self._log_prob(x, None if y is None else y[i : i + 1], at, min(at + PIECE, there), grid).sum()
                for at in range(0, there, PIECE)
            )
            found.append(sum(pieces, x.new_zeros(())))
        return torch.stack(found)


def _clips(x: Tensor) -> Iterator[Tensor]:
    """Clips f32[B, 1, N] without their padding, f32[n] each."""
    for clip, length in zip(x[:, 0], lengths(x).tolist(), strict=True):
        yield clip[:length]
