"""Which files and arrays are pictures."""

from __future__ import annotations

import re

import numpy as np

from maquette.modalities.image.dicom import is_one as is_dicom
from maquette.modalities.image.files import SUFFIXES, UNDEVELOPED
from maquette.modalities.image.opening import AVIF_BRANDS, HEIF_BRANDS

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_PNM = re.compile(rb"P[1-6]\s(?:\s|#[^\n]*\n)*\d+\s+\d+\s")  # its head is characters: a size has to follow


def claims(name: str, head: bytes) -> bool:
    """Whether a file is a picture: by its suffix, or by how it begins."""
    if name.lower().endswith(UNDEVELOPED):
        return False
    if is_dicom(head):
        return True
    if head:
        boxed = head[4:8] == b"ftyp" and head[8:12] in (*HEIF_BRANDS, *AVIF_BRANDS)
        return (
            head.startswith(_MAGIC)
            or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
            or boxed
            or bool(_PNM.match(head))
        )
    return name.lower().endswith(SUFFIXES)


def claims_array(shape: tuple[int, ...], dtype: np.dtype) -> float:
    """1 for shapes (H, W), (H, W, C), (C, H, W) and for flat squares, of numbers; else 0; see data/typing.py."""
    if dtype.kind not in "buif":
        return 0.0
    if len(shape) == 2 or (len(shape) == 3 and (shape[2] in (1, 3, 4) or shape[0] in (1, 3, 4))):
        return 1.0
    if len(shape) == 1:
        sides = {channels: round((shape[0] / channels) ** 0.5) for channels in (1, 3)}
        return float(any(side >= 4 and side * side * channels == shape[0] for channels, side in sides.items()))
    return 0.0
