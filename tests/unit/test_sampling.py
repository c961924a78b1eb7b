"""Writing token by token, and the filters before each draw: against known probabilities and brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maquette.core import spec
from maquette.core.rng import ItemRng
from maquette.sampling import autoregressive, filters, steered
from maquette.sampling.autoregressive import stream, write
from maquette.sampling.beam import search
from maquette.sampling.constraints import Pattern

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


class Even:
    """A critic that likes even tokens."""

    def begin(self, n: int, given: object, first: Tensor) -> Bigram.Memory:
        return Bigram.Memory(n)

    def advance(self, memory: Bigram.Memory, tokens: Tensor, logits: Tensor) -> Tensor:
        return torch.where(tokens % 2 == 0, 0.7, 0.0)


SETTINGS = {
    "plain": {},
    "filters": {"temperature": 0.8, "top_k": 4, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
    "prompt": {"prompt": torch.tensor([7, 8]), "max_tokens": 6},
    "windows": {"framed": False, "start": 7, "length": 8},
    "stop": {"stop": lambda text: text[:, -1] == 9},
    "form": {"allowed": Pattern([[{7}, {8, 9}, {10}], [{11}, {7, 8}], []], V, 2)},
}
# What each of them writes with seed 3: drawn, steered (3 candidates, blocks of 4).
WRITTEN = {
    "plain": (
        ["1 7 11 10 7 10 11 2", "1 2", "1 11 2"],
        ["7 10 2", "11 2", "7 10 2"],
    ),
    "filters": (
        ["1 7 11 8 10 2", "1 2", "1 11 2"],
        ["7 10 2", "11 2", "8 10 2"],
    ),
    "prompt": (
        ["1 7 8 7 11 10 7 10 11", "1 7 8 7 2", "1 7 8 11 2"],
        ["7 10 2", "11 2", "8 10 2"],
    ),
    "windows": (
        ["9 9 11 10 9 11 8 11", "7 7 11 7 11 8 10 8", "11 10 7 7 11 11 11 8"],
        ["11 10 11 11 11 11 10 7", "11 8 10 11 9 9 11 8", "10 8 7 11 11 11 11 7"],
    ),
    "stop": (
        ["1 7 11 10 7 10 11 2", "1 2", "1 11 2"],
        ["7 10 2", "11 2", "7 10 2"],
    ),
    "form": (
        ["1 7 9 10 2", "1 11 7 2", "1 2"],
        ["7 9 10 2", "11 7 2", "2"],
    ),
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_seed_writes_what_it_always_wrote(model: Bigram, settings: str) -> None:
    options = {"start": 1, "length": 12, **SETTINGS[settings]}
    drawn, chosen = WRITTEN[settings]
    assert rows(write(model, 3, {}, ItemRng(3, range(3)), **options)) == drawn
    blocks = steered.stream(model, Even(), 3, {}, ItemRng(3, range(3)), candidates=3, block=4, **options)
    assert rows(torch.cat([tokens for tokens, _ in blocks], 1)) == chosen


def rows(tokens: Tensor) -> list[str]:
    """Each row's tokens up to its padding."""
    return [" ".join(str(token) for token in row if token) for row in tokens.tolist()]


def test_an_option_that_there_is_not_is_named(model: Bigram) -> None:
    with pytest.raises(TypeError, match="temprature"):
        texts(model, 1, temprature=1.0)
    with pytest.raises(ValueError, match="stop"):
        search(model, 1, {}, start=1, length=4, stop=lambda text: text[:, -1] == 9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    with pytest.raises(FloatingPointError, match="text 0"):
        texts(Bigram(torch.full((V, V), bad)), 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1}, {"temperature": float("inf")}, {"temperature": float("nan")}, {"temperature": 1e-42},
        {"top_p": 0}, {"min_p": 2}, {"top_k": -1}, {"max_tokens": 0}, {"repetition_penalty": float("inf")},
        {"repetition_penalty": 1e-42},
    ],
)  # fmt: skip
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


def test_a_temperature_too_low_for_the_logits_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="inf"):
        texts(Bigram(torch.full((V, V), 1e37)), 1, temperature=0.001)


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


def test_forms_are_kept_row_by_row_and_prompts_count(model: Bigram) -> None:
    allowed = Pattern([[{7}, {8, 9}, {10}], [{11}, {7, 8}], []], V, 2)
    x = texts(model, 3, allowed=allowed)
    assert x[0, 1] == 7 and x[0, 3:5].tolist() == [10, 2] and x[1, 1] == 11 and x[1, 3] == 2 and x[2, 1] == 2
    assert {8, 9} == set(texts(model, 3 * 60, allowed=Pattern([[{7}, {8, 9}, {10}]] * 180, V, 2))[:, 2].tolist())
    y = texts(model, 2, allowed=allowed.rows(torch.tensor([0, 1])), prompt=torch.tensor([[7], [11]]))
    assert y[0, 3:5].tolist() == [10, 2] and y[1, 3] == 2


def test_a_place_that_allows_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token"):
        Pattern([[{7}, set()]], V, 2)


# -- where it happens --------------------------------------------------------------------------------


class Reached(Exception):
    """The model was read from the right place."""


class Elsewhere(nn.Module):
    """A model whose weights are on a device that tests always have, and that is not the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))

    def begin(self, n: int, given: object, first: Tensor | None = None) -> Elsewhere:
        assert first is None or first.device == self.weight.device
        return self

    def rows(self, index: Tensor) -> Elsewhere:
        return self

    def advance(self, memory: object, tokens: Tensor, logits: Tensor | None = None) -> Tensor:
        assert tokens.device == self.weight.device, tokens.device
        raise Reached


@pytest.mark.parametrize("way", ["write", "search", "steered"])
def test_a_model_is_read_where_its_weights_are_with_nothing_given(way: str) -> None:
    model, layout = Elsewhere(), {"start": 1, "length": 5}
    with pytest.raises(Reached):
        if way == "write":
            write(model, 2, {}, ItemRng(0, range(2)), **layout)
        elif way == "search":
            search(model, 2, {}, **layout)
        else:
            next(steered.stream(model, model, 2, {}, ItemRng(0, range(2)), **layout))


def test_reserved_tokens_are_those_of_the_core() -> None:
    others = set(range(len(spec.SPECIALS))) - {spec.EOS}
    assert (autoregressive.PAD, autoregressive.EOS) == (spec.PAD, spec.EOS)
    assert set(autoregressive.FORBIDDEN) == others
