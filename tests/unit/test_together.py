"""Texts that are written side by side are those that are written alone, whenever one comes or goes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maquette.core.generator import build_model
from maquette.core.model import Streams
from maquette.core.recipe import load_recipe
from maquette.core.rng import ItemRng
from maquette.sampling.autoregressive import parted
from maquette.sampling.constraints import Pattern
from maquette.sampling.together import Draft, Writing
from maquette.testing.specs import column_spec, data_spec

LENGTH = 24


@pytest.fixture(scope="module")
def model() -> Any:
    spec = data_spec(column_spec("text", LENGTH, framed=False))
    settings = ["model.width=32", "model.layers=2", "model.heads=2", "model.ngrams=3", "model.shift=0.5"]
    made = build_model(load_recipe("text/lm", settings), spec).eval()
    torch.nn.init.normal_(made.net.readout.weight)  # else every token is as likely
    return made


def how(i: int) -> dict[str, Any]:
    prompt = {"prompt": torch.tensor([9, 8, 7])} if i % 2 else {}
    return {**prompt, "temperature": (1.0, 0.5, 0.0)[i % 3], "top_k": (0, 5)[i % 2], "max_tokens": 5 + 9 * (i % 4),
            "repetition_penalty": (1.0, 1.3)[i == 3]}  # fmt: skip


def draft(model: Any, i: int, **more: Any) -> Draft:
    rules, choice = parted({"start": model.start, "length": LENGTH, "framed": model.framed, **how(i), **more})
    return Draft({}, ItemRng(4, [i]), rules, choice)


def written(model: Any, drafts: list[Draft], each: int, pool: Any) -> list[list[int]]:
    writing, waiting, step = Writing(model, pool), [*drafts], 0
    while waiting or writing.drafts:
        if waiting and step % each == 0:
            writing.join(waiting.pop(0))
        writing.step()
        step += 1
    return [one.tokens for one in drafts]


@pytest.mark.parametrize("compiled", [False, True])
def test_who_comes_and_goes_changes_nothing(model: Any, compiled: bool) -> None:
    assert isinstance(model, Streams)
    if compiled:
        pytest.importorskip("numba", reason="numba is not installed")
    alone = [written(model, [draft(model, i)], 1, model.together() if compiled else None)[0] for i in range(9)]
    for each in (1, 3):
        pool = model.together() if compiled else None
        assert written(model, [draft(model, i) for i in range(9)], each, pool) == alone
    if not compiled:  # in numpy, as a sample is
        for i, tokens in enumerate(alone):
            rng = ItemRng(4, [i])
            (sampled,) = model.sample(1, {}, rng, **how(i)).values()
            assert sampled[0, int(model.framed) :].tolist()[: len(tokens)] == tokens


def test_where_nothing_can_stand_one_text_ends_and_no_other(model: Any) -> None:
    stuck = draft(model, 0, allowed=Pattern([[{9}, {10}]], model.net.embedding.num_embeddings, 2), temperature=1.0)
    other, writing = draft(model, 1), Writing(model, None)
    stuck.allowed.classes[:] = False  # type: ignore[union-attr]
    writing.join(stuck)
    writing.join(other)
    writing.step()
    assert stuck.failed is not None and stuck.ended and writing.drafts == [other]
