"""Text to speech: how often a recogniser of its own mishears what is generated, beside held-out real clips.

    MAQUETTE_DATA=... python benchmarks/tts.py                    # sentences of spoken digits
    python benchmarks/tts.py --corpus espeak                       # of what espeak-ng says, where that is installed
    MAQUETTE_DATA=... python benchmarks/tts.py --run runs/t --data folder/metadata.csv
    MAQUETTE_DATA=... python benchmarks/tts.py --only-data folder  # the corpus alone: WAVs and metadata.csv

digits: sentences of two to four digits, one speaker each, joined from recordings with short pauses: learned from takes
5 and up, held out takes 0 to 4. espeak: sentences of common words in two voices of a synthesiser: easier than people.
The number is the character error rate of `maquette evaluate`, by a recogniser that learned from the training clips.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

import _run
from maquette.core.errors import UserError

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HELD_OUT = 5  # takes below this one
TRAIN, TEST = 1800, 300  # sentences
PAUSE = (0.06, 0.16)  # seconds
VOICES = ("en-us", "en-gb")
SUBJECTS = ("the cat", "a dog", "my sister", "the old man", "our teacher", "a small bird", "the child", "her friend")
VERBS = ("sees", "likes", "finds", "wants", "brings", "makes", "takes", "needs")
OBJECTS = ("a red apple", "some cold water", "the long road", "two green books", "bread and milk", "a warm house")
PLACES = ("at night", "in the garden", "by the river", "every morning", "with her brother", "after school")


def digits(folder: Path, train: int, test: int) -> Path:
    """Sentences of spoken digits as WAVs, and their metadata.csv: audio, text, speaker, side."""
    takes: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for path in sorted(_run.data("fsdd").glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        takes["test" if int(take) < HELD_OUT else "train", speaker, digit].append(path)
    speakers, rows, draws = sorted({speaker for _, speaker, _ in takes}), [], np.random.default_rng(0)
    for side, count in (("train", train), ("test", test)):
        for i in range(count):
            speaker, said = speakers[i % len(speakers)], draws.integers(10, size=draws.integers(2, 5))
            clips = [soundfile.read(draws.choice(takes[side, speaker, str(digit)])) for digit in said]
            rate, parts = clips[0][1], [clips[0][0]]
            for clip, _ in clips[1:]:
                parts += [np.zeros(int(draws.uniform(*PAUSE) * rate)), clip]
            rows.append((f"{side}_{i:04}.wav", " ".join(WORDS[digit] for digit in said), speaker, side))
            soundfile.write(folder / rows[-1][0], np.concatenate(parts), rate)
    return listed(folder, rows)


def espeak(folder: Path, train: int, test: int) -> Path:
    """Sentences that a synthesiser says; the same columns. UserError where it is not installed."""
    program = shutil.which("espeak-ng")
    if not program:
        raise UserError("espeak-ng is not installed.", "Install it (apt install espeak-ng), or take --corpus digits.")
    draws, rows = np.random.default_rng(0), []
    sentences = [*map(" ".join, product(SUBJECTS, VERBS, OBJECTS, PLACES))]
    for i, sentence in enumerate(draws.permutation(len(sentences))[: train + test]):  # held-out ones are new
        side, voice, text = "train" if i < train else "test", VOICES[i % len(VOICES)], sentences[sentence]
        path, speed = folder / f"{side}_{i:04}.wav", str(draws.integers(160, 190))
        subprocess.run([program, "-v", voice, "-s", speed, "-w", str(path), text], check=True)
        rows.append((path.name, text, voice, side))
    return listed(folder, rows)


def listed(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("audio", "text", "speaker", "side"), *rows])
    return folder / "metadata.csv"


CORPORA = {"digits": digits, "espeak": espeak}


def main() -> None:
    parser = _run.parser(__doc__, "audio/tts", "30m")
    parser.add_argument("--corpus", choices=CORPORA, default="digits")
    parser.add_argument("--data", type=Path, help="the metadata.csv of a corpus that was made before")
    parser.add_argument("--only-data", type=Path, help="make the corpus in this folder, and train nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.only_data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data = args.data or CORPORA[args.corpus](folder, *((60, 12) if args.smoke else (TRAIN, TEST)))
        if args.only_data:
            print(f"{TRAIN + TEST:,} sentences: {data}")
            return
        more = {"given": ["text", "speaker"]}
        with _run.trained(args, data, **more) as run:
            found = {metric.name: metric for metric in run.evaluate(data, samples=12 if args.smoke else TEST).metrics}
            metric = found["character_errors"]
            print(f"{_run.machine()}")
            print(
                f"character errors: generated {metric.value:.2%}, held-out real clips {metric.floor:.2%}, "
                f"{metric.value / max(metric.floor, 1e-9):.2f} times"
            )


if __name__ == "__main__":
    _run.command(main)
