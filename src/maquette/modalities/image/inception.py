"""The features of the standard FID: the 2,048 of InceptionV3's last pooling, in the FID's own variant.

Heusel et al. 2017 used a TensorFlow port of InceptionV3 (Szegedy et al. 2015) that differs from the
usual one in its pooling. The weights are those of the project pytorch-fid, which carry the names that
torchvision uses. They are never downloaded here; see `weights_file`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.tensors import read_tensors
from maquette.evaluation.features import Seen

FILES = ("inception.safetensors", "pt_inception-2015-12-05-6726825d.pth")
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # of the second, which is a pickle
HOW = (
    "Fetch pt_inception-2015-12-05-6726825d.pth from the releases of github.com/mseitzer/pytorch-fid "
    "(91 MB), and put it into '{folder}', or name it with MAQUETTE_INCEPTION=/path/to/file. "
    "Without it, use --features own."
)


class Conv(nn.Module):
    """Convolution, batch normalization and ReLU."""

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], stride: int = 1, pad: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _mean3(x: Tensor) -> Tensor:
    # The FID's variant: pixels outside the picture do not enter the mean.
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    """InceptionA of Szegedy et al. 2015, with the FID's average pooling."""

    def __init__(self, n: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(n, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(n, 48, 1), Conv(48, 64, 5, pad=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(n, 64, 1), Conv(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, pad=1)
        self.branch_pool = Conv(n, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean3(x))], 1)


class BlockB(nn.Module):
    """InceptionB: halves the grid."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(n, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(n, 64, 1), Conv(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), three, F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    """InceptionC: 7x7 convolutions as 1x7 and 7x1."""

    def __init__(self, n: int, c: int) -> None:
        super().__init__()
        row, column = {"kernel": (1, 7), "pad": (0, 3)}, {"kernel": (7, 1), "pad": (3, 0)}
        self.branch1x1 = Conv(n, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(n, c, 1), Conv(c, c, **row)  # type: ignore[arg-type]
        self.branch7x7_3 = Conv(c, 192, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(n, c, 1), Conv(c, c, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Conv(c, c, **row), Conv(c, c, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = Conv(c, 192, **row)  # type: ignore[arg-type]
        self.branch_pool = Conv(n, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        two = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        two = self.branch7x7dbl_5(self.branch7x7dbl_4(two))
        return torch.cat([self.branch1x1(x), one, two, self.branch_pool(_mean3(x))], 1)


class BlockD(nn.Module):
    """InceptionD: halves the grid."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(n, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(n, 192, 1), Conv(192, 192, (1, 7), pad=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1), pad=(3, 0)), Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """InceptionE: the widest blocks, on the smallest grid."""

    def __init__(self, n: int, largest: bool) -> None:
        super().__init__()
        self.largest = largest  # the last block of the FID's variant pools by maximum
        self.branch1x1 = Conv(n, 320, 1)
        self.branch3x3_1 = Conv(n, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, (1, 3), pad=(0, 1)), Conv(384, 384, (3, 1), pad=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(n, 448, 1), Conv(448, 384, 3, pad=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), pad=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), pad=(1, 0))
        self.branch_pool = Conv(n, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.largest else _mean3(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class Inception(nn.Module):
    """f32[B, 3, 299, 299] in [-1, 1] -> f32[B, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, stride=2), Conv(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Conv(32, 64, 3, pad=1), Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = BlockB(288), BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e, self.Mixed_7a = BlockC(768, 160), BlockC(768, 192), BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, largest=False), BlockE(2048, largest=True)

    def forward(self, x: Tensor) -> Tensor:
        for name, block in self.named_children():
            x = block(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean((2, 3))


def weights_file(cache: Path | None = None) -> Path:
    """$MAQUETTE_INCEPTION, or one of FILES in the cache folder; a clear error when it is not there."""
    folder = cache or cache_folder("evaluation")
    if named := os.environ.get("MAQUETTE_INCEPTION"):
        path = Path(named)
        if path.is_file():
            return path
        raise UserError(f"MAQUETTE_INCEPTION names '{path}', which is not a file.", HOW.format(folder=folder))
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError("The weights of the Inception network are not here.", HOW.format(folder=folder))


def _read(path: Path, sha256: str) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if sha256 != SHA256:  # a pickle may hold anything; of this one it is known that it holds tensors
        raise UserError(
            f"'{path}' is refused: it is not the file of pytorch-fid, as its checksum says.",
            "Nothing was loaded. Use an undamaged copy, or weights of your own as .safetensors.",
        )
    return dict(torch.load(path, map_location="cpu", weights_only=True))


@dataclass(frozen=True)
class InceptionFeatures:
    """The features of the standard FID, f64[n, 2048] of pictures."""

    network: Inception
    identity: str
    device: torch.device
    name: str = "inception"
    dim: int = 2048
    classes: tuple[str, ...] = ()
    learned: bool = False

    @torch.no_grad()
    def see(self, images: Iterator[Tensor]) -> Seen:
        parts = []
        for chunk in images:
            for x in three_channels(chunk).split(50):
                big = F.interpolate(x.to(self.device), size=(299, 299), mode="bilinear", align_corners=False)
                parts.append(self.network(big).double().cpu().numpy())
        return Seen(np.concatenate(parts))


def three_channels(x: Tensor) -> Tensor:
    """Grey is repeated; of RGBA, the colours are laid over white by the alpha. All in [-1, 1]."""
    if x.shape[1] == 1:
        return x.expand(-1, 3, -1, -1)
    if x.shape[1] == 4:
        alpha = (x[:, 3:] + 1) / 2
        return x[:, :3] * alpha + (1 - alpha)
    return x


def inception_features(cache: Path | None = None, device: torch.device | str = "cpu") -> InceptionFeatures:
    """The network, with weights from the cache. Raises UserError where they are not there."""
    path = weights_file(cache)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    network = Inception()
    wanted = network.state_dict()
    state = {k: v for k, v in _read(path, digest).items() if k in wanted}
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    if missing or any(state[k].shape != wanted[k].shape for k in state):
        what = f"it lacks {missing[0]}" if missing else "its shapes differ"
        raise UserError(f"'{path}' is not the Inception network of the FID: {what}.", HOW.format(folder=path.parent))
    network.load_state_dict(state, strict=False)
    device = torch.device(device)
    return InceptionFeatures(network.eval().to(device), f"inception-fid-{digest[:12]}", device)
