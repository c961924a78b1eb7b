"""Pictures of more than 8 bits: one scale for the whole set, whatever file, depth or type their values come in."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flat_config import flat_config
from maquette.core.errors import UserError
from maquette.core.modality import Notes, Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data import open_dataset
from maquette.data.raw import Array, Cell, File
from maquette.modalities import image
from maquette.modalities.image import Config, depth
from maquette.modalities.image.depth import Numbers, Range, found, measured
from maquette.modalities.image.pictures import masks_in


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(values: np.ndarray) -> bytes:
    """u16[H, W(, C)] as PNG, which Pillow writes in grey alone."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(values: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(values).save(data, "TIFF")
    return data.getvalue()


def colour_tiff(values: np.ndarray, order: str = "<", deflate: bool = False, zero: int = 2) -> bytes:
    """u16[H, W, C] as TIFF, written by hand. zero: its photometric interpretation, 2 for colours"""
    height, width, channels = values.shape
    raw = values.astype(order + "u2").tobytes()
    raw = zlib.compress(raw) if deflate else raw
    tags = [
        (256, width), (257, height), (258, -1), (259, 8 if deflate else 1), (262, zero), (273, -2), (277, channels),
        (278, height), (279, len(raw)), (284, 1), *([(338, 2)] if channels == 4 else []),
    ]  # fmt: skip
    base = 8 + 2 + 12 * len(tags) + 4
    bits, start = struct.pack(f"{order}{channels}H", *[16] * channels), base + 2 * channels
    lines = b""
    for tag, value in tags:
        if tag == 258 and channels > 1:
            lines += struct.pack(order + "HHII", tag, 3, channels, base)
        else:
            lines += struct.pack(order + "HHII", tag, 4, 1, {-1: 16, -2: start}.get(value, value))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return head + lines + struct.pack(order + "I", 0) + bits + raw


def pnm(values: np.ndarray, white: int = 65535) -> bytes:
    """u16[H, W(, 3)] as PGM or PPM."""
    kind = b"P5" if values.ndim == 2 else b"P6"
    return kind + f"\n{values.shape[1]} {values.shape[0]}\n{white}\n".encode() + values.astype(">u2").tobytes()


def three(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, 2)


FILES = {
    "png": png, "tiff": tiff, "tiff, signed": lambda v: tiff(v.astype(np.int32)),
    "tiff, float": lambda v: tiff(v.astype(np.float32)), "colour png": lambda v: png(three(v)),
    "grey png with alpha": lambda v: png(np.stack([v, np.full_like(v, 65535)], 2)),
    "colour tiff": lambda v: colour_tiff(three(v)), "colour tiff, big": lambda v: colour_tiff(three(v), ">"),
    "colour tiff, packed": lambda v: colour_tiff(three(v), deflate=True),
}  # fmt: skip
ARRAYS = (np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64)


def prepared(cells: list[Cell], known: ColumnSpec | None = None, **config: object) -> tuple[np.ndarray, ColumnSpec]:
    """(u8[n, C, H, W], specification) of a set, as the data room makes them."""
    own = Config(**config)  # type: ignore[arg-type]
    facts = [image.examine(cell, own) for cell in cells]
    spec = image.fit(cells, facts, own, known, Notes())
    made = image.encode(cells, spec, own)
    assert all(isinstance(item, np.ndarray) for item in made), made
    return np.stack(made), spec  # type: ignore[arg-type]


def in_files(values: np.ndarray, how: str) -> list[Cell]:
    return [File(f"{i}.{how[-3:]}", FILES[how](picture)) for i, picture in enumerate(values)]


def in_array(values: np.ndarray) -> list[Cell]:
    return image.interpret(Array([values]), Config(), Notes()).take(range(len(values)))


def pictures(top: float, seed: int, dim: float = 0.25, n: int = 6) -> np.ndarray:
    """n noisy pictures f64[n, 9, 11]: the brightest reaches `top`, the dimmest has `dim` of it."""
    draws = np.random.default_rng(seed)
    made = draws.random((n, 9, 11)) * np.linspace(1, dim, n)[:, None, None]
    return made / made.max() * top


