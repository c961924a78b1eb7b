"""Fake run folders on the handwritten digits that scikit-learn ships."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maquette.core.data_config import DataConfig
from maquette.core.generator import Generator, build_model
from maquette.core.measure import Better
from maquette.core.recipe import Recipe, TrainConfig
from maquette.core.run import RunFolder
from maquette.core.spec import ColumnSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation.results import Evaluation, Metric, Settings
from maquette.modalities.image import Spec as ImageSpec
from maquette.modalities.label import Spec as LabelSpec

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Rows:
    """A column held in memory."""

    spec: ColumnSpec
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.from_numpy(np.asarray(rows))]


def digits_data(classes: tuple[str, ...] = DIGITS, channels: int = 1, scale: int = 1) -> Dataset:
    from sklearn.datasets import load_digits

    raw = load_digits()
    x = torch.from_numpy(raw.images).float()[:, None].repeat(1, channels, 1, 1) / 8 - 1
    if scale > 1:
        x = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear")
    y = torch.from_numpy(raw.target).long()
    shares = tuple((y[:1500].bincount() / 1500).tolist())
    image = ImageSpec(shape=tuple(x.shape[1:]))
    label = LabelSpec(classes=classes, shares=shares)

    def table(rows: slice) -> Table:
        names = [f"{classes[int(c)]}/{i}.png" for i, c in enumerate(y[rows])]
        return Table({"image": Rows(image, x[rows]), "label": Rows(label, y[rows])}, names)

    counts = {name: int((y[:1500] == i).sum()) for i, name in enumerate(classes)}
    summary = {
        "source": "digits", "kind": "arrays", "train": 1500, "test": 297, "found": 1799, "used": 1797,
        "left_out_count": 2,
        "left_out": [{"name": "3/<img src=x onerror=alert(1)>.png", "reason": "truncated at byte 211"},
                     {"name": "notes.txt", "reason": "of another kind"}],
        "columns": {"image": {"kind": "image", "rows": [["Sizes", "8x8 (1,797)"], ["Colours", "grey 1,797"]]}},
        "classes": {"label": counts}, "duplicates": {"exact_copies": 2, "near_copies": 0, "dropped_from_train": 1},
        "warnings": ["Class '8' has few items."], "notes": [],
    }  # fmt: skip
    return Dataset("digits", "b3f1c0ffee", table(slice(0, 1500)), table(slice(1500, None)), summary)


def fake_run(
    path: Path,
    data: Dataset,
    ability: str = "samples",
    latent_dim: int = 16,
    conditional: bool = True,
    steps: int = 2000,
    measured: bool = True,
    shift: float = 0.0,
    network: str = "own-1/7a31",
    about: str = "Principal components, for tests",
) -> RunFolder:
    """A finished run: recipe, spec, weights, log with an alarm, previews, animation, data.json, metrics.json."""
    folder = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    given = ("label",) if conditional else ()
    recipe = Recipe(
        about=about, family="report_fakes.family", given=given, data=DataConfig(source=data.source),
        model={"ability": ability, "latent_dim": latent_dim}, train=TrainConfig(steps=steps, batch_size=64),
    )  # fmt: skip
    spec = data.spec(("image",), given)
    folder.write_recipe(recipe)
    folder.write_spec(spec)
    folder.write_data({"source": data.source, "fingerprint": data.fingerprint, **data.summary})

    model = build_model(recipe, spec)
    table = data.train
    x, y = table.columns["image"].values.flatten(1), table.columns["label"].values  # type: ignore[attr-defined]
    groups = y if conditional else torch.zeros_like(y)
    means = torch.stack([x[groups == c].mean(0) for c in range(int(groups.max()) + 1)])
    variance, vectors = torch.linalg.eigh((x - means[groups]).T.cov())
    with torch.no_grad():
        model.G.mean.copy_(means)
        model.G.basis.copy_((vectors * variance.clamp_min(1e-6).sqrt()).T.flip(0)[:latent_dim])
    folder.write_weights(model.state_dict(), step=steps)

    _write_log(folder, steps)
    _write_previews(folder, Generator(model, spec), steps)
    if measured:
        folder.write_metrics(fake_evaluation(data, shift, network).model_dump(mode="json"))
    return folder


def _write_log(folder: RunFolder, steps: int) -> None:
    noise = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    for step in range(0, steps + 1, 4):
        t = step / steps
        lines.append({
            "step": step, "seconds": 0.03 * step, "items": 64 * step,
            "d/loss": 1.3 - 0.5 * t + 0.1 * noise.normal(), "d/accuracy": min(1, 0.6 + 0.2 * t + 0.05 * noise.normal()),
            "d/grad_norm": math.exp(noise.normal() * 0.3 - 7 * t), "g/loss": 0.7 + t + 0.15 * noise.normal(),
            "preview/diversity": 0.2 + 0.75 * t, "items_per_second": 2100 + 50 * noise.normal(),
        })  # fmt: skip
    lines[40]["g/loss"] = math.nan
    late = len(lines) * 3 // 5
    lines.insert(
        late,
        {
            "alarm": "vanishing gradient",
            "step": lines[late]["step"],
            "saw": "d/grad_norm below 1e-3 for 100 steps",
            "advice": "lower the learning rate of d <model.d_lr>, or raise model.r1",
        },
    )
    folder.log_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _write_previews(folder: RunFolder, generator: Generator, steps: int) -> None:
    from maquette.modalities.image.report.tiles import sheet as side_by_side

    folder.samples.mkdir(exist_ok=True)
    items = generator.sample(36, seed=3)["image"]
    noise = torch.randn(items.shape, generator=torch.Generator().manual_seed(0))
    frames = []
    for k in range(11):
        clean = (k / 10) ** 0.7
        sheet = side_by_side((clean * items + (1 - clean) * noise).clamp(-1, 1), 6, gap=1).convert("RGB")
        sheet = sheet.resize((sheet.width * 4, sheet.height * 4), Image.Resampling.NEAREST)
        sheet.save(folder.samples / f"preview-{steps * k // 10:08d}.png")
        frames.append(sheet)
    frames[0].save(folder.samples / "training.gif", save_all=True, append_images=frames[1:], duration=200, loop=0)


def fake_evaluation(data: Dataset, shift: float = 0.0, network: str = "own-1/7a31") -> Evaluation:
    """What `maquette evaluate` finds; every value is moved by `shift` half-widths of its interval."""

    def metric(
        name: str, title: str, value: float, width: float, floor: float | None, better: Better, **more: Any
    ) -> Metric:
        value += shift * width
        matters = 0.05 if more.get("unit") == "share" and value > 0.2 else None
        return Metric(
            name=name, title=title, value=value, low=value - width, high=value + width,
            floor=floor, floor_low=None if floor is None else floor - width / 3,
            floor_high=None if floor is None else floor + width / 3,
            better=better, matters=matters, n_real=297, n_fake=1000, asks=f"What {name} asks.", **more,
        )  # fmt: skip

    own: dict[str, Any] = {"features": "own"}
    classes = data.train.columns["label"].spec.classes
    return Evaluation(
        metrics=(
            metric("frechet", "Fréchet distance, own features", 12.4, 0.9, 1.7, "lower", **own,
                   reading="Seven times what real pictures score: close in kind, not yet in detail."),
            metric("kernel", "Kernel distance, own features", 0.031, 0.006, 0.0011, "lower", **own),
            metric("precision", "Precision, own features", 0.83, 0.03, 0.9, "higher", **own, unit="share"),
            metric("recall", "Recall, own features", 0.71, 0.04, 0.91, "higher", **own, unit="share"),
            metric("coverage", "Coverage, own features", 0.93, 0.02, 0.94, "higher", **own, unit="share"),
            metric("two_sample", "Two-sample test", 0.74, 0.03, 0.5, "floor", unit="share", p_value=0.0003,
                   reading="A classifier tells them in 74.0% of cases (p < 0.001)."),
            metric("class_accuracy", "Class-conditional accuracy", 0.962, 0.012, 0.97, "higher", unit="share"),
            metric("copies", "Copies of training pictures", 0.012, 0.006, 0.01, "floor", unit="share"),
            metric("elbo", "ELBO", -93.2, 0.8, None, "higher", unit="nats"),
        ),
        details={
            "damage": [
                {"measure": name, "damage": "blurred", "undamaged": 0.9, "mild": 0.5, "strong": 0.1, "seen": seen}
                for name, seen in (("precision", True), ("coverage", False))
            ],
            "per_class": [
                {"label": name, "n_real": 30, "n_fake": 100, "real_share": 0.1, "fake_share": 0.08 + 0.004 * i,
                 "asked": 100, "accuracy": 0.99 - 0.01 * i, "real_accuracy": 0.98, "precision": 0.85, "coverage": None}
                for i, name in enumerate(classes)
            ],
            "copies": [
                {"sample": 17 * i, "label": classes[i], "train_row": 31 * i, "train_name": data.train.names[31 * i],
                 "distance": 0.21 + 0.01 * i, "quantile": 0.02 * i}
                for i in range(4)
            ],
        },
        warnings=("Only 297 held-out pictures: distances are too high by an amount that the floor shows.",),
        settings=Settings(
            nouns=("picture", "pictures"), samples=1000, seed=0,
            features="own", network=network, feature_dim=64, classifier_accuracy=0.97,
            source=data.source, fingerprint=data.fingerprint, n_train=1500, n_test=297, conditional=True,
            resamples=200, seconds=8.1,
        ),
    )  # fmt: skip
