"""Files of pictures in and out of an edit: exactly of the size and the colours that are asked for, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.files import atomic, ready
from maquette.core.modality import Unreadable
from maquette.core.samples import Samples
from maquette.core.spec import ColumnSpec
from maquette.modalities import image

Pictures = Tensor | str | Path | Sequence[str | Path]


def pictures_in(pictures: Pictures, column: ColumnSpec, fit: str | None, said: str = "") -> Tensor:
    """f32[N, C, H, W] of the column's shape: files, folders, or canonical tensors. said: of the size, in the error."""
    if not isinstance(pictures, Tensor):
        return torch.cat([_picture(path, column, fit, said) for path in files(pictures)])
    if pictures.ndim != 4 or pictures.shape[1:] != column.shape:
        raise UserError(
            f"These pictures are {tuple(pictures.shape)}; this takes (N, {', '.join(map(str, column.shape))}).",
            "Give canonical tensors in [-1, 1].",
        )
    return pictures.float()


def masks_in(mask: Pictures, column: ColumnSpec, n: int, fit: str | None) -> Tensor:
    """Masks for n pictures of the column, f32[n, 1, H, W]: 1 where pixels are to be filled."""
    _, height, width = column.shape
    if isinstance(mask, Tensor):
        found = mask.float()
        if found.ndim != 4 or found.shape[1:] != (1, height, width):
            raise UserError(
                f"The mask is {tuple(found.shape)}; the pictures are {width}x{height}.",
                f"Give f32[N, 1, {height}, {width}], 1 where pixels are to be filled.",
            )
    else:
        found = torch.cat([_mask(path, column, fit) for path in files(mask)])
    if len(found) not in (1, n):
        raise UserError(f"There are {len(found)} masks for {n} pictures.", "Give one mask, or one for each.")
    if bool((found.flatten(1).sum(1) == 0).any()):
        raise UserError(
            "A mask is all black: nothing would be filled.", "White is what is to be filled; invert it if need be."
        )
    return found.expand(n, -1, -1, -1)


def _mask(path: Path, column: ColumnSpec, fit: str | None) -> Tensor:
    """One mask f32[1, 1, H, W]: 1 where it is white, or of one that is transparent somewhere, where it is so."""
    _, height, width = column.shape
    grey, clear = (column.model_copy(update={"shape": (c, height, width), "scale": None}) for c in (1, 4))
    found = _picture(path, grey, fit, "", mask=True)  # on its own scale: white is its brightest
    alpha = _picture(path, clear, fit, "", mask=True)[:, 3:]
    return ((alpha < 0) if bool((alpha < 1).any()) else (found > 0)).float()


def files(pictures: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of a path, a folder, or several of them, in the order of their names within a folder."""
    named = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    found: list[Path] = []
    for path in map(Path, named):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in image.SUFFIXES and p.is_file())
            if not inside:
                raise UserError(
                    f"'{path}' has no pictures.", f"It may hold {', '.join(image.SUFFIXES[:4])} and others."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"There is no picture at '{path}'.", "Check the path.")
    if not found:
        raise UserError("No pictures were named.", "Name a file, several, or a folder.")
    return found


def _picture(path: Path, column: ColumnSpec, fit: str | None, said: str, mask: bool = False) -> Tensor:
    """One file as f32[1, C, H, W]; without `fit`, only of the size and colours of the column."""
    channels, height, width = column.shape
    try:
        data = path.read_bytes()
        facts = image.probe(data, path.name)
        stored = image.read(data, column, fit=fit or "crop")
        plain = stored if mask or fit or facts.colour == "grey" else image.read(data, _coloured(column, facts))
    except Unreadable as error:
        raise UserError(f"'{path}' cannot be read: {error}.", "Save it again as PNG.") from None
    if fit is None:
        if (facts.height, facts.width) != (height, width):
            raise UserError(
                f"'{path}' is {facts.width}x{facts.height}; {said}this model takes {width}x{height}.",
                "Ask for a fit of crop, pad or stretch to make it so.",
            )
        if facts.colour == "rgba" and channels != 4 and not mask:
            raise UserError(
                f"'{path}' has transparent pixels, and this model makes none.",
                "Ask for a fit of crop to lay it on white, or save it without an alpha channel.",
            )
        if channels == 1 and not mask and bool((plain[:3] != plain[:1]).any()):
            raise UserError(
                f"'{path}' is in colour, and this model makes grey pictures.", "Ask for a fit of crop to make it grey."
            )
    return image.canonical(stored[None])


def _coloured(column: ColumnSpec, facts: image.Facts) -> ColumnSpec:
    return column.model_copy(update={"shape": (4 if facts.colour == "rgba" else 3, facts.height, facts.width)})


def write_frames(samples: Samples, path: Path, seconds: float = 3.0) -> Path:
    """The pictures one after the other and back again, as an animated GIF, PNG or WebP, which says where it is from."""
    from PIL import Image, PngImagePlugin

    one_way = [image.picture(item) for item in samples.only]
    scale = max(1, round(128 / max(one_way[0].size)))
    one_way = [p.resize((p.width * scale, p.height * scale), Image.Resampling.NEAREST) for p in one_way]
    shown = one_way + one_way[-2:0:-1]
    about = samples.about.of(samples.seed, frames=str(len(samples))).fields
    options: dict[str, Any] = {"comment": "; ".join(f"{key}: {value}" for key, value in about.items()).encode()}
    if path.suffix.lower() != ".gif":
        text = PngImagePlugin.PngInfo()
        for key, value in about.items():
            text.add_text(key, value)
        options = {"pnginfo": text}
    with atomic(ready(path)) as temporary:
        shown[0].save(
            temporary, save_all=True, append_images=shown[1:], duration=int(1000 * seconds / len(one_way)), loop=0,
            **options,
        )  # fmt: skip
    return path