@settings(max_examples=60, deadline=None)
@given(
    how=st.sampled_from([*FILES, *ARRAYS]), bits=st.sampled_from([10, 12, 14, 16]), fill=st.floats(0.55, 1),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_whole_numbers_of_any_depth_keep_their_brightness(how: object, bits: int, fill: float, seed: int) -> None:
    white = 2**bits - 1
    if how in (np.int16, np.float16) and bits == 16:
        white = 4095
    values = np.rint(pictures(fill * white, seed)).astype(np.uint16)
    cells = in_files(values, how) if isinstance(how, str) else in_array(values.astype(how))  # type: ignore[call-overload]
    made, spec = prepared(cells)
    assert spec.scale == (0, white)
    assert np.abs(made[:, 0].astype(float) - values * (255 / white)).max() <= 0.6


@settings(max_examples=80, deadline=None)
@given(
    low=st.floats(-1e5, 1e5), spread=st.floats(1e-2, 1e5), whole=st.booleans(), seed=st.integers(0, 99),
    as_files=st.booleans(),
)  # fmt: skip
def test_no_set_is_dark_or_turned_around(low: float, spread: float, whole: bool, seed: int, as_files: bool) -> None:
    """Whatever the values are, one that is larger anywhere in the set is never darker, and the brightest are bright."""
    values = low + pictures(spread, seed)
    values = np.rint(values).astype(np.int32) if whole else values.astype(np.float32)
    made, spec = prepared(in_files(values, "tiff") if as_files else in_array(values))
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(made[:, 0].ravel()[order].astype(int)) >= 0).all()
    if values.max() > 0 and values.max() > values.min():
        assert made.max() >= 127, spec.scale


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0, 1), (0, 1)),
        ((-1.0, 1.0), (-1, 1)),
        ((0.0, 0.97), (0, 1)),
        ((-0.01, 1.02), (0, 1)),  # resampling overshoots
        ((0.0, 255.0), (0, 255)),
        ((0.0, 0.3), (0, 0.3)),  # reflectance
        ((0.0, 16.0), (0, 16)),
        ((0, 17000), (0, 17000)),
        ((30000, 34000), (30000, 34000)),
        ((-1024, 3071), (-1024, 3071)),
        ((7, 7), (0, 7)),
        ((0, 0), (0, 1)),
        ((-5.0, -5.0), (-5, 1)),
    ],
)
def test_scales(values: tuple[float, float], scale: tuple[float, float]) -> None:
    whole = isinstance(values[0], int)
    ranges = [Range(values[0], values[0], values[1], values[1], whole)] * 3
    assert found(ranges) == pytest.approx(scale)


def test_stuck_pixels_and_odd_pictures_do_not_darken_the_rest() -> None:
    values = np.rint(pictures(4000, 0, n=300)).astype(np.uint16).repeat(6, 1).repeat(6, 2)
    values[:, 3, 3] = 65535
    ranges = [measured(Numbers(picture)) for picture in values]
    assert found(ranges) == (0, 4095)
    assert found([*ranges[:-1], Range(0, 0, 60000, 65535, True)]) == (0, 4095)


