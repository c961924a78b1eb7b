"""The own recogniser of speech: what it hears, how that is counted, and that it learns to understand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maquette.core.measure import TooFew
from maquette.core.spec import BOS, EOS, PAD
from maquette.core.table import Dataset, Table
from maquette.data.columns import Fixed
from maquette.modalities.audio import recogniser
from maquette.modalities.audio.alignment import steps
from maquette.modalities.audio.files import quantised
from maquette.modalities.audio.recogniser import Recogniser, edits
from maquette.modalities.text.config import Spec as TextSpec
from maquette.modalities.text.tokens import tokenize, train_tokenizer, vocabulary
from maquette.testing import column_spec


def test_edits_are_those_that_there_are_at_least() -> None:
    assert edits("kitten", "sitting") == 3 and edits("", "one") == 3 and edits("one", "one") == 0


def test_repeated_tokens_count_once_and_nothing_parts_them() -> None:
    network = Recogniser(8000, 12).eval()
    said = torch.tensor([8, 8, PAD, 8, 9, 9, PAD, 10])
    network.forward = lambda bands: F.one_hot(said, 12)[None].float()  # type: ignore[method-assign]
    (heard,) = network.heard(torch.ones(1, 1, 64 * (2 * len(said) - 1)))
    assert heard.tolist() == [8, 8, 9, 10]


def test_it_learns_to_understand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Words are pitches here, two for a sound; held-out ones are understood."""
    draws = np.random.default_rng(0)
    said = np.stack([draws.permutation(3)[:2] for _ in range(300)])

    def spoken(pitches: np.ndarray) -> torch.Tensor:
        waves = [np.sin(np.arange(1000) * (0.2 + 0.5 * pitch)) for pitch in pitches]
        return torch.from_numpy(0.3 * np.concatenate(waves)).float()[None]

    sounds = torch.stack([spoken(pitches) for pitches in said])
    spec = column_spec("text", 4, vocab=10)
    words = torch.tensor([[BOS, *(7 + pitch for pitch in pitches), EOS] for pitches in said])
    columns = {
        "audio": Fixed(column_spec("audio", 1, 2000, rate_hz=8000), quantised(sounds), np.arange(300)),
        "text": Fixed(spec, words.numpy(), np.arange(300)),
    }
    dataset = Dataset("toy", "toy", Table(columns, ["x"] * 300), Table({}, []))
    monkeypatch.setattr(recogniser, "MOST", 1600)
    network = recogniser.recogniser(dataset, "audio", "text", torch.device("cpu"), tmp_path, lambda line: None)
    heard = network.heard(sounds[:20] + 0.01 * torch.randn(20, 1, 2000))
    right = sum(run.tolist() == row[1:-1] for run, row in zip(heard, words.tolist(), strict=False))
    assert right >= 18
    few = Table({name: column.some(np.arange(9)) for name, column in columns.items()}, ["x"] * 9)
    with pytest.raises(TooFew):
        recogniser.recogniser(
            Dataset("toy", "toy", few, few), "audio", "text", torch.device("cpu"), tmp_path, lambda line: None
        )


def test_moments_are_of_the_token_that_they_rest_on() -> None:
    tokenizer = train_tokenizer(["ab"], "char", 10)
    spec = TextSpec(shape=(4,), vocab=len(vocabulary(tokenizer)), unit="char", tokenizer=tokenizer)
    tokens = torch.from_numpy(tokenize("ab", spec))
    weights = F.one_hot(torch.tensor([0, 1, 1, 2, 2, 2, 3, 3]), 4).float()
    found = [(step.text, step.begin, step.end) for step in steps(weights, tokens, spec)]
    assert found == [("a", 1 / 8, 3 / 8), ("b", 3 / 8, 6 / 8)]
