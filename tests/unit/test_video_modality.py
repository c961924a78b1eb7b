"""Clips: files of every format, read and written; windows, scenes, time stamps, rotation; what is broken is named."""

from __future__ import annotations

import contextlib
import errno
import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.core.recipe import data_config
from maquette.data.gathered import MAGIC, parts_of, together
from maquette.data.open import open_dataset
from maquette.data.raw import File
from maquette.modalities.video import data, decoding, files, opening
from maquette.modalities.video.claims import claims, claims_array, gathers, may_be
from maquette.modalities.video.config import Config, Spec
from maquette.modalities.video.contract import made_up_cells
from maquette.modalities.video.scenes import rate_of, shown_at, usual
from maquette.modalities.video.values import asked, clip_in

av = pytest.importorskip("av")

ABOUT = About("Maquette 0", "runs/v", "flow_video", 3, 7, more={"label": "sieben é 七", "said": "x" * 600})
EXACT = (".webp", ".apng", ".frames", ".mkv")
GREY = Spec(shape=(1, 16, 32, 48), fps=15.0)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(cache: Path) -> Iterator[None]:
    decoding.keep()
    yield
    decoding.forget()


def contained(frames: list[np.ndarray], times: list[float], suffix: str = ".mkv", sound: bool = False) -> bytes:
    """A file of frames u8[H, W, 3] that are shown from these times on, in seconds."""
    form, codec, pixels = {
        ".mkv": ("matroska", "ffv1", "bgr0"), ".mp4": ("mp4", "libx264", "yuv444p"), ".avi": ("avi", "ffv1", "bgr0"),
        ".mov": ("mov", "libx264", "yuv444p"),
    }[suffix]  # fmt: skip
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as out:
        stream = out.add_stream(codec, 1000, options={"crf": "1"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        voice = out.add_stream("pcm_s16le", 8000) if sound else None
        for frame, time in zip(frames, times, strict=True):
            known = av.VideoFrame.from_ndarray(frame, "rgb24")
            known.pts, known.time_base = round(time * 1000), Fraction(1, 1000)
            out.mux(stream.encode(known))
        out.mux(stream.encode(None))
        if voice:
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            heard.sample_rate = 8000
            out.mux([*voice.encode(heard), *voice.encode(None)])
    return buffer.getvalue()


def flat(level: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def evenly(count: int, rate: float) -> list[float]:
    return [i / rate for i in range(count)]


def levels(item: np.ndarray | Unreadable) -> list[int]:
    """The level of each frame of u8[C, T, H, W]."""
    assert isinstance(item, np.ndarray)
    return [round(float(frame.mean())) for frame in item[0]]


# -- formats -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", *EXACT, ".webm", ".mp4", ".h264.mp4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_back_with_its_label(tmp_path: Path, suffix: str, channels: int) -> None:
    spec = Spec(shape=(channels, 16, 32, 48), fps=15.0)
    item = files.made_up(spec, 1, 2)[0]
    path = files.write(item, tmp_path / f"one{suffix}", spec, ABOUT)
    again = clip_in(path, spec)
    assert again.shape == item.shape
    apart = (again - item).abs()
    assert apart.max() <= 1 / 127 if suffix in (*EXACT, ".gif") else apart.mean() < 0.05
    assert files.origin(path) == ABOUT.fields


@pytest.mark.parametrize("suffix", [".mp4", ".h264.mp4", ".webm"])
@pytest.mark.parametrize("size", [(9, 15), (16, 30), (65, 80)])
def test_odd_sides_alone_are_enlarged(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    spec = Spec(shape=(1, 4, *size), fps=10.0)
    path = files.write(files.made_up(spec, 1)[0], tmp_path / f"x{suffix}", spec, ABOUT)
    with av.open(str(path)) as file:
        found = (file.streams.video[0].height, file.streams.video[0].width)
    times = 2 if any(side % 2 for side in size) else 1
    assert found == (times * size[0], times * size[1])


def test_a_label_that_is_not_kept_stops_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "origin", lambda path: {})
    with pytest.raises(UserError, match="does not keep the label"):
        files.write(files.made_up(GREY, 1)[0], tmp_path / "x.webm", GREY, ABOUT)
    assert not [*tmp_path.iterdir()]


def test_no_other_suffix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written as '\.wmv'"):
        files.write(files.made_up(GREY, 1)[0], tmp_path / "x.wmv", GREY, ABOUT)


def test_without_pyav_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    whole = contained([flat(9 * i) for i in range(20)], evenly(20, 10))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="PyAV") as caught:
        data.examine(File("x.mkv", whole), Config())
    assert "maquette[video]" in str(caught.value) and "GPL" in str(caught.value)
    with pytest.raises(UserError, match="PyAV"):
        files.write(files.made_up(GREY, 1)[0], tmp_path / "x.webm", GREY, ABOUT)
    assert data.examine(made_up_cells(1)[0], Config()).format == "GIF"


# -- time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".mov"])
def test_containers_are_read(suffix: str) -> None:
    frames = [flat(10 * i) for i in range(16)]
    whole = contained(frames, evenly(16, 10), suffix)
    assert claims(f"x{suffix}", b"") and claims("x", whole[:4096])
    facts = data.examine(File(f"x{suffix}", whole), Config())
    assert (facts.frames, facts.rate, facts.starts, facts.coloured) == (16, 10.0, (0.0,), False)
    (item,) = data.encode([File(f"x{suffix}", whole)], Spec(shape=(1, 16, 32, 32), fps=10.0), Config())
    assert np.abs(np.array(levels(item)) - np.arange(16) * 10).max() <= 2


def test_variable_rates_are_resampled_by_time_stamps() -> None:
    # Shown at 0, 0.1, 0.2, 0.7, 0.8 s, ...: the third stays for half a second.
    times = [0, 0.1, 0.2, *(0.7 + i / 10 for i in range(12))]
    whole = contained([flat(10 * i) for i in range(15)], times)
    facts = data.examine(File("x.mkv", whole), Config())
    assert facts.rate == 10.0 and decoding.UNEVEN in facts.odd
    (item,) = data.encode([File("x.mkv", whole)], Spec(shape=(1, 16, 32, 32), fps=10.0), Config())
    assert levels(item) == [0, 10, 20, 20, 20, 20, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]


def test_another_rate_takes_every_second_frame() -> None:
    whole = contained([flat(5 * i) for i in range(40)], evenly(40, 20))
    config = Config(fps=10.0)
    assert data.examine(File("x.mkv", whole), config).starts == (0.0,)
    (item,) = data.encode([File("x.mkv", whole)], Spec(shape=(1, 16, 32, 32), fps=10.0), config)
    assert levels(item) == [10 * i for i in range(16)]


@pytest.mark.parametrize(
    ("own", "common", "firsts"), [(20, 10, [0, 80, None, None, None]), (10, 20, [0, 40, 80, 120, 160])]
)
def test_windows_at_a_common_rate_show_no_frame_twice(own: int, common: int, firsts: list[int | None]) -> None:
    whole = File("x.mkv", contained([flat(5 * i) for i in range(40)], evenly(40, own)))
    config, spec = Config(frames=8), Spec(shape=(1, 8, 32, 32), fps=common)
    parts = range(len(data.examine(whole, config).starts))
    items = data.encode([replace(whole, part=part) for part in parts], spec, config)
    found = [None if isinstance(item, Unreadable) else levels(item) for item in items]
    assert [levels and levels[0] for levels in found] == firsts
    shown = [level for levels in found if levels for level in dict.fromkeys(levels)]
    assert len(shown) == len({*shown})


def test_rates() -> None:
    assert rate_of(np.arange(50) / 25) == 25.0
    assert rate_of(np.arange(50) / 60) == 30.0
    assert rate_of(np.round(np.arange(50) / 30, 2)) == 30.0  # as GIF has it
    assert rate_of(np.arange(50) * 1001 / 30_000) == 30.0
    assert usual(24_000 / 1001) == 24.0 and usual(50) == 25.0 and usual(2.5) == 2.5
    assert shown_at(np.array([0, 0.033, 0.067]), np.arange(3) / 30, 1 / 30).tolist() == [0, 1, 2]


# -- windows and scenes ------------------------------------------------------------------------------


def test_a_file_is_cut_into_windows_within_its_scenes() -> None:
    scenes = [np.array(colour) for colour in ([20, 20, 20], [200, 60, 40], [30, 200, 220])]
    frames = [
        np.tile(colour + np.array([i % 8] * 3), (32, 32, 1)).astype(np.uint8) for colour in scenes for i in range(20)
    ]
    facts = data.examine(File("x.mkv", contained(frames, evenly(60, 10))), Config(frames=8))
    assert facts.cuts == 2
    assert facts.starts == pytest.approx((0, 0.8, 2, 2.8, 4, 4.8))
    whole = data.examine(File("x.mkv", contained(frames, evenly(60, 10))), Config(frames=8, cut=False))
    assert whole.cuts == 0 and len(whole.starts) == 7


def test_motion_and_flicker_are_no_change_of_scene() -> None:
    moving = [np.roll(np.kron(np.eye(4, dtype=np.uint8)[..., None] * 255, np.ones((8, 8, 3), np.uint8)), 9 * i, 1)
              for i in range(20)]  # fmt: skip
    flicker = [flat(28 + 8 * (i % 2)) for i in range(20)]
    for frames in (moving, flicker):
        assert data.examine(File("x.mkv", contained(frames, evenly(20, 10))), Config()).cuts == 0


def test_copies_are_found_and_other_motion_on_the_same_ground_is_not() -> None:
    draws = np.random.default_rng(0)
    ground = draws.integers(0, 256, (1, 1, 32, 32)).repeat(16, 1)
    clips = []
    for _ in range(12):
        clip, (y, x), way = ground.copy(), draws.integers(0, 24, 2), draws.integers(-3, 4, 2)
        for t in range(16):
            top, left = (int(v) % 24 for v in (y + way[0] * t, x + way[1] * t))
            clip[:, t, top : top + 8, left : left + 8] = 255 * (top % 2)
        clips.append(clip)
    coded = (clips[3] * 0.9 + 8 + draws.normal(0, 4, clips[3].shape)).clip(0, 255)
    stored = np.stack([*clips, coded]).astype(np.uint8)
    likeness = data.Likeness()
    for part in (stored[:5], stored[5:]):
        likeness.add(part)
    assert likeness.pairs(stored, np.arange(13)).tolist() in ([[3, 12]], [[12, 3]])
    assert not len(likeness.pairs(stored, np.arange(12)))
    black = data.Likeness()
    black.add(0 * stored)
    assert not len(black.pairs(0 * stored, np.arange(13)))  # these are equal, which is found without


def test_a_file_is_decoded_once_for_all_its_windows(kept: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, decodes = contained([flat(5 * i) for i in range(40)], evenly(40, 10)), []
    opened = opening.opened
    monkeypatch.setattr(decoding, "opened", lambda data, name: decodes.append(name) or opened(data, name))
    config, spec = Config(size=(32, 32)), Spec(shape=(1, 16, 32, 32), fps=10.0)
    facts = data.examine(File("x.mkv", whole), config)
    assert data.parts(facts, config, 1) == 2
    items = data.encode([File("x.mkv", whole, part) for part in (0, 1, 2)], spec, config)
    assert levels(items[0]) == [5 * i for i in range(16)] and levels(items[1]) == [80 + 5 * i for i in range(16)]
    assert isinstance(items[2], Unreadable)
    assert decodes == ["x.mkv"]


def test_windows_of_one_file_never_straddle_the_split(tmp_path: Path, cache: Path) -> None:
    draws = np.random.default_rng(0)
    for i in range(12):
        clip = (
            draws.integers(0, 60, (1, 24, 24, 1), np.uint8).repeat(40, 0)
            + np.arange(40, dtype=np.uint8)[:, None, None, None]
        )
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / f"{i}.gif").write_bytes(files.moving(clip, 10, ".gif"))
    config = {"video": {"size": [24, 24], "frames": 8}}
    found = open_dataset(tmp_path / "clips", data_config(config), target=("video",))
    assert len(found.train) + len(found.test) == 60
    sides = [{name.partition("#")[0] for name in side.names} for side in (found.train, found.test)]
    assert not sides[0] & sides[1] and sides[1]
    assert found.train.columns["video"].spec.shape == (1, 8, 24, 24)
    assert not [
        path for path in (cache / "prepared").iterdir() if path.name.startswith(".")
    ]  # what was decoded is gone


def test_frames_in_folders_are_clips_where_clips_are_asked_for(tmp_path: Path, cache: Path) -> None:
    spec = Spec(shape=(1, 16, 16, 16), fps=10.0)
    for i in range(10):
        kind = "walk" if i % 2 else "run"
        files.write(files.made_up(spec, 1, i)[0], tmp_path / "data" / kind / f"clip_{i}.frames", spec, ABOUT)
    found = open_dataset(tmp_path / "data", data_config({"video": {"size": [16, 16], "fps": 25}}), target=("video",))
    assert found.train.columns["video"].spec == Spec(shape=(1, 16, 16, 16), fps=25.0)
    assert found.train.columns["label"].spec.classes == ("run", "walk")
    assert len(found.train) + len(found.test) == 10
    pictures = open_dataset(tmp_path / "data")
    assert set(pictures.train.columns) == {"image", "label"}  # of these, each frame is an item


def test_which_files_are_gathered() -> None:
    names = ["a/0001.png", "a/0002.png", "a/0010.png", "b/x-2.jpg", "b/x-1.jpg", "b/y-1.jpg", "b/y-2.jpg", "c/one.png"]
    found = gathers(names, lambda i: b"")
    assert found == {"a": [0, 1, 2], "b/x": [4, 3], "b/y": [5, 6]}
    assert gathers(["a/00000.webp", "a/00001.webp"], lambda i: b"RIFF\0\0\0\0WEBPVP8XANIM") == {}
    assert parts_of(together([b"one", b"", b"three"])) == [b"one", b"", b"three"]


def test_moving_pictures_are_clips_where_clips_are_asked_for() -> None:
    assert may_be("x.gif", b"") and not claims("x.gif", b"")
    assert claims_array((16, 1, 32, 32), np.dtype("u1")) == 1.0 and claims_array((20, 64, 64), np.dtype("u1")) == 0.9
    assert not claims_array((28, 28, 1, 1), np.dtype("u1")) and not claims_array((28, 28), np.dtype("u1"))


# -- what is odd -------------------------------------------------------------------------------------


def test_a_turned_file_is_upright() -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24] = 200  # the corner at the upper left
    whole = contained([frame] * 16, evenly(16, 10), ".mp4")
    plain, clockwise = (struct.pack(">9i", *m) for m in (
        (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30),
    ))  # fmt: skip
    at = whole.index(b"tkhd")
    turned = whole[:at] + whole[at:].replace(plain, clockwise, 1)
    facts = data.examine(File("x.mp4", turned), Config())
    assert (facts.height, facts.width) == (48, 32) and decoding.TURNED in facts.odd
    (item,) = data.encode([File("x.mp4", turned)], Spec(shape=(1, 16, 48, 32), fps=10.0), Config(size=(48, 32)))
    assert isinstance(item, np.ndarray)
    assert abs(item.astype(int)[0, 0] - np.rot90(frame, -1)[..., 0]).mean() < 3


def test_sound_is_left_aside_and_said() -> None:
    whole = contained([flat(9 * i) for i in range(16)], evenly(16, 10), sound=True)
    assert data.examine(File("x.mkv", whole), Config()).sounds == 1


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_odd_sizes_are_fitted(fit: str) -> None:
    config, spec = Config(size=(16, 16), fit=fit), Spec(shape=(3, 16, 16, 16), fps=10.0)
    whole = contained(
        [np.dstack([flat(9 * i, 21, 37)[..., 0], *[flat(50, 21, 37)[..., :2]]]) for i in range(16)], evenly(16, 10)
    )
    (item,) = data.encode([File("x.mkv", whole)], spec, config)
    assert isinstance(item, np.ndarray) and item.shape == spec.shape
    assert (item[:, 5, 0].max() == 0) == (fit == "pad")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_fitted_as_files_are(fit: str, channels: int) -> None:
    clip = np.full((16, 12, 24, channels), 200, np.uint8)
    clip[:, :, :6] = 100
    (item,) = data.encode([clip], Spec(shape=(channels, 16, 12, 12), fps=10.0), Config(fit=fit))
    assert isinstance(item, np.ndarray) and item.shape == (channels, 16, 12, 12)
    assert (
        item[0, 0, :, 0].tolist()
        == {"crop": [200] * 12, "pad": [0] * 3 + [100] * 6 + [0] * 3, "stretch": [100] * 12}[fit]
    )


def test_arrays_of_any_order() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    spec, config = Spec(shape=(3, 16, 16, 16), fps=10.0), Config(frames=16)
    orders = [clip, clip.transpose(3, 0, 1, 2), clip.transpose(0, 3, 1, 2), (clip / 255).astype(np.float32)]
    items = data.encode(orders, spec, config)
    assert all(np.array_equal(item, clip[:16].transpose(3, 0, 1, 2)) for item in items)
    assert data.examine(clip, config).rate == data.UNTIMED_RATE
    for broken in (clip.astype(float), clip[:3], np.full((20, 16, 16), np.nan), clip[..., :2]):
        with pytest.raises(Unreadable):
            data.examine(broken, config)


def broken() -> dict[str, bytes]:
    whole = contained([flat(9 * i) for i in range(20)], evenly(20, 10), ".mp4")
    silent = io.BytesIO()
    with av.open(silent, "w", format="matroska") as out:
        voice = out.add_stream("pcm_s16le", 8000)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        heard.sample_rate = 8000
        out.mux([*voice.encode(heard), *voice.encode(None)])
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    cut = contained([*noise], evenly(20, 10))
    return {
        "nothing.mp4": b"", "words.mp4": b"no clip", "zeros.mkv": bytes(4096), "cut off.mp4": whole[: len(whole) // 2],
        "cut off.mkv": cut[: len(cut) // 2], "sound.mkv": silent.getvalue(),
        "one.mkv": contained([flat(1)], [0.0]), "short.mkv": contained([flat(9 * i) for i in range(9)], evenly(9, 10)),
        "one.png": files.moving(noise[:1], 10, ".apng"), "cut off.gif": files.moving(noise, 10, ".gif")[:20_000],
        "cut off.webp": files.moving(noise, 10, ".webp")[:20_000], "gathered.x": MAGIC + struct.pack("<Q", 2**60),
        "short.x": together([files.moving(noise[:1], 10, ".apng")] * 3),
    }  # fmt: skip


@pytest.mark.parametrize("name", [*broken()])
def test_what_is_broken_is_named_with_its_reason(name: str, kept: None) -> None:
    cell = File(name, broken()[name])
    with pytest.raises(Unreadable) as caught:
        data.examine(cell, Config())
    assert 3 < len(str(caught.value)) < 120
    (item,) = data.encode([cell], Spec(shape=(1, 16, 64, 64), fps=10.0), Config())
    assert isinstance(item, Unreadable)


def test_hostile_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contained([flat(9 * i, 64, 64) for i in range(20)], evenly(20, 10))
    monkeypatch.setenv("MAQUETTE_DECODE_LIMIT", "20000")
    with pytest.raises(Unreadable, match="more than 20000 once decoded"):
        data.examine(File("x.mkv", whole), Config())


# -- what people give --------------------------------------------------------------------------------


def test_a_clip_that_is_given_is_long_enough(tmp_path: Path) -> None:
    path = files.write(files.made_up(GREY, 1)[0], tmp_path / "x.gif", GREY, ABOUT)
    assert asked(path, GREY, print).shape == GREY.shape
    with pytest.raises(UserError, match="has 16 frames at 15 a second, and 20 are needed"):
        asked(path, GREY.model_copy(update={"shape": (1, 20, 32, 48)}), print)
    with pytest.raises(UserError, match="cannot be used"):
        asked(tmp_path / "none.gif", GREY, print)


def test_canonical_and_back() -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(1, 1, 4, 8, 8)
    items = files.canonical(stored)
    assert items.min() == -1 and items.max() == 1 and torch.isfinite(items).all()
    assert np.array_equal(files.quantised(items), stored)


def test_series_of_frames_are_told_apart_by_all_of_their_names() -> None:
    pairs = [(f"a/000{i}_left.png", f"a/000{i}_right.png") for i in (1, 2)]
    names = [*pairs[0], *pairs[1], "b/1.png", "b/2.png", "b/1.jpg", "b/2.jpg",
             "c/d_1.png", "c/d_2.png", "c/d-1.png", "c/d-2.png"]  # fmt: skip
    found = gathers(names, lambda number: b"")
    assert sorted(found.values()) == [[0, 2], [1, 3], [4, 5], [6, 7], [8, 9], [10, 11]]


def test_a_full_disk_is_no_damage_of_a_clip() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        decoding._decode(contained([flat(9), flat(99)], [0, 0.1]), "a.mkv", (16, 16), "crop", Full())


def test_a_frame_of_one_row_is_not_made_larger_than_the_limit() -> None:
    with pytest.raises(Unreadable):
        decoding.fitted(lambda h, w: np.zeros((h, w, 3), np.uint8), (1, 2**16), (64, 64), "crop")


def test_time_stamps_that_are_far_off_are_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def frames() -> Iterator[opening.Frame]:
        for time in (0.0, 0.1, 0.2, 1e9):
            yield opening.Frame(time, (8, 8), lambda h, w: np.zeros((h, w, 3), np.uint8))

    monkeypatch.setattr(decoding, "opened", lambda *_: contextlib.nullcontext(opening.Opened("mp4", frames())))
    with pytest.raises(Unreadable, match="time stamps"):
        decoding._decode(b"x", "a.mp4", (8, 8), "crop", None)
