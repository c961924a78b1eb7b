"""Every sound is opened here: by formats that are named, and within the limit, whatever its header says.

Decoding is libsndfile's, by soundfile (BSD; the library in it LGPL), resampling is soxr's (LGPL): the extra `audio`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from maquette.core import limits
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable
from maquette.modalities.audio.bounds import FASTEST, SLOWEST

SUFFIX_FORMATS = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3",
    ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF",
}  # fmt: skip
_CODED = ("VORBIS", "OPUS", "MPEG", "ADPCM", "GSM", "G721", "G723", "NMS")  # of which one bit does not stand for one
BYTES_A_SAMPLE = 16  # until it is as it is stored
FIRST_FRAME, COUNTED = 2**11, 2**20  # bytes of an MP3 that may say how long it is; samples that are counted at once
BEFORE = 2**13  # samples before a window that are decoded as well: lossy codings need what was before
UNSAID = 2**62  # samples or more are libsndfile's word for what a header leaves open
_STREAMED = 0x7FFFF000  # so many bytes or more are said by who writes a header before the sound
_TERMINAL = threading.RLock()  # there is one of a process: threads that silence it by turns give it back as it was
_OTHER_CONTENT = {
    b"\x89PNG": "a picture (PNG)", b"\xff\xd8\xff": "a picture (JPEG)", b"GIF8": "a picture (GIF)", b"%PDF": "a PDF",
    b"<html": "a web page", b"<!DOC": "a web page", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip file",
    b"MThd": "MIDI, notes without a sound", b"\x30\x26\xb2\x75": "WMA, which is not read: convert it to FLAC",
}  # fmt: skip


@contextlib.contextmanager
def _extra(name: str) -> Iterator[None]:
    """UserError, which says how to install it, where a library is missing that is imported within."""
    try:
        yield
    except (ImportError, OSError):  # the second where libsndfile itself is not there
        raise UserError(
            f"Sounds need {name}, which is not installed.", "Install it: pip install 'maquette[audio]'"
        ) from None


def soundfile() -> Any:
    """The library that reads and writes files of sound."""
    with _extra("soundfile"):
        import soundfile

    return soundfile


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    format: WAV, FLAC, OGG, MP3, AIFF      coding: libsndfile's word for how samples are written: PCM_16, VORBIS, ...
    rate: samples a second      frames: samples of each channel
    """

    format: str
    coding: str
    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate


