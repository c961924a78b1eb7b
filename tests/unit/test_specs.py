"""Specifications and tokenizers of anybody: what cannot be is named before anything is made of it."""

import functools
import json

import numpy as np
import pytest

from maquette.core.errors import UserError
from maquette.core.run import RunFolder
from maquette.modalities.text.tokens import train_tokenizer, vocabulary

IMAGE = {"kind": "image", "shape": [1, 8, 8], "levels": 256}
LABEL = {"kind": "label", "classes": ["a", "b"], "shares": [0.5, 0.5]}
NUMBER = {"kind": "number", "mean": 0.0, "std": 1.0, "low": -1.0, "high": 1.0}
TEXT = {"kind": "text", "shape": [8], "vocab": 20, "start": 1}
WRONG = [
    ({**IMAGE, "shape": [1, 8, -8]}, "shape.2: .* greater than 0"),
    ({**IMAGE, "shape": [1, 8, 10**12]}, "shape.2: .* less than or equal to"),
    ({**IMAGE, "shape": [3, 60_000, 60_000]}, "at most 67,108,864 values in all"),
    ({**IMAGE, "shape": [8]}, "channels and one to three sides"),
    ({**IMAGE, "shape": [1, 8]}, "channels, height and width"),
    ({**IMAGE, "scale": [5, 5]}, "white must be above black"),
    ({**IMAGE, "levels": 10**9}, "levels: "),
    ({**LABEL, "classes": ["a", "a"]}, "classes: two of one name"),
    ({**LABEL, "classes": []}, "classes: "),
    ({**LABEL, "shares": [0.5]}, "one for each class"),
    ({**LABEL, "shares": [5.0, 0.5]}, "1 in all"),
    ({**LABEL, "shares": [1.5, -0.5]}, "shares.1: "),
    ({**LABEL, "shares": [float("nan"), 0.5]}, "finite number"),
    ({**LABEL, "classes": [str(i) for i in range(200_000)]}, "at most 131072 items"),
    ({**NUMBER, "std": 0}, "std: .* greater than 0"),
    ({**NUMBER, "mean": float("inf")}, "mean: "),
    ({**NUMBER, "high": 1e200}, "high: "),
    ({**TEXT, "vocab": 3}, "more than the 7 tokens that are reserved"),
    ({**TEXT, "vocab": 10**12}, "vocab: .* less than or equal to"),
    ({**TEXT, "start": 20}, "`start` among them"),
    ({**TEXT, "shape": [8, 8]}, "the most tokens of a sequence"),
    ({**TEXT, "mean_length": float("nan")}, "mean_length: "),
    ({**TEXT, "tokenizer": "../../../etc/passwd"}, "is missing"),
    ({"kind": "os"}, "no columns of the kind 'os'|not a modality"),
    ("image", "."),
]


@pytest.mark.parametrize(("column", "wrong"), WRONG, ids=range(len(WRONG)))
def test_a_column_that_cannot_be_is_refused(tmp_path, column, wrong):
    folder = RunFolder(tmp_path)
    folder.spec_file.write_text(json.dumps({"format": 1, "columns": {"x": column}, "target": ["x"], "given": []}))
    with pytest.raises(UserError, match=wrong):
        folder.spec()


@pytest.mark.parametrize("named", [{"target": []}, {"target": ["y"]}, {"target": ["x", "x"]}, {"given": ["z"]}])
def test_columns_that_are_not_there_are_refused(tmp_path, named):
    folder = RunFolder(tmp_path)
    plain = {"format": 1, "columns": {"x": IMAGE}, "target": ["x"], "given": [], **named}
    folder.spec_file.write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"'.*spec\.json' is damaged"):
        folder.spec()


TEXTS = ["the cat sat on the mat", "a dog ran to the cat"] * 20


@functools.cache
def trained(unit):
    return train_tokenizer(TEXTS, unit, 300)


def changed(unit, change):
    plain = json.loads(trained(unit))
    change(plain)
    return json.dumps(plain)


DAMAGED = {
    "numbers": ("char", lambda t: t["model"]["vocab"].update(t=10**12)),
    "two numbers": ("bpe", lambda t: t["model"]["vocab"].update({"<pad>": 1})),
    "several characters": ("char", lambda t: t["model"]["vocab"].update(abc=len(t["model"]["vocab"]))),
    "no byte": ("bpe", lambda t: t["model"]["vocab"].update({"猫": len(t["model"]["vocab"])})),
    "merges": ("bpe", lambda t: t["model"]["merges"].append(["zzz", "yyy"])),
    "no pair": ("bpe", lambda t: t["model"]["merges"].append(5)),
    "an empty token": ("unigram", lambda t: t["model"]["vocab"].append(["", -1.0])),
    "a score": ("unigram", lambda t: t["model"]["vocab"].append(["zz", float("nan")])),
    "no score": ("unigram", lambda t: t["model"]["vocab"].append(["zz", None])),
    "another kind": ("bpe", lambda t: t["model"].update(type="WordPiece")),
    "no model": ("bpe", lambda t: t.update(model=[])),
    "a list": ("unigram", lambda t: t.update(normalizer=[5])),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_tokenizer_is_refused(name):
    with pytest.raises(UserError, match="'tokenizer' is damaged: "):
        vocabulary(changed(*DAMAGED[name]))


@pytest.mark.parametrize("unit", ["char", "bpe", "unigram"])
def test_nothing_but_tokens_is_taken_from_a_tokenizer(unit):
    def change(plain):
        plain["pre_tokenizer"] = {
            "type": "Split",
            "pattern": {"Regex": "(a+)+$"},
            "behavior": "Removed",
            "invert": False,
        }
        plain["padding"] = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None}
        plain["truncation"] = {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        plain["added_tokens"] = [{"id": 1, "content": "cat", "special": True}]

    usual, strange = vocabulary(trained(unit)), vocabulary(changed(unit, change))
    for sample in (*TEXTS[:2], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"):
        assert np.array_equal(usual.encode(sample), strange.encode(sample))
    assert usual.decode(usual.encode(TEXTS[0])) == TEXTS[0]
