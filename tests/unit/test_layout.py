"""Splits are splits and classes are what lies below them, however people call and wrap their folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maquette.core.errors import UserError
from maquette.data.layout import Layout, layout, role, roles, splits_of


def laid(*folders: str, splits: str = "auto", items: int = 20) -> Layout:
    """What is said of `items` files in each of these folders; "folder:n" holds n of them."""
    names = []
    for folder in folders:
        folder, _, count = folder.partition(":")
        names += [f"{folder}/{i:03}.png".removeprefix("/") for i in range(int(count or items))]
    return layout(sorted(names), "things", splits=splits, containers=("images",))


def counted(made: Layout) -> dict[tuple[str | None, str | None], int]:
    """(split, class) -> files that can be used."""
    rows = [i for i in range(len(made.splits)) if i not in made.outside]
    return dict(Counter((made.splits[i], made.classes[i] if made.classes else None) for i in rows))


TWO = {("train", "cat"): 20, ("train", "dog"): 20, ("test", "cat"): 20, ("test", "dog"): 20}


def two(train: str, test: str) -> tuple[str, ...]:
    return tuple(f"{split}/{kind}" for split in (train, test) for kind in ("cat", "dog"))


@pytest.mark.parametrize(
    ("folders", "want", "astray"),
    [
        ((*two("train", "test"), ":1"), TWO, 1),  # a stray file beside the splits
        ((*two("set/train", "set/test"), ":1", "set:1"), TWO, 2),
        ((*two("train", "test"), "unlabeled:99"), TWO, 99),
        ((*two("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"), TWO, 20),
        (two("train/train", "test/test"), TWO, 0),
        (("trainA", "trainB", "testA", "testB"), {(s, c): 20 for s in ("train", "test") for c in "AB"}, 0),
        (("images/train", "images/val"), {("train", None): 20, ("val", None): 20}, 0),
        (("train/images", "valid/images"), {("train", None): 20, ("valid", None): 20}, 0),
        (("train2017", "val2017"), {("train2017", None): 20, ("val2017", None): 20}, 0),
        (("cat/train", "cat/test", "dog/train", "dog/test"), TWO, 0),
        (("Final_Training/images/0", "Final_Training/images/1", "Final_Test/images"),
         {("train", "0"): 20, ("train", "1"): 20}, 20),
        (("test/cat", "test/dog", "cat", "dog"),
         {(None, "cat"): 20, (None, "dog"): 20, ("test", "cat"): 20, ("test", "dog"): 20}, 0),
        (("train/cat", "train/dog"), {(None, "cat"): 20, (None, "dog"): 20}, 0),
        (("train",), {(None, None): 20}, 0),
    ],
)  # fmt: skip
def test_splits_as_people_lay_them_out(folders: tuple[str, ...], want: dict, astray: int) -> None:
    made = laid(*folders)
    # What a split is called is the data's own word, or that of its role.
    assert counted(made) == want and len(made.outside) == astray


def test_what_was_decided_is_said() -> None:
    assert laid(*two("train", "test")).notes == [
        "'test', 'train' are read as splits, by the name (data.splits=none makes them classes)."
    ]


@pytest.mark.parametrize(
    "folders",
    [("training", "match"), ("train", "plane", "car"), ("train_station", "bus_stop"), ("testimony", "valley")],
)
def test_classes_that_are_merely_called_like_splits(folders: tuple[str, ...]) -> None:
    assert counted(laid(*folders)) == {(None, name): 20 for name in folders}


@pytest.mark.parametrize(
    "folders",
    [
        ("test", "cat", "dog"), ("dev", "design", "sales"), ("images", "test"), ("train", "test", "plane", "car"),
        ("train/steam", "train/diesel", "plane", "car"),
    ],
)  # fmt: skip
def test_a_doubt_is_asked_and_can_be_answered(folders: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="may be") as caught:
        laid(*folders)
    assert "data.splits=folders" in caught.value.remedy and "data.splits=none" in caught.value.remedy
    tops = {folder.partition("/")[0] for folder in folders}
    assert {kind for _, kind in counted(laid(*folders, splits="none"))} == tops
    answered = laid(*folders, splits="folders")
    held = {name for name in tops if role(name) in ("test", "val")}
    assert not any(name.partition("/")[0] in held and split is None and i not in answered.outside
                   for i, (name, split) in enumerate(zip(_names(folders), answered.splits, strict=True)))  # fmt: skip


def _names(folders: tuple[str, ...]) -> list[str]:
    return sorted(f"{folder}/{i:03}.png" for folder in folders for i in range(20))


def test_some_folders_hold_splits_and_others_none() -> None:
    with pytest.raises(UserError, match="'set' holds splits"):
        laid("set/train", "set/test", "previews")
    assert counted(laid("set/train", "set/test", "previews", splits="folders")) == {
        ("train", None): 20, ("test", None): 20,
    }  # fmt: skip


def test_roles_of_names() -> None:
    assert [role(name) for name in ("TEST", "validation-00000-of-00001", "training_set", "test_2016", "testimony")] == [
        "test", "val", "train", "test", "",
    ]  # fmt: skip
    assert roles(["trainA", "testA", "seg_train"]) == {"trainA": ("train", "A"), "testA": ("test", "A")}


TRAIN = st.sampled_from(["train", "Train", "TRAIN", "training", "training_set", "train_data", "trainset"])
HELD = st.sampled_from(["test", "TEST", "testing", "test_set", "val", "valid", "validation", "Dev", "eval", "testset"])
STYLES = st.sampled_from(["{}", "seg_{}", "{}_x", "{}2017", "my-{}"])
CLASSES = st.lists(
    st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1, max_size=8).filter(
        lambda name: not roles([name, f"{name}_train"]) and name.lower() not in ("data", "img", "imgs", "images")
    ),
    min_size=2,
    max_size=4,
    unique=True,
)


@given(
    train=TRAIN, held=HELD, style=STYLES, classes=CLASSES, wrapper=st.sampled_from(["", "set/", "a/b/"]),
    inner=st.sampled_from(["", "images/", "again"]), stray=st.integers(0, 2),
)  # fmt: skip
def test_no_held_out_file_is_ever_learned_from(
    train: str, held: str, style: str, classes: list[str], wrapper: str, inner: str, stray: int
) -> None:
    """Whatever the folders are called and wrapped in: what lies below a held-out name is in no other split."""
    tops = {name: style.format(name) for name in (train, held)}
    names, want = [], {}
    for split, top in tops.items():
        below = f"{top}/" if inner == "again" else inner
        for kind in classes:
            for i in range(8):
                names.append(name := f"{wrapper}{top}/{below}{kind}/{i}.png")
                want[name] = (split == held, kind)
    names += [f"{wrapper if i else ''}stray{i}.png" for i in range(stray)]
    names = sorted(names)
    made = layout(names, "things", containers=("images",))
    for i, name in enumerate(names):
        if name in want:
            held_out, kind = want[name]
            split = made.splits[i]
            assert split is not None and (role(split) != "train") == held_out, (name, split)
            assert made.classes is not None and made.classes[i] == kind
        else:
            assert i in made.outside


def test_a_large_split_without_classes_takes_none_from_the_others() -> None:
    made = laid("train/cat", "train/dog", "test:90")
    assert counted(made) == {("train", "cat"): 20, ("train", "dog"): 20}
    assert any("'test' has no class folders" in note for note in made.notes)


def test_splits_of_files_side_by_side() -> None:
    assert splits_of(["titanic_train", "titanic_test"]) == ["train", "test"]
    assert splits_of(["web_dev", "web_design"]) == ["web_dev", "web_design"]
    assert splits_of(["train", "test_2016_flickr", "2016/val"]) == ["train", "test_2016_flickr", "val"]


def test_inspect_takes_the_answer(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from maquette.cli.data import command as main

    for k, kind in enumerate(("test", "cat", "dog")):
        for i in range(8):
            path = tmp_path / "set" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(10 * k + i).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    asked = CliRunner().invoke(main, ["inspect", str(tmp_path / "set")])
    assert asked.exit_code and isinstance(asked.exception, UserError | SystemExit)
    preview = str(tmp_path / "p.png")
    told = CliRunner().invoke(main, ["inspect", str(tmp_path / "set"), "data.splits=none", "-o", preview])
    assert told.exit_code == 0 and "data.splits=none" in told.output.splitlines()[-2]
    wrong = CliRunner().invoke(main, ["inspect", str(tmp_path / "set"), "train.steps=1"])
    assert wrong.exit_code


def test_a_folder_of_what_has_no_class_is_no_class():
    names = [f"{split}/{kind}/{i}.txt" for split in ("train", "test") for kind in ("pos", "neg") for i in range(9)]
    found = layout([*names, *(f"train/unsup/{i}.txt" for i in range(9))], "texts")
    assert {*(found.classes or [])} == {"pos", "neg", None} and not found.outside
    assert any("'unsup' is no class" in note for note in found.notes)
