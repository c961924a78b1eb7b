"""Restoration of sounds: p(sound | the same sound, degraded), by flow matching from what is heard.

Spectra move on straight ways from what is heard, with some noise (t = 0), to what it was (t = 1): a stochastic
interpolant between the two (Albergo et al. 2023), in the compressed complex STFT of speech enhancement (Richter et al.
2023), where phases are kept and the inverse is exact. The noise is the spectrum of white noise, so frames agree.

The network says of each value on its way which mean and which spread p(x | heard) has, as if it were normal: then E[x |
x_t, heard] has a closed form, which is what is learned, with its variance; and so has a step, which is exact where it
is normal, whatever its size. So two steps give a sample with all its texture, where Euler's method takes dozens; the
mean at t = 0 is that of all that it may have been, and nearest to it.

It learns from stretches of the items, which are degraded as they are drawn. Of some nothing is heard, so that the same
network makes sounds out of nothing. It works on a window of frames, which is moved along a sound of any length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from maquette.core.batch import Batch, lengths
from maquette.core.bounds import Depth, Few, Share, Width
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.option import Option, between
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.models._learning import Learning
from maquette.nets.restorer import Restorer
from maquette.nets.spectrogram import SHIFTS, compressed, expanded, frame_size, full_scale, sound_of
from maquette.sampling.degrade_sound import Kind, corrupt, draws
from maquette.sampling.ode import over

SUPPORTS = (GridSpec,)
GIVEN = ()  # it is blind: what is heard says all
NOT_MUON = ("net.stem", "net.head", "net.time")  # where values come in and go out, and what steers
SPREAD = 0.04  # standard deviation of compressed spectra, about
QUIETER = 15.0  # dB below full scale down to which items are learned
FAINT = 1.0  # power of a sound, of its spectra as they are learned, below which errors weigh no more
LEVEL = 0.1  # weight of how likely values are, beside that of their errors
ROWS = 64  # windows in one pass of the network when sampling
SILENT = 1e-3  # of the peak: what of a sound made out of nothing is quieter to its end, is its end

_LEAST = 1e-5  # of a variance
_EDGE = SHIFTS // 2  # frames at either end of a stretch that see silence around it, and are left out


class Config(Learning):
    """Settings of restoration."""

    degrade: tuple[Kind, ...] = Field(
        ("noise", "gap", "lowpass", "clip", "reverb", "coding"), min_length=1, description="what it learns to undo"
    )
    unseen: Share = Field(0.1, description="share of items of which nothing is heard")
    frames: Annotated[int, Field(ge=16, le=1024, multiple_of=16)] = Field(
        64, description="that are restored at once, a quarter of 32 ms each; longer sounds in windows"
    )
    width: Width = Field(64, description="channels on the finest grid; multiples of 32 suit the hardware")
    deep: Width = Field(128, description="channels on the coarser grids")
    blocks: Depth = Field(1, description="residual blocks of each finer grid, on the way down and on the way up")
    deep_blocks: Depth = Field(2, description="residual blocks of the coarsest grid")
    noise: float = Field(
        0.5, gt=0, description="that is added to what is heard, over the standard deviation of spectra"
    )
    begun: Share = Field(0.5, description="share of items that are shown where the way begins")
    sound: float = Field(
        1.0, ge=0, description="weight of the error of the sound itself, beside that of its compressed spectrum"
    )
    steps: Few = Field(2, description="of samples, unless others are asked for")

    @field_validator("degrade")
    @classmethod
    def _each_once(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("one of these is named twice")
        return kinds


def build(config: Config, spec: DataSpec) -> Restoration:
    """The model for this specification.

    Raises UserError for what goes on in more than time.
    """
    return Restoration(config, spec)


class Restoration(Model):
    """p(sound | what is heard of it). Meets Restores. Channels are restored one by one."""

    options = (Option("steps", int, None, "Steps from noise to a sound; 1 gives the mean of all.", between(1, 256)),)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        c, column = config, spec.only(GridSpec)
        self.config, self.target = config, spec.only_name
        if len(column.grid) != 1 or not hasattr(column, "rate_hz"):
            raise UserError(
                f"What is restored are sounds; '{self.target}' is {column.kind}.",
                "`maquette recipes` lists what can restore it.",
            )
        (self.length,), self.channels, self.rate = column.grid, column.channels, int(column.rate_hz)
        self.size = frame_size(self.rate)
        self.hop = self.size // SHIFTS
        # Magnitudes of the transform of white noise are Rayleigh's, of mean square 3/8 size under a Hann window.
        mean = (math.pi * 3 / 8 * self.size) ** 0.5 / 2 / full_scale(self.size) ** 0.5
        self.whitened = SPREAD / (mean / 2) ** 0.5
        self.net = Restorer(self.size // 2 + 1, c.frames, c.width, c.deep, c.blocks, c.deep_blocks)

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("restore", ("net",), self.restoring, c.optim(muon_block=64, not_muon=NOT_MUON))]

    def restoring(self, batch: Batch, step: Step) -> Loss:
        """|E[x | x_t, heard] - x|^2 per value, and of the sound itself over its power."""
        c, n, rng = self.config, batch.size, step.rng
        clean, there = self._stretches(batch.only(), rng.uniform(n, 4))
        u, noise = rng.uniform(n, draws(c.degrade)), rng.normal(n, clean.shape[1])
        with torch.autocast(clean.device.type, enabled=False):  # a product in bf16 would be one more degradation
            heard, seen = (v * there for v in corrupt(clean, c.degrade, self.rate, c.unseen, u, noise))
        x, y, seen = (v[..., _EDGE:-_EDGE] for v in (self._spectra(clean), self._spectra(heard), self._share(seen)))
        t = (rng.uniform(n) - c.begun).clamp(min=0) / max(1 - c.begun, 1e-6)
        begin = y + c.noise * self._white(rng.normal(n, clean.shape[1]))[..., _EDGE:-_EDGE]
        at = torch.lerp(begin, x, over(t, x))
        mean, spread = self.net(at, y, seen, t)
        made, variance = self._posterior(at, y, mean, spread, over(t, x))
        error = (made - x).square()
        level = (variance.log() + error.detach() / variance).flatten(1).mean(1)
        error = error.flatten(1).mean(1)
        loud, parts = expanded(x), {"spectrum": error.detach().mean(), "level": level.detach().mean()}
        if c.sound:
            power = loud.square().flatten(1).mean(1)
            sound = (expanded(made) - loud).square().flatten(1).mean(1) / (power + FAINT)
            error, parts = error + c.sound * sound, {**parts, "sound": sound.detach().mean()}
        return Loss((error + LEVEL * level).mean(), parts)

    def _stretches(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """A stretch of one channel of each item f32[B, C, N], from within it or over an end, f32[B, n]; shorter items
        lie anywhere within theirs. Items are as loud as they can be, and up to QUIETER dB quieter.

        And where it can be heard, f32[B, n]: of half of the items only where they are, as of a file that ends, noise
        and all; of the others it goes on.
        """
        n = (self.config.frames + 2 * _EDGE - 1) * self.hop
        length = lengths(x)
        x = x[torch.arange(len(x)), (u[:, 0] * x.shape[1]).long()]
        level = 10 ** (-QUIETER * u[:, 1] / 20) / x.abs().amax(1).clamp(min=1e-4)
        beyond = (length > n) * (n // 4)
        start = (u[:, 2] * (length - n + 2 * beyond)).round().long() - beyond
        place = start[:, None] + torch.arange(n, device=x.device)
        there = (place >= 0) & (place < length[:, None]) | (u[:, 3:] < 0.5)
        return F.pad(x, (n, n)).gather(1, (place + n).clamp(0, x.shape[1] + 2 * n - 1)) * level[:, None], there

    # -- spectra -------------------------------------------------------------------------------------

    def _spectra(self, x: Tensor) -> Tensor:
        """f32[B, N] -> f32[B, 2 F, N // hop + 1], of standard deviation 1, about."""
        return compressed(x, self.size, self.hop) / SPREAD

    def _white(self, noise: Tensor) -> Tensor:
        """The spectra of white noise f32[B, N], whose frames agree: of standard deviation 1."""
        return self._spectra(noise) * self.whitened

    def _sounds(self, x: Tensor, length: int) -> Tensor:
        return sound_of(x * SPREAD, self.size, self.hop, length)

    def _share(self, seen: Tensor) -> Tensor:
        """Which share of each frame is heard, f32[B, N] -> f32[B, 1, N // hop + 1]."""
        return F.avg_pool1d(seen[:, None], self.size, self.hop, self.size // 2, count_include_pad=False)

    # -- restoring -----------------------------------------------------------------------------------

    @property
    def corrects(self) -> tuple[str, ...]:
        return self.config.degrade

    def restore(self, heard: Tensor, rng: Rng, seen: Tensor | None = None, steps: int | None = None) -> Tensor:
        """f32[B, C, N] as it is heard -> as it was; of any N. seen: 1 where it is heard, f32[B, 1, N]; None: all."""
        b, c, n = heard.shape
        level = heard.abs().amax((1, 2), keepdim=True).clamp(min=1e-6)
        seen = torch.ones_like(heard[:, :1]) if seen is None else seen
        y = self._spectra((heard * seen / level).flatten(0, 1))
        share = self._share(seen[:, 0]).repeat_interleave(c, 0)
        noise = self._white(rng.normal(b, c, n).flatten(0, 1))
        return (self._sounds(self._moved(y, share, noise, steps), n).view(b, c, n) * level).clamp(-1, 1)

    def sample(self, n: int, given: Given, rng: Rng, steps: int | None = None) -> dict[str, Tensor]:
        """Sounds out of nothing, of which all channels are one. steps: None takes those of the settings."""
        noise = self._white(rng.normal(n, self.length))
        nothing = torch.zeros_like(noise)
        made = self._sounds(self._moved(nothing, nothing[:, :1], noise, steps), self.length)
        loud = made.abs() > SILENT * made.abs().amax(1, keepdim=True)
        there = loud.flip(1).cummax(1).values.flip(1)  # up to the last that is loud
        return {self.target: (made.clamp(-1, 1) * there)[:, None].repeat(1, self.channels, 1)}

    def _moved(self, y: Tensor, seen: Tensor, noise: Tensor, steps: int | None) -> Tensor:
        """From what is heard f32[B, 2 F, T], with noise, to what it was."""
        steps = self.config.steps if steps is None else steps
        if steps < 1:
            raise UserError(f"steps = {steps}: it takes at least one.", "Ask for 1, 2, 4, ... steps.")
        x = y + self.config.noise * noise
        for i in range(steps):
            t, then = i / steps, (i + 1) / steps
            mean, spread = self._believed(x, y, seen, t)
            if steps == 1:
                return mean
            off = (x - torch.lerp(y, mean, t)) / self._scale(spread, t)  # stays as it is all the way
            x = torch.lerp(y, mean, then) + off * self._scale(spread, then)
        return x

    def _scale(self, spread: Tensor, t: Tensor | float) -> Tensor:
        """Standard deviation of x_t, of what has a spread f32[B, F, T]; of real and imaginary parts, f32[B, 2 F, T]."""
        return ((t * spread).square() + (self.config.noise * (1 - t)) ** 2).sqrt().repeat(1, 2, 1)

    def _posterior(self, at: Tensor, y: Tensor, mean: Tensor, spread: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """E[x | x_t, heard] and its variance, f32[B, 2 F, T], of x ~ N(mean, spread^2)."""
        prior, total = spread.square().repeat(1, 2, 1), self._scale(spread, t).square() + _LEAST
        made = mean + t * prior / total * (at - torch.lerp(y, mean, t))
        return made, prior * ((self.config.noise * (1 - t)) ** 2 + _LEAST) / total

    def _believed(self, x: Tensor, y: Tensor, seen: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """What the network says of any number of frames: windows half over one another, each trusted in its middle."""
        size, half = self.net.frames, self.net.frames // 2
        frames = x.shape[2]
        count = max(0, -(-(frames - size) // half)) + 1
        whole = half * (count - 1) + size

        place = torch.arange(whole, device=x.device) % (2 * frames)
        place = place.minimum(2 * frames - 1 - place)  # beyond the end back again: noise that ends is told worse

        def windows(v: Tensor) -> Tensor:
            return v[..., place].unfold(2, size, half).transpose(1, 2).flatten(0, 1)

        parts = [windows(v) for v in (x, y, seen)]
        made = torch.cat([
            torch.cat(self.net(*rows, torch.full_like(rows[0][:, 0, 0], t)), 1)
            for rows in zip(*(part.split(ROWS) for part in parts), strict=True)
        ])  # fmt: skip
        weight = (1 - ((torch.arange(size, device=x.device) + 0.5) / half - 1).abs()).expand(len(made), 1, size)
        joined = [_laid(v.unflatten(0, (len(x), count)), half) for v in (made * weight, weight)]
        mean, spread = (joined[0] / joined[1])[..., :frames].split([x.shape[1], x.shape[1] // 2], 1)
        return mean, spread


def _laid(windows: Tensor, half: int) -> Tensor:
    """The sum of windows [B, count, C, 2 half] that lie half over one another, [B, C, (count + 1) half]."""
    first, second = windows.split(half, -1)
    both = F.pad(first, (0, 0, 0, 0, 0, 1)) + F.pad(second, (0, 0, 0, 0, 1, 0))
    return both.transpose(1, 2).flatten(2)
