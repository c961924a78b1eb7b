"""Writing token by token, and the filters before each draw: against known probabilities and brute force."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from maquette.core.rng import ItemRng
from maquette.sampling import filters
from maquette.sampling.autoregressive import stream, write
from maquette.sampling.constraints import Pattern, parse, verse

V = 12


class Bigram:
    """Logits [V, V] of the next token given the last one; keeps count of what it is asked to read."""

    def __init__(self, table: Tensor) -> None:
        self.table, self.read = table, 0

    class Memory:
        def __init__(self, n: int) -> None:
            self.n = n

        def rows(self, index: Tensor) -> Bigram.Memory:
            return Bigram.Memory(len(index))

    def begin(self, n: int, given: object) -> Memory:
        return Bigram.Memory(n)

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        assert len(tokens) == memory.n
        self.read += tokens.numel()
        return self.table[tokens].clone()


@pytest.fixture
def model() -> Bigram:
    return Bigram(torch.randn(V, V, generator=torch.Generator().manual_seed(0)))


def texts(model: Bigram, n: int, seed: int = 1, length: int = 9, **options: object) -> Tensor:
    return write(model, n, {}, ItemRng(seed, range(n)), start=1, length=length, **options)


def test_frequencies_are_those_of_the_model(model: Bigram) -> None:
    first = texts(model, 20000, length=2)[:, 1]
    expected = model.table[1].index_fill(0, torch.tensor([0, 1, 3, 4, 5, 6]), -torch.inf).softmax(0) * len(first)
    seen = first.bincount(minlength=V).double()
    assert (seen[expected == 0] == 0).all()
    chi2 = ((seen - expected).square() / expected)[expected > 0].sum()
    assert chi2 < 20.5  # 5 degrees of freedom: 0.999


def test_item_does_not_depend_on_n(model: Bigram) -> None:
    assert torch.equal(texts(model, 50, top_p=0.9)[:7], texts(model, 7, top_p=0.9))


def test_texts_begin_end_and_are_padded(model: Bigram) -> None:
    x = texts(model, 200)
    assert x.shape == (200, 9) and (x[:, 0] == 1).all()
    after_end = (x == 2).cumsum(1) - (x == 2).long() > 0
    assert (x[after_end] == 0).all() and (x[~after_end] != 0).all()
    assert not torch.isin(x[:, 1:], torch.tensor([1, 3, 4, 5, 6])).any()


def test_what_has_ended_is_not_read_again(model: Bigram) -> None:
    x = texts(model, 400, length=60)
    assert model.read < 1.5 * (x != 0).sum() < 400 * 60


def test_windows_have_exactly_length_tokens_and_no_reserved_ones(model: Bigram) -> None:
    x = write(model, 5, {}, ItemRng(0, range(5)), start=7, length=30, framed=False)
    assert x.shape == (5, 30) and (x >= 7).all()
    y = write(model, 5, {}, ItemRng(0, range(5)), start=7, length=30, framed=False, prompt=torch.tensor([8, 9]))
    assert y.shape == (5, 32) and (y[:, :2] == torch.tensor([8, 9])).all()
    z = write(model, 5, {}, ItemRng(0, range(5)), start=7, length=30, framed=False, ends=True)
    assert (z == 2).any()


def test_prompts_and_widths(model: Bigram) -> None:
    prompt = torch.tensor([[7, 8], [9, 10]])
    x = texts(model, 2, prompt=prompt)
    assert x.shape == (2, 9) and torch.equal(x[:, 1:3], prompt)
    assert texts(model, 2, prompt=prompt, max_tokens=4).shape == (2, 7)
    with pytest.raises(ValueError, match="prompt"):
        texts(model, 3, prompt=prompt)


def test_greedy_takes_the_most_likely_token(model: Bigram) -> None:
    x, last = texts(model, 2, temperature=0)[0], 1
    never = torch.tensor([0, 1, 3, 4, 5, 6])
    for token in x[1:].tolist():
        if token == 0:
            break
        assert token == int(model.table[last].index_fill(0, never, -torch.inf).argmax())
        last = token


def test_streaming_equals_writing(model: Bigram) -> None:
    options = {"start": 1, "length": 20, "temperature": 0.7, "prompt": torch.tensor([7])}
    told = list(stream(model, 30, {}, ItemRng(3, range(30)), **options))
    x = write(model, 30, {}, ItemRng(3, range(30)), **options)
    assert torch.equal(torch.stack(told, 1), x[:, 2 : 2 + len(told)]) and (x[:, 2 + len(told) :] == 0).all()


def test_stop_ends_a_text_with_the_token_that_stopped_it(model: Bigram) -> None:
    x = texts(model, 100, length=30, stop=lambda text: text[:, -1] == 9)
    told = (x == 9).any(1)
    assert told.any() and (x[told].flip(1).ne(0).long().argmax(1) == x[told].flip(1).eq(9).long().argmax(1)).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="text 0"):
        texts(Bigram(torch.full((V, V), bad)), 2)


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"min_p": 2}, {"top_k": -1}, {"max_tokens": 0}])
def test_settings_out_of_range_are_named(model: Bigram, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        texts(model, 1, **wrong)


# -- filters -----------------------------------------------------------------------------------------


@pytest.fixture
def logits() -> Tensor:
    return 2 * torch.randn(300, 40, generator=torch.Generator().manual_seed(1))


def test_top_k_top_p_min_p_against_brute_force(logits: Tensor) -> None:
    for row in logits[:50]:
        chance = row.double().softmax(0)
        order = sorted(range(len(row)), key=lambda i: -float(chance[i]))
        nucleus, total = set(), 0.0
        for i in order:
            if total < 0.8:
                nucleus.add(i)
            total += float(chance[i])
        kept = filters.top_p(row[None], 0.8)[0].isfinite().nonzero()[:, 0].tolist()
        assert set(kept) == nucleus
        assert set(filters.top_k(row[None], 5)[0].isfinite().nonzero()[:, 0].tolist()) == set(order[:5])
        likely = {i for i in order if chance[i] >= 0.1 * chance.max()}
        assert set(filters.min_p(row[None], 0.1)[0].isfinite().nonzero()[:, 0].tolist()) == likely


def test_no_filter_leaves_an_empty_set_or_changes_what_stays(logits: Tensor) -> None:
    logits[:, 3:] = -torch.inf
    logits[0, 1:] = -torch.inf
    for out in (
        filters.top_k(logits, 1), filters.top_k(logits, 39), filters.top_p(logits, 1e-9), filters.min_p(logits, 1.0),
    ):  # fmt: skip
        stays = out.isfinite()
        assert stays.any(1).all() and torch.equal(out[stays], logits[stays])


def test_repetition_penalty_lowers_what_was_written(logits: Tensor) -> None:
    written = torch.tensor([[3, 3, 5]]).expand(300, 3)
    out = filters.repetition_penalty(logits, written, 1.3)
    assert (out[:, [3, 5]] < logits[:, [3, 5]]).all()
    assert torch.equal(out[:, 6:], logits[:, 6:])


def test_draw_inverts_the_distribution_function() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(4, 5)
    assert filters.draw(logits, torch.tensor([0.0, 0.49999, 0.5, 1 - 2**-24])).tolist() == [1, 1, 3, 3]


def test_top_takes_the_first_of_equals() -> None:
    values = torch.tensor([[1.0, 5, 5, 5, 0, 5], [2, 1, 2, 0, 0, 0]])
    value, index = filters.top(values, 3)
    assert index.tolist() == [[1, 2, 3], [0, 2, 1]] and value[1].tolist() == [2, 2, 1]


# -- constraints -------------------------------------------------------------------------------------

LETTERS = {c: 7 + i for i, c in enumerate("abcde")}


def spelled(row: Tensor) -> str:
    back = {i: c for c, i in LETTERS.items()}
    return "".join(back[i] for i in row.tolist() if i > 6)


PATTERNS = ("[ab]{3}c", "a*b", "[^a]+", "a{1,3}[b-d]?e{2}", "a?b?c?d?", ".{2}a{0}", "a{2,}")


def test_patterns_are_kept_and_are_exact(model: Bigram) -> None:
    patterns = [pattern for pattern in PATTERNS for _ in range(60)]
    allowed = Pattern.of(patterns, LETTERS, V)
    x = texts(model, len(patterns), length=40, allowed=allowed)
    for pattern, row in zip(patterns, x, strict=True):
        assert 2 in row.tolist() and re.fullmatch(pattern, spelled(row)), (pattern, spelled(row))
    assert allowed.read == 0  # writing leaves the caller's constraint as it was
    four = {spelled(row) for pattern, row in zip(patterns, x, strict=True) if pattern == PATTERNS[0]}
    assert len(four) > 4


def test_the_mask_is_what_can_go_on() -> None:
    """Against brute force: after each prefix, exactly the tokens that some text of the pattern goes on with."""
    from itertools import product

    for pattern in ("a{1,3}[b-d]?e", "a?b?a", "[ab]*b", "a+b{0,2}"):
        whole = {"".join(t) for k in range(6) for t in product("abcde", repeat=k) if re.fullmatch(pattern, "".join(t))}
        for prefix in {text[:k] for text in whole if len(text) < 4 for k in range(len(text) + 1)}:
            tokens = torch.tensor([[LETTERS[c] for c in prefix]], dtype=torch.int64)
            mask = Pattern.of([pattern], LETTERS, V).mask(tokens)[0].nonzero()[:, 0].tolist()
            goes_on = {LETTERS[text[len(prefix)]] for text in whole if text.startswith(prefix) and text != prefix}
            assert set(mask) == goes_on | ({2} if prefix in whole else set()), (pattern, prefix)


def test_fixed_layouts_by_row_and_prompts(model: Bigram) -> None:
    allowed = Pattern.fixed([[{7}, {8, 9}, {10}], [{11}, {7, 8}]], V)
    x = texts(model, 2, allowed=allowed)
    assert x[0, 1] == 7 and x[0, 3:5].tolist() == [10, 2] and x[1, 1] == 11 and x[1, 3] == 2
    y = texts(model, 2, allowed=allowed, prompt=torch.tensor([[7], [11]]))
    assert y[0, 3:5].tolist() == [10, 2] and y[1, 3] == 2


def test_patterns_that_cannot_be_read_are_named() -> None:
    for pattern, said in (("(ab)+", "groups"), ("z", "no character"), ("a{3,1}", "backwards"), ("a|b", "groups")):
        with pytest.raises(ValueError, match=said):
            parse(pattern, LETTERS)


def test_verse_is_the_layout_of_regulated_poems() -> None:
    assert re.fullmatch(verse(4, 5), "白日依山盡\uff0c黃河入海流\u3002\n欲窮千里目\uff0c更上一層樓\u3002")
