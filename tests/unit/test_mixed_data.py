"""Several kinds of columns in one table: prepared row by row, fitted on training rows alone, copies on one side."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_data_sources import pictures, png, put

import maquette
from flat_config import flat_config
from maquette import api, training
from maquette.core.errors import UserError
from maquette.core.modality import Unreadable, Window
from maquette.core.samples import captions
from maquette.core.spec import PAD, ClassSpec, GridSpec, NumberSpec, TokenSpec
from maquette.core.table import Dataset
from maquette.data import Loader, open_dataset
from maquette.data.store import MemorySink, StoredNames, Writer, pack
from maquette.modalities import text

WORDS = ("a thin one", "a thick seven leaning left", "a thin seven", "a thick one leaning right")


def table(root: Path, n: int = 60, **cells: Any) -> Path:
    """Pictures, each with a caption, a number and a label."""
    rows = [{"file_name": f"{i:03d}.png", "caption": f"{WORDS[i % 4]}, the {i}th", "slant": f"{i / 7:.3f}",
             "label": ("one", "seven")[i % 2]} for i in range(n)]  # fmt: skip
    for column, values in cells.items():
        for row, value in values.items():
            rows[row][column] = value
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    files = {f"{i:03d}.png": png(p) for i, p in enumerate(pictures(n))}
    return put(root, {**files, "metadata.csv": out.getvalue().encode()})


def opened(source: Path, cache: Path, target: tuple[str, ...], given: tuple[str, ...] = (), **config: Any) -> Dataset:
    settings = flat_config(**{"tokenizer": "char", **config})
    return open_dataset(source, settings, target=target, given=given, cache=cache)


def caption(dataset: Dataset, row: int, side: str = "train") -> str:
    column = getattr(dataset, side).columns["caption"]
    return text.decode(column.take(np.array([row]))[0], column.spec)


def test_a_picture_its_caption_a_number_and_a_label_in_one_table(tmp_path: Path) -> None:
    root = table(tmp_path / "set")
    dataset = opened(root, tmp_path / "cache", ("image",), ("caption", "slant"))
    spec = dataset.spec(("image",), ("caption", "slant", "label"))
    forms = {"image": GridSpec, "caption": TokenSpec, "slant": NumberSpec, "label": ClassSpec}
    assert set(dataset.train.columns) == set(forms)
    assert all(isinstance(spec.columns[name], form) for name, form in forms.items())
    assert len(dataset.train) + len(dataset.test) == 60 and len(dataset.test) > 0
    x = pictures(60)
    for side, row in (("train", 0), ("train", len(dataset.train) - 1), ("test", 0)):
        data = getattr(dataset, side)
        i = int(Path(data.names[row]).stem)
        batch = data.batch([row], spec)
        assert torch.allclose(batch.target["image"][0, 0], torch.from_numpy(x[i] / 127.5 - 1).float(), atol=1e-6)
        assert caption(dataset, row, side) == f"{WORDS[i % 4]}, the {i}th"
        assert float(batch.given["slant"]) == pytest.approx(i / 7, abs=1e-3)
        assert spec.columns["label"].classes[int(batch.given["label"])] == ("one", "seven")[i % 2]
    learned = [int(Path(name).stem) / 7 for name in dataset.train.names]
    slant = spec.columns["slant"]
    assert slant.mean == pytest.approx(np.mean(learned), abs=1e-3) and slant.high == pytest.approx(
        max(learned), abs=1e-3
    )
    loader = Loader(dataset.train, spec, 8, 0)
    assert loader.batch(0).given["caption"].shape[0] == 8
    again = opened(root, tmp_path / "cache", ("image",), ("caption", "slant"))
    assert again.summary["from_cache"] and again.fingerprint == dataset.fingerprint
    assert again.train.names == dataset.train.names and caption(again, 3) == caption(dataset, 3)


def test_any_of_the_columns_may_be_made_of_any_others(tmp_path: Path) -> None:
    root = table(tmp_path / "set")
    both = opened(root, tmp_path / "cache", ("image", "caption"), ("label",))
    assert both.spec(("image", "caption"), ("label",)).target == ("image", "caption")
    swapped = opened(root, tmp_path / "cache", ("caption",), ("image",))
    assert swapped.summary["from_cache"] and swapped.fingerprint == both.fingerprint  # the same columns
    alone = opened(root, tmp_path / "cache", ("caption",))
    assert set(alone.train.columns) == {"caption", "label"} and alone.summary["unused"] == ["image", "slant"]
    assert any("'image' (image), 'slant' (number) are not used" in note for note in alone.summary["notes"])


def test_everything_is_looked_at_where_nothing_is_chosen(tmp_path: Path) -> None:
    root = table(tmp_path / "set", caption=dict.fromkeys(range(20), ""), slant={5: ""})
    (root / "007.png").write_bytes(b"")
    found = opened(root, tmp_path / "cache", ())
    assert set(found.summary["columns"]) == {"image", "caption", "slant", "label"}
    assert found.summary["columns"]["caption"]["missing"] == 18 and found.summary["used"] == 58
    assert {entry["name"] for entry in found.summary["left_out"]} == {"007.png", "005.png"}
    for column in found.summary["columns"].values():
        assert column["rows"] and all(isinstance(part, str) for line in column["rows"] for part in line)
    told = json.dumps(found.summary)
    assert "thick seven leaning" not in told and str(tmp_path) not in told  # no item of the data, and no path


def test_rows_that_lack_a_used_column_are_left_out_by_name(tmp_path: Path) -> None:
    root = table(tmp_path / "set", caption={3: "", 4: " "}, slant={5: "steep"} | {6: ""}, label={9: ""})
    dataset = opened(root, tmp_path / "cache", ("image",), ("caption",))
    assert {(e["name"], e["reason"]) for e in dataset.summary["left_out"]} == {
        ("003.png", "'caption': empty"), ("004.png", "'caption': empty")
    }  # fmt: skip
    assert dataset.train.columns["label"].spec.classes == ("one", "seven", "(missing)")
    with pytest.raises(UserError, match=r"'003.png' cannot be used: 'caption': empty"):
        opened(root, tmp_path / "cache", ("image",), ("caption",), strict=True)


GAPS: dict[str, dict[int, str]] = {"caption": {3: "", 4: " "}, "slant": {4: "", 5: "steep", 6: ""}}


def test_rows_that_lack_what_is_given_are_kept_where_the_family_can_do_without(tmp_path: Path) -> None:
    root = table(tmp_path / "set", **GAPS)
    columns: dict[str, Any] = {"target": ("image",), "given": ("caption", "slant"), "cache": tmp_path / "cache"}
    settings = flat_config(tokenizer="char", kinds={"slant": "number"})
    strict = open_dataset(root, settings, **columns)
    assert {entry["name"] for entry in strict.summary["left_out"]} == {f"00{i}.png" for i in (3, 4, 5, 6)}
    half = open_dataset(root, settings, **columns, may_miss=(NumberSpec,))
    assert {entry["name"] for entry in half.summary["left_out"]} == {f"00{i}.png" for i in (3, 4, 5)}
    found = open_dataset(root, settings, **columns, may_miss=(NumberSpec, TokenSpec))
    assert found.summary["left_out"] == [{"name": "005.png", "reason": "'slant': 'steep' is not a number"}]
    assert {"2 rows have no 'slant': kept without it.", "2 rows have no 'caption': kept without it."} <= set(
        found.summary["notes"]
    )
    assert len({strict.fingerprint, half.fingerprint, found.fingerprint}) == 3
    again = open_dataset(root, settings, **columns, may_miss=(TokenSpec, NumberSpec))
    assert again.summary["from_cache"] and again.fingerprint == found.fingerprint
    spec, seen = found.spec(columns["target"], columns["given"]), set()
    for side in (found.train, found.test):
        for row, name in enumerate(side.names):
            i, given = int(str(name)[:3]), side.batch([row], found.spec(("image",), ("caption", "slant"))).given
            assert bool(given["slant"].isnan()) == (i in (4, 6))
            assert given["caption"].shape[1] >= 1 and bool((given["caption"] == PAD).all()) == (i in (3, 4))
            seen.add(i)
    assert seen == set(range(60)) - {5}
    slant = [int(str(name)[:3]) / 7 for name in found.train.names if int(str(name)[:3]) not in (4, 6)]
    assert spec.columns["slant"].mean == pytest.approx(np.mean(slant), abs=1e-3)
    columns |= {"target": ("caption",), "given": ("slant",)}
    swapped = open_dataset(root, settings, **columns, may_miss=(NumberSpec, TokenSpec))
    assert {entry["name"] for entry in swapped.summary["left_out"]} == {f"00{i}.png" for i in (3, 4, 5)}  # a target


def test_a_run_learns_from_rows_with_gaps_and_finds_them_again(tmp_path: Path) -> None:
    root = table(tmp_path / "set", caption=dict.fromkeys(range(0, 60, 2), ""), slant=dict.fromkeys(range(0, 60, 3), ""))
    small = {"model.width": 32, "model.deep": 32, "model.deep_blocks": 1, "model.condition": 16,
             "train.preview_items": 8, "train.batch_size": 8}  # fmt: skip
    columns: dict[str, Any] = {"target": "image", "given": ["caption", "slant"], "quiet": True}
    run = maquette.train("image/flow", root, out=tmp_path / "run", steps=3, settings=small, **columns)
    data = run.folder.data()
    assert data["used"] == 60 and data["columns"]["caption"]["missing"] == 30
    again = maquette.load(run.folder.path, device="cpu")
    assert again.trained_on(again.dataset()) and again.trained_on(again.dataset(root))
    again.resume(quiet=True)
    given = again.dataset().test.batch(np.arange(len(again.dataset().test)), again.spec).given
    shown = captions(given, again.spec)
    assert "" in shown and not any("nan" in words for words in shown)
    assert again.sample(2, steps=2, caption="a thin one").only.isfinite().all()
    source = table(tmp_path / "source", other={i: f"{WORDS[i % 4]} again, the {i}th" for i in range(60)},
                   caption={3: ""}, slant={6: ""})  # fmt: skip
    recipe = api.resolve_recipe("text/transformer", source, target="other", given=["caption", "slant"])
    found = training.open_data(recipe, lambda note: None)
    assert [entry["name"] for entry in found.summary["left_out"]] == ["003.png"] and found.summary["used"] == 59


def held_out(dataset: Dataset) -> list[str]:
    return [str(name) for name in dataset.test.names]


def test_specifications_know_training_rows_alone(tmp_path: Path) -> None:
    """A transparent, a large and an odd row among those that are held out change nothing of what is learned in."""
    rows = {i: f"{WORDS[i % 4]}, the {i}th" for i in range(60)}
    split = {i: "test" if i >= 50 else "train" for i in range(60)}
    plain = opened(table(tmp_path / "a", split=split), tmp_path / "cache", ("image",), ("caption", "slant"))
    assert held_out(plain) == [f"{i:03d}.png" for i in range(50, 60)]
    poison = table(tmp_path / "b", split=split, caption={55: "Ω" * 300}, slant={56: "1e9"}, label={57: "a third class"})
    clear = Image.new("RGBA", (16, 16), (9, 9, 9, 0))
    clear.save(poison / "058.png")
    Image.effect_noise((90, 70), 50).save(poison / "059.png")
    other = opened(poison, tmp_path / "cache", ("image",), ("caption", "slant"))
    for name in ("image", "caption", "slant"):
        assert other.train.columns[name].spec == plain.train.columns[name].spec, name
    assert other.train.columns["label"].spec.shares == (0.0, *plain.train.columns["label"].spec.shares)
    assert len(other.test) == 10 and caption(other, 5, "test") == "" and rows
    spec = plain.spec(("image",), ("caption", "slant"))
    for a, b in zip(plain.train.batch([0, 7], spec).given.values(), other.train.batch([0, 7], spec).given.values(),
                    strict=True):  # fmt: skip
        assert torch.equal(a, b)


def test_by_content_no_row_that_was_fitted_on_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maquette.modalities.image import data as image_data

    files = {}
    for i, picture in enumerate(pictures(80, side=32)):
        files[f"{i:02d}.png"] = png(picture)
        again = io.BytesIO()
        Image.fromarray(picture).save(again, format="JPEG", quality=92)
        if i % 2:
            files[f"{i:02d}-copy.jpg"] = again.getvalue()
    seen: list[str] = []
    fit = image_data.fit

    def spy(cells: Any, *rest: Any) -> Any:
        seen.extend(cell.name for cell in cells)
        return fit(cells, *rest)

    monkeypatch.setattr(image_data, "fit", spy)
    dataset = opened(put(tmp_path / "set", files), tmp_path / "cache", ("image",), test_share=0.4)
    assert seen and not set(seen) & set(held_out(dataset)) and len(dataset.test) > 5
    stems = [{str(name)[:2] for name in side.names} for side in (dataset.train, dataset.test)]
    assert not stems[0] & stems[1] and dataset.summary["duplicates"]["near_groups"] >= 38


def test_equal_pictures_with_other_captions_never_straddle(tmp_path: Path) -> None:
    root = table(tmp_path / "set", 40)
    lines = (root / "metadata.csv").read_text().splitlines()
    for i in range(40):
        (root / f"{i + 40:03d}.png").write_bytes((root / f"{i:03d}.png").read_bytes())
        lines.append(f"{i + 40:03d}.png,another caption of {i},0.5,one")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    dataset = opened(root, tmp_path / "cache", ("image",), ("caption",), test_share=0.4)
    sides = [{int(str(name)[:3]) % 40 for name in side.names} for side in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1] and sides[1]
    assert dataset.summary["duplicates"]["exact_copies"] == 0 and dataset.summary["duplicates"]["near_copies"] == 40


# -- a kind of our own -------------------------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> str:
    """A modality that ships nowhere: files of whole numbers, read in windows where they are long."""
    module = ModuleType("steps_kind")

    def examine(cell: Any, config: Any) -> int:
        try:
            return len([int(word) for word in cell.read().split()])
        except ValueError:
            raise Unreadable("not whole numbers") from None

    def fit(cells: Any, facts: Any, config: Any, known: Any, notes: Any) -> Any:
        highest = max(max(map(int, cell.read().split())) for cell in cells)
        return known or Spec(shape=(9,), vocab=8 + highest, framed=max(facts) < 20)

    class Spec(TokenSpec):
        kind: str = "steps_kind"

    module.__dict__.update(
        KIND="steps_kind", NOUN=("walk", "walks"), Spec=Spec, Config=label_config(), PREVIEW_SUFFIX=".txt",
        claims=lambda name, head: name.endswith(".steps"), examine=examine, fit=fit,
        encode=lambda cells, spec, config: [np.array(c.read().split(), np.uint8) + 7 for c in cells],
        canonical=lambda stored: torch.from_numpy(np.asarray(stored, np.int64)),
        window=lambda spec: None if spec.framed else Window(9, 2, 8),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "steps_kind", module)
    monkeypatch.setenv("MAQUETTE_MODALITIES", "steps_kind")
    return "steps_kind"


def label_config() -> Any:
    from maquette.modalities.label import Config

    return Config


def walks(root: Path, n: int, length: int) -> Path:
    chance = np.random.default_rng(0)
    found = {f"{i:02d}.steps": " ".join(map(str, chance.integers(0, 9, length + i % 5))).encode() for i in range(n)}
    return put(root, found)


def test_windows_on_a_kind_of_our_own(tmp_path: Path, steps: str) -> None:
    root = walks(tmp_path / "long", 30, 50)
    (root / "29.steps").write_bytes(b"1 2 x")
    dataset = opened(root, tmp_path / "cache", (steps,))
    (reason,) = dataset.summary["left_out"]
    assert reason == {"name": "29.steps", "reason": "not whole numbers"} and dataset.train.overlap == 4
    for side, stride in ((dataset.train, 2), (dataset.test, 8)):
        column = side.columns[steps]
        assert side.spans is not None and len(side) == len(side.names)
        for row in range(0, len(side), 7):
            name, _, token = str(side.names[row]).partition(" token ")
            whole = np.array((root / name).read_text().split(), int) + 7
            item = column.take(np.array([row]))[0].numpy()
            assert np.array_equal(item, whole[int(token) : int(token) + len(item)])
            assert int(token) % stride == 0 or int(token) + 9 == len(whole)
    assert dataset.train.columns[steps].lengths is None
    assert dataset.summary["columns"][steps]["kind"] == steps


def test_items_of_a_kind_of_our_own_beside_pictures(tmp_path: Path, steps: str) -> None:
    root = walks(tmp_path / "set", 40, 6)
    put(root, {f"{i:02d}.png": png(p) for i, p in enumerate(pictures(40))})
    dataset = opened(root, tmp_path / "cache", (steps,), ("image",))
    batch = dataset.train.batch([0, 1, 2], dataset.spec((steps,), ("image",)))
    lengths = dataset.train.columns[steps].lengths
    assert lengths is not None and batch.target[steps].shape == (3, lengths[:3].max())
    assert int((batch.target[steps] != PAD).sum()) == lengths[:3].sum() and batch.given["image"].shape[0] == 3
    long = walks(tmp_path / "long", 40, 50)
    put(long, {f"{i:02d}.png": png(p) for i, p in enumerate(pictures(40))})
    with pytest.raises(UserError, match="cannot be used together with 'image'"):
        opened(long, tmp_path / "cache", (steps,), ("image",))


# -- the store ---------------------------------------------------------------------------------------


def stored(chunks: list[list[Any]], ragged: bool) -> tuple[Any, dict[int, str]]:
    writer, failed, done = Writer(MemorySink(), ragged), dict[int, str](), 0
    for chunk in chunks:
        packed = pack(chunk, ragged)
        writer.add(packed)
        failed |= {done + i: reason for i, reason in packed.failed.items()}
        done += len(chunk)
    return writer.stored(), failed


def test_sequences_of_any_length_are_kept_one_after_the_other() -> None:
    chunks = [[Unreadable("a"), None], [np.array([1, 2], np.uint16), np.array([], np.uint16)],
              [np.array([3], np.uint16), Unreadable("b")]]  # fmt: skip
    found, failed = stored(chunks, ragged=True)
    assert found.values.tolist() == [1, 2, 3] and found.values.dtype == np.uint16
    assert found.lengths.tolist() == [0, 0, 2, 0, 1, 0] and failed == {0: "a", 5: "b"}


def test_items_of_one_shape_leave_room_for_those_that_failed() -> None:
    one = np.ones((2, 3), np.uint8)
    found, failed = stored([[Unreadable("a")], [one, Unreadable("b")], [one * 2], [Unreadable("c")]], ragged=False)
    assert found.values.shape == (5, 2, 3) and found.values[:, 0, 0].tolist() == [0, 1, 0, 2, 0]
    assert failed == {0: "a", 2: "b", 4: "c"}
    scalars, _ = stored([[np.float32(1.5), np.float32(2)]], ragged=False)
    assert scalars.values.tolist() == [1.5, 2.0]


def test_names_take_little_room_and_come_back() -> None:
    names = StoredNames.of(["a.png", "猫/b", ""])
    assert list(names) == ["a.png", "猫/b", ""] and names[-1] == "" and names[:2] == ["a.png", "猫/b"]
    with pytest.raises(IndexError):
        names[3]


# -- other data for a run ----------------------------------------------------------------------------


def test_other_data_is_prepared_in_the_shape_tokens_and_classes_of_a_run(tmp_path: Path) -> None:
    own = opened(table(tmp_path / "a"), tmp_path / "cache", ("image",), ("caption", "label"))
    spec = own.spec(("image",), ("caption", "label"))
    root = table(tmp_path / "b", 30, label={3: "nine"}, caption={4: "ΩΩ, the 4th"})
    for i, picture in enumerate(pictures(30, side=40, channels=3)):
        (root / f"{i:03d}.png").write_bytes(png(picture))
    judged: dict[str, Any] = {"target": ("image",), "given": ("caption", "label"), "like": spec}
    settings = flat_config(tokenizer="char")
    other = open_dataset(root, settings, **judged, own=own.fingerprint, cache=tmp_path / "cache")
    assert len(other.train) == len(other.test) == 29  # all of it is held out
    assert other.train.columns["image"].spec == spec.columns["image"]
    assert other.train.columns["label"].spec.classes == ("one", "seven")
    assert other.summary["left_out"] == [{"name": "003.png", "reason": "'label': unknown class 'nine'"}]
    assert any("not 16x16 like those of the run: resized" in note for note in other.summary["notes"])
    assert other.summary["notes"].count("All of it is held out: the run was trained on other data.") == 1
    split = open_dataset(root, settings, **judged, cache=tmp_path / "cache")
    assert len(split.train) + len(split.test) == 29
    again = open_dataset(tmp_path / "a", settings, **judged, own=own.fingerprint, cache=tmp_path / "new")
    assert again.fingerprint == own.fingerprint and again.test.names == own.test.names
    with pytest.raises(UserError, match="The run has no column 'slant'"):
        open_dataset(root, settings, target=("image",), given=("slant",), like=spec, cache=tmp_path / "cache")
