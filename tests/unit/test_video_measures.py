"""What is measured of clips, how they are shown, and what is made of clips by a run: with models that are known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.model import Motion
from maquette.core.rng import derive
from maquette.core.spec import DataSpec
from maquette.modalities.video import damage, files, flaws, report
from maquette.modalities.video.config import Spec
from maquette.modalities.video.continued import DRAWS, continued, errors, given_frames
from maquette.modalities.video.edit import Editor
from maquette.modalities.video.own_features import Network, moved

SPEC = Spec(shape=(1, 12, 16, 24), fps=10.0)
ABOUT = About("Maquette 0", "runs/v", "known", 0)


class Repeats:
    """Goes on with the last frame, and a little noise; between two frames lies a straight line."""

    seen = 2

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def extend(self, first: Tensor, count: int, given: Mapping[str, Tensor], rng: Any) -> Tensor:
        made = first[:, :, -1:].expand(-1, -1, count, -1, -1)
        return made + self.noise * rng.normal(*made.shape)

    def between(self, first: Tensor, last: Tensor, count: int) -> Tensor:
        share = (torch.arange(count) + 1).view(1, 1, -1, 1, 1) / (count + 1)
        return first[:, :, None] * (1 - share) + last[:, :, None] * share


def editor(model: Any = None, spec: Spec = SPEC) -> Editor:
    of = SimpleNamespace(
        spec=DataSpec(columns={"video": spec}, target=("video",)), model=model or Repeats(), device=torch.device("cpu")
    )
    return Editor(of, ABOUT, lambda words: None)  # type: ignore[arg-type]


# -- continuations -----------------------------------------------------------------------------------


def test_the_error_of_a_frame_is_a_sum_over_its_values_from_0_to_1() -> None:
    real, made = torch.full((2, 1, 3, 16, 24), -1.0), torch.full((2, 1, 3, 16, 24), -1.0)
    made[0, :, 1] = 1.0
    found = errors(made, real)
    assert found.squared.tolist() == [[0, 16 * 24, 0], [0, 0, 0]]
    assert found.psnr[0, 1] == pytest.approx(0) and found.ssim is not None and found.ssim[1] == pytest.approx(1)


def test_continuations_stand_beside_plain_guesses() -> None:
    clips = files.made_up(SPEC, 5)

    def batch(rows: np.ndarray) -> Batch:
        return Batch({"video": clips[rows]}, {}, len(rows))

    found = continued(Repeats(), batch, np.arange(5), "video", 6, seed=0)
    repeated = found.plain["the last frame repeated"].squared
    assert len(found.made) == 1 and np.allclose(found.made[0].squared, repeated) and repeated.shape == (5, 6)
    assert found.plain["black"].squared.mean() > 0
    assert np.allclose(repeated[0, 0], float(((clips[0, :, 6] - clips[0, :, 5]) / 2).square().sum()), rtol=1e-5)
    several = continued(Repeats(0.1), batch, np.arange(5), "video", 6, seed=0)
    assert len(several.made) == DRAWS and (several.best <= several.made[0].squared.mean(1)).all()


def test_half_of_the_frames_are_given_or_as_many_as_are_looked_at() -> None:
    assert given_frames(Repeats(), SPEC) == 6
    model = Repeats()
    model.seen = 10
    assert given_frames(model, SPEC) == 10
    model.seen = 12
    assert given_frames(model, SPEC) is None


# -- features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 12, 16, 24), (3, 40, 64, 64), (1, 2, 9, 9)])
def test_the_own_network_sees_clips_of_any_size(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = Network(shape[0], 10).eval()
    network.place(torch.device("cpu"))
    items = files.made_up(Spec(shape=shape), 3)
    assert network(network.look(items)).shape == (3, 64)
    assert network.each(network.look(items)).shape[:1] == (3,)


def test_order_changes_what_is_seen_and_not_what_is_seen_in_frames() -> None:
    torch.manual_seed(0)
    network = Network(1, 10).eval()
    items = files.made_up(SPEC, 4)
    backwards = items[:, :, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    with torch.no_grad():
        seen = [network(network.look(x)) for x in (items, backwards)]
        frames = [network.each(network.look(x)).mean((1, 3, 4)) for x in (items, backwards)]
    assert (seen[0] - seen[1]).abs().max() > 1e-3
    assert torch.allclose(*frames, atol=1e-5)


def test_flaws_and_damages_change_clips_and_keep_their_shape() -> None:
    torch.manual_seed(0)
    items = files.made_up(SPEC, 20) + 0.05 * torch.randn(20, *SPEC.shape)
    bad, which = flaws.flawed(items)
    assert bad.shape == items.shape and set(which.tolist()) == set(range(1, len(flaws.FLAWS) + 1))
    assert ((bad - items).flatten(1).abs().amax(1) > 0.01).all()
    assert moved(items).shape == items.shape
    for one in damage.DAMAGES:
        mild, strong = (one.of(items, SPEC, k, np.random.default_rng(derive(0, one.name))) for k in (1, 2))
        assert mild.shape == strong.shape == items.shape
        assert 0 < (mild - items).abs().mean() < (strong - items).abs().mean(), one.name


# -- the report --------------------------------------------------------------------------------------


def test_clips_play_in_the_page_without_a_network(tmp_path: Any) -> None:
    items = files.made_up(SPEC, 2)
    made = report.tiles(items, SPEC, ["a <b>"])
    assert len(made) == 2 and "&lt;b&gt;" in made[0] and "<b>" not in made[0]
    assert all(uri.startswith("data:image/webp;base64,") for uri in re.findall(r'(?:src|srcset)="([^"]+)"', made[0]))
    path = files.preview(items, tmp_path / "grid.gif", SPEC, [], ABOUT)
    assert "data:image/webp" in report.previewed(path, SPEC, "a preview")
    assert report.shape_words(SPEC) == f"12 frames of 24 {report.TIMES} 16, grey, 10 a second"
    lines = report._lines([{"frame": 1, "squared_error": 2.0, "plain": {"black": 3.0}}])
    assert lines == {"this run": [2.0], "black": [3.0]} and report._chart(lines)["lines"][1]["y"] == [3.0]


def test_layers_are_shown_with_their_masks() -> None:
    masks = torch.tensor([0.2, 0.5, 0.3]).view(1, 1, 3, 1, 1).expand(1, 4, 3, 6, 6)
    rows = report._moved(Motion(torch.zeros(1, 4, 2, 2, 6, 6), masks), torch.ones(1, 1, 4, 6, 6))
    shares = {"layer 1": 0.5, "layer 2": 0.2, "what is painted": 0.3}
    assert [*rows] == ["how it moves", *(word for name in shares for word in (name, f"mask of {name}"))]
    for name, share in shares.items():
        for shown in (rows[name], rows[f"mask of {name}"]):
            assert shown.shape == (1, 1, 4, 6, 6) and torch.allclose(shown, torch.tensor(2 * share - 1))


def test_motion_has_the_usual_colours() -> None:
    flow = torch.zeros(1, 1, 2, 1, 3)
    flow[0, 0, :, 0] = torch.tensor([[0.0, 0.0, 2.0], [0.0, 2.0, 0.0]])  # none; right; down
    still, right, down = report.flow_colours(flow)[0, 0, 0]
    assert still.tolist() == [1, 1, 1] and right.tolist() == [1, 0, 0]
    assert torch.allclose(down, torch.tensor([0.5, 1.0, 0.0]), atol=1e-5)


# -- edits -------------------------------------------------------------------------------------------


def test_clips_are_continued_slowed_and_closed() -> None:
    clips = files.made_up(SPEC, 2)
    longer = editor().continued(clips, frames=5, samples=2)
    assert [item.shape[1] for item in longer.items] == [17] * 4 and longer.names[:2] == ["00000-1", "00000-2"]
    assert torch.equal(longer.items[0][:, :12], clips[0]) and torch.equal(longer.items[0][:, 16], clips[0][:, 11])
    slow = editor().slow(clips, factor=4).items[0]
    assert slow.shape[1] == 45 and torch.equal(slow[:, ::4], clips[0])
    assert torch.allclose(slow[:, 2], (clips[0][:, 0] + clips[0][:, 1]) / 2)
    closed = editor().loop(clips, frames=1).items[0]
    assert closed.shape[1] == 13 and torch.allclose(closed[:, 12], (clips[0][:, 11] + clips[0][:, 0]) / 2)


def test_what_edits_refuse(tmp_path: Any) -> None:
    clips = files.made_up(SPEC, 1)
    for wrong, says in (
        (lambda: editor().continued(clips, frames=0), "frames = 0"), (lambda: editor().slow(clips, 1), "factor = 1"),
        (lambda: editor().loop(clips, 0), "frames = 0"), (lambda: editor(object()).slow(clips), "between two frames"),
        (lambda: editor(object()).continued(clips), "goes on with no clip"),
        (lambda: editor().continued(clips[:, :, :1]), "looks at 2 to go on"),
        (lambda: editor().continued(clips[..., :8]), "Give .N, 1, frames, 16, 24."),
        (lambda: editor().continued([]), "No clips"), (lambda: editor().continued(tmp_path), "no folder of numbered"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says):
            wrong()


def test_what_was_edited_says_so(tmp_path: Any) -> None:
    made = editor().continued(files.made_up(SPEC, 1), frames=3, seed=7)
    (path,) = made.save(tmp_path)
    told = files.origin(path)
    assert (told["edit"], told["frames"], told["seed"], told["Source"]) == ("continue", "3", "7", "AI-generated")
