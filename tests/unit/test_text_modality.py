"""Texts become tokens and texts again: nothing is lost, and what spells a reserved token stays text."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from maquette.core.about import About
from maquette.core.errors import UserError
from maquette.core.modality import Modality, Notes, Unreadable, part
from maquette.core.spec import BOS, EOS, PAD, SPECIALS, UNK, ColumnSpec
from maquette.data.raw import File
from maquette.modalities import text
from maquette.modalities.text import Spec as TextSpec
from maquette.modalities.text import tokens

STORY = [
    "The cat sat on the mat.\n\n  Twice,  it sat.\n",
    "Ein Löwe saß auf dem Dach; 12,5 % davon.\n",
    "奠璧郊壇昭大禮。\n",
] * 20
HARD = [
    "",
    " ",
    "\n\n\n",
    "a\tb  c \n",
    "ß\u0301 e\u0301",
    "👩\u200d👩\u200d👧 🇩🇪",
    "<pad><bos><eos><unk>",
    "\u2028x\x85",
    "ﬁ ﾊ",
]


def spec_of(texts: list[str], unit: str = "char", vocab: int = 400, framed: bool = True, **more: object) -> ColumnSpec:
    tokenizer = text.train_tokenizer(texts, unit, vocab, **more)  # type: ignore[arg-type]
    size = len(text.vocabulary(tokenizer))
    return TextSpec(shape=(512,), vocab=size, unit=unit, tokenizer=tokenizer, framed=framed)  # type: ignore[arg-type]


def test_the_module_is_a_modality() -> None:
    assert isinstance(text, Modality) and text.KIND == "text" and text.PREVIEW_SUFFIX == ".txt"


@pytest.mark.parametrize("unit", ["char", "bpe", "unigram"])
def test_reserved_tokens_come_first_and_the_library_reads_the_tokenizer(unit: str) -> None:
    spec = spec_of(STORY, unit)
    known = text.vocabulary(spec.tokenizer)
    assert tuple(known.tokens[: len(SPECIALS)]) == SPECIALS
    library = Tokenizer.from_str(spec.tokenizer)
    assert library.get_vocab_size() == spec.vocab == len(known)
    for sentence in STORY[:3]:
        assert library.encode(sentence, add_special_tokens=False).ids == known.encode(sentence).tolist()


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("unit", ["char", "bpe"])
def test_nothing_is_lost(unit: str, framed: bool) -> None:
    spec = spec_of(STORY + HARD, unit, framed=framed)
    chance = random.Random(0)
    letters = sorted({c for t in STORY + HARD for c in t})
    made = ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(200)]
    for original in STORY + HARD + made:
        tokens = text.tokenize(original, spec)
        assert tokens.dtype == np.int64 and text.decode(torch.from_numpy(tokens), spec) == original
        bare = tokens[1:-1] if framed else tokens
        assert (bare >= len(SPECIALS)).all()
        if framed:
            assert tokens[0] == BOS and tokens[-1] == EOS
        assert text.decode(np.concatenate([tokens, [PAD, PAD]]), spec) == original


def test_bytes_spell_what_training_never_saw_and_characters_do_not() -> None:
    unseen = "Ωmega ☃ 中文\x00"
    bpe, char = spec_of(["only plain words here"] * 9, "bpe"), spec_of(["abc"])
    assert text.decode(text.tokenize(unseen, bpe), bpe) == unseen
    text.known(unseen, bpe)
    assert text.tokenize("axbyc", char).tolist() == [BOS, 7, UNK, 8, UNK, 9, EOS]
    assert text.decode(text.tokenize("axbyc", char), char) == "abc"
    assert text.vocabulary(char.tokenizer).unknown("axbyxc") == {"x": 2, "y": 1}
    with pytest.raises(UserError, match="'x', 'y'"):
        text.known("axbyc", char)
    with pytest.raises(UserError, match="'\\\\n'"):
        text.known("a\n", char)
    assert text.known("cab", char) == "cab"
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):  # as a Mac has it, and as it is typed
        learned, typed = (unicodedata.normalize(f, "été") for f in (form, other))
        assert text.known(typed, spec_of([learned])) == learned


@pytest.mark.parametrize("unit", ["char", "bpe", "unigram"])
def test_text_that_spells_a_reserved_token_stays_text(unit: str) -> None:
    # Again and again, so that byte-pair encoding would learn it as a piece.
    spec = spec_of(["<pad> <eos><bos> a"] * 200, unit, 300)
    tokens = text.tokenize("<pad> <eos>", spec)[1:-1]
    assert not np.isin(tokens, [PAD, BOS, EOS]).any()
    if unit != "unigram":
        assert text.decode(tokens, spec) == "<pad> <eos>" and (tokens >= len(SPECIALS)).all()


def test_halves_of_characters_do_no_harm() -> None:
    for unit in ("char", "bpe"):
        spec = spec_of(["abc"] * 9, unit)
        assert text.decode(text.tokenize("a\ud800b", spec), spec) in ("ab", "a\ufffdb")


@pytest.mark.parametrize("unit", ["char", "bpe", "unigram"])
def test_lower_case_is_part_of_the_tokenizer(unit: str) -> None:
    spec = spec_of(["Ab cD ÉÜ"] * 20, unit, 300, lowercase=True)
    assert text.decode(text.tokenize("Ab CD ÉÜ", spec), spec) == "ab cd éü"
    text.known("AB", spec)
    assert Tokenizer.from_str(spec.tokenizer).encode("AB").ids == text.tokenize("ab", spec)[1:-1].tolist()


def test_pieces_stand_for_one_token_each_and_join_to_the_text() -> None:
    sentence = "The cat sat; Löwe"
    for unit in ("char", "bpe", "unigram"):
        spec = spec_of(STORY, unit)
        tokens = text.tokenize(sentence, spec)
        parts = text.pieces(tokens, spec)
        assert len(parts) == len(tokens) and parts[0] == "<bos>" and parts[-1] == "<eos>"
        assert "".join(parts[1:-1]) == sentence
    spec = spec_of(["plain"] * 9, "bpe", 264)
    assert text.pieces(text.tokenize("中", spec), spec)[1:-1] == ["\ufffd"] * 3


def test_long_texts_are_taken_in_parts_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PIECE", 7)
    assert list(text.in_parts("ab\ncd\nefghijklmnop")) == ["ab\ncd\n", "efghijk", "lmnop"]
    spec = spec_of(STORY, "bpe", framed=False)
    for original in STORY[:3]:
        assert text.decode(text.tokenize(original, spec), spec) == original


def test_the_same_texts_in_another_order_give_the_same_tokens() -> None:
    for unit in ("char", "bpe"):
        assert text.train_tokenizer(STORY, unit, 300) == text.train_tokenizer(STORY[::-1], unit, 300)


def test_a_vocabulary_too_small_or_damaged_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.text\.vocab = 200") as caught:
        text.train_tokenizer(STORY, "bpe", 200)
    assert "264" in caught.value.remedy
    for damaged in ("", "{}", '{"model": {"type": "BPE", "vocab": {"a": 0}}}'):
        with pytest.raises(UserError, match="'tokenizer' is damaged"):
            text.vocabulary(damaged)


def test_files_hold_the_text_and_nothing_else(tmp_path: Path) -> None:
    spec = spec_of(STORY)
    item = torch.from_numpy(text.tokenize("The cat.\n", spec))
    path = text.write(item, tmp_path / "new" / "a.txt", spec, About(seed=7))
    assert path.read_bytes() == b"The cat.\n"
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"seed": "7", "Source": "AI-generated"}
    config, file = text.Config(), File("a.txt", path.read_bytes())
    claims = part("text", "claims", "claims")
    assert claims("a.txt", b"") and claims("a", path.read_bytes()) and not claims("a.png", b"")
    assert text.examine(file, config) == text.Facts(9, document=True)
    assert text.encode([file], spec, config)[0].tolist() == item.tolist()
    with pytest.raises(UserError, match=r"'\.png'"):
        text.write(item, tmp_path / "a.png", spec, About())
    with pytest.raises(Unreadable, match="byte 27"):
        text.examine(File("a.txt", "Grüße aus Köln süße ".encode() + b"ab\xff"), config)
    with pytest.raises(Unreadable, match="empty"):
        text.examine(" \n", config)


def test_a_preview_shows_whole_texts_between_lines(tmp_path: Path) -> None:
    spec = spec_of(STORY)
    items = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(text.tokenize(t, spec)) for t in ("The cat\n", "on the mat")], batch_first=True
    )
    assert text.sheet(items, spec) == f"The cat\n{text.RULE}\non the mat"
    captioned = f"[五绝]\nThe cat\n{text.RULE}\n[b]\non the mat"
    assert text.sheet(items, spec, captions=["五绝", "b"]) == captioned
    assert text.preview(items, tmp_path / "p.txt", spec, ["五绝", "b"], About()).read_text() == f"{captioned}\n"


def test_a_preview_comes_apart_again() -> None:
    spec = spec_of(["ab c\n\nd", "[x]\ny"])
    first, second = (torch.from_numpy(text.tokenize(words, spec)) for words in ("ab c\n\nd", "[x]\ny"))
    items = torch.stack([first, torch.cat([second, second.new_zeros(len(first) - len(second))])])
    assert text.apart(text.sheet(items, spec), captioned=False) == [("", "ab c\n\nd"), ("", "[x]\ny")]
    captioned = text.sheet(items, spec, captions=["a b", "c\nd"])
    assert text.apart(captioned, captioned=True) == [("a b", "ab c\n\nd"), ("c d", "[x]\ny")]  # a caption is one line


def test_tokens_are_fitted_to_rows_together_and_too_long_rows_are_named() -> None:
    config, notes = text.Config(longest=64, vocab=300), Notes()
    rows = {"de": ["Ein Löwe saß auf dem Dach"] * 30, "en": ["a lion sat on the roof"] * 30}
    facts = {name: [text.examine(cell, config) for cell in cells] for name, cells in rows.items()}
    both = text.fit_together({name: (rows[name], facts[name]) for name in rows}, config, {}, notes)
    assert both["de"].tokenizer == both["en"].tokenizer and both["de"].unit == "bpe" and both["de"].framed
    apart = config.model_copy(update={"joint": False})
    alone = text.fit_together({name: (rows[name], facts[name]) for name in rows}, apart, {}, notes)
    assert alone["de"].tokenizer != alone["en"].tokenizer
    good, long, huge = text.encode(["a lion", "x" * 70, "x" * 3000], both["en"], config)
    assert good[0] == BOS and good[-1] == EOS and good.dtype == np.uint16
    assert str(huge) == "longer than data.text.longest=64: 3,000 characters"
    assert str(long) == "longer than data.text.longest=64: 72 tokens"
    done = text.complete(both["en"], np.array([7, 9]), facts["en"][:2], None)
    assert done.shape == (9,) and done.mean_length == 8 and done.chars_per_token == pytest.approx(44 / 12)
    again = text.fit_together({"en": (["Ωmega"], [text.Facts(5)])}, config, {"en": done}, notes)["en"]
    assert again == done and text.complete(again, np.array([40]), [text.Facts(5)], done).shape == (40,)


def test_canonical_tokens_are_whole_numbers() -> None:
    made = text.canonical(np.array([[1, 65535]], np.uint16))
    assert made.dtype == torch.int64 and made.tolist() == [[1, 65535]]
