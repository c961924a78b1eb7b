"""Text to speech: the way through text and sound, how long tokens last, and what is said of what cannot be read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.rng import ItemRng
from maquette.core.spec import BOS, EOS, PAD
from maquette.losses.divergence import itakura_saito
from maquette.models import tts
from maquette.sampling.alignment import monotonic, places
from maquette.testing import column_spec, data_spec, made_up_batch

SPEC = data_spec(column_spec("audio", 1, 8192, rate_hz=8000), words=column_spec("text", 8))
SMALL = {"width": 16, "blocks": 1, "text_width": 16, "text_layers": 1, "condition": 16}


def small(**settings: object) -> tts.Speech:
    torch.manual_seed(0)
    return tts.build(tts.Config(**{**SMALL, **settings}), SPEC).eval()


def ways(tokens: int, cells: int) -> list[list[int]]:
    """All durations of so many tokens that sum to the cells, one at least each."""
    cuts = itertools.combinations(range(1, cells), tokens - 1)
    return [np.diff([0, *cut, cells]).tolist() for cut in cuts]


def test_the_best_way_is_found_among_all() -> None:
    torch.manual_seed(0)
    tokens, cells = torch.tensor([4, 3, 1, 5]), torch.tensor([7, 7, 3, 5])
    scores = torch.randn(4, 6, 9)
    found = monotonic(scores, tokens, cells)
    for i in range(4):
        s, t = int(tokens[i]), int(cells[i])

        def worth(way: list[int], i: int = i, t: int = t) -> float:
            return float(scores[i, np.repeat(np.arange(len(way)), way), np.arange(t)].sum())

        best = max(ways(s, t), key=worth)
        assert found[i, :s].tolist() == best and found[i, s:].sum() == 0


def test_fewer_cells_than_tokens_are_spread() -> None:
    found = monotonic(torch.zeros(1, 6, 4), torch.tensor([5]), torch.tensor([3]))
    assert found.sum() == 3 and found.max() == 1 and found[0, 5] == 0


def test_places_are_the_tokens_of_cells() -> None:
    found = places(torch.tensor([[2, 0, 3, 0], [1, 1, 0, 0]]))
    assert found.tolist() == [[0, 0, 2, 2, 2], [0, 1, 1, 1, 1]]


def test_durations_are_their_means() -> None:
    x, log_y = torch.tensor([1.0, 2.0, 9.0]), torch.zeros((), requires_grad=True)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(itakura_saito(x, log_y).mean(), log_y)
        log_y = (log_y - 0.3 * gradient).detach().requires_grad_()
    assert log_y.exp().item() == pytest.approx(4.0, rel=1e-3)
    assert itakura_saito(x, x.log()).abs().max() < 1e-6


def test_cells_are_the_sound() -> None:
    model, x = small(data_mean=-0.3, data_std=0.4), made_up_batch(SPEC, 3).only()
    cells, counts = model._cells(x)
    grids = model._grids(cells, counts)
    assert torch.allclose(grids, model.voice.mel.of(x), atol=1e-6)
    assert (grids[..., int(counts.max()) * 2 :] == -1).all()


def test_padding_changes_nothing() -> None:
    model = small()
    tokens = torch.tensor([[BOS, 8, 9, 10, EOS], [BOS, 8, EOS, PAD, PAD]])
    both = model.sample(2, {"words": tokens}, ItemRng(1, [0, 1]))["audio"]
    alone = model.sample(1, {"words": tokens[1:, :3]}, ItemRng(1, [1]))["audio"]
    assert torch.allclose(both[1], alone[0], atol=1e-4)


def test_speed_and_length() -> None:
    model = small()
    words = torch.tensor([[BOS, *range(8, 14), EOS]])
    torch.nn.init.constant_(model.text.duration.bias, np.log(8))

    def cells(**asked: float) -> int:
        seen = []
        model.voice.sound = lambda grids: seen.append(grids) or grids  # type: ignore[method-assign,func-returns-value]
        model.sample(1, {"words": words}, ItemRng(1, [0]), steps=1, **asked)
        return int((seen[0] > -1).any(2).sum())

    assert abs(cells() - 2 * cells(speed=2.0)) <= 4
    assert cells(speed=0.01) <= model.voice.mel.frames(8192)  # cut


def test_what_cannot_be_read() -> None:
    with pytest.raises(UserError, match="given none"):
        Generator(small(), SPEC).given_for(1)
    with pytest.raises(UserError, match="none is given"):
        tts.build(tts.Config(), data_spec(column_spec("audio", 1, 8192)))


def test_a_learned_voice_is_part_of_it() -> None:
    model = small(voice={"width": 16, "blocks": 1, "rounds": 1})
    assert [phase.name for phase in model.phases()] == ["speech", "vocoder"]
    assert set(model.kept) == {"text", "denoiser", "vocoder"}
    made = model.sample(1, {"words": torch.tensor([[BOS, 8, EOS]])}, ItemRng(1, [0]))["audio"]
    assert made.shape == (1, 1, 8192) and made.abs().max() <= 1
