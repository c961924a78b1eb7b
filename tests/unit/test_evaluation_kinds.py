"""Evaluation knows no kind: measures found by listing, kinds of a user's own, several targets, anything given."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.measure import Found, Measure, TooFew
from maquette.core.model import Model
from maquette.core.rng import Rng
from maquette.core.spec import PAD, ColumnSpec, NumberSpec, TokenSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation import evaluate, feature_names, measures
from maquette.evaluation.bootstrap import mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.features import Seen
from maquette.evaluation.judge import measures_of
from maquette.modalities.label import Spec as LabelSpec
from maquette.modalities.number import Spec as RealSpec

KIND = "toy_scents"


class ScentSpec(TokenSpec):
    kind: str = KIND


class Counts:
    """A feature network, and a poor classifier: how often each note occurs."""

    name, identity, dim, classes, learned = "counts", "counts-1", 6, ("warm", "cold"), False

    def see(self, items: Iterator[Tensor]) -> Seen:
        parts = [torch.stack([(item == note).sum(1) for note in range(7, 13)], 1).double().numpy() for item in items]
        return Seen(np.concatenate(parts), np.concatenate([part.argmax(1) % 2 for part in parts]))


def sweetness(evidence: Evidence) -> Found:
    def sweet(items: Tensor) -> np.ndarray:
        return (items == 7).any(1).double().numpy()

    value, floor = (mean(sweet(side.items), evidence.rng("sweet")) for side in (evidence.made, evidence.reserve))
    return Found(value, floor, len(evidence.real), len(evidence.made), title="Sweet {items}")


def never(evidence: Evidence) -> Found:
    raise TooFew("there is no {item} to smell")


@pytest.fixture(autouse=True)
def scents(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A kind of a user's own: sequences of notes, in one module."""
    module = ModuleType(KIND)
    sweet = Measure(
        "sweet", "Sweetness", "floor", "share", "How sweet {items} are.", sweetness,
        lambda m: f"{m.show(m.value)} of the {{items}} are sweet; of real ones, {m.show(m.floor)}.",
    )  # fmt: skip
    module.__dict__.update(
        KIND=KIND, NOUN=("scent", "scents"), Spec=ScentSpec, Config=object, FEATURES={"counts": lambda *a: Counts()},
        MEASURES=(sweet, Measure("smell", "Smell of a {item}", "lower", "", "Asks.", never, lambda m: "")),
        comparable=lambda items: torch.nn.functional.pad(items.float(), (0, 8 - items.shape[1])),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, KIND, module)
    return module


class Held:
    """A column in memory."""

    def __init__(self, values: Tensor, spec: ColumnSpec) -> None:
        self.values, self.spec, self.lengths = values, spec, None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.as_tensor(rows)]


def rows(n: int, seed: int) -> dict[str, tuple[Tensor, ColumnSpec]]:
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=g)
    return {
        "scent": (7 + torch.randint(6, (n, 8), generator=g), ScentSpec(shape=(8,), vocab=13, framed=True)),
        "label": (y, LabelSpec(classes=("warm", "cold"), shares=(0.5, 0.5))),
        "other": ((y + 1) % 2, LabelSpec(classes=("a", "b"), shares=(0.5, 0.5))),
        "strength": (y * 10.0 + torch.rand(n, generator=g), RealSpec(mean=5, std=5, low=0, high=11)),
    }


def dataset() -> Dataset:
    def table(n: int, seed: int) -> Table:
        columns = {name: Held(values, spec) for name, (values, spec) in rows(n, seed).items()}
        return Table(columns, [f"{i}.scent" for i in range(n)])  # type: ignore[arg-type]

    return Dataset("scents", "scents-1", table(300, 0), table(150, 1))


class Draws(Model):
    """New rows of the data; keeps what it was given."""

    def __init__(self, target: tuple[str, ...]) -> None:
        super().__init__()
        self.target, self.asked = target, []

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        self.asked.append(dict(given))
        u = (rng.uniform(n) * 400).long()
        fresh = rows(400, 5)
        return {name: fresh[name][0][u] for name in self.target}


def judged(target: tuple[str, ...] = ("scent",), given: tuple[str, ...] = (), **options: object):  # type: ignore[no-untyped-def]
    data = dataset()
    model = Draws(target)
    return evaluate(Generator(model, data.spec(target, given)), data, **options), model  # type: ignore[arg-type]


def test_a_kind_of_a_users_own_is_judged_by_its_measures_and_the_general_ones() -> None:
    found, _ = judged()
    sweet = found["sweet"]
    assert sweet.title == "Sweet scents" and sweet.asks == "How sweet scents are."
    assert "of the scents are sweet" in sweet.reading and sweet.floor is not None
    assert found["frechet"].title == "Fréchet distance, counts features" and found.settings.feature_dim == 6
    assert abs(found["copies"].value - found["copies"].floor) < 0.1 and found.details["copies"][0]["train_name"]
    assert found.settings.nouns == ("scent", "scents") and found.settings.judged_on == "held-out scents of scents"
    assert "Left out: Smell of a scent: there is no scent to smell." in found.warnings
    said = f"{found} {found.model_dump_json()}"
    assert not any(word in said for word in ("picture", "text", "pixel", "image", "{item"))
    assert feature_names(KIND) == ("counts",) and feature_names("number") == ()
    with pytest.raises(UserError, match="no features called"):
        judged(features="own")


