"""What only a run of clips can do to clips: go on where they end (Continues), show them more slowly and close them to a
loop (Tweens). Clips may be of any length; they become as large as the run makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.core import edited
from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.modality import noun
from maquette.core.model import Continues, Tweens
from maquette.core.progress import track
from maquette.core.rng import ItemRng
from maquette.modalities.video.config import Spec
from maquette.modalities.video.files import frames_of, save
from maquette.modalities.video.shown import Clip
from maquette.modalities.video.values import clip_in

Clips = Tensor | str | Path | Sequence[str | Path]
AT_ONCE = 32  # pairs of frames that are shown more slowly together
MOST_FRAMES = 10_000  # that are made of one clip


@dataclass(frozen=True)
class Edited(edited.Edited):
    """Clips that an edit made: f32[C, T, H, W] in [-1, 1], each as long as it is."""

    fps: float

    @property
    def clips(self) -> list[Clip]:
        """As Python has them; a notebook plays them."""
        return [Clip(frames_of(item), self.fps) for item in self.items]

    def write(self, path: str | Path, item: int = 0) -> Path:
        """Writes one of them, in the format of the suffix."""
        return save(frames_of(self.items[item]), self.fps, Path(path), self.about.of(item=item))

    def save(self, folder: str | Path, suffix: str = ".gif") -> list[Path]:
        """Writes all of them into a folder, by the names of what they were made from."""
        return super().save(folder, suffix)


class Editor:
    """Edits clips with a trained model. Clips are files, folders of frames, or a canonical tensor f32[N, C, T, H, W].

    Each method gives Edited: what was made of the first clip, then of the second. Answer i depends on the seed, on i
    and on its clip alone.
    """

    def __init__(self, generator: Generator, about: About, notify: Callable[[str], None] = print) -> None:
        self.generator, self.model, self.notify, self._about = generator, generator.model, notify, about
        spec = generator.spec.only()
        if not isinstance(spec, Spec):
            raise UserError(f"This run makes {noun(spec.kind)}, and no clips.", "Name a run of clips.")
        self.spec: Spec = spec

    def continued(
        self, clips: Clips, frames: int = 16, *, samples: int = 1, seed: int = 0, given: Mapping[str, Any] | None = None
    ) -> Edited:
        """Each clip, and so many frames after it."""
        model = self.model
        if not isinstance(model, Continues):
            raise self._cannot("goes on with no clip")
        _check("frames", frames, 1)
        _check("samples", samples, 1)
        found, known = self._clips(clips), self._given(given, seed)
        items, names = list[Tensor](), list[str]()
        for number, (name, clip) in enumerate(track(found, "continuing")):
            if clip.shape[1] < model.seen:
                raise UserError(
                    f"'{name}' has {clip.shape[1]} frames, and this run looks at {model.seen} to go on.",
                    "Name a longer clip.",
                )
            for sample in range(samples):
                rng = ItemRng(seed, [number * samples + sample], self.generator.device)
                with torch.no_grad():
                    more = model.extend(clip[None].to(self.generator.device), frames, known, rng)[0]
                items.append(torch.cat([clip, more.clamp(-1, 1).cpu()], 1))
                names.append(f"{name}-{sample + 1}" if samples > 1 else name)
        return Edited(items, names, self._told("continue", seed, frames=frames), self.spec.fps)

    def slow(self, clips: Clips, factor: int = 4) -> Edited:
        """Each clip with frames between its frames: so many times as long."""
        model = self._between()
        _check("factor", factor, 2)
        items, found = list[Tensor](), self._clips(clips)
        for _, clip in track(found, "slowing"):
            pairs = clip.shape[1] - 1
            _check("frames in all", pairs * factor, 1)
            frames = clip.transpose(0, 1)  # (T, C, H, W)
            parts = []
            for first, last in zip(frames[:-1].split(AT_ONCE), frames[1:].split(AT_ONCE), strict=True):
                inner = self._tweened(model, first, last, factor - 1)
                parts.append(torch.cat([first[:, :, None], inner], 2).transpose(0, 1).flatten(1, 2))
            items.append(torch.cat([*parts, clip[:, -1:]], 1))
        return Edited(items, [name for name, _ in found], self._told("slow", factor=factor), self.spec.fps)

    def loop(self, clips: Clips, frames: int = 4) -> Edited:
        """Each clip with frames from its last one back to its first, so that it can be shown over and over."""
        model = self._between()
        _check("frames", frames, 1)
        items, found = list[Tensor](), self._clips(clips)
        for _, clip in track(found, "closing the loop"):
            inner = self._tweened(model, clip[None, :, -1], clip[None, :, 0], frames)[0]
            items.append(torch.cat([clip, inner], 1))
        return Edited(items, [name for name, _ in found], self._told("loop", frames=frames), self.spec.fps)

    # -- what edits share ------------------------------------------------------------------------------

    def _clips(self, clips: Clips) -> list[tuple[str, Tensor]]:
        """A name and f32[C, T, H, W] of each, of two frames or more."""
        if isinstance(clips, Tensor):
            if clips.ndim != 5 or clips.shape[1] != self.spec.channels or clips.shape[3:] != self.spec.shape[2:]:
                shape = f"(N, {self.spec.channels}, frames, {self.spec.shape[2]}, {self.spec.shape[3]})"
                raise UserError(f"These clips are {tuple(clips.shape)}.", f"Give {shape}.")
            found = [(f"{i:05d}", item.float()) for i, item in enumerate(clips)]
        else:
            paths = [Path(path) for path in ([clips] if isinstance(clips, str | Path) else clips)]
            found = [(path.stem, clip_in(path, self.spec)) for path in paths]
            height, width = self.spec.shape[2:]
            if paths:
                self.notify(
                    f"Clips become {height}x{width}, at {self.spec.fps:.4g} frames a second: as the run makes them."
                )
        if not found:
            raise UserError("No clips were named.", "Name a file, or several.")
        return found

    def _between(self) -> Tweens:
        if not isinstance(self.model, Tweens):
            raise self._cannot("knows nothing of what lies between two frames")
        return self.model

    def _tweened(self, model: Tweens, first: Tensor, last: Tensor, count: int) -> Tensor:
        """f32[B, C, H, W] twice -> f32[B, C, count, H, W]."""
        device = self.generator.device
        with torch.no_grad():
            return model.between(first.to(device), last.to(device), count).clamp(-1, 1).cpu()

    def _cannot(self, why: str) -> UserError:
        return UserError(f"This run {why}.", "Train one that does: maquette train video/flow --data CLIPS")

    def _given(self, given: Mapping[str, Any] | None, seed: int) -> dict[str, Tensor]:
        known = dict(given or {})
        made = self.generator.given_for(1, known, seed, notify=self.notify) if known else {}
        return {name: value.to(self.generator.device) for name, value in made.items() if name in known}

    def _told(self, edit: str, seed: int | None = None, **more: int) -> About:
        return self._about.of(seed=seed).with_more({"edit": edit, **{name: str(value) for name, value in more.items()}})


def _check(name: str, value: int, least: int) -> None:
    if not least <= value <= MOST_FRAMES:
        raise UserError(f"{name} = {value} is not possible.", f"It must be from {least} to {MOST_FRAMES:,}.")
