"""How near continuations of held-out clips are to what came; and how far frames are from real ones, whatever their
order.

An error of each frame says less of a model that knows that the future is open: the best of several answers stands
beside it. And it says little alone: so do a frame that is repeated, a black one, and the mean of those given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from pydantic import BaseModel

from maquette.core.measure import Found, Matters, Measure, TooFew
from maquette.core.model import Continues
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence, Side
from maquette.evaluation.measures.frechet import frechet
from maquette.evaluation.own import OwnFeatures
from maquette.evaluation.wording import against_floor
from maquette.modalities.video.continued import DRAWS, PLAIN, Continued, continued, given_frames
from maquette.modalities.video.own_features import Network

CLIPS = 300  # held-out ones that are continued


class Horizon(BaseModel):
    """Errors so many frames after the last that was given: of the model, and of the plain guesses by name."""

    frame: int
    squared_error: float
    psnr: float
    ssim: float | None
    plain: dict[str, float]


def _continued(evidence: Evidence) -> Continued | None:
    model, generator = evidence.model, evidence.generator
    if not isinstance(model, Continues) or not evidence.on_grids:
        return None
    first = given_frames(model, evidence.spec)
    if first is None:
        raise TooFew(f"it looks at {model.seen} frames, and clips have no more")

    def make() -> Continued:
        rows = evidence.rows[:CLIPS]
        found = continued(
            model, lambda some: evidence.dataset.test.batch(some, generator.spec).to(generator.device), rows,
            evidence.column, first, evidence.seed,
        )  # fmt: skip
        ours = found.made[0]
        evidence.details["horizon"] = [
            Horizon(
                frame=i + 1, squared_error=ours.squared[:, i].mean(), psnr=ours.psnr[:, i].mean(),
                ssim=None if ours.ssim is None else ours.ssim[:, i].mean(),
                plain={name: errors.squared[:, i].mean() for name, errors in found.plain.items()},
            )
            for i in range(ours.squared.shape[1])
        ]  # fmt: skip
        return found

    return evidence.once("continued", make)


def _of(
    values: Callable[[Continued], Array | None], title: str, beside: bool = False
) -> Callable[[Evidence], Found | None]:
    def of(evidence: Evidence) -> Found | None:
        found = _continued(evidence)
        each = None if found is None else values(found)
        if found is None or each is None:
            return None
        frames = f"{found.made[0].squared.shape[1]} frames after {found.given}"
        plain = ", ".join(f"{name} {found.plain[name].squared.mean():.0f}" for name in PLAIN)
        says = f"{frames}; {plain}" if beside else frames
        return Found(mean(each, evidence.rng("continued")), n_real=len(each), title=f"{title} ({says})")

    return of


def _best(found: Continued) -> Array | None:
    return found.best if len(found.made) > 1 else None


def _similar(found: Continued) -> Array | None:
    alike = found.made[0].ssim
    return None if alike is None else alike.mean(1)


def _frames(evidence: Evidence) -> Found | None:
    """The distance of single frames, in what the own network sees in each of them."""
    own = evidence.network
    if not isinstance(own, OwnFeatures) or not isinstance(own.network, Network):
        return None
    network, device = own.network, own.device

    @torch.no_grad()
    def seen(side: Side) -> Array:
        found = []
        for chunk in side.chunks():
            for some in chunk.split(network.at_once):
                found.append(network.each(network.look(some.to(device))).mean((1, 3, 4)).double().cpu().numpy())
        return np.concatenate(found)

    real, reserve = (evidence.of_real(f"frames {name}", lambda side=side: seen(side))  # type: ignore[misc]
                     for name, side in (("real", evidence.real), ("reserve", evidence.reserve)))  # fmt: skip
    scale = max(float(np.sqrt(reserve.var(0).mean())), 1e-6)
    value = frechet(seen(evidence.made) / scale, real / scale, evidence.rng("frames"))
    floor = evidence.of_real("frames floor", lambda: frechet(reserve / scale, real / scale, evidence.rng("frames")))
    return Found(value, floor, len(real), evidence.sample.n)


MEASURES = (
    Measure(
        name="continuation_error", title="Continuation, squared error a frame", better="lower", unit="", place=25,
        of=_of(lambda found: found.made[0].squared.mean(1), "Continuation, squared error a frame", beside=True),
        asks="How far what the model makes of the first frames of a held-out {item} is from what came: the squared "
        "error, summed over the values of a frame from 0 to 1, on average over frames, as on Moving MNIST.",
        says=lambda m: f"Continued from its first frames, a held-out {{item}} is missed by {m.show(m.value)} a frame.",
    ),
    Measure(
        name="continuation_best", title=f"Continuation, best of {DRAWS}", better="lower", unit="", place=26,
        of=_of(_best, f"Continuation, squared error a frame of the best of {DRAWS}"),
        asks="The same of the best of several answers, of a model that answers differently each time.",
        says=lambda m: f"The best of {DRAWS} answers misses by {m.show(m.value)} a frame.",
    ),
    Measure(
        name="continuation_psnr", title="Continuation, peak signal to noise", better="higher", unit="dB", place=27,
        of=_of(lambda found: found.made[0].psnr.mean(1), "Continuation, peak signal to noise"),
        asks="The same as the ratio of the largest possible value to the error.",
        says=lambda m: f"That is a peak signal-to-noise ratio of {m.show(m.value)} dB.",
    ),
    Measure(
        name="continuation_ssim", title="Continuation, structural similarity", better="higher", unit="", place=28,
        of=_of(_similar, "Continuation, structural similarity"),
        asks="How alike brightness, contrast and structure of a frame and of what came are, at most 1.",
        says=lambda m: f"Its frames are alike in structure by {m.show(m.value)} of 1.",
    ),
    Measure(
        name="frechet_frames", title="Fréchet distance of frames", better="lower", unit="", rests_on="features",
        place=21, matters=Matters(0.0, times=0.5), of=_frames,
        asks="The Fréchet distance of what is seen in single frames, in whatever order they come: where this is near "
        "its floor and that of whole {items} is not, it is motion that is wrong.",
        says=lambda m: "How far frames lie apart, each seen alone. " + against_floor(m),
    ),
)  # fmt: skip