def test_a_scale_is_set_kept_and_used_again(tmp_path: Path) -> None:
    values = np.rint(pictures(3000, 1)).astype(np.uint16)
    cells = in_files(values, "png")
    _, spec = prepared(cells, white=6000)
    assert spec.scale == (0, 6000)
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    again, same = prepared(in_array((values[:2] // 4).astype(np.float32)), known=spec)  # of a trained run
    assert same == spec and again.max() <= 255 * 750 / 6000 + 1
    assert np.array_equal(image.read(FILES["png"](values[0]), spec), prepared(cells[:1], known=spec)[0][0])
    assert prepared(cells, black=1000.0, white=2000.0)[0].max() == 255
    for wrong in ({"white": 5.0, "black": 6.0}, {"white": float("nan")}, {"white": 0.0}):
        with pytest.raises((UserError, ValueError), match=r"above|finite"):
            Config(**wrong)
    with pytest.raises(UserError, match=r"not below the white of these pictures, 4095"):
        prepared(cells, black=5000.0)


def test_a_mask_of_sixteen_bits_is_white_where_it_is_bright(tmp_path: Path) -> None:
    mask = np.zeros((9, 11), np.uint16)
    mask[2:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = masks_in(tmp_path / "mask.png", image.Spec(shape=(1, 9, 11), scale=(0, 65535)), 1, None)
    assert np.array_equal(found[0, 0].numpy(), mask > 0)


def test_eight_bits_have_no_scale_and_older_runs_know_their_data() -> None:
    cells: list[Cell] = [File("a.png", encoded) for encoded in map(eight, range(5))]
    made, spec = prepared(cells)
    assert spec.scale is None and "scale" not in spec.model_dump_json()
    assert np.array_equal(made[:, 0], np.stack([np.asarray(Image.open(io.BytesIO(eight(i)))) for i in range(5)]))
    mixed = [*cells, *in_files(np.rint(pictures(4000, 0)).astype(np.uint16), "png")]
    both, spec = prepared(mixed, size=(9, 9))
    assert spec.scale == (0, 4095) and np.array_equal(both[:5], prepared(cells, size=(9, 9))[0])


def eight(seed: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9), np.uint8)).save(data, "PNG")
    return data.getvalue()


def test_alpha_of_sixteen_bits() -> None:
    values = np.full((9, 9, 4), 4095, np.uint16)
    values[..., 3] = 65535
    values[0, 0, 3] = 0
    for data in (png(values), colour_tiff(values), png(values[..., 2:])):
        assert image.probe(data, "a.png").colour == "rgba"
        got = image.read(data, image.Spec(shape=(4, 9, 9)))
        assert got[3, 0, 0] == 0 and (got[:, 1:] == 255).all()


def test_zero_that_is_white() -> None:
    values = np.rint(pictures(4095, 0, n=1)[0]).astype(np.uint16)
    assert np.array_equal(
        image.read(colour_tiff(values[..., None], zero=0), image.Spec(shape=(1, 9, 11))),
        255 - image.read(colour_tiff(values[..., None], zero=1), image.Spec(shape=(1, 9, 11))),
    )


def test_portable_pixmaps_have_their_own_white() -> None:
    values = np.rint(pictures(1000, 0, n=1)[0]).astype(np.uint16)
    for data, again in ((pnm(three(values), 4095), png(three(values))), (pnm(values, 4095), png(values))):
        with Image.open(io.BytesIO(data)) as img:
            assert depth.is_deep(img)
            deep = depth.numbers(img, lambda: img).values.astype(float)
        with Image.open(io.BytesIO(again)) as img, Image.open(io.BytesIO(again)) as other:
            own = depth.numbers(img, lambda: other).values
        assert np.abs(deep * 4095 / 65535 - own).max() < 0.51


def test_a_set_is_told_its_scale_once(tmp_path: Path) -> None:
    values = np.rint(pictures(4080, 3, n=40)).astype(np.uint16)
    for i, picture in enumerate(values):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    notes = open_dataset(tmp_path, flat_config(), cache=tmp_path / "cache").summary["notes"]
    said = [note for note in notes if "more than 8 bits: black is 0, white is 4,095 for all of them" in note]
    assert len(said) == 1 and said[0].startswith("40 pictures")
    said = open_dataset(tmp_path, flat_config(white=3000.0), cache=tmp_path / "cache").summary["notes"]
    assert any("white is 3,000 for all of them, which cuts off values of" in note for note in said)
    np.savez(tmp_path / "bytes.npz", images=np.random.default_rng(0).integers(0, 256, (40, 9, 9), np.uint8))
    said = open_dataset(tmp_path / "bytes.npz", flat_config(white=99.0), cache=tmp_path / "cache").summary["notes"]
    assert any("No picture has more than 8 bits" in note for note in said)


def test_few_bits_in_bytes_are_not_black() -> None:
    values = np.random.default_rng(0).integers(0, 17, (20, 8, 8), np.uint8)
    assert prepared(in_array(values))[0].max() == 255
    assert prepared(in_array(values % 2))[0].max() == 255
    assert prepared(in_array((values * 4).astype(np.uint8)))[1].scale is None  # 8 bits stay as they are


def test_what_is_no_number_is_left_out() -> None:
    values = pictures(1, 0).astype(np.float32)
    values[0, 0, 0] = np.inf
    for cell in (in_files(values, "tiff, float")[0], in_array(values)[0]):
        with pytest.raises(Unreadable, match="some of its pixels are not numbers"):
            image.examine(cell, Config())
