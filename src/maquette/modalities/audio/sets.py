"""Sets of sounds that are known by name and made on the spot: data/readers/made.py finds them."""

from __future__ import annotations

import io

from maquette.data.raw import Cells, Files, RawTable, Values

TAKES = 25


def spoken_digits() -> RawTable:
    """1,500 clips of the ten digits, by six voices of a formant synthesiser: none of them was recorded."""
    from maquette.modalities.audio.synthesis import RATE, SPEAKERS, WORDS, spoken

    rows = [(word, who, take) for word in WORDS for who in SPEAKERS for take in range(TAKES)]
    words, speakers = [word for word, _, _ in rows], [who for _, who, _ in rows]
    names = [f"{word}_{who}_{take:02d}.wav" for word, who, take in rows]
    files = [_wav(clip, RATE) for clip in spoken(words, speakers, seed=0)]
    sounds = Files(names, range(len(rows)), lambda numbers: [files[i] for i in numbers])
    columns: dict[str, Cells] = {"audio": sounds, "label": Values([*words]), "speaker": Values([*speakers])}
    return RawTable("known set", columns, names, [None] * len(rows), frozenset({"label", "speaker"}))


def _wav(clip: object, rate: int) -> bytes:
    from maquette.modalities.audio.opening import soundfile

    file = io.BytesIO()
    soundfile().write(file, clip, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


SETS = {"spoken-digits": (1, spoken_digits)}  # name -> its version, and what makes it
# Recipe, set, time, settings, and how many of each class are shown. So early all time is the flow's: no voice learns,
# and what is said is learned sooner with bands as channels, if less sharply.
_EARLY = {"width": 192, "deep": 192, "deep_blocks": 4, "patch": 4, "time_mean": 0.0, "time_std": 1.2}
DEMO: tuple[str, str, str, dict[str, object], int] = (
    "audio/flow", "spoken-digits", "4m",
    {"model.voice.vocoder": "griffin-lim", "model.dims": 1, "train.batch_size": 64}
    | {f"model.prior.{key}": to for key, to in _EARLY.items()},
    2,
)  # fmt: skip
