"""Labels that nobody asked for: whether each comes up, and how varied samples are in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from maquette.core.generator import Generator
from maquette.core.model import Model
from maquette.core.rng import Rng
from maquette.core.spec import DataSpec, GridSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation import evaluate
from maquette.evaluation.features import Seen
from maquette.evaluation.measures.labels import read, reader, recall, variety
from maquette.modalities.label import Spec as LabelSpec

KIND, WORDS, SPEAKERS = "toy_words", 3, 4
RNG = np.random.default_rng


class WordSpec(GridSpec):
    kind: str = KIND


class Ears:
    """Sees all values of an item; the word is the largest of the first three."""

    name, identity, dim, classes, learned = "ears", "ears-1", 8, ("one", "two", "three"), True

    def see(self, items: Iterator[Tensor]) -> Seen:
        values = torch.cat([item.flatten(1) for item in items]).double().numpy()
        return Seen(values, values[:, :WORDS].argmax(1))


class Held:
    def __init__(self, values: Tensor, spec: object) -> None:
        self.values, self.spec, self.lengths = values, spec, None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.as_tensor(rows)]


def spoken(word: Tensor, speaker: Tensor, seed: int) -> Tensor:
    """Items f32[n, 1, 8]: who says what, over a little noise."""
    made = 0.1 * torch.randn(len(word), 8, generator=torch.Generator().manual_seed(seed))
    rows = torch.arange(len(word))
    made[rows, word] += 0.8
    made[rows, WORDS + speaker] += 0.7
    return made.clamp(-1, 1)[:, None]


def table(n: int, seed: int) -> Table:
    word, speaker = torch.arange(n) % WORDS, torch.arange(n) // WORDS % SPEAKERS
    day = torch.randint(2, (n,), generator=torch.Generator().manual_seed(seed))
    columns = {
        "sound": Held(spoken(word, speaker, seed), WordSpec(shape=(1, 8))),
        "word": Held(word, LabelSpec(classes=Ears.classes, shares=(1 / 3,) * 3)),
        "speaker": Held(speaker, LabelSpec(classes=tuple("abcd"), shares=(1 / 4,) * 4)),
        "day": Held(day, LabelSpec(classes=("x", "y"))),
    }
    return Table(columns, [str(i) for i in range(n)])  # type: ignore[arg-type]


class Speaks(Model):
    """Says the word that it is asked for, by one speaker of several for each word."""

    def __init__(self, speakers: int) -> None:
        super().__init__()
        self.speakers = speakers

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        word = given["word"]
        speaker = (word + (rng.uniform(n) * self.speakers).long()) % SPEAKERS
        return {"sound": spoken(word, speaker, int(1e6 * rng.uniform(n)[0]))}


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(KIND)
    module.__dict__.update(
        KIND=KIND, NOUN=("word", "words"), Spec=WordSpec, Config=object, FEATURES={"ears": lambda *a: Ears()}
    )
    monkeypatch.setitem(sys.modules, KIND, module)


def judged(speakers: int):
    data = Dataset("words", "words-1", table(1800, 0), table(360, 1))
    columns = {name: data.train.columns[name].spec for name in ("sound", "word")}
    spec = DataSpec(columns=columns, target=("sound",), given=("word",))
    return evaluate(Generator(Speaks(speakers).eval(), spec), data, samples=600)


def test_all_speakers_come_up_or_few_do() -> None:
    good, poor = judged(SPEAKERS), judged(1)
    assert good["class_accuracy"].value == poor["class_accuracy"].value == 1.0
    recall, variety = good["label_recall"], good["label_variety"]
    assert recall.title == "Recall of 'speaker' within each 'word', ears features"
    assert recall.value > 0.97 * recall.floor and variety.value == pytest.approx(4, abs=0.1)
    # Each speaker comes up in all, and one of four within each word.
    assert poor["label_recall"].value == pytest.approx(0.25) and poor["label_variety"].value == pytest.approx(1)
    assert not good["label_recall"].missed and not good["label_variety"].missed  # they saw what was left out
    assert any(row["damage"] == "without some of 'speaker'" and row["seen"] for row in good.details["damage"])
    (rows,) = (rows for name, rows in good.details.items() if name == "speaker: per_class")
    assert [row["label"] for row in rows] == list("abcd") and rows[0]["real_accuracy"] == 1.0
    assert any("how 'day' is spread" in line for line in good.warnings)  # nothing tells it


def test_a_reader_tells_classes_that_are_apart() -> None:
    rng = RNG(0)
    y = rng.integers(3, size=300)
    x = rng.normal(size=(300, 5)) + 6 * np.eye(5)[y]
    assert (read(reader(x[:200], y[:200], 3), x[200:]) == y[200:]).mean() > 0.98


def test_recall_is_what_comes_up_of_each() -> None:
    real = np.repeat([0, 1, 3], 40)  # no item of class 2
    assert recall(real, real, 4, RNG(0)).value == 1
    assert recall(np.repeat([0, 3], 60), real, 4, RNG(0)).value == pytest.approx(2 / 3)
    assert recall(np.full(50, 2), real, 4, RNG(0)).value == 0


def test_variety_is_within_the_classes_of_the_other_label() -> None:
    even = np.arange(600) % 6  # two classes of three each
    assert variety(even, 2, 3, RNG(0)).value == pytest.approx(3)
    assert variety(np.where(even < 3, 0, 5), 2, 3, RNG(0)).value == pytest.approx(1)
