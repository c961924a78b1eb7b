"""The image modality: every format and colour to bytes, and back to files."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.modality import Modality, Notes, Unreadable
from maquette.core.spec import ColumnSpec
from maquette.data.raw import File
from maquette.modalities import image, label, number
from maquette.modalities.image import Config as ImageConfig
from maquette.modalities.image import Spec as ImageSpec


def encoded(img: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    img.save(data, format=kind, **options)
    return data.getvalue()


def spec(channels: int, height: int, width: int) -> ColumnSpec:
    return ImageSpec(shape=(channels, height, width))


@pytest.fixture
def photo() -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC)


def test_modules_meet_the_protocol() -> None:
    assert isinstance(find_modality("image"), Modality)
    assert isinstance(find_modality("label"), Modality)


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("WEBP", 0), ("JPEG", 12)])
def test_formats(photo: Image.Image, kind: str, tolerance: int) -> None:
    options: dict = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(kind, {})
    data = encoded(photo, kind, **options)
    facts = image.probe(data, f"a.{kind.lower()}")
    assert (facts.format, facts.colour, facts.height, facts.width, facts.note) == (kind, "rgb", 32, 48, "")
    got = image.read(data, spec(3, 32, 48)).astype(int)
    assert np.abs(got - np.asarray(photo).transpose(2, 0, 1)).max() <= tolerance


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    got = image.read(data, spec(3, 16, 16))
    assert got[:, 0, 0].tolist() == [255, 0, 0]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(ramp), kind)
        assert image.probe(data, f"a.{kind}").colour == "grey"
        got = image.read(data, spec(1, 16, 16))[0].astype(float)
        assert np.abs(got - ramp / 257).max() <= 0.5


def test_sixteen_bit_colour_png_is_scaled() -> None:
    ramp = np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16)
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).tobytes() for row in ramp)

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    got = image.read(data, spec(3, 16, 16)).astype(float)
    assert np.abs(got - ramp / 257).max() <= 1


def test_float_tiff() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    got = image.read(encoded(Image.fromarray(ramp), "TIFF"), spec(1, 16, 16))
    assert np.abs(got[0] - ramp * 255).max() <= 0.5
    ramp[0, 0] = np.nan
    with pytest.raises(Unreadable, match="not numbers"):
        image.read(encoded(Image.fromarray(ramp), "TIFF"), spec(1, 16, 16))


def test_cmyk_and_palette(photo: Image.Image) -> None:
    data = encoded(photo.convert("CMYK"), "JPEG", quality=95)
    assert image.probe(data, "a.jpg").colour == "rgb"
    got = image.read(data, spec(3, 32, 48)).astype(int)
    assert np.abs(got - np.asarray(photo).transpose(2, 0, 1)).mean() < 12
    palette = photo.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    data = encoded(palette, "PNG")
    assert image.probe(data, "a.png").colour == "rgb"
    assert np.array_equal(image.read(data, spec(3, 32, 48)), np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert image.probe(encoded(photo.convert("L").convert("P"), "PNG"), "a.png").colour == "grey"
    assert image.probe(encoded(photo.convert("1"), "PNG"), "a.png").colour == "grey"


def test_alpha_counts_only_where_it_is_used() -> None:
    opaque = Image.new("RGBA", (16, 16), (10, 20, 30, 255))
    assert image.probe(encoded(opaque, "PNG"), "a.png").colour == "rgb"
    clear = opaque.copy()
    clear.putpixel((0, 0), (10, 20, 30, 0))
    assert image.probe(encoded(clear, "PNG"), "a.png").colour == "rgba"
    on_white = image.read(encoded(clear, "PNG"), spec(3, 16, 16))
    assert on_white[:, 0, 0].tolist() == [255, 255, 255]
    assert on_white[:, 1, 1].tolist() == [10, 20, 30]
    assert image.read(encoded(clear, "PNG"), spec(4, 16, 16))[3, 0, 0] == 0
    gif = Image.new("P", (16, 16), 1)
    gif.putpalette([0, 0, 0, 200, 10, 10])
    gif.putpixel((3, 3), 0)
    assert image.probe(encoded(gif, "GIF", transparency=0), "a.gif").colour == "rgba"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_camera_rotation_is_honoured(kind: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20] = 255  # white corner at the top left
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1], 8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(turned)), kind, exif=exif)
    facts = image.probe(data, "a")
    assert (facts.height, facts.width) == (24, 40)
    got = image.read(data, spec(3, 24, 40)).astype(int)
    assert np.abs(got - upright.transpose(2, 0, 1)).mean() < 6


def test_fits() -> None:
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255  # the middle third is white
    data = encoded(Image.fromarray(wide), "PNG")
    assert (image.read(data, spec(1, 20, 20), fit="crop") == 255).all()
    pad = image.read(data, spec(1, 30, 30), fit="pad")[0]
    assert (pad[:10] == 0).all() and (pad[-10:] == 0).all() and pad[12:18, 13:17].min() > 240
    stretch = image.read(data, spec(1, 20, 20), fit="stretch")[0]
    assert stretch[:, 2].max() < 20 and stretch[:, 10].min() > 235
    assert image.read(data, spec(1, 7, 13)).shape == (1, 7, 13)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    got = image.read(encoded(Image.fromarray(stripes), "PNG"), spec(1, 16, 16))
    assert got.min() > 110 and got.max() < 145  # an even grey, not stripes of another width


def test_large_jpeg_is_drafted_to_the_same_picture() -> None:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    data = encoded(small.resize((1200, 900), Image.Resampling.BICUBIC), "JPEG", quality=95)
    got = image.read(data, spec(3, 32, 32)).astype(int)
    with Image.open(io.BytesIO(data)) as img:
        whole = img.convert("RGB").crop((150, 0, 1050, 900)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(got - np.asarray(whole).transpose(2, 0, 1)).mean() < 2


def test_unreadable_says_why(photo: Image.Image) -> None:
    png, jpeg = encoded(photo, "PNG"), encoded(photo, "JPEG")
    reasons = {
        b"": "zero bytes",
        b"\0" * 100: "only zero bytes",
        b"hello world": "not a picture",
        b"%PDF-1.4 ...": "PDF",
        b"<html><body>404": "web page",
        b"\0\0\0\x1cftypheic" + b"\0" * 50: "HEIC|damaged",
        png[:20]: "damaged|truncated|not a picture",
    }
    for data, reason in reasons.items():
        with pytest.raises(Unreadable, match=reason):
            image.probe(data, "a.png")
    for data in (png[: len(png) // 2], jpeg[: len(jpeg) // 2]):
        with pytest.raises(Unreadable, match=r"truncated|damaged"):
            image.read(data, spec(3, 32, 48))
    with pytest.raises(Unreadable):
        image.probe(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "a.eps")  # would start Ghostscript


def test_every_truncation_and_flip_is_unreadable_or_read(photo: Image.Image) -> None:
    rng = np.random.default_rng(0)
    deep = Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 256)
    cases = [encoded(photo, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")] + [encoded(deep, "TIFF")]
    for data in cases:
        for _ in range(60):
            broken = bytearray(data[: rng.integers(1, len(data) + 1)])
            for place in rng.integers(0, len(broken), 4):
                broken[place] ^= int(rng.integers(1, 256))
            try:
                image.probe(bytes(broken), "x.png")
                assert image.read(bytes(broken), spec(3, 16, 16)).shape == (3, 16, 16)
            except Unreadable as error:
                assert str(error)


def test_decompression_bomb_is_refused_from_its_header() -> None:
    def header(side: int) -> bytes:
        body = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        crc = struct.pack(">I", zlib.crc32(b"IHDR" + body))
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + body + crc + struct.pack(">I", 0) + b"IDAT"

    for side in (12_000, 100_000):
        with pytest.raises(Unreadable, match="more than 1 GiB once decoded"):
            image.probe(header(side), "a.png")


def test_canonical_is_exact_at_both_ends_and_inverts() -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x = image.canonical(stored)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert np.array_equal(image.quantised(x), stored)
    assert image.quantised(torch.tensor([[[[np.nan, 9.0, -9.0]]]])).max() == 255
    stored.flags.writeable = False
    assert torch.equal(image.canonical(stored), x)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_written_png_reads_back_with_its_metadata(tmp_path: Path, channels: int) -> None:
    item = image.canonical(np.random.default_rng(0).integers(0, 256, (1, channels, 9, 11), dtype=np.uint8))[0]
    about = About(run="runs/a", seed=7, more={"class": "猫"})
    path = image.write(item, tmp_path / "deep" / "a.png", spec(channels, 9, 11), about)
    assert np.array_equal(image.read(path.read_bytes(), spec(channels, 9, 11)), image.quantised(item))
    with Image.open(path) as img:
        assert img.text == {"Source": "AI-generated", "run": "runs/a", "seed": "7", "class": "猫"}  # type: ignore[attr-defined]
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_other_suffixes(tmp_path: Path) -> None:
    item = torch.zeros(4, 16, 16)
    for name in ("a.jpg", "a.webp"):
        path = image.write(item, tmp_path / name, spec(4, 16, 16), About(seed=7))
        with Image.open(path) as img:
            assert json.loads(img.getexif()[0x010E]) == {"Source": "AI-generated", "seed": "7"}
    with pytest.raises(UserError, match="docx"):
        image.write(item, tmp_path / "a.docx", spec(4, 16, 16), About())


def test_preview_enlarges_tiny_pictures_by_whole_numbers(tmp_path: Path) -> None:
    items = torch.full((5, 1, 8, 8), -1.0)
    items[0] = 1.0
    sheet = image.sheet(items)
    assert sheet.size == (3 * 66 + 2, 2 * 66 + 2)  # 8 pixels become 64
    pixels = np.asarray(sheet)
    assert (pixels[2:66, 2:66] == 255).all() and (pixels[2:66, 68:132] == 0).all()
    captioned = image.sheet(items, columns=5, captions=["one", "a very long caption indeed", "\n\x1b[1m", "two", ""])
    assert captioned.height == 2 + 64 + 12 + 2
    assert image.sheet(torch.zeros(2, 4, 8, 8)).mode == "RGB"
    # Squares are what they are, unless they are so few that nobody reads them.
    stripes = (torch.arange(16).view(1, 1, 1, 16) % 2 * 2.0 - 1).expand(1, 1, 16, 16)
    shown = [np.unique(np.asarray(image.sheet(each))[2:-2, 2:-2]) for each in (stripes, stripes[..., :15, :15])]
    assert shown[0].tolist() == [0, 255] and len(shown[1]) > 2
    written = image.preview(items, tmp_path / "p.png", spec(1, 8, 8), [], About(run="a", made=False))
    with Image.open(written) as img:
        assert img.size == sheet.size and img.text["Source"] == "real data"  # type: ignore[attr-defined]


# -- data --------------------------------------------------------------------------------------------


def fitted(pictures: list[bytes], **config: object) -> tuple[ColumnSpec, Notes]:
    cells, notes = [File(f"{i}.png", data) for i, data in enumerate(pictures)], Notes()
    facts = [image.examine(cell, ImageConfig()) for cell in cells]
    return image.fit(cells, facts, ImageConfig(**config), None, notes), notes  # type: ignore[arg-type]


def test_the_shape_is_chosen_from_what_is_learned_from() -> None:
    grey = [encoded(Image.new("L", (20, 20), level), "PNG") for level in range(9)]
    colour = encoded(Image.new("RGB", (20, 20), "red"), "PNG")
    assert fitted(grey)[0].shape == (1, 20, 20)
    assert fitted([*grey, colour])[0].shape == (1, 20, 20)  # the majority decides
    assert fitted([*grey, *9 * [colour]])[0].shape == (3, 20, 20)
    assert fitted([*grey, colour], channels="rgb", size=(9, 12))[0].shape == (3, 9, 12)
    known = spec(4, 32, 32)
    cells = [File("a.png", data) for data in grey]
    assert (
        image.fit(cells, [image.examine(cell, ImageConfig()) for cell in cells], ImageConfig(), known, Notes()) == known
    )


def test_what_cannot_be_encoded_is_named() -> None:
    whole, cut = encoded(Image.new("L", (20, 20), 7), "PNG"), encoded(Image.effect_noise((90, 90), 50), "PNG")[:-200]
    files = [File("a.png", whole), File("b.png", cut), File("c.png", Unreadable("locked by a password"))]
    good, broken, locked = image.encode(files, spec(1, 20, 20), ImageConfig())
    assert isinstance(good, np.ndarray) and (good == 7).all()
    assert "truncated" in str(broken) or "damaged" in str(broken)
    assert str(locked) == "locked by a password"
    (small,) = image.encode(files[:1], spec(1, 100, 60), ImageConfig())
    assert str(small) == "too small: 20x20 px for a target of 100x60"
    with pytest.raises(Unreadable, match="the least is 8"):
        image.examine(File("a.png", encoded(Image.new("L", (5, 9)), "PNG")), ImageConfig())


def test_labels(tmp_path: Path) -> None:
    config, notes = label.Config(), Notes()
    values: list[object] = ["dog", " cat ", None, True, 3.0, "cat"]
    facts = [None if value is None else label.examine(value, config) for value in values]
    assert facts == ["dog", "cat", None, "true", "3", "cat"]
    animals = label.fit(values, facts, config, None, notes)
    assert animals.classes == ("3", "cat", "dog", "true", "(missing)")
    assert animals.shares == tuple(n / 6 for n in (1, 2, 1, 1, 1))
    wide = label.widen(animals, [*facts, "bee"])
    assert (
        wide.classes == ("3", "bee", "cat", "dog", "true", "(missing)")
        and wide.shares[1] == 0
        and wide.shares[2] == 2 / 6
    )
    numbers = label.fit((), ["10", "9", "1"], config, None, notes)
    assert numbers.classes == ("1", "9", "10") and label.fit((), ["x"], config, animals, notes) is animals
    codes = label.encode(["cat", None, "cow"], animals, config)
    assert codes[:2] == [1, 4] and str(codes[2]) == "unknown class 'cow'"
    assert label.canonical(np.array([1, 0], np.int32)).dtype == torch.int64
    assert label.write(torch.tensor(1), tmp_path / "a.txt", animals, About(seed=1)).read_text() == "cat\n"
    assert label.sheet(torch.tensor([1, 0, 1]), animals) == "cat\n3\ncat"


def test_numbers() -> None:
    config = number.Config()
    facts = [number.examine(cell, config) for cell in ("1.5", 3, 4.5)]
    fitted_to = number.fit((), facts, config, None, Notes())
    assert (fitted_to.mean, fitted_to.low, fitted_to.high) == (3, 1.5, 4.5)
    assert number.encode(["2"], fitted_to, config)[0].dtype == np.float32
    assert number.fit((), [2.0, 2.0], config, None, Notes()).std == 1
    for broken in ("x", "nan", "inf"):
        with pytest.raises(Unreadable, match="is not a number"):
            number.examine(broken, config)


@pytest.mark.parametrize("suffix", [".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic"])
def test_further_formats_are_read_by_name_and_by_what_they_begin_with(suffix: str) -> None:
    from PIL import Image, features

    from maquette.modalities.image.claims import claims
    from maquette.modalities.image.files import probe

    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
    data = io.BytesIO()
    Image.new(mode, (16, 12)).save(data, {".avif": "AVIF", ".heic": "HEIF"}.get(suffix, "PPM"))
    assert claims(f"a{suffix.upper()}", b"") and claims("a", data.getvalue()[:64])
    facts = probe(data.getvalue(), f"a{suffix}")
    assert (facts.height, facts.width, facts.note) == (12, 16, "")


def test_characters_that_begin_like_a_picture_are_none() -> None:
    from maquette.modalities.image.claims import claims

    assert not any(claims("a", head) for head in (b"P3 is the third", b"P5\nwhat", b"P6 12 months"))


def test_heic_without_its_library_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.core.modality import Unreadable
    from maquette.modalities.image import files, opening

    monkeypatch.setattr(opening, "formats", lambda: ("PNG", "JPEG"))
    with pytest.raises(Unreadable, match=r"pip install 'maquette\[heif\]'"):
        files.probe(b"\0\0\0\x1cftypheic" + bytes(64), "a.heic")


@pytest.mark.parametrize("name", ["DSC_1.NEF", "IMG_1.cr2", "a/b.dng"])
def test_raw_files_of_cameras_are_no_pictures(name: str) -> None:
    """They begin like TIFF, and what is read of them as such is a thumbnail."""
    from maquette.modalities.image.claims import claims

    assert not claims(name, b"") and not claims(name, b"II*\0" + bytes(60)) and claims("a.tif", b"II*\0" + bytes(60))


@pytest.mark.parametrize(
    ("shape", "given", "recipe"),
    [
        ((3, 32, 32), (), "image/colour"),
        ((4, 64, 64), (label.Spec,), "image/colour"),
        ((3, 16, 16), (), "image/gan"),
        ((1, 64, 64), (label.Spec,), "image/gan"),
        ((3, 64, 64), (number.Spec,), "image/flow"),
        (None, (), "image/gan"),
    ],
)
def test_what_is_proposed_is_what_was_measured_to_be_best(shape, given, recipe) -> None:
    from maquette.modalities.image.options import first_recipe

    assert first_recipe(given, shape and ImageSpec(shape=shape)) == recipe
