"""Beam search against exhaustive search, greedy writing and ties."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from maquette.core.rng import ItemRng
from maquette.sampling.autoregressive import Drafts, Rules, write
from maquette.sampling.beam import length_penalty, search
from maquette.sampling.constraints import Pattern

V, WIDTH = 11, 5


class Table:
    """Logits that depend on the source, the number of tokens read and the last of them: [n, WIDTH, V, V]."""

    def __init__(self, n: int, ties: bool = False) -> None:
        self.table = torch.randn(n, WIDTH + 3, V, V, generator=torch.Generator().manual_seed(2))
        if ties:
            self.table = self.table.round()

    class Memory:
        def __init__(self, source: Tensor, read: int) -> None:
            self.source, self.read = source, read

        def rows(self, index: Tensor) -> Table.Memory:
            return Table.Memory(self.source[index], self.read)

    def begin(self, n: int, given: dict[str, Tensor]) -> Memory:
        return Table.Memory(given["source"], 0)

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        out = [self.table[memory.source, memory.read + t, tokens[:, t]] for t in range(tokens.shape[1])]
        memory.read += tokens.shape[1]
        return torch.stack(out, 1)

    def log_prob(self, source: int, text: tuple[int, ...]) -> float:
        """Of the tokens after BOS, with reserved tokens left out of the vocabulary."""
        total, last = 0.0, 1
        for t, token in enumerate(text):
            row = self.table[source, t, last].index_fill(0, torch.tensor([0, 1, 3, 4, 5, 6]), -torch.inf)
            total, last = total + float(row.log_softmax(0)[token]), token
        return total


def given(n: int) -> dict[str, Tensor]:
    return {"source": torch.arange(n)}


def all_texts() -> list[tuple[int, ...]]:
    """All that end within the width."""
    return [(*body, 2) for k in range(WIDTH - 1) for body in product(range(7, V), repeat=k)]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_wide_beam_is_exhaustive(alpha: float) -> None:
    n, model = 3, Table(3)
    found = search(model, n, given(n), start=1, length=WIDTH, beam=400, alpha=alpha)
    for i in range(n):
        score = {text: model.log_prob(i, text) / length_penalty(len(text), alpha) for text in all_texts()}
        text = max(score, key=lambda text: score[text])
        assert found.tokens[i].tolist() == [1, *text, *[0] * (WIDTH - 1 - len(text))]
        assert abs(float(found.scores[i]) - score[text]) < 1e-5
        assert abs(float(found.log_prob[i]) - model.log_prob(i, text)) < 1e-5


@pytest.mark.parametrize("ties", [False, True])
def test_beam_of_one_is_greedy(ties: bool) -> None:
    n, model = 40, Table(40, ties)
    greedy = write(model, n, given(n), ItemRng(0, range(n)), start=1, length=WIDTH, temperature=0)
    assert torch.equal(search(model, n, given(n), start=1, length=WIDTH, beam=1).tokens, greedy)


def test_more_beams_find_likelier_texts_and_stopping_early_loses_nothing() -> None:
    n, model = 40, Table(40)
    scores = [search(model, n, given(n), start=1, length=WIDTH, beam=k).scores.mean() for k in (1, 3, 400)]
    assert scores[0] < scores[1] <= scores[2]


def test_a_source_does_not_depend_on_those_beside_it() -> None:
    model = Table(20, ties=True)
    many = search(model, 20, given(20), start=1, length=WIDTH, beam=3)
    for i in range(20):
        one = search(model, 1, {"source": torch.tensor([i])}, start=1, length=WIDTH, beam=3)
        assert torch.equal(one.tokens[0], many.tokens[i])


def test_texts_that_never_end_are_taken_where_none_did() -> None:
    model = Table(2)
    model.table[..., 2] = -torch.inf
    found = search(model, 2, given(2), start=1, length=WIDTH, beam=400)
    assert (found.tokens >= 1).all() and not (found.tokens == 2).any()
    for i in range(2):
        endless = product(range(7, V), repeat=WIDTH - 1)
        assert tuple(found.tokens[i, 1:].tolist()) == max(endless, key=lambda text: model.log_prob(i, text))
    windows = search(model, 2, given(2), start=7, length=WIDTH, beam=3, framed=False).tokens
    assert windows.shape == (2, WIDTH) and (windows >= 7).all()


def test_what_a_search_gave_up_is_written_no_further_where_nothing_ends_by_itself() -> None:
    drafts = Drafts(Table(2), 2, given(2), Rules(start=7, length=WIDTH, framed=False))
    drafts.ended = torch.tensor([False, True])
    assert drafts.append(torch.tensor([8, 9])).tolist() == [8, 0]


def test_constraints_and_prompts_hold() -> None:
    model = Table(2)
    allowed = Pattern([[{7}, {8, 9}], [{10}, {7, 8}, {9}]], V, 2)
    found = search(model, 2, given(2), start=1, length=WIDTH, beam=4, allowed=allowed)
    assert found.tokens[0, 1:4].tolist() in ([7, 8, 2], [7, 9, 2])
    assert found.tokens[1, 1] == 10 and found.tokens[1, 3] == 9
    prompted = search(model, 2, given(2), start=1, length=WIDTH, beam=2, prompt=torch.tensor([9]))
    assert (prompted.tokens[:, :2] == torch.tensor([1, 9])).all()


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"alpha": -1}, {"alpha": float("nan")}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        search(Table(1), 1, given(1), start=1, length=WIDTH, **wrong)
