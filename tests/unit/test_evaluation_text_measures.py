"""Each measure of text against a number worked out by hand or by brute force, or against the library it stands for."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import toy_text_family as toy
from flat_config import flat_config
from maquette.core.batch import Batch
from maquette.core.spec import BOS, EOS, PAD, UNK
from maquette.data import open_dataset
from maquette.evaluation.bootstrap import TooFew, ratio
from maquette.evaluation.measures.tokens import TokenLoss
from maquette.modalities.text import characters, tokenize
from maquette.modalities.text.measures import beside, copies, translation, variety
from maquette.modalities.text.measures.fold import fold
from maquette.modalities.text.measures.form import find_forms, form_text, layout
from maquette.modalities.text.measures.loss import held_out, held_out_sliding
from maquette.modalities.text.measures.read import Passage, joined, passages, text_digest
from maquette.modalities.text.measures.script import one_line, script_of
from maquette.modalities.text.measures.two_sample import two_sample

RNG = np.random.default_rng
PROSE = "the quick brown fox jumps over the lazy dog while seven wizards box for my daft jug\n" * 3
LETTERS = "abcdefghij klmnop\n"


QUATRAIN = "床前明月光，\n疑是地上霜。"  # noqa: RUF001


def noise(n: int, seed: int = 0, letters: str = LETTERS) -> str:
    return "".join(letters[i] for i in RNG(seed).integers(len(letters), size=n))


# -- what is read ----------------------------------------------------------------------------------


def test_scripts_are_known_by_their_letters() -> None:
    assert script_of(["Zwei Männer stehen am Herd."]).bleu == "13a"
    chinese, japanese = script_of(["床前明月光，疑是地上霜。"]), script_of(["彼は川のそばで眠っている"])  # noqa: RUF001
    assert (chinese.spaced, chinese.bleu, japanese.bleu) == (False, "zh", "char")
    assert chinese.words("明月 光。") == ["明", "月", "光", "。"]
    assert script_of(["a"]).words("Don't go, 1st!") == ["Don't", "go", ",", "1st", "!"]
    assert script_of([]).spaced and script_of(["1 2 3"]).spaced
    assert one_line("a \n\n b\tc ") == "a b c"


@pytest.mark.parametrize("stride", [1, 3, 16, None])
def test_windows_are_joined_into_the_text_they_were_cut_from(stride: int | None) -> None:
    text = noise(400)
    data = toy.windows(text, noise(100, 1), context=16, stride=stride)
    (part,) = passages(data.train, "text", 10**9)
    assert text.startswith(part.text) and len(part.text) > 400 - 17 and part.row == 0


def test_documents_that_do_not_continue_one_another_stay_apart() -> None:
    data = toy.windows(noise(200), noise(90, 1), context=16, stride=2)
    column = data.train.columns["text"]
    kept = np.r_[:40, 60 : len(data.train)]  # rows are missing: the text breaks off there
    table = toy.lines_table({"text": (column.spec, column.values[kept])})
    table = replace(table, spans=data.train.spans[kept])
    found = list(joined(table, "text"))
    text = noise(200)
    parts = [p.text for p in passages(table, "text", 10**9)]
    assert len(found) == 2 and text.startswith(parts[0]) and parts[1] in text
    assert set(range(40)) <= set(range(found[1].row)) and len(parts[0]) == 39 * 2 + 17


def test_the_digest_of_held_out_text_does_not_ask_for_the_size_of_a_window() -> None:
    a, b = (toy.windows(noise(300), noise(1100, 1), context=c).test for c in (16, 50))
    assert text_digest(a, "text") == text_digest(b, "text")
    assert text_digest(a, "text") != text_digest(toy.windows(noise(300), noise(1100, 2)).test, "text")


# -- loss ------------------------------------------------------------------------------------------


def test_held_out_loss_is_that_of_the_known_probabilities() -> None:
    data = toy.lines(["ab", "abab", "b"], ["ab", "ba", "aab"])
    model, spec = toy.trained(data)
    found = held_out(model, data.test, spec)
    table = model.table.weight.detach().log_softmax(-1)
    for row, text in enumerate(data.test.columns["text"].values):
        tokens = [t for t in text.tolist() if t != PAD]
        by_hand = -sum(float(table[a, b]) for a, b in itertools.pairwise(tokens))
        assert found.nats[row] == pytest.approx(by_hand, abs=1e-5)
    assert found.tokens.tolist() == [3, 3, 4] and found.characters.tolist() == [2, 2, 3]
    nats = found.nats.sum()
    assert found.per_token(RNG(0)).value == pytest.approx(nats / 10)
    assert found.per_character(RNG(0), bits=True).value == pytest.approx(nats / 7 / math.log(2))
    assert found.perplexity(RNG(0)).value == pytest.approx(math.exp(nats / 10))


def test_a_perplexity_beyond_all_numbers_is_infinite() -> None:
    """Of weights that somebody made up: the loss is a number, and its exponential is none."""
    found = TokenLoss(np.full(4, 1e6), np.ones(4)).perplexity(RNG(0))
    assert found.value == math.inf


class OfContext(toy.Bigrams):
    """Gives the token at place t of what it reads 2^-t: so a score says from how much context it was made."""

    def token_log_prob(self, batch: Batch) -> torch.Tensor:
        t = torch.arange(1, batch.only().shape[1]).float()
        return (-t * math.log(2)).expand(batch.size, -1).masked_fill(batch.only()[:, 1:] == PAD, 0)


def test_each_token_is_predicted_once_however_the_windows_lie() -> None:
    data = toy.windows(noise(200), noise(101, 1), context=10)
    model = OfContext(toy.Config(), data.spec(["text"], []))
    whole = held_out(model, data.test, model.spec)
    assert whole.tokens.sum() == 100 and whole.nats.sum() == pytest.approx(10 * 55 * math.log(2), rel=1e-5)
    slid = held_out_sliding(model, data.test, model.spec)
    # The first window scores its tokens from 1 .. 10 tokens, each of the 18 others from 6 .. 10.
    assert slid.tokens.sum() == 100 and slid.characters.sum() == 100
    assert slid.nats.sum() == pytest.approx((55 + 18 * 40) * math.log(2), rel=1e-5)


@pytest.mark.parametrize("unit", ["char", "bpe", "unigram"])
def test_characters_are_counted_once_where_a_window_cuts_them(tmp_path: Path, unit: str) -> None:
    """With few merges, windows of byte tokens begin within a character again and again."""
    chance = np.random.default_rng(0)
    letters = list("абвгдежзиклмнопрсту    \n床前明月光")
    whole = "".join(chance.choice(letters, 6000))
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    config = flat_config(tokenizer=unit, vocab=300, context=16)
    data = open_dataset(tmp_path / "a.txt", config, target=("text",), cache=tmp_path / "cache")
    spec = data.spec(["text"], [])
    held = whole[int(0.9 * len(whole)) :]
    model = OfContext(toy.Config(), spec)
    first = data.test.columns["text"].take(np.array([0]))[0, :1]
    expected = len(held) - int(characters(first, spec.only()).sum())  # the first token is not predicted
    for found in (held_out(model, data.test, spec), held_out_sliding(model, data.test, spec)):
        assert found.characters.sum() == expected
    with_unknown = tokenize("Ω a", spec.only())
    assert characters(with_unknown, spec.only()).sum() == 3
    assert characters(np.array([PAD, BOS, EOS, UNK]), spec.only()).tolist() == [0, 0, 0, 1]


def test_a_short_document_does_not_break_the_sliding_loss(tmp_path: Path) -> None:
    for i, n in enumerate([8, 3000, 2500, 12, 4000]):
        path = tmp_path / "set" / f"{i}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(noise(n, i), encoding="utf-8")
    data = open_dataset(tmp_path / "set", flat_config(context=64), target=("text",), cache=tmp_path / "cache")
    model = OfContext(toy.Config(), data.spec(["text"], []))
    whole, slid = (measure(model, data.test, model.spec) for measure in (held_out, held_out_sliding))
    assert slid.tokens.sum() == whole.tokens.sum() and slid.characters.sum() == whole.characters.sum()
    assert slid.nats.sum() > whole.nats.sum()  # of this model: from more context


def test_intervals_of_a_ratio_cover_the_truth() -> None:
    covered = 0
    for seed in range(100):
        rng = RNG(seed)
        size = rng.integers(1, 20, 60).astype(float)
        found = ratio(size * 2 + rng.normal(size=60), size, rng, resamples=200)
        assert found.low is not None and found.high is not None
        covered += found.low <= 2 <= found.high
    assert 85 <= covered <= 100
    assert ratio(np.array([3.0]), np.array([2.0]), RNG(0)).low is None
    with pytest.raises(TooFew):
        ratio(np.zeros(3), np.zeros(3), RNG(0))


# -- translation -----------------------------------------------------------------------------------

MADE = ["Ein Mann läuft .", "Zwei Hunde spielen im Schnee.", "eine frau singt", "Ein Kind"]
REAL = ["Ein Mann läuft.", "Zwei Hunde rennen im Schnee.", "Eine Frau singt.", "Das Kind schläft tief und fest."]


@pytest.mark.parametrize("script", [script_of(["abc"]), script_of(["明月"])])
def test_bleu_and_chrf_are_sacrebleus(script) -> None:  # type: ignore[no-untyped-def]
    from sacrebleu.metrics import BLEU, CHRF

    made, real = (MADE, REAL) if script.spaced else (["明月光照地", "白日山"], ["明月照大地", "白日依山尽"])
    for lower in (False, True):
        theirs = BLEU(tokenize=script.bleu, lowercase=lower)
        ours = translation.bleu(made, real, script, RNG(0), lower)
        assert ours.estimate.value == pytest.approx(theirs.corpus_score(made, [real]).score)
        assert ours.signature == str(theirs.get_signature()) and f"tok:{script.bleu}" in ours.signature
        assert ours.estimate.low is not None and ours.estimate.low <= ours.estimate.value + 1e-6
    ours = translation.chrf(made, real, RNG(0))
    assert ours.estimate.value == pytest.approx(CHRF().corpus_score(made, [real]).score)


def test_resampled_bleu_is_sacrebleus_of_the_resampled_sentences() -> None:
    from sacrebleu.metrics import BLEU

    found = translation.bleu(MADE, REAL, script_of(["abc"]), RNG(7))
    scores = []
    rng = RNG(7)
    for _ in range(10):
        for drawn in rng.multinomial(4, np.full(4, 0.25), size=100):
            rows = np.repeat(np.arange(4), drawn)
            scores.append(BLEU(force=True).corpus_score([MADE[i] for i in rows], [[REAL[i] for i in rows]]).score)
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))


def test_rouge_by_hand() -> None:
    script = script_of(["abc"])
    found = translation.rouge(["the cat sat down"], ["the cat lay down here"], script, RNG(0))
    assert found["rouge_1"].value == pytest.approx(100 * 2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    assert found["rouge_2"].value == pytest.approx(100 * 2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))
    assert found["rouge_l"].value == pytest.approx(found["rouge_1"].value)
    german = translation.rouge(["Männer"], ["Manner"], script, RNG(0))
    assert german["rouge_1"].value == 0  # an umlaut is a letter, not a gap
    chinese = translation.rouge(["明月光"], ["明月照"], script_of(["明月"]), RNG(0))
    assert chinese["rouge_1"].value == pytest.approx(200 / 3)
    assert translation.exact(["a ", "b"], ["a", "c"], RNG(0)).value == 0.5


# -- variety ---------------------------------------------------------------------------------------


def test_distinct_and_repetition_by_hand() -> None:
    texts = [list("abab"), list("abc")]
    assert variety.distinct(texts, 1, RNG(0)).value == pytest.approx(3 / 7)
    assert variety.distinct(texts, 2, RNG(0)).value == pytest.approx(3 / 5)  # ab ba ab, ab bc
    assert variety.repetition(texts, 2, RNG(0)).value == pytest.approx(1 / 5)
    assert variety.repetition([list("aaaaaa")], 4, RNG(0)).value == pytest.approx(2 / 3)
    found = variety.distinct([list(noise(50, i)) for i in range(30)], 2, RNG(0))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    with pytest.raises(TooFew):
        variety.distinct([[], ["a"]], 2, RNG(0))
    with pytest.raises(TooFew):
        variety.repetition([[]], 4, RNG(0))


def test_self_bleu_is_100_for_equal_texts_and_that_of_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU

    assert variety.self_bleu([list("abcdef")] * 30, RNG(0)).value == pytest.approx(100)
    texts = [noise(30, i, "abcd").replace("", " ").split() for i in range(21)]
    theirs = BLEU(tokenize="none", effective_order=False, force=True)
    scores = [
        theirs.corpus_score([" ".join(texts[i])], [[" ".join(t)] for j, t in enumerate(texts) if j != i]).score
        for i in range(21)
    ]
    assert variety.self_bleu(texts, RNG(0)).value == pytest.approx(np.mean(scores), rel=1e-6)
    with pytest.raises(TooFew):
        variety.self_bleu(texts[:5], RNG(0))


def test_amounts_are_made_equal() -> None:
    a, b = variety.equal_amounts([["x"] * 5, ["y"] * 5], [["z"] * 3, ["z"] * 4])
    assert sum(map(len, a)) == sum(map(len, b)) == 7 and len(a) == 2
    assert variety.equal_amounts([], [["z"]]) == ([], [])


# -- copies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 8])
def test_copies_are_those_of_brute_force(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_AT_ONCE", 97)  # the training text is read in parts
    source, texts = noise(700, 1, "abc"), [noise(60, 2, "abc"), "zzz", "", "ab"]
    found = copies.found_in([copies.codes(text) for text in texts], copies.codes(source), n)
    for text, run in zip(texts, found, strict=True):
        assert run.tolist() == [text[i : i + n] in source for i in range(len(text) - n + 1)]


def test_copied_words_and_the_share() -> None:
    source = copies.word_codes(["it", "was", "the", "best", "of", "times", "it", "was", "the", "worst"])
    query = copies.word_codes(["it", "was", "the", "worst", "of", "times"])
    (found,) = copies.found_in([query], source, 2)
    assert found.tolist() == [True, True, True, False, True]
    assert copies.copied([found], RNG(0)).value == pytest.approx(4 / 5)
    with pytest.raises(TooFew):
        copies.copied([np.zeros(0, bool)], RNG(0))


def test_the_longest_passage_is_that_of_brute_force_and_says_where_it_stands() -> None:
    known = [noise(150, seed, "abcd") for seed in range(4)]
    training = copies.Training.of([Passage(text, row) for row, text in enumerate(known)], script_of(known))
    texts = [noise(80, 9, "abcd"), known[2][20:90] + "zz", "zz" + known[1][:30], "q"]
    source, queries = copies.codes(training.text), [copies.codes(text) for text in texts]
    found = copies.longest(texts, training, queries, source, 3)

    def longest(text: str) -> int:
        return max(j - i for i in range(len(text)) for j in range(i, len(text) + 1) if text[i:j] in training.text)

    assert {i: stretch.size for i, stretch in found.items()} == {i: longest(texts[i]) for i in range(3)}
    assert (found[1].start, found[1].end) == (0, 70) and training.row(found[1].position) == 2
    assert training.row(found[2].position) == 1
    assert training.passage(found[2].position) == (151, 301)


def test_where_a_position_stands_in_the_text_itself() -> None:
    first, second = "one two\n\n  three\nfour", "five  six\nseven"
    script = script_of([first])
    training = copies.Training.of([Passage(first, 0), Passage(second, 9)], script)
    assert training.text.split(copies.BREAK) == [one_line(first), one_line(second)]
    assert training.place(training.text.index("two")) == (1, 5)
    assert training.place(training.text.index("three") + 1) == (3, 4)
    assert training.place(training.text.index("seven")) == (2, 1)
    six = training.text.index("six")
    assert training.row(six) == 9 and training.cut(six, six + len("six sev")) == "six\nsev"


@pytest.mark.parametrize("text", [QUATRAIN, " two  words\n\nand \t more \n", "", "  ", "กินข้าว แล้ว!"])
def test_folding_keeps_the_way_back(text: str) -> None:
    folded = fold(text, script_of([text]))
    back = "".join(text[i] for i in folded.at)
    assert len(folded.at) == len(folded.text) and " ".join(back.split()) == " ".join(folded.text.split())
    if folded.spaced:
        assert folded.text == one_line(text)


def test_punctuation_is_no_part_of_a_run_where_a_character_is_a_word() -> None:
    folded = fold(QUATRAIN, script_of([QUATRAIN]))
    assert folded.text == "床前明月光疑是地上霜" and folded.cut(3, 7) == QUATRAIN[3:9]
    assert fold("กินข้าว แล้ว!", script_of(["กินข้าว"])).text == "กินข้าวแล้ว"  # vowel signs are no punctuation


# -- real text beside samples ----------------------------------------------------------------------


def test_pieces_beside_samples_do_not_overlap() -> None:
    known = ["".join(map(chr, range(0x4E00 + 500 * k, 0x4E00 + 500 * k + 397))) for k in range(3)]
    cut = beside.pieces(known, [20, 30], 30, RNG(0))
    assert len(cut) == 30 and {len(piece) for piece in cut} == {20, 30}
    assert len(set("".join(cut))) == len("".join(cut)) and all(any(p in text for text in known) for p in cut)
    assert 40 < len(beside.pieces(known, [20, 30], 1000, RNG(0))) < 60  # all that the texts hold
    assert beside.pieces(["ab"], [20], 5, RNG(0)) == ["ab"] and beside.pieces([], [3], 5, RNG(0)) == []
    assert sorted(beside.whole(known, 9, RNG(0))) == sorted(known)


# -- form, and telling apart -----------------------------------------------------------------------


def test_forms_are_found_in_the_data() -> None:
    assert layout("abc\n\n de \n") == (3, 2) and layout("") == ()
    texts = ["ab\ncd"] * 39 + ["abc"] + ["x" * i for i in range(1, 41)] + ["ab"] * 5
    classes = np.array([0] * 40 + [1] * 40 + [2] * 5)
    forms = find_forms(texts, classes)
    assert forms is not None and forms.by_class == {0: (2, 2)}  # 1 has none, 2 has too few texts
    kept, of = forms.kept(["xy\nzw", "xyz", "?"], np.array([0, 0, 1]))
    assert kept.tolist() == [True, False] and of.tolist() == [0, 0]
    assert form_text((2, 2)) == "2 lines of 2" and form_text((3, 2)) == "lines of 3, 2"
    assert find_forms(texts[40:80], classes[40:80]) is None


def test_a_classifier_tells_unlike_texts_apart_and_not_like_ones() -> None:
    a, b = ([noise(60, seed) for seed in part] for part in (range(100), range(100, 200)))
    like = two_sample(a, b, RNG(0))
    assert abs(like.value - 0.5) < 0.12 and (like.p_value or 0) > 0.01
    other = two_sample(a, [noise(60, seed, "abcdefg") for seed in range(100)], RNG(0))
    assert other.value > 0.95 and (other.p_value or 1) < 1e-6
    with pytest.raises(TooFew):
        two_sample(a[:5], b, RNG(0))
    with pytest.raises(TooFew):
        two_sample([""] * 30, [""] * 30, RNG(0))
