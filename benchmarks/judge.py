"""An independent judge for the MNIST rows of our benchmarks: Frechet distance in the features of a small CNN.

    MAQUETTE_DATA=/data python benchmarks/judge.py train             # once, about two minutes on two cores; where it
                                                                     # was not, each benchmark does before it trains
    MAQUETTE_DATA=/data python benchmarks/judge.py score FILE.npz    # an array `images`, or the first one

It shares nothing with the package's own evaluation (other network, other seed, other code), so that no model
is tuned to the ruler which judges it: an earlier judge, of another seed and other widths, served while the
recipes were made; this one was trained when they were done. The distance (Heusel et al. 2017, eq. 6) is

    |mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))

between generated pictures (5,000 by convention: a biased estimate, so keep the number) and the 10,000 test
pictures. The scale of a ReLU feature is arbitrary, so a convention fixes it once, after training and before
any model is judged, by one fixed draw of 5,000 real training pictures (UNIT). That makes the numbers of two
judges comparable only roughly, so `verdict` also gives them unscaled, and beside real pictures: the mean of five other
draws, 0.27 with the judge that the recipes and the README quote, is what real training pictures score. The weights are
cached, under ~/.cache/maquette/bench, as another training gives another judge.
"""

import gzip
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import _run
from maquette.core.hardware import multiplies_bf16

SEED = 4_711
EPOCHS = 6
SAMPLES = 5000  # that are judged of each model
UNIT = 0.29  # of one fixed draw of 5,000 real training pictures, by definition; no number to compare with
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "maquette" / "bench"
WEIGHTS = CACHE / "mnist-judge-v2.safetensors"


class Judge(nn.Module):
    """f32[N,1,28,28] in [-1,1] -> 10 logits; `features` gives the 128 post-ReLU penultimate activations."""

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

        self.body = nn.Sequential(
            *block(1, 24), *block(24, 32), nn.MaxPool2d(2),  # 14x14
            *block(32, 64), *block(64, 64), nn.MaxPool2d(2),  # 7x7
            *block(64, 112), nn.MaxPool2d(2),  # 3x3
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(112 * 9, 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, 10)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(x), 0.3, self.training))


def mnist(split: str) -> tuple[Tensor, Tensor]:
    """Pictures f32[N,1,28,28] in [-1,1] and labels i64[N] of `train` (60,000) or `test` (10,000)."""
    stem = {"train": "train", "test": "t10k"}[split]

    def read(kind: str, header: int) -> np.ndarray:
        with gzip.open(_run.data("mnist", f"{stem}-{kind}-ubyte.gz")) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header).copy()

    images = torch.from_numpy(read("images-idx3", 16)).view(-1, 1, 28, 28).float() / 127.5 - 1
    return images, torch.from_numpy(read("labels-idx1", 8)).long()