def test_a_modalitys_measure_takes_the_place_of_the_general_one(scents: ModuleType) -> None:
    own = Measure("kernel", "Mine", "lower", "", "Asks.", lambda evidence: None, lambda m: "")
    scents.MEASURES = (own,)
    assert [m for m in measures_of(KIND) if m.name == "kernel"] == [own]
    scents.MEASURES = (own, own)
    with pytest.raises(ValueError, match="kernel"):
        measures_of(KIND)


def test_a_measure_is_found_by_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_notes.py").write_text(
        "from maquette.core.measure import Estimate, Found, Measure\n"
        "MEASURES = (Measure('notes', 'Notes', 'floor', '', 'How many {items}?',\n"
        "    lambda e: Found(Estimate(float(len(e.made)))), lambda m: f'{m.show(m.value)} {{items}}.', place=0),)\n"
    )
    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "maquette.evaluation.measures.toy_notes", raising=False)
    found, _ = judged(samples=50)
    assert found.metrics[0].name == "notes" and found["notes"].reading == "50.0 scents."
    assert any("Notes" in row[0] for row in found.rows())


def test_several_targets_are_judged_one_by_one() -> None:
    found, model = judged(("scent", "label"), samples=100)
    names = set(found.names())
    assert {"scent: sweet", "scent: frechet", "label: class_shares", "label: missing_classes"} <= names
    assert found["label: class_shares"].title == "label: Class shares" and found["label: class_shares"].value < 0.2
    assert "scent: copies" in found.details and found.settings.column == "scent, label"
    assert found.settings.nouns == ("item", "items")
    assert len(model.asked) == -(-found.settings.samples // 16), "one sample, made 16 at a time, serves all columns"


def test_what_is_given_is_drawn_by_share_or_taken_from_held_out_rows() -> None:
    _, model = judged(given=("label",), samples=40)
    assert set(model.asked[0]) == {"label"}
    found, model = judged(given=("label", "other", "strength"), samples=400)  # more than there are held-out rows
    asked = {
        name: torch.cat([part[name] for part in model.asked])[:400] for name in model.asked[0]
    }  # the rest fills up
    assert len(asked["label"]) == 400 and torch.equal(asked["other"], (asked["label"] + 1) % 2)
    assert torch.equal((asked["strength"] > 5).long(), asked["label"]), "combinations are those of real rows"
    assert found["class_accuracy"].n_fake == 400 and found.settings.samples == 400
    _, model = judged(("strength", "label"), given=("scent",), samples=200)
    held = {tuple(row) for row in dataset().test.columns["scent"].values.tolist()}
    asked = torch.cat([part["scent"] for part in model.asked])[:200]
    assert len(asked) == 200 and all(tuple(row) in held for row in asked.tolist())
    again, _ = judged(given=("label", "other", "strength"), samples=400)
    assert again.metrics == found.metrics


def test_numbers_and_classes_alone_can_be_judged() -> None:
    found, _ = judged(("strength",))
    assert isinstance(dataset().train.columns["strength"].spec, NumberSpec) and found.metrics == ()
    found, _ = judged(("label",), given=("other",))
    assert [m.name for m in found.metrics] == ["class_shares", "missing_classes"]


def test_sequences_of_unlike_length_are_padded(scents: ModuleType) -> None:
    class Short(Draws):
        def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
            made = super().sample(n, given, rng)["scent"]
            return {"scent": made[:, : 5 + len(self.asked) % 3]}

    data = dataset()
    seen = []
    scents.MEASURES = (Measure("m", "M", "lower", "", "", lambda e: seen.append(e.made.items), lambda m: ""),)
    evaluate(Generator(Short(("scent",)), data.spec(("scent",), ())), data, samples=600)
    assert seen[0].shape == (600, 7) and bool((seen[0] == PAD).any())


def test_a_sample_too_large_to_keep_is_made_again_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = judged(samples=60)
    monkeypatch.setattr("maquette.evaluation.evidence.KEPT", 10)
    again, model = judged(samples=60)
    assert again.metrics == found.metrics and len(model.asked) > 1


def test_data_without_what_the_model_is_given_is_refused() -> None:
    data = dataset()
    spec = data.spec(("scent",), ("label", "strength"))
    other = Dataset("x", "x", *(Table({"scent": t.columns["scent"]}, t.names) for t in (data.train, data.test)))
    with pytest.raises(UserError, match="'label'"):
        evaluate(Generator(Draws(("scent",)), spec), other)
