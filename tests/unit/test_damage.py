"""The judge is judged: measures are tried on damaged real items, and those that do not see are set aside."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_evaluation_evaluate import Repeats, digits, evaluate, generator
from test_evaluation_kinds import judged, scents  # noqa: F401  a fixture

from maquette.core.measure import Estimate, Found, Measure
from maquette.evaluation.damage import DamageRow, _row, missed
from maquette.evaluation.results import Evaluation
from maquette.modalities.image import damage as picture_damage
from maquette.modalities.image import own_features
from maquette.modalities.image.flaws import FLAWS, flawed
from maquette.modalities.text import damage as text_damage
from maquette.modalities.text.config import Spec as TextSpec
from maquette.modalities.text.tokens import decode, tokenize, train_tokenizer, vocabulary


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of grey noise, on all digits of scikit-learn."""
    data = digits()
    return evaluate(
        generator(data, Repeats(data.test, noise=5.0)), data, cache=tmp_path_factory.mktemp("f"), samples=400
    )


def test_damage_to_pictures_is_seen_by_the_measures_that_are_for_it(found: Evaluation) -> None:
    rows = {(row["measure"], row["damage"]): row for row in found.details["damage"]}
    for measure in ("frechet", "kernel", "two_sample", "precision", "density"):
        for harm in ("blurred", "with noise", "under a checkerboard"):
            assert rows[measure, harm]["seen"], (measure, harm)
    for measure in ("frechet", "recall", "coverage"):
        assert rows[measure, "few of them repeated"]["seen"] and rows[measure, "without some classes"]["seen"], measure
    assert rows["class_accuracy", "asked for as another class"]["seen"]
    assert rows["copies", "with copies among them"]["seen"] and rows["copies", "with copies among them"]["strong"] > 0.4
    assert ("precision", "few of them repeated") not in rows, "it is not for that"
    assert found.verdict.level == "worse" and "as good as real" not in str(found)


def test_the_check_is_kept_and_the_same_each_time(found: Evaluation, tmp_path: Path) -> None:
    again = Evaluation.load(found.save(tmp_path / "metrics.json"))
    assert again.details["damage"] == found.details["damage"] and again.verdict == found.verdict


def blind(value: float) -> Measure:
    """A measure that says the same of anything."""
    estimate = Estimate(value, value - 0.01, value + 0.01)
    return Measure(
        "blind", "Blind", "higher", "share", "Asks.", lambda e: Found(estimate, estimate), lambda m: "Says.",
        sees=("repeats",),
    )  # fmt: skip


def test_a_measure_that_sees_nothing_is_set_aside(
    scents: SimpleNamespace,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maquette.evaluation.damage.FEWEST", 20)
    scents.MEASURES = (blind(0.9),)
    evaluation, _ = judged(samples=150)
    assert evaluation["blind"].missed == ("few of them repeated",)
    assert all("Blind" not in row[0] for row in evaluation.rows())
    assert any(note.startswith("Set aside: Blind (90.0%") for note in evaluation.remarks)
    assert any("No damage to a single scent is known" in note for note in evaluation.notes)


def test_so_is_one_that_takes_strong_damage_for_the_milder() -> None:
    def row(mild: float, strong: float) -> bool:
        values = iter([1.0, mild, strong])

        def of(evidence: object) -> Found:
            value = next(values)
            return Found(Estimate(value, value - 0.02, value + 0.02))

        made = [of(None).value for _ in range(3)]
        measure = Measure("m", "M", "higher", "share", "", of, lambda m: "")
        return _row(measure, "d", tuple(made)).seen  # type: ignore[union-attr]

    assert row(0.8, 0.5) and row(0.8, 0.8)
    assert not row(0.5, 0.8) and not row(0.99, 0.5) and not row(1.2, 1.4)


def test_of_too_few_items_nothing_is_tried(scents: SimpleNamespace) -> None:  # noqa: F811
    evaluation, _ = judged(samples=30)
    assert "damage" not in evaluation.details and any("too few scents to try" in note for note in evaluation.notes)


def test_what_was_missed_is_by_measure() -> None:
    rows = [DamageRow(measure=m, damage=d, undamaged=1, mild=0, strong=0, seen=s)
            for m, d, s in (("a", "x", True), ("a", "y", False), ("b", "x", False))]  # fmt: skip
    assert missed(rows, "a") == ("y",) and missed(rows, "c") == ()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 33), (3, 150, 130)])
@pytest.mark.parametrize("strength", [1, 2])
def test_damaged_pictures_are_pictures(shape: tuple[int, int, int], strength: int) -> None:
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for damage in picture_damage.DAMAGES:
        made = damage.of(x, None, strength, np.random.default_rng(0))
        assert made.shape == x.shape and made.min() >= -1 and made.max() <= 1 and made.dtype == x.dtype
        assert (made - x).abs().mean() > 0.05, damage.name
    bad, flaw = flawed(x)
    assert bad.shape == x.shape and flaw.shape == (6,) and 1 <= int(flaw.min()) <= int(flaw.max()) <= len(FLAWS)


def test_damaged_texts_are_texts() -> None:
    texts = ["the cat sat on\nthe mat and was glad of it", "one two three four five\nsix seven eight nine ten"] * 4
    tokenizer = train_tokenizer(texts, "char", 100)
    spec = TextSpec(shape=(60,), vocab=len(vocabulary(tokenizer)), framed=True, tokenizer=tokenizer, unit="char")
    tokens = [torch.as_tensor(tokenize(text, spec)) for text in texts]
    items = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True)
    swapped, looped, formless, cut = (
        [decode(item, spec) for item in damage.of(items, spec, 2, np.random.default_rng(0))]
        for damage in text_damage.DAMAGES
    )
    assert [sorted(text.split()) for text in swapped] == [sorted(text.split()) for text in texts] and swapped != texts
    assert len(set(looped[1].split())) == 1 and len(looped[0].split()) == len(texts[0].split())
    assert all("\n" not in text for text in formless)
    assert all(whole.startswith(text) and len(text) == len(whole) // 2 for text, whole in zip(cut, texts, strict=True))


def test_pictures_are_mirrored_only_where_that_does_not_hide_what_they_show() -> None:
    def mirrors(x: torch.Tensor, y: torch.Tensor) -> bool:
        data = own_features.Lesson(Held(x), np.arange(len(x)), y, torch.device("cpu"))
        torch.manual_seed(0)
        return own_features._trial(own_features.Network(1, 8, 8, 16, 2), data)[0]

    class Held:
        def __init__(self, x: torch.Tensor) -> None:
            self.x, self.spec = x, SimpleNamespace(shape=(1, 8, 8))

        def take(self, rows: np.ndarray) -> torch.Tensor:
            return self.x[torch.as_tensor(rows)]

    y = torch.arange(600) % 2
    g = torch.Generator().manual_seed(0)
    side, top = torch.randn(2, 600, 1, 8, 8, generator=g) * 0.2
    side[y == 0, :, :, :4] += 1  # bright on the left or on the right
    side[y == 1, :, :, 4:] += 1
    top[y == 0, :, :4] += 1
    top[y == 1, :, 4:] += 1
    assert mirrors(top, y) and not mirrors(side, y)
