"""Windows of long texts, and items of their own: what a batch of tokens holds, and what is predicted how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flat_config import flat_config
from maquette.core.spec import BOS, EOS, PAD
from maquette.core.table import Dataset, Table
from maquette.data import Loader, open_dataset
from maquette.data.windows import windows
from maquette.modalities import text
from maquette.modalities.text.measures.read import passages
from maquette.modalities.text.tokens import tokenize


def opened(source: Path, tmp_path: Path, **config: object) -> Dataset:
    return open_dataset(source, flat_config(**config), target=("text",), cache=tmp_path / "cache")  # type: ignore[arg-type]


def story(n: int, seed: int = 0) -> str:
    """n characters of words and lines, no two passages alike."""
    chance = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     \n"))
    return "".join(chance.choice(letters, n))


def of_long_text(table: Table, row: int) -> str:
    column = table.columns["text"]
    return text.decode(column.take(np.array([row]))[0], column.spec)


def test_the_end_of_a_long_text_is_held_out_and_every_token_of_it_predicted_once(tmp_path: Path) -> None:
    whole = story(5003)
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    dataset = opened(tmp_path / "a.txt", tmp_path, context=64)
    learned, held = whole[: int(0.9 * 5003)], whole[int(0.9 * 5003) :]
    column = dataset.test.columns["text"]
    spec = column.spec
    assert (spec.framed, spec.unit, spec.shape) == (False, "char", (65,)) and dataset.test.overlap == 1
    said = ""
    for row in range(len(dataset.test)):
        window = of_long_text(dataset.test, row)
        assert len(window) == 65 or row == len(dataset.test) - 1
        said += window[1:]  # what is predicted from the token before it
    assert said == held[1:]
    batch = column.take(np.arange(len(dataset.test)))
    assert batch.shape == (len(dataset.test), 65) and batch.dtype == torch.int64
    assert int((batch != PAD).sum()) == len(held) + len(dataset.test) - 1
    assert column.lengths is not None and int(column.lengths[-1]) == len(of_long_text(dataset.test, -1))
    # Training windows: whole, a sixteenth of the context apart, together all of the text and nothing else.
    train = dataset.train
    assert train.columns["text"].lengths is None and train.overlap == 16
    firsts = [of_long_text(train, row) for row in range(len(train))]
    assert all(len(window) == 65 for window in firsts)
    assert firsts[3] == learned[12 : 12 + 65] and firsts[-1] == learned[-65:]
    assert abs(train.items - len(learned) / 64) <= 2
    assert spec.start == int(tokenize("\n", spec)[0]) and spec.mean_length == 65.0
    assert train.names[3] == "a.txt token 12" and len(train.names) == len(train)
    assert train.names[1:3] == ["a.txt token 4", "a.txt token 8"]


@pytest.mark.parametrize("context", [8, 16, 40, 255, 256])
def test_windows_cover_the_text_whatever_the_context(context: int) -> None:
    offsets = np.array([0, 3, 3, 4, 1000, 1000 + context + 1])
    stride, overlap = max(1, context // 16), context // max(1, context // 16)
    held = windows(offsets, np.array([0, 1, 2, 3, 4]), context + 1, context, whole=False)
    predicted = np.zeros(offsets[-1], int)
    for first, size in zip(held.first, held.sizes, strict=True):
        predicted[first + 1 : first + size] += 1
    assert held.sizes.min() >= 2
    assert (predicted[[0, 3, 4, 1000]] == 0).all() and predicted.sum() == len(predicted) - 4
    learned = windows(offsets, np.array([3, 4]), context + 1, stride, whole=True)
    assert learned.equal and (learned.sizes == context + 1).all()
    times = np.zeros(offsets[-1], int)
    for first, size in zip(learned.first, learned.sizes, strict=True):
        times[first : first + size] += 1
    assert (times[4:] > 0).all() and (times[:4] == 0).all()
    assert times.max() <= overlap + 2 and times[4:1000].max() >= min(overlap, 16)
    # None goes over the end of a document.
    assert all((f >= 4 and f + s <= 1000) or f >= 1000 for f, s in zip(learned.first, learned.sizes, strict=True))


@pytest.mark.parametrize("context", [64, 33])
def test_windows_are_joined_into_the_documents_they_were_cut_from(tmp_path: Path, context: int) -> None:
    """A short document first, one of two characters, and lines of nothing but spaces: told by where windows lie."""
    chance = np.random.default_rng(0)
    parts = [story(int(n), i) for i, n in enumerate([20, 2, *chance.integers(3, 5000, 28)])]
    for i, part in enumerate(parts):
        path = tmp_path / "set" / f"{i:02d}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(part, encoding="utf-8")
    dataset = opened(tmp_path / "set", tmp_path, context=context, test_share=0.3)
    everything = []
    for table in (dataset.train, dataset.test):
        found = list(passages(table, "text", 10**9))
        assert [part.text for part in found] == [parts[int(Path(table.names[p.row][:6]).stem)] for p in found]
        assert all(str(table.names[p.row]).endswith("token 0") for p in found)
        everything += [part.text for part in found]
    assert sorted(everything) == sorted(parts)


@pytest.mark.parametrize("gap", [" ", "\n", "ab"])
def test_windows_that_begin_within_a_run_of_equal_tokens_are_joined(tmp_path: Path, gap: str) -> None:
    whole = (story(6000) + gap * 200 + story(1000, 1)) * 2
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    cut = int(0.9 * len(whole))
    (tmp_path / "b.txt").write_text(whole[: cut - 100] + gap * 200 + whole[cut:], encoding="utf-8")
    for name in ("a.txt", "b.txt"):
        dataset = opened(tmp_path / name, tmp_path, context=32)
        text_ = (tmp_path / name).read_text(encoding="utf-8")
        cut = int(0.9 * len(text_))
        for table, side in ((dataset.train, text_[:cut]), (dataset.test, text_[cut:])):
            (part,) = passages(table, "text", 10**9)
            assert part.text == side and part.row == 0


def test_a_text_shorter_than_a_window_is_one_window() -> None:
    found = windows(np.array([0, 5, 6]), np.array([0, 1]), 9, 1, whole=True)
    assert found.first.tolist() == [0] and found.sizes.tolist() == [5] and found.item.tolist() == [0]
    none = windows(np.array([0, 1]), np.array([0]), 9, 8, whole=False)
    assert len(none.first) == 0 and not none.equal


def test_few_long_documents_are_each_cut_and_no_window_goes_over_a_border(tmp_path: Path) -> None:
    parts = {f"{i}.txt": chr(65 + i) + story(1500, i) + chr(75 + i) for i in range(3)}
    for name, content in parts.items():
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_text(content, encoding="utf-8")
    dataset = opened(tmp_path / "set", tmp_path, context=32, tokenizer="bpe", vocab=300)
    for table in (dataset.train, dataset.test):
        for row in range(len(table)):
            window = of_long_text(table, row)
            assert sum(window in content for content in parts.values()) == 1
            assert table.names[row].startswith(next(n for n, c in parts.items() if window in c))
    cut = {name: content[: int(0.9 * len(content))] for name, content in parts.items()}
    column = dataset.train.columns["text"]
    bare = [text.vocabulary(column.spec.tokenizer).encode(c) for c in cut.values()]
    assert column.take(np.array([0]))[0].tolist() == bare[0][:33].tolist()
    assert column.spec.chars_per_token == pytest.approx(sum(map(len, cut.values())) / sum(map(len, bare)))
    # The capital letter at the end of each text is held out, so characters would not know it; bytes do.
    assert any("K" in of_long_text(dataset.test, row) for row in range(len(dataset.test)))


def test_many_short_documents_stand_for_themselves(tmp_path: Path) -> None:
    for i in range(40):
        path = tmp_path / "set" / ("glad" if i % 2 else "sad") / f"{i:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"poem {i}\nof {story(20 + i, i)}", encoding="utf-8")
    dataset = opened(tmp_path / "set", tmp_path)
    column, label = dataset.train.columns["text"], dataset.train.columns["label"]
    assert column.spec.framed and column.spec.start == BOS and label.spec.classes == ("glad", "sad")
    assert len(dataset.train) + len(dataset.test) == 40 and dataset.train.overlap == 1
    rows = np.array([4, 0, 9])
    batch = column.take(rows)
    assert column.lengths is not None
    sizes = column.lengths[rows]
    assert batch.shape == (3, sizes.max()) and (batch[:, 0] == BOS).all()
    for item, size, row in zip(batch, sizes, rows, strict=True):
        assert item[size - 1] == EOS and (item[size:] == PAD).all() and (item[:size] != PAD).all()
        name = dataset.train.names[row]
        assert text.decode(item, column.spec).startswith(f"poem {int(Path(name).stem)}\n")
        assert label.spec.classes[int(label.take(np.array([row])))] == Path(name).parent.name
    assert column.spec.shape == (column.lengths.max(),)
    assert column.spec.mean_length == pytest.approx(column.lengths.mean())


def test_the_loader_batches_rows_of_like_length_and_reads_windows_at_random(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "text\n" + "".join(f"{story(5 + i % 60, i).strip() or 'x'!r}\n" for i in range(640))
    )
    dataset = opened(tmp_path / "rows.csv", tmp_path)
    loader = Loader(dataset.train, dataset.spec(("text",), ()), 16, 0)
    shares = [float((b.only() == PAD).float().mean()) for b in (loader.batch(step) for step in range(20))]
    assert np.mean(shares) < 0.1
    (tmp_path / "a.txt").write_text(story(20_000), encoding="utf-8")
    dataset = opened(tmp_path / "a.txt", tmp_path, context=64)
    loader = Loader(dataset.train, dataset.spec(("text",), ()), 16, 0)
    assert loader.batch(0).only().shape == (16, 65) and len(set(loader.rows(0) // 16)) > 8


def test_real_shakespeare_is_split_as_everybody_does(real_data: Path, tmp_path: Path) -> None:
    dataset = opened(real_data / "tinyshakespeare" / "input.txt", tmp_path)
    whole = (real_data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    train, test = dataset.train.columns["text"], dataset.test.columns["text"]
    assert test.spec.vocab == 65 + 7 and dataset.summary["columns"]["text"]["characters"] == 1_115_394
    said = of_long_text(dataset.test, 0)[:1]
    said += "".join(of_long_text(dataset.test, row)[1:] for row in range(len(dataset.test)))
    assert said == whole[int(0.9 * len(whole)) :] and len(said) == 111_540
    last = text.decode(train.take(np.array([len(train) - 1]))[0], train.spec)
    assert last == whole[: int(0.9 * len(whole))][-257:]
