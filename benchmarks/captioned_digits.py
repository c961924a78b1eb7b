"""Pictures from what is said of them, from scratch: a caption, or two labels and a number. Does the model compose what
it never saw together?

    MAQUETTE_DATA=... python benchmarks/captioned_digits.py --budget 12m
    python benchmarks/captioned_digits.py --budget 3m           # without MNIST: 1,797 digits of scikit-learn, upscaled
    MAQUETTE_DATA=... python benchmarks/captioned_digits.py --given columns --recipe image/gan
    MAQUETTE_DATA=... python benchmarks/captioned_digits.py --run runs/captions    # judge this run; train none

Stroke width and slant are measured in each picture, and put in words by terciles of all training pictures: thin, -,
thick; leaning left, upright, leaning right. So "a thick seven leaning left" is true of its picture. One combination
(--hold-out) is left out of training altogether, though each of its words is seen with others. Of samples of every
caption the same is measured, and the digit is read by the nearest of 5,000 real ones. The held-out row is marked *.
With --given columns the digit and the stroke (thin, medium, thick) are two labels, and the slant is a number (degrees).
"""

from __future__ import annotations

import csv
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import _run
import maquette

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WIDTHS = ("thin", "", "thick")
SLANTS = ("leaning left", "upright", "leaning right")
STROKES = ("thin", "medium", "thick")  # as labels
COLUMNS = ("label", "stroke", "slant")
REFERENCES = 5000  # real digits that samples are read by


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("--recipe", default="image/flow")
    parser.add_argument("--given", choices=("caption", "columns"), default="caption")
    parser.add_argument("--budget", default="12m")
    parser.add_argument("--out", type=Path, help="keep the run here")
    parser.add_argument("--run", type=Path, help="judge this run; train none")
    parser.add_argument("--data", type=Path, help="keep the captioned pictures here")
    parser.add_argument("--hold-out", default="a thick seven leaning left")
    parser.add_argument("--samples", type=int, default=50, help="of each caption")
    parser.add_argument("settings", nargs="*", help="further settings of the recipe")
    args = parser.parse_args()
    every = 1  # caption; of a smoke, fewer
    if args.smoke:
        args.samples, every = 1, 9
    digits = Captioned.of(*real_digits())
    names = captions()
    if args.hold_out not in names:
        parser.error(f"--hold-out: there is no caption {args.hold_out!r}; there is {names[0]!r}")
    seen = np.array([caption != args.hold_out for caption in digits.captions])
    print(f"{len(seen):,} pictures, {int((~seen).sum()):,} of them held out: {args.hold_out!r}")
    with tempfile.TemporaryDirectory() as folder:
        if args.run and not args.smoke:
            run = maquette.load(args.run)
        else:
            data = args.data or Path(folder) / "captioned"
            write(digits, np.flatnonzero(seen), data)
            settings = ["model.guidance=2.0"] if args.recipe == "image/flow" else []
            given = ("caption",) if args.given == "caption" else COLUMNS
            run = _run.train(
                args, args.recipe, data, out=args.out or Path(folder) / "run", given=given, budget=args.budget,
                settings=[*settings, *args.settings],
            )  # fmt: skip
        print(f"given: {', '.join(run.spec.given)}")
        report(run, digits, args.hold_out, args.samples, every)


# -- what is true of a digit -------------------------------------------------------------------------


def stroke_width(x: Tensor) -> Tensor:
    """Of pictures f32[N, H, W] in [0, 1], in pixels, f32[N]: twice the area over the outline, both of grey values (the
    outline is the total variation), which of a long stroke is its width."""
    x = F.pad(x, (1, 1, 1, 1))
    across, down = x[:, 1:, 1:] - x[:, 1:, :-1], x[:, 1:, 1:] - x[:, :-1, 1:]
    outline = (across.square() + down.square() + 1e-12).sqrt().sum((1, 2))
    return 2 * x.sum((1, 2)) / outline.clamp(min=1e-6)


def slant(x: Tensor) -> Tensor:
    """Of pictures f32[N, H, W] in [0, 1], in degrees, f32[N], positive where they lean right: of the shear that their
    second moments tell of."""
    rows, columns = (torch.arange(float(size)) for size in x.shape[1:])
    mass = x.sum((1, 2)).clamp(min=1e-6)
    y0, x0 = (x.sum(2) @ rows) / mass, (x.sum(1) @ columns) / mass
    dy, dx = rows - y0[:, None], columns - x0[:, None]
    both = torch.einsum("nhw,nh,nw->n", x, dy, dx)
    return torch.atan2(-both, torch.einsum("nhw,nh->n", x, dy.square()).clamp(min=1e-6)) * (180 / math.pi)


def caption(digit: int, width: int, lean: int) -> str:
    words = [WIDTHS[width], DIGITS[digit], SLANTS[lean]]
    first = next(word for word in words if word)
    return " ".join(["an" if first == "eight" else "a", *filter(None, words)])


def captions() -> list[str]:
    return [caption(d, w, s) for d in range(10) for w in range(3) for s in range(3)]


