"""Sounds as data and as files: every form of file, every way in which one can be broken, and what comes out."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from maquette.core.about import About
from maquette.core.batch import lengths
from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.modality import Notes, Unreadable
from maquette.data import open_dataset
from maquette.data.raw import File
from maquette.modalities import audio
from maquette.modalities.audio import duplicates, levels, values
from maquette.modalities.audio.claims import claims
from maquette.modalities.audio.config import Config, Spec
from maquette.modalities.audio.contract import file_of
from maquette.modalities.audio.data import encode, examine, fit, parts, stored
from maquette.modalities.audio.duplicates import Likeness
from maquette.modalities.audio.opening import format_of, header, resampled, samples
from maquette.modalities.image.contract import png

ABOUT = About("Maquette 0.1.0", "runs/x", "wavenet", 7, 3, True, {"label": "sieben, 七"})
SPEC = Spec(shape=(1, 8192), rate_hz=8000)


def tone(seconds: float = 0.5, rate: int = 8000, pitch: float = 440.0, loud: float = 0.5) -> np.ndarray:
    return loud * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def one(data: bytes, name: str = "x.wav", config: Config | None = None, spec: Spec = SPEC) -> np.ndarray:
    """A file as it is stored; raises Unreadable where it cannot be."""
    config = config or Config()
    examine(File(name, data), config)
    (made,) = encode([File(name, data)], spec, config)
    if isinstance(made, Unreadable):
        raise made
    return made


def refused(data: bytes, name: str = "x.wav", **config: Any) -> str:
    with pytest.raises(Unreadable) as found:
        one(data, name, Config(**config))
    return str(found.value)


# -- files that are valid ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "coding", "off"),
    [("WAV", "PCM_U8", 2**-7), ("WAV", "PCM_16", 2**-15), ("WAV", "PCM_24", 2**-15), ("WAV", "PCM_32", 2**-15),
     ("WAV", "FLOAT", 2**-15), ("WAV", "DOUBLE", 2**-15), ("WAV", "ULAW", 0.02), ("WAV", "IMA_ADPCM", 0.05),
     ("WAVEX", "PCM_24", 2**-15), ("RF64", "PCM_16", 2**-15), ("AIFF", "PCM_16", 2**-15), ("FLAC", "PCM_24", 2**-15),
     ("OGG", "VORBIS", 0.05), ("OGG", "OPUS", 0.1), ("MP3", "MPEG_LAYER_III", 0.05)],
)  # fmt: skip
def test_every_coding_is_the_same_sound(form: str, coding: str, off: float) -> None:
    wave = tone() * np.hanning(4000)
    found = one(file_of(wave, form=form, subtype=coding))[0] / 2**15
    assert np.abs(found[:4000] - wave).max() <= off


def test_sixteen_bits_stay_as_they_are() -> None:
    wave = np.random.default_rng(0).integers(-(2**15), 2**15, 4000).astype(np.int16)
    found = one(file_of(wave))
    assert found.dtype == np.int16 and (found[0, :4000] == wave).all() and not found[0, 4000:].any()
    assert audio.canonical(found[None]).dtype == torch.float32
    assert (audio.quantised(audio.canonical(found[None]))[0] == found).all()


def test_other_rates_are_resampled() -> None:
    for rate in (11_025, 44_100, 192_000):
        found = one(file_of(tone(0.5, rate), rate))[0] / 2**15
        assert np.abs(found[200:3800] - tone()[200:3800]).max() < 0.01, rate


def test_many_channels_are_mixed() -> None:
    eight = np.stack([tone(pitch=100 * (i + 1), loud=0.1) for i in range(8)], 1)
    assert np.allclose(one(file_of(eight))[0, :4000] / 2**15, eight.mean(1), atol=1e-4)
    two = one(file_of(eight), spec=Spec(shape=(2, 8192), rate_hz=8000)) / 2**15
    assert np.allclose(two[0, :4000], (eight[:, 0] + eight[:, 2:].mean(1)) / 2, atol=1e-4)
    assert (one(file_of(tone()), spec=Spec(shape=(2, 8192), rate_hz=8000))[0]
            == one(file_of(tone()), spec=Spec(shape=(2, 8192), rate_hz=8000))[1]).all()  # fmt: skip


def test_eight_channels_at_192_khz() -> None:
    wave = np.repeat(tone(0.2, 192_000)[:, None], 8, 1)
    assert abs(np.abs(one(file_of(wave, 192_000, subtype="PCM_24"))).max() / 2**15 - 0.5) < 0.02


def test_a_wav_that_lies_of_its_own_length_alone_is_read() -> None:
    data = bytearray(file_of(tone()))
    for lie in (0, 12, 2**32 - 1):
        data[4:8] = struct.pack("<I", lie)
        assert one(bytes(data)).any()
    for streamed in (2**32 - 1, 0x7FFFFFFF):  # of who writes a header before the sound
        data[40:44] = struct.pack("<I", streamed)
        assert (one(bytes(data)) == one(file_of(tone()))).all()


def test_an_mp3_that_does_not_say_how_long_it_is() -> None:
    wave = np.concatenate([np.zeros(16_000), np.random.default_rng(0).normal(0, 0.2, 16_000), tone(1.0)])
    whole = file_of(wave, form="MP3", bitrate_mode="VARIABLE", compression_level=0.3)
    bare = whole[whole.index(whole[:2], 10) :]  # without its first frame, which says it
    assert header(whole).frames == 40_000 and 40_000 <= header(bare).frames < 44_000
    assert samples(bare).shape[1] == header(bare).frames
    tagged = b"ID3\x04\0\0\0\0\x20\0" + bytes(4096) + whole
    assert header(tagged).frames == 40_000


def test_floats_beyond_full_scale_are_turned_down() -> None:
    found = one(file_of(4 * tone(), subtype="FLOAT"))
    assert np.allclose(found[0, :4000] / 2**15, tone(loud=1.0), atol=1e-2)


def test_what_is_called_otherwise_is_read_and_said() -> None:
    facts = examine(File("x.wav", file_of(tone(), form="MP3")), Config())
    assert facts.note == "named .wav but is MP3" and facts.header.format == "MP3"
    assert examine(File("no suffix", file_of(tone())), Config()).note == ""


# -- files that are not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"no sound at all", "not a sound"),
        (b"ID3 is a tag of files of sound", "not a sound"),
        (bytes(4000), "only zero bytes"),
        (png(np.zeros((16, 16), np.uint8)), r"a picture \(PNG\)"),
        (b"MThd" + bytes(20), "MIDI"),
        (b"\0\0\0\x20ftypM4A " + bytes(20), "M4A"),
        (file_of(np.zeros(0)), "no samples"),
        (file_of(np.ones(1)), "too short: 1 sample"),
        (file_of(np.zeros(4000)), "silent"),
        (file_of(np.full(4000, 1e-6), subtype="FLOAT"), "silent"),
        (file_of(np.array([0.5, np.nan] * 2000), subtype="FLOAT"), "no numbers"),
        (file_of(np.array([0.5, np.inf] * 2000), subtype="DOUBLE"), "no numbers"),
        (file_of(tone())[:4000], "truncated: 3,956 bytes of sound, and its header says 8,000"),
        (file_of(tone())[:44], "truncated: 0 bytes"),
        (file_of(tone())[:30], "truncated: there is no sound"),
        (file_of(tone(), form="FLAC")[:900], "damaged|truncated"),
        (file_of(tone(), form="OGG")[:900], "damaged|truncated"),
        (file_of(tone(5), form="MP3")[:3000], "damaged|truncated"),
        (file_of(tone(), form="FLAC")[:42] + bytes(2000), "damaged|truncated"),
    ],
)
def test_what_is_broken_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    import re

    assert re.search(reason, refused(data))


def test_a_header_cannot_make_us_allocate() -> None:
    data = bytearray(file_of(tone()))
    data[40:44] = struct.pack("<I", 10**9)
    assert "truncated" in refused(bytes(data))
    data = bytearray(file_of(tone()))
    data[40:44] = struct.pack("<I", 0)
    assert "no sound follows" in refused(bytes(data))
    flac = bytearray(file_of(tone(), form="FLAC"))
    flac[21] |= 0x0F  # 2 ** 36 - 1 samples
    flac[22:26] = b"\xff" * 4
    assert refused(bytes(flac))
    data = bytearray(file_of(tone()))
    data[24:28] = struct.pack("<I", 4)
    assert "4 samples a second" in refused(bytes(data))


def test_the_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_DECODE_LIMIT", "50KB")
    assert "once decoded" in refused(file_of(tone()))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in (("soundfile", file_of(tone())), ("soxr", file_of(tone(0.5, 16_000), 16_000))):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            with pytest.raises(UserError, match=name) as found:
                one(data)
            assert "maquette[audio]" in found.value.remedy


# -- how they are prepared ---------------------------------------------------------------------------


def fitted(*sounds: bytes, **config: Any) -> Spec:
    cells = [File(f"{i}.wav", data) for i, data in enumerate(sounds)]
    made = Config(**config)
    return fit(cells, [examine(cell, made) for cell in cells], made, None, Notes())


def test_rate_and_channels_are_those_of_most() -> None:
    slow, fast = file_of(tone()), file_of(tone(0.5, 16_000), 16_000)
    assert fitted(slow, slow, fast).rate_hz == 8000 and fitted(slow, slow, fast, rate=22_050).rate_hz == 22_050
    sides = file_of(np.stack([tone(), tone(pitch=300)], 1))
    alike = file_of(np.stack([tone(), tone()], 1))
    assert fitted(sides, sides, slow).channels == 2 and fitted(alike, alike, slow).channels == 1
    assert fitted(sides, mix="mono").channels == 1 and fitted(slow, mix="stereo").channels == 2


def test_an_item_is_as_long_as_nearly_all_clips() -> None:
    usual = [file_of(tone(0.2 + 0.01 * (i % 10))) for i in range(99)]
    assert fitted(*usual).shape == (1, 2560)  # 0.29 s, and up to a multiple of 256
    assert fitted(*usual, file_of(tone(0.4))).shape == (1, 3328)  # as long as the longest, which is not much more
    assert fitted(*usual, *usual, file_of(tone(5))).shape == (1, 2560)
    assert fitted(*usual, seconds=0.25).shape == (1, 2000)
    assert fitted(*usual, *usual, file_of(tone(21))).shape == (1, 2560)  # one recording among many clips
    assert fitted(*usual[:50], file_of(tone(21))).shape == (1, 32_000)


def test_an_item_has_not_too_many_samples() -> None:
    with pytest.raises(UserError, match="9,600,000 samples"):
        fitted(file_of(tone()), seconds=600, rate=16_000)


def test_what_is_longer_is_cut_or_left_out() -> None:
    spec = Spec(shape=(1, 1000), rate_hz=8000)
    assert one(file_of(tone(0.2)), spec=spec).shape == (1, 1000)
    with pytest.raises(Unreadable, match="too long"):
        one(file_of(tone(0.2)), config=Config(longer="leave out"), spec=spec)


def test_silence_at_the_ends_is_trimmed_where_asked() -> None:
    quiet = np.concatenate([np.full(1600, 1e-4), tone(), np.full(1600, 1e-4)])
    assert lengths(audio.canonical(one(file_of(quiet))[None])).item() == 7200
    (trimmed,) = lengths(audio.canonical(one(file_of(quiet), config=Config(trim=40))[None])).tolist()
    assert 3840 <= trimmed <= 4160
    assert examine(File("x.wav", file_of(quiet)), Config(trim=40)).seconds == trimmed / 8000


def test_loudness() -> None:
    quiet = file_of(tone(loud=0.01))
    assert abs(levels.loudness(one(quiet, config=Config(loudness=-20))[:, :4000] / 2**15) + 20) < 0.1
    assert np.abs(one(quiet, config=Config(loudness="peak"))).max() == 2**15 - 1
    assert np.abs(one(quiet, config=Config(loudness=0)).astype(int)).max() <= 2**15 - 1  # as loud as it can be
    assert Config(loudness=False).loudness is None


def test_levels_of_known_waves() -> None:
    assert abs(levels.loudness(tone(1.0, loud=1.0)[None]) + 3.01) < 0.01
    assert levels.clipped(np.clip(2 * tone(loud=1), -1, 1)[None].astype(np.float32)) > 0.3
    assert levels.clipped(tone(loud=0.98)[None].astype(np.float32)) == 0
    assert levels.decibels(0.0) == levels.FLOOR


def test_long_recordings_are_windows() -> None:
    recording = File("x.wav", file_of(np.concatenate([tone(4.0, pitch=200 * (k + 1)) for k in range(6)])))
    facts = examine(recording, Config())
    assert parts(facts, Config(), 1) == 6 and fit([], [facts], Config(), None, Notes()).shape == (1, 32_000)
    spec = Spec(shape=(1, 32_000), rate_hz=8000)
    (third,) = encode([File("x.wav", recording.payload, 2)], spec, Config())
    assert np.allclose(third[0] / 2**15, tone(4.0, pitch=600), atol=1e-4)
    fast = Spec(shape=(1, 64_000), rate_hz=16_000)
    (again,) = encode([File("x.wav", recording.payload, 2)], fast, Config())
    assert np.allclose(again[0, 100:-100] / 2**15, tone(4.0, 16_000, 600)[100:-100], atol=2e-3)
    assert parts(examine(recording, Config(windows=False)), Config(windows=False), 1) == 1
    assert parts(examine(recording, Config(seconds=1)), Config(seconds=1), 1) == 24
    assert parts(examine(recording, Config(seconds=13)), Config(seconds=13), 1) == 1  # not twice as long
    assert parts(examine(recording, Config(seconds=11, windows=True)), Config(seconds=11, windows=True), 1) == 2


@pytest.mark.parametrize(
    ("form", "coding"), [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
                         ("MP3", "MPEG_LAYER_III")],
)  # fmt: skip
def test_a_window_is_what_it_is_within_the_whole(form: str, coding: str, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000 * 20).cumsum() % 1 - 0.5
    data = file_of(noise, form=form, subtype=coding)
    whole = samples(data)
    for start in (0, 500, 2**16, 100_001):
        assert np.allclose(samples(data, start, 8000), whole[:, start : start + 8000], atol=1e-6, rtol=0)
    assert capfd.readouterr().err == ""


def test_a_recording_may_begin_with_silence(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(file_of(np.concatenate([np.zeros(8000 * 5), np.random.default_rng(0).normal(0, 0.1, 8000 * 36)])))
    data = open_dataset(path, DataConfig(), target=("audio",), cache=tmp_path / "cache")
    assert len(data.train) + len(data.test) == 9
    assert [entry["reason"] for entry in data.summary["left_out"]] == ["silent"]


def test_windows_that_are_not_there_are_none() -> None:
    data = bytearray(file_of(np.random.default_rng(0).normal(0, 0.1, 8000 * 25), form="FLAC"))
    for samples_said, reason in ((2**36 - 1, "damaged|truncated"), (0, "how long")):
        data[21] = data[21] & 0xF0 | samples_said >> 32
        data[22:26] = struct.pack(">I", samples_said & 0xFFFFFFFF)
        with pytest.raises(Unreadable, match=reason):
            examine(File("x.flac", bytes(data)), Config())


def test_windows_of_one_recording_are_on_one_side(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for i in range(8):
        (tmp_path / f"{i}.flac").write_bytes(file_of(draws.normal(0, 0.1, 8000 * (3 + i)), form="FLAC"))
    config = DataConfig(audio={"seconds": 1, "windows": True})
    data = open_dataset(tmp_path, config, target=("audio",), cache=tmp_path / "cache")
    sides = [{name.partition("#")[0] for name in table.names} for table in (data.train, data.test)]
    assert len(data.train) + len(data.test) == sum(3 + i for i in range(8)) and not sides[0] & sides[1]


def test_of_one_recording_the_end_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(file_of(np.random.default_rng(0).normal(0, 0.1, 8000 * 40)))
    data = open_dataset(path, DataConfig(), target=("audio",), cache=tmp_path / "cache")
    assert [*data.test.names] == ["long.wav#10"] and len(data.train) == 9


# -- copies ------------------------------------------------------------------------------------------


def spoken(seed: int) -> np.ndarray:
    """Something like a word: pitches and noises that come and go."""
    draws = np.random.default_rng(seed)
    parts = [tone(0.1, pitch=draws.uniform(100, 2000)) * np.hanning(800) + draws.normal(0, 0.02, 800) for _ in range(5)]
    return 0.5 * np.concatenate(parts)


def test_copies_are_found_whatever_became_of_them() -> None:
    mine = spoken(0)
    copies = [
        file_of(mine), file_of(0.3 * mine), file_of(mine, form="MP3"), file_of(mine, form="OGG", subtype="OPUS"),
        file_of(resampled(mine[None].astype(np.float32), 8000, 22_050)[0], 22_050), file_of(mine, subtype="PCM_U8"),
    ]  # fmt: skip
    items = np.stack([one(data) for data in copies] + [one(file_of(spoken(seed))) for seed in range(1, 30)])
    likeness = Likeness()
    likeness.add(items[:20])
    likeness.add(items[20:])
    found = {tuple(sorted(pair)) for pair in likeness.pairs(items, np.arange(len(items))).tolist()}
    assert {(0, i) for i in range(1, 6)} <= found and all(b < 6 for _, b in found)


def test_what_all_sounds_alike_takes_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, compared = np.random.default_rng(0), 0
    waves = np.fft.rfft(draws.normal(0, 3000, (150, 1, 8192))) / (1 + np.arange(4097) / 40)
    hum = np.fft.irfft(waves).astype(np.int16)
    hum[140:] = hum[7]
    correlation = duplicates._correlation

    def counted(a: np.ndarray, b: np.ndarray) -> float:
        nonlocal compared
        compared += 1
        return correlation(a, b)

    monkeypatch.setattr(duplicates, "_correlation", counted)
    likeness = Likeness()
    likeness.add(hum)
    found = likeness.pairs(hum, np.arange(150))
    assert 149 < compared <= 150 * duplicates.PROPOSED
    assert set(found.ravel().tolist()) == {7, *range(140, 150)}


def test_likeness_of_next_to_nothing() -> None:
    likeness = Likeness()
    likeness.add(np.zeros((3, 1, 64), np.uint8))  # rows that could not be encoded
    assert len(likeness.pairs(np.zeros((3, 1, 64), np.int16), np.arange(3))) == 0


# -- what is written ---------------------------------------------------------------------------------


def test_lengths_are_told_by_the_zeros_at_the_end() -> None:
    x = torch.zeros(3, 2, 10)
    x[0, 1, 4] = 0.1
    x[1, 0, 9] = -1
    assert lengths(x).tolist() == [5, 10, 0]


@pytest.mark.parametrize("suffix", audio.SUFFIXES)
@pytest.mark.parametrize("rate", [8000, 22_050, 96_000])
def test_every_format_says_where_it_comes_from(tmp_path: Path, suffix: str, rate: int) -> None:
    item = torch.zeros(1, 2 * rate)
    item[0, :rate] = torch.from_numpy(tone(1.0, rate))
    path = audio.write(item, tmp_path / f"x{suffix}", Spec(shape=(1, 2 * rate), rate_hz=rate), ABOUT)
    with soundfile.SoundFile(path) as file:
        said = file.comment
        assert abs(file.frames / file.samplerate - 1.0) < 0.1  # cut where it ends
    # soundfile reads ID3 as Latin-1, whatever it is
    said = said if suffix != ".mp3" else said.encode("latin-1", "ignore").decode("utf-8", "ignore")
    assert json.loads(said)["run"] == "runs/x" and json.loads(said)["Source"] == "AI-generated"
    assert suffix == ".mp3" or json.loads(said) == ABOUT.fields


def test_silence_and_long_sounds_are_written_too(tmp_path: Path) -> None:
    for suffix in audio.SUFFIXES:
        silent = audio.write(torch.zeros(1, 8000), tmp_path / f"silent{suffix}", SPEC, ABOUT)
        assert soundfile.info(silent).frames >= 1
        assert soundfile.info(audio.preview(torch.zeros(0, 1, 100), silent, SPEC, [], ABOUT)).frames >= 1
    long = torch.rand(2, 1_500_000) - 0.5
    path = audio.write(long, tmp_path / "long.ogg", Spec(shape=(2, 1_500_000), rate_hz=8000), ABOUT)
    assert soundfile.info(path).frames == 1_500_000
    fast = audio.write(long[:, :50_000], tmp_path / "fast.ogg", Spec(shape=(2, 50_000), rate_hz=384_000), ABOUT)
    assert soundfile.info(fast).samplerate == 192_000  # Vorbis knows no more
    with pytest.raises(UserError, match=r"\.txt"):
        audio.write(torch.zeros(1, 10), tmp_path / "x.txt", SPEC, ABOUT)


def test_what_is_no_number_is_written_as_silence(tmp_path: Path) -> None:
    item = torch.full((1, 100), float("nan"))
    item[0, :2] = torch.tensor([7.0, -7.0])
    sound = samples(audio.write(item, tmp_path / "x.wav", SPEC, ABOUT).read_bytes())
    assert sound.tolist() == [[1 - 2**-15, -1.0]]


def test_a_preview_has_the_sounds_one_after_the_other(tmp_path: Path) -> None:
    items = torch.zeros(3, 1, 8000)
    items[:, :, :1000] = 0.5
    path = audio.preview(items, tmp_path / "x.wav", SPEC, [], ABOUT)
    assert header(path.read_bytes()).frames == 3 * 1000 + 2 * 2400


def test_what_a_person_gives(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    path.write_bytes(file_of(tone(0.5, 16_000), 16_000, form="FLAC"))
    said: list[str] = []
    item = values.asked(path, SPEC, said.append)
    assert item.shape == (1, 8192) and lengths(item[None]).item() == 4000 and "16,000 to 8,000 Hz" in said[0]
    for wrong in (tmp_path / "gone.wav", tmp_path, 3):
        with pytest.raises(UserError):
            values.asked(wrong, SPEC, said.append)
    sound = values.view(item, SPEC)
    assert sound.samples.shape == (1, 4000) and "<audio controls" in sound._repr_html_()


def test_formats_are_told_by_their_first_bytes() -> None:
    for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        assert format_of(file_of(tone(), form=form)) == form and claims("x", file_of(tone(), form=form))
    for head in (b"\xff\xd8\xff\xe0JFIF", b"\xff\xff\xff\xff", b"RIFF\0\0\0\0WEBP", b"words", b"\xff"):
        assert format_of(head) is None and not claims("x.wav", head)
    assert claims("X.FLAC", b"") and not claims("x.txt", b"")


def test_the_stored_form_of_a_known_run_is_kept() -> None:
    known = Spec(shape=(1, 999), rate_hz=4000)
    assert fit([], [], Config(), known, Notes()) is known
    assert stored(np.full((1, 500), 0.5, np.float32), known, Config())[0, 499:501].tolist() == [2**14, 0]


def test_a_sound_of_ones_own_in_a_byte_stream() -> None:
    buffer = io.BytesIO()
    audio.encode_to(buffer, np.array([[1, 2, 3]], np.int16), 8000, ".flac")
    assert (samples(buffer.getvalue()) * 2**15).tolist() == [[1, 2, 3]]
