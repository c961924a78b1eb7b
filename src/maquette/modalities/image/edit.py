"""What only a run of pictures can do to pictures: enlarge, fill, restore, vary, interpolate, and lend a style.

Two ways, chosen by what the run is. One that was trained to undo something (`degrade` of the family flow) is shown the
corrupted picture and samples p(picture | it). Any other flow is guided by the corrupted picture while it samples
(sampling/posterior.py). A model that only knows codes (a VAE) varies and interpolates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.asking import check_asked
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.modality import noun
from maquette.core.model import Encodes, FlowMap
from maquette.core.progress import track
from maquette.core.rng import ItemRng, derive
from maquette.core.samples import Samples
from maquette.core.spec import ClassSpec
from maquette.modalities.image.config import Spec
from maquette.modalities.image.pictures import Pictures, masks_in, pictures_in
from maquette.sampling import degrade, ode, posterior
from maquette.sampling.style import towards_style

CHUNK = 256  # pictures that are edited side by side
STEPS, REPEATS = 15, 4  # of zero-shot samples: 60 evaluations of the network
AVERAGED = 16  # ways on which the expected picture is the mean
EARLY = 0.25  # where on its way a trained model's estimate is taken: there it is steadier than at 0
ROUGH = 0.05  # noise in a picture before its code is sought: flat ground would come from noise that is flat
ODE_STEPS = 32  # of the midpoint rule between picture and code, each way
LEAST_NOISE = 0.01  # a level below 1.3 of 255 steps is rounding
REDONE = 2  # times that each step of `style` is made


@dataclass(frozen=True)
class EditOptions:
    """What every edit takes, beside its own arguments.

    samples: answers for each picture          expected: one answer, the mean of all that are possible
    label:   class of the pictures, if known   steps: None: as many as the way needs
    given:   what else is known of the pictures, by the name of the given column
    """

    label: str | int | None = None
    seed: int = 0
    samples: int = 1
    steps: int | None = None
    expected: bool = False
    zero_shot: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


class Editor:
    """Edits pictures with a trained model. Pictures are files, folders, or canonical tensors f32[N, C, H, W].

    Each method gives Samples: those of the first picture, then those of the second. Answer i depends on the seed, on i
    and on its picture alone. fit: "crop", "pad" or "stretch" pictures of another size or colour; None refuses them.
    """

    def __init__(self, generator: Generator, about: About) -> None:
        self.generator, self.model, self.spec = generator, generator.model, generator.spec
        self._about = about
        if not isinstance(self.spec.only(), Spec):
            raise UserError(
                f"This run makes {noun(self.spec.only().kind)}; only pictures can be edited.",
                "Train one with: maquette train image/restore --data PICTURES -o RUN",
            )

    # -- from what is seen to what it was --------------------------------------------------------------

    def upscale(
        self, pictures: Pictures, factor: int, options: EditOptions = EditOptions(), fit: str | None = None
    ) -> Samples:  # fmt: skip
        """Pictures of 1 / factor of the model's size, each pixel of which is the mean of factor x factor."""
        self._flow_map("upscale")
        channels, height, width = self.spec.only().shape
        if factor < 2 or height % factor or width % factor:
            fitting = [str(f) for f in range(2, 17) if height % f == 0 and width % f == 0]
            raise UserError(
                f"A factor of {factor} does not give {width}x{height}, the size that this model makes.",
                f"Use a factor of {' or '.join(fitting)}." if fitting else "No whole factor does.",
            )
        small = self.spec.only().model_copy(update={"shape": (channels, height // factor, width // factor)})
        y = pictures_in(pictures, small, fit, f"at factor {factor} ")
        seen = _shown(degrade.enlarge(y, factor))
        return self._invert("upscale", y, degrade.BlockAverage(factor), f"downscale {factor}", seen, options)

    def inpaint(
        self, pictures: Pictures, mask: Pictures, options: EditOptions = EditOptions(), fit: str | None = None
    ) -> Samples:  # fmt: skip
        """Fills where the mask is white (or transparent, if it is so anywhere); every other pixel stays as it is. One
        mask for all, or one for each."""
        self._flow_map("inpaint")
        y = pictures_in(pictures, self.spec.only(), fit)
        seen = 1 - masks_in(mask, self.spec.only(), len(y), fit)
        return self._invert("inpaint", y * seen, degrade.Masked(seen), "hole", torch.cat([y * seen, seen], 1), options)

    def restore(
        self, pictures: Pictures, options: EditOptions = EditOptions(), fit: str | None = None,
        noise: float | None = None, blur: float | None = None, jpeg: int | None = None,
    ) -> Samples:  # fmt: skip
        """Takes noise, blur or JPEG artefacts away. A model that was trained for it finds out by itself which.

        Zero-shot: noise (standard deviation, of 255; None: estimated), blur (Gaussian, in pixels) or jpeg (quality).
        """
        self._flow_map("restore")
        named = [name for name, value in (("noise", noise), ("blur", blur), ("jpeg", jpeg)) if value is not None]
        if len(named) > 1:
            raise UserError(f"{' and '.join(named)} exclude one another.", "Name what corrupts the picture most.")
        if any(value is not None and value <= 0 for value in (noise, blur, jpeg)) or (jpeg or 0) > 100:
            raise UserError("noise, blur and jpeg are above 0, and jpeg is 100 at most.", "Leave it out.")
        y = pictures_in(pictures, self.spec.only(), fit)
        if self._trained("noise", "blur", "jpeg") and not options.zero_shot:
            if named:
                raise UserError(
                    f"{named[0]} is for zero-shot restoring: this run was trained to find it out by itself.",
                    f"Leave {named[0]} out, or ask for zero-shot.",
                )
            return self._invert("restore", y, None, "noise", _shown(y), options)
        if blur is not None:
            return self._invert("restore", y, degrade.Blur(blur, *y.shape[2:]), "", None, options)
        if jpeg is not None:
            if y.shape[1] not in (1, 3):
                raise UserError("A JPEG has no alpha channel, and this model makes one.", "Leave jpeg out.")
            tables = degrade.jpeg_tables(torch.tensor([float(jpeg)]))[0]
            return self._invert("restore", y, degrade.Jpeg(*tables), "", None, options)
        levels = posterior.noise_level(y) if noise is None else torch.full((len(y),), noise / 127.5)
        if noise is None and bool((levels < LEAST_NOISE).any()):
            number = int((levels < LEAST_NOISE).nonzero()[0]) + 1
            raise UserError(
                f"No noise was found in picture {number}.",
                "Say what corrupted it: a level of noise, a blur in pixels, or the quality of a jpeg.",
            )
        return self._denoise(y, levels, options)

    def _invert(
        self, verb: str, y: Tensor, observation: degrade.Observation | None, kind: str, seen: Tensor | None,
        options: EditOptions,
    ) -> Samples:  # fmt: skip
        """seen: what a model is shown that was trained to undo this; None: it was not."""
        model, times = self._flow_map(verb), 1 if options.expected else options.samples
        trained = seen is not None and self._trained(kind) and not options.zero_shot

        def edit(rows: Tensor, rng: ItemRng, given: dict[str, Tensor]) -> Tensor:
            part = _at(observation, rows)

            def draw() -> Tensor:
                return self._noise(rng, len(rows))

            if trained:
                assert seen is not None
                made = self._shown_to(model, self._on(seen[rows]), given, draw, options)
                return made if part is None else part.project(made, self._on(y[rows]))
            assert part is not None
            return self._guided(model, part, self._on(y[rows]), given, draw, options)

        return self._samples(verb, edit, len(y), times, options)

    def _shown_to(
        self, model: FlowMap, seen: Tensor, given: dict[str, Tensor], draw: Callable[[], Tensor], options: EditOptions
    ) -> Tensor:
        """Samples of a model that reads what is seen. Or what it expects: the mean of E[x | x_t, seen] over draws of
        x_t, since E[x | seen] = E E[x | x_t, seen]; each takes two evaluations of the network."""
        if not options.expected:
            return model.integrate(draw(), given, steps=options.steps, noise=draw, seen=seen)
        flow_map = model.flow_map(given, len(seen), 1.0, seen)
        start, early = (torch.full((len(seen),), t, device=seen.device) for t in (0.0, EARLY))
        estimates = []
        for _ in range(AVERAGED):
            x = draw()
            x = x + EARLY * flow_map(x, start, early)
            estimates.append(posterior.expected(lambda x, t: flow_map(x, t, 0 * t), x, early).clamp(-1, 1))
        return torch.stack(estimates).mean(0)

    def _guided(
        self, model: FlowMap, observation: degrade.Observation, y: Tensor, given: dict[str, Tensor],
        draw: Callable[[], Tensor], options: EditOptions,
    ) -> Tensor:  # fmt: skip
        field = _field(model, given, len(y))
        times = torch.linspace(0, 1, (options.steps or STEPS) + 1, device=y.device)
        correct = posterior.agreeing(observation, y)
        answers = [
            posterior.corrected(field, draw(), times, correct, draw, REPEATS).clamp(-1, 1)
            for _ in range(AVERAGED if options.expected else 1)
        ]
        return torch.stack(answers).mean(0)

    def _denoise(self, y: Tensor, levels: Tensor, options: EditOptions) -> Samples:
        """A noisy picture is a flow's x_t but for its scale: it goes on from there."""
        model = self._flow_map("restore")

        def edit(rows: Tensor, rng: ItemRng, given: dict[str, Tensor]) -> Tensor:
            field, start = _field(model, given, len(rows)), self._on(posterior.time_of(levels[rows]))
            x = self._on(y[rows]) * ode.over(start, y)
            if options.expected:
                return posterior.expected(field, x, start)
            return posterior.carry_on(field, x, start, options.steps or STEPS, lambda: self._noise(rng, len(rows)))

        return self._samples("restore", edit, len(y), 1 if options.expected else options.samples, options)

    # -- from one picture to others --------------------------------------------------------------------

    def variations(
        self,
        pictures: Pictures,
        strength: float = 0.5,
        options: EditOptions = EditOptions(samples=8),
        fit: str | None = None,
    ) -> Samples:
        """Pictures like these: noise is added until t = 1 - strength, and taken out again (SDEdit; Meng et al. 2022).
        Of a model that knows codes, the code is turned towards another one by strength."""
        _within("strength", strength)
        y = pictures_in(pictures, self.spec.only(), fit)
        carries = isinstance(self.model, FlowMap)
        if not carries:
            self._encodes("vary pictures")
            self._no_steps(options)

        def edit(rows: Tensor, rng: ItemRng, given: dict[str, Tensor]) -> Tensor:
            x, n = self._on(y[rows]), len(rows)
            if not carries:
                code = self._codes(x, given, rng)
                noise = rng.normal(n, code.shape[1])
                return self._decoded((1 - strength**2) ** 0.5 * code + strength * noise, given)
            field = _field(cast(FlowMap, self.model), given, n)
            x = (1 - strength) * x + strength * self._noise(rng, n)
            start = torch.full((n,), 1 - strength, device=x.device)
            return posterior.carry_on(field, x, start, options.steps or STEPS, lambda: self._noise(rng, n))

        return self._samples("variations", edit, len(y), options.samples, options)

    def interpolate(
        self, pictures: Pictures, frames: int = 16, options: EditOptions = EditOptions(), fit: str | None = None
    ) -> Samples:  # fmt: skip
        """From each picture to the next over the great circle between their codes; `frames` pictures, both ends
        included. The ends are the pictures as the model renders them."""
        if frames < 2:
            raise UserError(f"frames = {frames}: the two ends are frames, too.", "Ask for 2 or more.")
        self._encodes("interpolate")
        self._no_steps(options)
        y = pictures_in(pictures, self.spec.only(), fit)
        if len(y) < 2:
            raise UserError("There is one picture, and nothing to go to from it.", "Name two pictures or more.")
        with torch.no_grad():
            rng = ItemRng(derive(options.seed, "ends"), range(len(y)), self.generator.device)
            codes = self._codes(self._on(y), self._given(range(len(y)), options), rng)
        places = torch.linspace(0, len(y) - 1, frames, dtype=torch.float64)
        before = places.long().clamp(max=len(y) - 2)
        share = (places - before).float().to(codes.device)

        def edit(rows: Tensor, rng: ItemRng, given: dict[str, Tensor]) -> Tensor:
            a, b = codes[before[rows].to(codes.device)], codes[before[rows].to(codes.device) + 1]
            return self._decoded(posterior.slerp(a, b, share[rows.to(share.device)]), given)

        return self._samples("interpolate", edit, frames, 1, options)

    def style(
        self, pictures: Pictures, like: Pictures, strength: float = 0.5, options: EditOptions = EditOptions(),
        fit: str | None = None,
    ) -> Samples:  # fmt: skip
        """What one picture shows, drawn as another one is: noised as for variations and carried on, while each estimate
        is moved so that its small patches are distributed as those of `like` (sampling/style.py)."""
        _within("strength", strength)
        model = self._flow_map("lend a style")
        y, styles = (pictures_in(x, self.spec.only(), fit) for x in (pictures, like))
        if len(styles) not in (1, len(y)):
            raise UserError(f"There are {len(styles)} styles for {len(y)} pictures.", "Name one, or as many.")
        styles = styles.expand(len(y), -1, -1, -1)

        def edit(rows: Tensor, rng: ItemRng, given: dict[str, Tensor]) -> Tensor:
            x, n = self._on(y[rows]), len(rows)
            field = _field(model, given, n)
            start = (1 - strength) * x + strength * self._noise(rng, n)
            times = torch.linspace(1 - strength, 1, (options.steps or STEPS) + 1, device=x.device)
            generator = torch.Generator().manual_seed(derive(options.seed, "style"))  # the same for all: no item's own
            correct = towards_style(
                x, self._on(styles[rows]), lambda *size: self._on(torch.randn(size, generator=generator))
            )
            return posterior.corrected(field, start, times, correct, lambda: self._noise(rng, n), REDONE)

        return self._samples("style", edit, len(y), options.samples, options)

    # -- what edits share ------------------------------------------------------------------------------

    def _samples(
        self,
        verb: str,
        edit: Callable[[Tensor, ItemRng, dict[str, Tensor]], Tensor],
        n: int,
        times: int,
        options: EditOptions,
    ) -> Samples:
        """`times` answers to each of n questions: edit(which question i64[B], noise, classes) -> f32[B, C, H, W]."""
        check_asked(times, options.seed)
        if options.steps is not None and options.steps < 1:
            raise UserError(f"steps = {options.steps}: it takes at least one.", "Ask for 1, 2, 4, ... steps.")
        rows, made = torch.arange(n).repeat_interleave(times), []
        given = self._given(range(len(rows)), options)
        with torch.no_grad():
            for part in track(torch.arange(len(rows)).split(CHUNK), "editing"):
                chosen = {name: value[part].to(self.generator.device) for name, value in given.items()}
                rng = ItemRng(options.seed, part.tolist(), self.generator.device)
                made.append(edit(rows[part], rng, chosen).float().clamp(-1, 1).cpu())
        made_all = {self.spec.only_name: torch.cat(made)}
        return Samples(made_all, given, self.spec, options.seed, self._about.of(edit=verb))

    def _given(self, items: Sequence[int], options: EditOptions) -> dict[str, Tensor]:
        """What is said of the pictures, and no more: what else is given of them is not known."""
        known = dict(options.given)
        if options.label is not None:
            known[next(iter(self.spec.givens(ClassSpec)), "label")] = options.label
        given = self.generator.given_for(items, known, options.seed) if known else {}
        return {name: value for name, value in given.items() if name in known}

    def _noise(self, rng: ItemRng, n: int) -> Tensor:
        return rng.normal(n, *self.spec.only().shape)

    def _on(self, x: Tensor) -> Tensor:
        return x.to(self.generator.device)

    def _trained(self, *kinds: str) -> bool:
        return isinstance(self.model, FlowMap) and bool(set(kinds) & set(self.model.corrects))

    def _flow_map(self, verb: str) -> FlowMap:
        if isinstance(self.model, FlowMap):
            return self.model
        can = "it can vary pictures and interpolate" if isinstance(self.model, Encodes) else "it cannot read pictures"
        raise UserError(
            f"This run cannot {verb}: {can}. A flow can.",
            "Train one with: maquette train image/restore --data PICTURES -o RUN (image/flow does it, too)",
        )

    def _encodes(self, verb: str) -> Encodes:
        if isinstance(self.model, Encodes):
            return self.model
        raise UserError(
            f"This run cannot {verb}: it makes pictures, and cannot read any. A flow or a VAE can.",
            "Train one with: maquette train image/flow --data PICTURES -o RUN (or image/vae)",
        )

    def _no_steps(self, options: EditOptions) -> None:
        if options.steps is not None:
            raise UserError("steps are of no use here: the way to a code and back has its own.", "Leave them out.")

    def _codes(self, x: Tensor, given: dict[str, Tensor], rng: ItemRng) -> Tensor:
        """The code of each picture f32[B, D]. Of a flow the noise that it comes from, by the ODE: unguided, so that the
        way back is the same one."""
        n, given = len(x), {name: value.to(x.device) for name, value in given.items()}
        if isinstance(self.model, FlowMap):
            rough = torch.lerp(x, self._noise(rng, n), ROUGH)
            return ode.midpoint(_field(self.model, given, n), rough, _times(1 - ROUGH, 0, x)).flatten(1)
        target = self.spec.only_name
        return self._encodes("edit pictures").encode(Batch({target: x}, given, n))

    def _decoded(self, codes: Tensor, given: dict[str, Tensor]) -> Tensor:
        if isinstance(self.model, FlowMap):
            noise = codes.view(-1, *self.spec.only().shape)
            return ode.midpoint(_field(self.model, given, len(noise)), noise, _times(0, 1, noise))
        (made,) = self._encodes("edit pictures").decode(codes, given).values()
        return made


def _times(start: float, end: float, x: Tensor) -> Tensor:
    return torch.linspace(start, end, ODE_STEPS + 1, device=x.device)


def _field(model: FlowMap, given: dict[str, Tensor], n: int) -> ode.Field:
    """The velocity, unguided: what is asked for are samples of the distribution that was learned."""
    flow_map = model.flow_map(given, n)
    return lambda x, t: flow_map(x, t, torch.zeros_like(t))


def _shown(y: Tensor) -> Tensor:
    """A corrupted picture that is seen everywhere, f32[B, C + 1, H, W]."""
    return torch.cat([y, torch.ones_like(y[:, :1])], 1)


def _at(observation: degrade.Observation | None, rows: Tensor) -> degrade.Observation | None:
    """What is observed of these pictures: only masks differ between them."""
    return degrade.Masked(observation.seen[rows]) if isinstance(observation, degrade.Masked) else observation


def _within(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"{name} = {value}: it is above 0, and at most 1.", "1 leaves nothing of the picture.")