@dataclass(frozen=True)
class Captioned:
    """pictures f32[N, H, W] in [0, 1], labels i64[N], and what is measured; terciles: their inner bounds, [2] each."""

    pictures: Tensor
    labels: Tensor
    widths: Tensor
    slants: Tensor
    width_bounds: Tensor
    slant_bounds: Tensor

    @classmethod
    def of(cls, pictures: Tensor, labels: Tensor) -> Captioned:
        widths, slants = stroke_width(pictures), slant(pictures)
        thirds = torch.tensor([1 / 3, 2 / 3])
        bounds = [torch.from_numpy(np.quantile(v.numpy(), thirds.numpy())).float() for v in (widths, slants)]
        return cls(pictures, labels, widths, slants, *bounds)

    def words(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Which of WIDTHS and of SLANTS is true of pictures f32[N, H, W], i64[N] each."""
        return (
            torch.bucketize(stroke_width(pictures), self.width_bounds),
            torch.bucketize(slant(pictures), self.slant_bounds),
        )

    @property
    def captions(self) -> list[str]:
        width, lean = self.words(self.pictures)
        return [caption(*row) for row in zip(self.labels.tolist(), width.tolist(), lean.tolist(), strict=True)]


def real_digits() -> tuple[Tensor, Tensor]:
    """Pictures f32[N, 28, 28] in [0, 1] and labels i64[N]: MNIST's training split, else scikit-learn's, upscaled."""
    if os.environ.get("MAQUETTE_DATA"):
        import judge

        x, y = judge.mnist("train")
        return (x[:, 0] + 1) / 2, y
    from sklearn.datasets import load_digits

    found = load_digits()
    x = torch.from_numpy(found.images).float()[:, None] / 16
    inner = F.interpolate(x, size=(20, 20), mode="bicubic", align_corners=False)
    return F.pad(inner, (4, 4, 4, 4)).clamp(0, 1)[:, 0], torch.from_numpy(found.target).long()


def write(digits: Captioned, rows: np.ndarray, folder: Path) -> None:
    """PNG files, and metadata.csv with the caption of each, and what it was made from."""
    folder.mkdir(parents=True, exist_ok=True)
    names = digits.captions
    stored = (digits.pictures * 255).round().byte().numpy()
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        strokes, _ = digits.words(digits.pictures)
        table.writerow(["file_name", "caption", "label", "stroke", "slant"])
        for row in rows:
            name = f"{row:05d}.png"
            Image.fromarray(stored[row]).save(folder / name)
            said = (DIGITS[int(digits.labels[row])], STROKES[int(strokes[row])], f"{float(digits.slants[row]):.2f}")
            table.writerow([name, names[row], *said])


# -- what was made of it -----------------------------------------------------------------------------


def report(run: maquette.Run, digits: Captioned, held_out: str, samples: int, every: int) -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.permutation(len(digits.labels))[: 2 * REFERENCES])
    references, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]

    def read(pictures: Tensor) -> Tensor:
        """The digit that the nearest real one is, i64[N]."""
        distance = torch.cdist(pictures.flatten(1), digits.pictures[references].flatten(1))
        return digits.labels[references][distance.argmin(1)]

    right = (read(digits.pictures[others]) == digits.labels[others]).float().mean()
    print(f"digits that the reader reads right, of real ones it does not know: {100 * float(right):.1f} %\n")
    print(f"{'caption':<30} {'real':>5}   width (real)    slant (real)     right: digit  width  slant    all")
    names, totals = np.array(digits.captions), list[Tensor]()
    for number, asked in [*enumerate(captions())][::every]:
        d, w, s = number // 9, number // 3 % 3, number % 3
        asked_for: dict[str, Any] = {"caption": asked}
        if "caption" not in run.spec.given:  # the number: the mean slant of the real pictures of this third
            third = digits.words(digits.pictures)[1] == s
            asked_for = {"label": DIGITS[d], "stroke": STROKES[w], "slant": float(digits.slants[third].mean())}
        made = (run.sample(samples, **asked_for, seed=number).only[:, 0].float().cpu() + 1) / 2
        width, lean = digits.words(made)
        found = torch.stack([read(made) == d, width == w, lean == s]).float()
        share = torch.cat([found, found.prod(0, keepdim=True)]).mean(1)
        ours = torch.from_numpy(np.flatnonzero(names == asked))
        means = [stroke_width(made).mean(), digits.widths[ours].mean(), slant(made).mean(), digits.slants[ours].mean()]
        shown = "{:5.2f} ({:5.2f})  {:6.1f} ({:6.1f})".format(*map(float, means))
        shares = "  ".join(f"{100 * float(value):3.0f} %" for value in share)
        mark = "*" if asked == held_out else " "
        print(f"{mark}{asked:<29} {len(ours):>5}  {shown}          {shares}")
        if asked != held_out:
            totals.append(share)
    shares = "  ".join(f"{100 * float(value):3.0f} %" for value in torch.stack(totals).mean(0))
    print(f"{' mean of all but the held-out':<71} {shares}")


if __name__ == "__main__":
    _run.command(main)