@torch.enable_grad()  # whoever asks for it
def train() -> Judge:
    """Train the judge with small random shifts, rotations and scalings; save it with its test accuracy."""
    images, labels = mnist("train")
    batch, rng, bf16 = 128, torch.Generator().manual_seed(SEED), multiplies_bf16(torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        judge = Judge().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.02)
        steps = EPOCHS * (len(images) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        start = time.perf_counter()
        for step in range(steps):
            if step % (steps // EPOCHS) == 0:
                order = torch.randperm(len(images), generator=rng)
            pick = order[step % (steps // EPOCHS) * batch :][:batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(judge(_jitter(images[pick], rng)).float(), labels[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 200 == 0:
                print(f"step {step}/{steps}  loss {loss.item():.4f}  {time.perf_counter() - start:.0f} s")
    judge.eval()
    unit = calibrate(judge)
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    part = WEIGHTS.with_suffix(".part")
    state = {name: tensor.contiguous() for name, tensor in judge.state_dict().items()}
    about = {"test_accuracy": f"{accuracy(judge):.4f}", "seed": str(SEED), "unit": f"{unit:.6f}"}
    save_file(state, part, metadata=about)
    part.replace(WEIGHTS)
    print(f"the judge is trained: test accuracy {about['test_accuracy']}; saved {WEIGHTS}")
    return judge


@torch.no_grad()
def calibrate(judge: Judge) -> float:
    """Scales the features, leaving the logits as they are, so that real training pictures score UNIT.

    Returns the factor by which distances were multiplied.
    """
    real = mnist("train")[0]
    pick = torch.randperm(len(real), generator=torch.Generator().manual_seed(SEED))[:SAMPLES]
    features = [_features(judge, images).numpy() for images in (real[pick], mnist("test")[0])]
    scale = (UNIT / frechet(*features)) ** 0.5
    last = judge.body[-2]  # ReLU(s x) = s ReLU(x)
    last.weight.mul_(scale), last.bias.mul_(scale)
    judge.head.weight.div_(scale)
    return scale**2


def _jitter(x: Tensor, rng: torch.Generator) -> Tensor:
    n = len(x)
    angle, scale = (torch.rand(2, n, generator=rng) * 2 - 1) * torch.tensor([[0.17], [0.08]])
    shift = (torch.rand(n, 2, generator=rng) * 2 - 1) * 0.12
    cos, sin = angle.cos() * (1 + scale), angle.sin() * (1 + scale)
    affine = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(n, 2, 3)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1  # outside is black: -1


@torch.no_grad()
def accuracy(judge: Judge) -> float:
    """Share of the 10,000 test digits that the judge names rightly."""
    images, labels = mnist("test")
    logits = torch.cat([judge(x) for x in images.split(500)])
    return (logits.argmax(1) == labels).float().mean().item()


@cache
def load_judge() -> Judge:
    """The cached judge, trained first if there is none: ask for it before you train what it is to judge."""
    if not WEIGHTS.exists():
        return train()
    judge = Judge()
    judge.load_state_dict(load_file(WEIGHTS))
    return judge.eval()


def judge_features(images: Tensor) -> Tensor:
    """Features f32[N,128] of pictures f32[N,1,28,28] in [-1,1]."""
    return _features(load_judge(), images)


@torch.no_grad()
def _features(judge: Judge, images: Tensor) -> Tensor:
    return torch.cat([judge.features(x.float()) for x in images.split(500)])


def judge_accuracy(images: Tensor, labels: Tensor) -> float:
    """Share of pictures f32[N,1,28,28] that the judge gives the label i64[N] they were made for."""
    return (load_judge().head(judge_features(images)).argmax(1) == labels).float().mean().item()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to two sets of features [N,D] and [M,D], in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (C_a C_b)^(1/2) = sum of sqrt of the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2).
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


@cache
def _test_features() -> np.ndarray:
    return judge_features(mnist("test")[0]).numpy()


def frechet_to_test(images: Tensor) -> float:
    """Frechet distance of pictures f32[N,1,28,28] in [-1,1] (5,000 by convention) to the test pictures."""
    return frechet(judge_features(images).numpy(), _test_features())


def verdict(images: Tensor) -> str:
    """The distance of pictures f32[N,1,28,28], unscaled too, and beside real training pictures."""
    distance = frechet_to_test(images)
    with safe_open(WEIGHTS, "pt") as file:
        unit = float(file.metadata()["unit"])
    real, rng = mnist("train")[0], torch.Generator().manual_seed(1)
    floors = [frechet_to_test(real[torch.randperm(len(real), generator=rng)[: len(images)]]) for _ in range(5)]
    floor = sum(floors) / len(floors)
    return (
        f"Frechet distance (judge) {distance:.2f}   real training pictures {floor:.2f} "
        f"({min(floors):.2f} to {max(floors):.2f} in five draws)   ratio {distance / floor:.1f}\n"
        f"unscaled: {distance / unit:.2f}, real {floor / unit:.2f}"
    )


def main() -> None:
    parser = _run.Parser(__doc__)
    parser.add_argument("what", choices=("train", "score"))
    parser.add_argument("file", nargs="?", help="of the pictures to score")
    args = parser.parse_args()
    if args.what == "train":
        train()
    elif not args.file:
        parser.error("score: name the .npz file of the pictures")
    else:
        arrays = np.load(args.file, allow_pickle=False)
        images = torch.from_numpy(arrays["images" if "images" in arrays else arrays.files[0]])
        if images.dtype == torch.uint8:
            images = images.float() / 127.5 - 1
        images = images.reshape(-1, 1, 28, 28)
        print(f"{len(images)} pictures\n{verdict(images)}")


if __name__ == "__main__":
    import judge  # the one that others ask, too: a smoke changes it

    _run.command(judge.main)
