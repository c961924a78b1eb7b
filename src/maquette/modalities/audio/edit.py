"""What only a run of sounds can do to sounds: restore, vary, interpolate and continue.

A run that was trained to undo what happens to sounds (Restores) restores them, of any length, rate and number of
channels; one that was not, but knows what sounds are like (Fills), fills their gaps and widens their band. A run that
knows codes (Encodes) varies and interpolates sounds of its own form. One that makes sounds from their beginning to
their end (Unfolds) goes on where others end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.about import About
from maquette.core.asking import check_asked
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.modality import Unreadable, noun
from maquette.core.model import Encodes, Fills, Restores, Unfolds
from maquette.core.progress import track
from maquette.core.rng import ItemRng
from maquette.modalities.audio.config import Config, Spec
from maquette.modalities.audio.data import stored
from maquette.modalities.audio.files import canonical
from maquette.modalities.audio.levels import mixed
from maquette.modalities.audio.restored import restored
from maquette.modalities.audio.sounds import Edited, Sounds, sounds_in
from maquette.sampling.posterior import slerp

PIECE, OVERLAP = 30.0, 0.5  # seconds of a long sound that are restored at once, and that lie over one another
DROPPED = (0.01, 0.3)  # seconds of exact zeros within a sound that are a gap, and no pause
BLENDED = 0.002  # seconds on either side of a gap over which what was filled in goes over into what is known
NARROW = 1e-7  # of the power of a sound: with less in its highest quarter, it was recorded at a lower rate
LEARNED = 0.1  # seconds of the longest gaps that are learned

Gap = tuple[float, float]


@dataclass(frozen=True)
class EditOptions:
    """What edits take beside their own arguments.

    samples:  answers for each sound
    expected: one answer, the mean of all that are possible; None: where a sound is to be cleaned and nothing of it is
              missing, unless several answers are asked for, or steps
    steps:    None: as many as the run is set to
    given:    what is known of the sounds, by the name of the given column; restoring needs none
    """

    seed: int = 0
    samples: int = 1
    steps: int | None = None
    expected: bool | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


class Editor:
    """Edits sounds with a trained model. Sounds are files, folders, or a canonical tensor f32[N, C, n].

    Each method gives Edited: what was made of the first sound, then of the second. Answer i depends on the seed, on i
    and on its sound alone.
    """

    def __init__(self, generator: Generator, about: About, notify: Callable[[str], None] = print) -> None:
        self.generator, self.model, self.notify, self._about = generator, generator.model, notify, about
        spec = generator.spec.only()
        if not isinstance(spec, Spec):
            raise UserError(f"This run makes {noun(spec.kind)}, and no sounds.", "Name a run of sounds.")
        self.spec: Spec = spec

    # -- restoring -------------------------------------------------------------------------------------

    def restore(self, sounds: Sounds, options: EditOptions = EditOptions(), gaps: Sequence[Gap] = ()) -> Edited:
        """What the sounds were before something happened to them, all of them; or with gaps, given in seconds, these
        alone: everything else stays as it is. Exact zeros within a sound are found to be gaps."""
        model, rate = self._restores(), self.spec.rate_hz
        found = sounds_in(sounds, rate, self.notify)
        if isinstance(model, Fills) and options.expected:
            raise UserError("This run fills what is missing, and knows no mean of it.", "Leave --expected out.")
        if gaps and not self._fills_gaps(model):
            raise UserError("This run was not trained to fill gaps.", "Train one with `gap` in model.degrade.")
        known = [_outside(x.shape[1], rate, gaps, name) if gaps else self._dropped(x, name) for name, x in found]
        if gaps and isinstance(model, Restores) and max(end - start for start, end in gaps) > LEARNED:
            self.notify(f"A gap is longer than the {1000 * LEARNED:.0f} ms that were learned.")

        def edit(item: int, x: Tensor, rng: ItemRng) -> Tensor:
            steps = 1 if self._mean(model, options, x, known[item]) else options.steps
            made = self._in_pieces(model, x, known[item], rng, steps)
            if isinstance(model, Fills) and torch.equal(made, x):
                whole = UserError(
                    f"'{found[item][0]}' has no gap, and sounds up to {rate // 2:,} Hz: there is nothing to fill.",
                    "What takes noise and rooms away is trained for it: maquette train audio/restore.",
                )
                if len(found) == 1:
                    raise whole
                self.notify(whole.problem)
            return _blended(made, x, known[item], rate) if gaps else made

        return self._edited("restore", found, edit, options, 1 if options.expected else options.samples)

    def _dropped(self, x: Tensor, name: str) -> Tensor:
        """1 where a sound f32[C, n] is heard, f32[1, n]: but where it drops out to exact zeros and returns."""
        seen = torch.ones(1, x.shape[1])
        if not self._fills_gaps(self._restores()):
            return seen
        there = torch.cat([torch.tensor([-1]), (x != 0).any(0).nonzero()[:, 0]])
        silent = there.diff() - 1  # zeros before each sample that is none
        low, high = (round(seconds * self.spec.rate_hz) for seconds in DROPPED)
        for i in ((silent >= low) & (silent <= high)).nonzero()[:, 0].tolist():
            start, end = int(there[i]) + 1, int(there[i + 1])
            if start:
                seen[:, start:end] = 0
                at, to = (place / self.spec.rate_hz for place in (start, end))
                self.notify(f"'{name}' drops out from {at:.3f} to {to:.3f} s: filled.")
        return seen

    def _mean(self, model: Restores | Fills, options: EditOptions, x: Tensor, seen: Tensor) -> bool:
        """Whether a sound f32[C, n] is answered with the mean of all that are possible: EditOptions.expected."""
        if isinstance(model, Fills) or options.expected is not None:
            return bool(options.expected)
        return options.samples == 1 and options.steps is None and not self._lacking(model, x, seen)

    def _lacking(self, model: Restores, x: Tensor, seen: Tensor) -> bool:
        """Whether a sound has gaps, or lacks the upper part of its band: what the mean does not fill."""
        power = torch.fft.rfft(x).abs().square()
        upper = power[:, power.shape[1] * 3 // 4 :].sum()
        return not seen.all() or ("lowpass" in model.corrects and bool(upper < NARROW * power.sum()))

    def _in_pieces(self, model: Restores | Fills, x: Tensor, seen: Tensor, rng: ItemRng, steps: int | None) -> Tensor:
        """f32[C, n] restored, a long sound piece by piece, faded over from one to the next."""
        n, rate = x.shape[1], self.spec.rate_hz
        size, over = round(PIECE * rate), round(OVERLAP * rate)
        made = torch.zeros_like(x)
        starts = range(0, max(n - over, 1), size - over)
        for start in track(starts, "restoring"):
            there = slice(start, start + size)
            heard, known = (each[None, :, there].to(self.generator.device) for each in (x, seen))
            part = restored(model, heard, rng, known, steps)[0].cpu()
            fade = torch.linspace(0, 1, min(over, part.shape[1])) if start else torch.ones(0)
            fade = F.pad(fade, (0, part.shape[1] - len(fade)), value=1.0)
            made[:, there] = torch.lerp(made[:, there], part, fade)
        return made

    # -- from some sounds to others ----------------------------------------------------------------------

    def variations(
        self, sounds: Sounds, strength: float = 0.5, options: EditOptions = EditOptions(samples=8)
    ) -> Edited:
        """Sounds like these: the code of each is turned towards another one by strength, in (0, 1]."""
        if not 0 < strength <= 1:
            raise UserError(f"strength = {strength}: it is above 0, and at most 1.", "1 leaves nothing of the sound.")
        model, found, given = self._encodes("vary sounds"), self._own(sounds), self._given(options)

        def edit(item: int, x: Tensor, rng: ItemRng) -> Tensor:
            code = self._code(model, x, given)
            return self._decoded(model, (1 - strength**2) ** 0.5 * code + strength * rng.normal(*code.shape), given)

        return self._edited("variations", found, edit, options, options.samples)

    def interpolate(self, sounds: Sounds, frames: int = 8, options: EditOptions = EditOptions()) -> Edited:
        """From each sound to the next over the great circle between their codes; `frames` sounds, both ends included.
        The ends are the sounds as the model renders them."""
        if frames < 2:
            raise UserError(f"frames = {frames}: the two ends are frames, too.", "Ask for 2 or more.")
        model, found, given = self._encodes("interpolate"), self._own(sounds), self._given(options)
        if len(found) < 2:
            raise UserError("There is one sound, and nothing to go to from it.", "Name two sounds or more.")
        with torch.no_grad():
            codes = torch.cat([self._code(model, x, given) for _, x in found])
        ways = [(f"{i:05d}", place) for i, place in enumerate(torch.linspace(0, len(found) - 1, frames).double())]

        def edit(item: int, place: Tensor, rng: ItemRng) -> Tensor:
            before = min(int(place), len(codes) - 2)
            share = (place - before).float().to(codes.device)[None]
            return self._decoded(model, slerp(codes[before][None], codes[before + 1][None], share), given)

        return self._edited("interpolate", ways, edit, options, 1)

    def continued(self, sounds: Sounds, options: EditOptions = EditOptions()) -> Edited:
        """Each sound, and what comes after it, up to the end that the run gives it: no longer than its longest item."""
        model, given, rate = self._unfolds(), self._given(options), self.spec.rate_hz
        found = sounds_in(sounds, rate, self.notify)
        for name, x in found:
            if x.shape[1] >= self.spec.shape[1]:
                raise UserError(
                    f"'{name}' has {x.shape[1] / rate:.2f} s, and this run ends at {self.spec.seconds:.2f} s.",
                    "Name the beginning of a sound.",
                )

        def edit(item: int, x: Tensor, rng: ItemRng) -> Tensor:
            x = torch.from_numpy(mixed(x.numpy(), self.spec.channels))
            more = model.unfold(given, rng, prompt=x.to(self.generator.device))
            return torch.cat([x, *(piece.cpu() for piece in more)], 1)

        return self._edited("continue", found, edit, options, options.samples)

    def _own(self, sounds: Sounds) -> list[tuple[str, Tensor]]:
        """Sounds in the form that the run makes: its channels and its length; what is longer is cut."""
        found = []
        for name, x in sounds_in(sounds, self.spec.rate_hz, self.notify):
            try:
                found.append((name, canonical(stored(x.numpy(), self.spec, Config())[None])[0]))
            except Unreadable as error:  # such as one that is silent for as long as an item is
                raise UserError(
                    f"'{name}' cannot be used: its first {self.spec.seconds:.3g} s are {error}.", "Name another file."
                ) from None
        return found

    def _code(self, model: Encodes, x: Tensor, given: dict[str, Tensor]) -> Tensor:
        return model.encode(Batch({self.generator.spec.only_name: x[None].to(self.generator.device)}, given, 1))

    def _decoded(self, model: Encodes, code: Tensor, given: dict[str, Tensor]) -> Tensor:
        (made,) = model.decode(code, given).values()
        return made[0].cpu()

    def _given(self, options: EditOptions) -> dict[str, Tensor]:
        """What is said of the sounds, of one item, and no more: what else is given is not known."""
        known = dict(options.given)
        made = self.generator.given_for(1, known, options.seed, notify=self.notify) if known else {}
        return {name: value.to(self.generator.device) for name, value in made.items() if name in known}

    # -- what edits share ------------------------------------------------------------------------------

    def _edited(
        self, verb: str, found: Sequence[tuple[str, Tensor]], edit: Callable[[int, Tensor, ItemRng], Tensor],
        options: EditOptions, times: int,
    ) -> Edited:  # fmt: skip
        """`times` answers to each: edit(which, of what, noise) -> f32[C, n]."""
        check_asked(times, options.seed)
        if options.steps is not None and options.steps < 1:
            raise UserError(f"steps = {options.steps}: it takes at least one.", "Ask for 1, 2, 4, ... steps.")
        alike = len({name for name, _ in found}) < len(found)
        items, names = [], list[str]()
        with torch.no_grad():
            for i, (name, of) in enumerate(found):
                for k in range(times):
                    rng = ItemRng(options.seed, [i * times + k], self.generator.device)
                    items.append(edit(i, of, rng).float().clamp(-1, 1))
                    names.append(f"{f'{i:05d}-' if alike else ''}{name}{f'-{k}' if times > 1 else ''}")
        return Edited(items, names, self._about.of(options.seed, edit=verb), self.spec.rate_hz)

    def _restores(self) -> Restores | Fills:
        if isinstance(self.model, Restores | Fills):
            return self.model
        raise UserError(
            "This run cannot restore: it was not trained for it.",
            "Train one with: maquette train audio/restore --data SOUNDS -o RUN",
        )

    def _fills_gaps(self, model: Restores | Fills) -> bool:
        return isinstance(model, Fills) or "gap" in model.corrects

    def _unfolds(self) -> Unfolds:
        if isinstance(self.model, Unfolds):
            if self.model.remark:
                self.notify(self.model.remark)
            return self.model
        raise UserError(
            "This run cannot go on with a sound: it makes a whole one at once.",
            "Train one with: maquette train audio/wavenet --data SOUNDS -o RUN",
        )

    def _encodes(self, verb: str) -> Encodes:
        if isinstance(self.model, Encodes):
            return self.model
        raise UserError(
            f"This run cannot {verb}: it has no codes of sounds. A variational autoencoder has.",
            "`maquette recipes` lists what can be trained.",
        )


def _outside(n: int, rate: int, gaps: Sequence[Gap], name: str) -> Tensor:
    """1 outside of the gaps, f32[1, n]."""
    seen = torch.ones(1, n)
    for start, end in gaps:
        if not 0 <= start < end < math.inf or round(end * rate) > n or round(start * rate) == round(end * rate):
            raise UserError(
                f"A gap from {start:g} to {end:g} s is none within '{name}', which has {n / rate:.3f} s.",
                "Name where it begins and ends, in seconds: 1.20-1.25.",
            )
        seen[:, round(start * rate) : round(end * rate)] = 0
    return seen


def _blended(made: Tensor, x: Tensor, seen: Tensor, rate: int) -> Tensor:
    """What was made where x is not known, and x elsewhere; beside a gap one goes over into the other."""
    k = max(1, round(BLENDED * rate / 2))  # widened by k, then smoothed over k more
    around = F.max_pool1d(1 - seen, 2 * k + 1, 1, k)
    return torch.lerp(x, made, F.avg_pool1d(around, 2 * k + 1, 1, k, count_include_pad=False))
