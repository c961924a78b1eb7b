"""Runs made of runs: what they hold out is what their members have held out, in every process, or they are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maquette
from maquette import api, members, training
from maquette.core.errors import UserError
from maquette.core.generator import build_model
from maquette.core.run import RunFolder
from maquette.core.table import Dataset, Table
from maquette.engine.world import World
from maquette.modalities import text

# An outline (core/outline.py) has no place for weights, and says nothing of it.
pytestmark = pytest.mark.filterwarnings("error:.*meta parameter")

SMALL = ("model.layers=1", "model.width=16", "model.embedding=16", "model.attention=none")
BPE = (
    "data.text.tokenizer=bpe", "data.text.vocab=300", "data.text.context=32", "data.test_share=0.2",
    "data.split_seed=3",
)  # fmt: skip
CHARS = ("data.text.tokenizer=char", "data.text.context=32")
WORDS = ["the", "a", "cat", "dog", "sea", "hill", "sleeps", "runs", "by", "under", "old", "green", "river", "waits"]


def quiet(line: str) -> None:
    pass


def story(path: Path, seed: int = 0, words: int = 3000) -> Path:
    chance = np.random.default_rng(seed)
    path.write_text(
        "".join(f"{word}\n" if i % 9 == 8 else f"{word} " for i, word in enumerate(chance.choice(WORDS, words)))
    )
    return path


def prepared(recipe: str, data: Path, out: Path, *settings: str, target: str = "text") -> tuple[RunFolder, Dataset]:
    resolved = api.resolve_recipe(recipe, data, target=target, given="none", settings=settings)
    return training.prepare(resolved, out, quiet)


def trained(data: Path, out: Path, *settings: str, **options: Any) -> tuple[RunFolder, Dataset]:
    """A run as training leaves it, its weights as they began."""
    folder, dataset = prepared("text/seq2seq", data, out, *SMALL, *settings, **options)
    folder.write_weights(build_model(folder.recipe(), folder.spec()).state_dict(), step=0)
    return folder, dataset


def together(*members: RunFolder) -> str:
    return f"model.members=[{', '.join(str(m.path) for m in members)}]"


def said(table: Table) -> list[str]:
    column = table.columns["text"]
    return [text.decode(item, column.spec) for item in column.take(np.arange(len(table)))]


@pytest.mark.parametrize("recipe", ["text/cooperative", "text/writer-critic"])
def test_what_is_held_out_is_what_the_members_held_out(tmp_path: Path, recipe: str) -> None:
    data = story(tmp_path / "a.txt")
    a, own = trained(data, tmp_path / "a", *BPE)
    b, _ = trained(data, tmp_path / "b", *BPE, "model.cell=gru")
    folder, dataset = prepared(recipe, data, tmp_path / "both", together(a, b))
    assert dataset.fingerprint == own.fingerprint
    assert said(dataset.test) == said(own.test) and len(dataset.train) == len(own.train)
    ours, theirs = folder.recipe().data, a.recipe().data
    assert all(getattr(ours, key) == getattr(theirs, key) for key in members.SHARED)
    # Opened anew, to go on or to be judged, it is the same.
    run = api.Run(folder)
    assert run.dataset().fingerprint == own.fingerprint and run.trained_on(run.dataset())
    assert said(run.dataset(data, quiet=True).test) == said(own.test)
    other = run.dataset(story(tmp_path / "other.txt", 1), quiet=True)
    assert len(said(other.test)) > len(said(own.test)), "all of other data is held out"


def test_rows_are_split_as_the_members_were(tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("text\n" + "".join(f"the {w} {v} {i}\n" for i, w in enumerate(WORDS) for v in WORDS))
    a, own = trained(data, tmp_path / "a", *BPE)
    _, dataset = prepared("text/writer-critic", data, tmp_path / "both", together(a))
    assert said(dataset.test) == said(own.test) and not set(said(dataset.train)) & set(said(own.test))


def test_members_of_windows_of_other_sizes_still_share_a_split(tmp_path: Path) -> None:
    data = story(tmp_path / "a.txt")
    a, own = trained(data, tmp_path / "a", *BPE)
    b, _ = trained(data, tmp_path / "b", *BPE, "data.text.context=48")
    _, dataset = prepared("text/cooperative", data, tmp_path / "both", together(a, b))
    assert said(dataset.test) == said(own.test)


@pytest.mark.parametrize("asked", ["data.split_seed=4", "data.test_share=0.1", "data.text.tokenizer=char"])
def test_another_split_than_the_members_is_refused(tmp_path: Path, asked: str) -> None:
    data = story(tmp_path / "a.txt")
    a, _ = trained(data, tmp_path / "a", *BPE)
    with pytest.raises(UserError, match="was trained with") as error:
        prepared("text/writer-critic", data, tmp_path / "no", together(a), asked)
    assert asked.partition("=")[0] in error.value.remedy and not (tmp_path / "no").exists()


def test_members_of_other_data_or_another_split_are_refused(tmp_path: Path) -> None:
    data = story(tmp_path / "a.txt")
    a, _ = trained(data, tmp_path / "a", *CHARS)
    other, _ = trained(story(tmp_path / "other.txt", 1), tmp_path / "other", *CHARS)
    assert a.spec().only().tokenizer == other.spec().only().tokenizer, "characters alone do not tell them apart"
    for named in ((other,), (a, other)):
        with pytest.raises(UserError, match=f"'{other.path}' was not trained on"):
            prepared("text/writer-critic", data, tmp_path / "no", together(*named))
    b, _ = trained(data, tmp_path / "b", *CHARS, "data.test_share=0.3")
    with pytest.raises(UserError, match=f"'{b.path}' held out other items"):
        prepared("text/cooperative", data, tmp_path / "no", together(a, b))
    data.write_text(data.read_text(encoding="utf-8") + "the sea\n", encoding="utf-8")
    with pytest.raises(UserError, match="as it is now"):
        prepared("text/writer-critic", data, tmp_path / "no", together(a))
    assert not (tmp_path / "no").exists()


# -- weights -----------------------------------------------------------------------------------------


def damaged(folder: RunFolder) -> None:
    folder.weights_file.write_bytes(b"no safetensors")


def moved(folder: RunFolder) -> None:
    shutil.rmtree(folder.path)


@pytest.mark.parametrize("lost", [damaged, moved])
def test_training_begins_with_the_members_weights_or_not_at_all(tmp_path: Path, lost: Any) -> None:
    data = story(tmp_path / "a.txt")
    a, _ = trained(data, tmp_path / "a", *BPE)
    short = ("train.steps=2", "train.batch_size=4", "train.preview_items=2", "train.trackers=[]", "model.width=8")
    folder, dataset = prepared("text/writer-critic", data, tmp_path / "run", together(a), *short)
    kept = tmp_path / "kept"
    shutil.copytree(a.path, kept)
    lost(a)
    with pytest.raises(UserError, match="no weights to begin with") as error:
        training.train_folder(folder, dataset, quiet=True)
    assert str(a.path) in error.value.problem and not folder.weights_file.exists()
    shutil.rmtree(a.path, ignore_errors=True)
    shutil.move(kept, a.path)
    training.train_folder(folder, dataset, quiet=True)
    shutil.rmtree(a.path)
    run = maquette.load(folder.path)
    assert run.sample(2).texts and run.resume(quiet=True).folder.path == folder.path
    again = tmp_path / "again.yaml"
    shutil.copy(folder.recipe_file, again)
    with pytest.raises(UserError, match="no run at"):  # its recipe alone is not enough for another run
        api.train(str(again), data, out=tmp_path / "another", quiet=True)


# -- words for people ----------------------------------------------------------------------------------


def test_what_is_said_of_other_data_is_no_part_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = trained(story(tmp_path / "a.txt"), tmp_path / "a", *CHARS)
    run = maquette.load(folder.path)
    run.dataset(story(tmp_path / "b.txt", 1), quiet=True)
    heard = capsys.readouterr()
    assert heard.out == heard.err == ""
    run.dataset(story(tmp_path / "c.txt", 2))
    assert capsys.readouterr().out == ""


# -- several processes -------------------------------------------------------------------------------


class Follower(World):
    rank, size = 1, 2


def test_every_process_reads_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = story(tmp_path / "a.txt")
    a, own = trained(data, tmp_path / "a", *BPE)
    prepared("text/writer-critic", data, tmp_path / "run", together(a))  # what the leader does meanwhile
    seen: list[Dataset] = []
    monkeypatch.setattr(api, "join_world", lambda device: Follower("cpu"))
    monkeypatch.setattr(api, "train_folder", lambda folder, dataset, quiet, **asked: seen.append(dataset))
    settings = [together(a)]
    api.train("text/writer-critic", data, out=tmp_path / "run", given="none", settings=settings, quiet=True)
    assert [dataset.fingerprint for dataset in seen] == [own.fingerprint]


def test_the_size_of_a_batch_of_tokens_is_what_processes_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, launched = story(tmp_path / "a.txt"), list[int]()
    monkeypatch.setattr(api, "launch", lambda folder, *_, **__: launched.append(folder.recipe().train.batch_size))
    settings = {"data.text.context": 64, "model.width": 32, "model.heads": 2, "model.layers": 1, "train.device": "cpu"}

    def train(tokens: int, processes: int) -> None:
        api.train("text/lm", data, out=tmp_path / "run", settings={**settings, "train.batch_tokens": tokens},
                  processes=processes, quiet=True)  # fmt: skip

    with pytest.raises(UserError, match=r"batch_size = 8 .* 16 processes"):
        train(8 * 65, 16)
    assert not (tmp_path / "run").exists()
    train(24 * 65, 3)
    assert launched == [24]