def format_of(head: bytes) -> str | None:
    """The format of a file by its first bytes; None where it is none of ours."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"fLaC":
        return "FLAC"
    if head[:4] == b"OggS":
        return "OGG"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    # ID3, or the frame of an MPEG: 11 bits that are set, layer III, a bit rate and a sampling rate that there are
    frame = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and 0x00 < head[2] >> 4 < 0xF
    tag = head[:3] == b"ID3" and head[3:4] in (b"\2", b"\3", b"\4")  # and not a text that begins so
    return "MP3" if tag or (frame and head[2] & 0x0C != 0x0C) else None


def header(data: bytes) -> Header:
    """What a file says of itself; Unreadable where it is none, damaged, or beyond what there can be."""
    with _opened(data) as file:
        found = Header(format_of(data) or "", file.subtype, file.samplerate, file.channels, _frames(file, data))
    if not SLOWEST <= found.rate <= FASTEST:
        raise Unreadable(f"damaged: it says to have {found.rate:,} samples a second")
    if not found.frames:
        raise Unreadable("no samples in it")
    if found.frames >= UNSAID:
        raise Unreadable("it does not say how long it is, as of a stream: convert it to FLAC once more")
    return found


def samples(data: bytes, start: int = 0, count: int | None = None) -> np.ndarray:
    """f32[C, count] from sample `start` on, full scale 1; None: all. Unreadable where a sample is no number, or fewer
    are there than the header says."""
    with _opened(data) as file:
        count = _frames(file, data) - start if count is None else count
        limits.check(count * file.channels * BYTES_A_SAMPLE)
        before = min(start, BEFORE)
        if start:
            file.seek(start - before)
        # All at once, whatever the header says: memory that is not written to is not taken, and soundfile seeks after
        # each read, at which the frames of an MP3 lose what they need of those before.
        made = file.read(before + count, dtype="float32", always_2d=True)[before:].T
    if made.shape[1] < count:
        raise Unreadable(f"truncated: {made.shape[1]:,} samples, and its header says {count:,}")
    if not np.isfinite(made).all():
        raise Unreadable("damaged: it holds samples that are no numbers (NaN)")
    return made


def resampled(sound: np.ndarray, rate: int, to: int) -> np.ndarray:
    """f32[C, n] at another rate, by soxr's high quality."""
    if rate == to:
        return sound
    with _extra("soxr"):
        import soxr

    made: np.ndarray = soxr.resample(np.ascontiguousarray(sound.T), rate, to)
    return np.ascontiguousarray(made.T)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """A file whose header was read; whatever its decoder says, within, is Unreadable."""
    if not data:
        raise Unreadable("zero bytes")
    if format_of(data) is None:
        raise Unreadable(_something_else(data))
    if data[:4] == b"RIFF":
        _check_chunks(data)
    library = soundfile()
    hush = _hushed() if format_of(data) == "MP3" else contextlib.nullcontext()
    try:
        with hush, library.SoundFile(io.BytesIO(data)) as file:
            yield file
    except library.SoundFileError as error:
        detail = str(error).rpartition("Error ")[2].rpartition(": ")[2].strip(" .")[:100]
        raise Unreadable(f"damaged ({detail or 'it cannot be decoded'})") from None


def _frames(file: Any, data: bytes) -> int:
    """Samples of each channel; where an MP3 does not say how many, and libsndfile guesses, those that there are."""
    if format_of(data) != "MP3":
        return int(file.frames)
    tags = sum(size << 7 * (3 - k) for k, size in enumerate(data[6:10])) if data[:3] == b"ID3" else 0
    said = any(mark in data[tags : tags + FIRST_FRAME] for mark in (b"Xing", b"Info", b"VBRI"))
    return int(file.frames) if said else _counted(data)


@functools.lru_cache(maxsize=1)  # of one recording it is asked for each window
def _counted(data: bytes) -> int:
    with _opened(data) as file:
        return sum(iter(lambda: len(file.read(COUNTED, dtype="float32")), 0))


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what libmpg123 writes to the terminal by itself: of each window of a recording, that it cannot decode the
    first of the frames before it (BEFORE), which nobody asked for."""
    with _TERMINAL, contextlib.ExitStack() as after:
        with contextlib.suppress(OSError):  # there may be no terminal, nor anything in its place
            kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            after.callback(os.close, kept)
            after.callback(os.close, nowhere)
            after.callback(os.dup2, kept, 2)
            os.dup2(nowhere, 2)
        yield


def _check_chunks(data: bytes) -> None:
    """Unreadable where the chunk that holds the sound is not as long as it says: libsndfile takes what there is."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            there = len(data) - at - 8
            if size > there and size < _STREAMED:
                raise Unreadable(f"truncated: {there:,} bytes of sound, and its header says {size:,}")
            if size == 0 and there > 8:
                raise Unreadable(f"damaged: its header says that no sound follows, and {there:,} bytes do")
            return
        at += 8 + size + size % 2
    raise Unreadable("truncated: there is no sound behind its header")


def _something_else(data: bytes) -> str:
    if not data[:512].strip(b"\0"):
        return "not a sound: only zero bytes"
    if data[4:8] == b"ftyp":
        return "not a format that Maquette reads (M4A or video): convert it to FLAC"
    start = data[:512].lstrip()
    for magic, what in _OTHER_CONTENT.items():
        if start[: len(magic)].lower() == magic.lower():
            return f"not a sound: it is {what}"
    return "not a sound"
