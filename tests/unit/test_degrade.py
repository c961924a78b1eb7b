"""What spoils pictures: projections agree with what was seen and move no further, JPEG is Pillow's, masks are masks."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.sampling import degrade

MASK = torch.ones(1, 1, 12, 16)
MASK[..., 3:9, 4:11] = 0
LINEAR = {
    "mask": degrade.Masked(MASK),
    "blocks": degrade.BlockAverage(4),
    "blur": degrade.Blur(0.6, 12, 16),
}
TABLES = degrade.jpeg_tables(torch.tensor([40.0]))[0]


def smooth(n=3, channels=1, height=12):
    """Pictures well within [-1, 1], so that nothing is clipped."""
    return 0.5 * degrade.blur(torch.randn(n, channels, height, 16).clamp(-2, 2), torch.full((n,), 1.0))


@pytest.mark.parametrize("name", LINEAR)
def test_a_projection_agrees_with_what_is_seen(name):
    operator, x, other = LINEAR[name], smooth(), smooth()
    y = operator.apply(x)
    found = operator.project(other, y)
    assert torch.allclose(operator.apply(found), y, atol=0.03 if name == "blur" else 1e-5)
    assert torch.allclose(operator.project(found, y), found, atol=0.03 if name == "blur" else 1e-5)
    assert torch.allclose(operator.project(x, y), x, atol=1e-5)


@pytest.mark.parametrize("name", ["mask", "blocks"])
def test_a_projection_is_the_nearest_such_picture(name):
    """What it moves by stands at right angles to all that is not seen."""
    operator, x, other = LINEAR[name], smooth(), smooth()
    move = operator.project(other, operator.apply(x)) - other
    unseen = torch.randn(3, 1, 12, 16)
    unseen = unseen - operator.project(torch.zeros_like(unseen), operator.apply(unseen))
    assert operator.apply(unseen).abs().max() < 1e-5
    assert (move * unseen).sum().abs() < 1e-3


@pytest.mark.parametrize("name", LINEAR)
def test_with_noise_it_goes_part_of_the_way(name):
    """x + A^T (A A^T + r)^-1 (y - A x), with A as a matrix."""
    operator, x, y, ratio = LINEAR[name], smooth(1), LINEAR[name].apply(smooth(1)), 0.3
    eye = torch.eye(12 * 16).view(-1, 1, 12, 16)
    matrix = torch.cat([operator.apply(e[None]).flatten(1) for e in eye]).T
    inside = matrix @ matrix.T + ratio * torch.eye(len(matrix))
    exact = x.flatten() + matrix.T @ torch.linalg.solve(inside, (y - operator.apply(x)).flatten())
    assert torch.allclose(operator.project(x, y, ratio).flatten(), exact, atol=1e-4)


def test_a_blur_keeps_the_mean_and_has_its_width():
    x = torch.zeros(1, 1, 41, 41)
    x[..., 20, 20] = 1
    blurred = degrade.blur(x, torch.tensor([2.0]))[0, 0]
    place = torch.arange(41.0) - 20
    assert blurred.sum().item() == pytest.approx(1, abs=1e-4)
    assert (blurred.sum(0) * place**2).sum().item() == pytest.approx(4, rel=0.01)
    assert torch.allclose(degrade.blur(torch.ones(1, 1, 9, 7), torch.tensor([3.0])), torch.ones(1, 1, 9, 7))


def as_pillow_shows(pixels, quality):
    made = []
    for item in pixels:
        file = io.BytesIO()
        picture = Image.fromarray(item[0] if len(item) == 1 else item.transpose(1, 2, 0))
        picture.save(file, "JPEG", quality=quality, subsampling=0)
        shown = np.asarray(Image.open(file))
        made.append(shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1))
    return np.stack(made)


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(quality, channels):
    """But for the rounding of integer transforms, thrice for colours; in a size that is no multiple of 8, too."""
    pixels = ((smooth(4, channels).numpy() + 1) * 127.5).round().astype(np.uint8)
    ours = degrade.jpeg(torch.from_numpy(pixels / 127.5 - 1).float(), torch.full((4,), float(quality)))
    apart = np.abs(ours.numpy() * 127.5 + 127.5 - as_pillow_shows(pixels, quality))
    assert apart.mean() < (0.3 if channels == 1 else 1.2) and np.quantile(apart, 0.9) <= 3
    assert np.abs((ours.numpy() * 127.5 + 127.5) - pixels).mean() > apart.mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_projected_onto_its_box(channels):
    operator, x = degrade.Jpeg(*TABLES), smooth(2, channels, 16)
    y = operator.apply(x)
    assert (operator.project(x, y) - x).abs().max() < 0.03  # but for what rounding to 8 bits moves
    far = operator.project(torch.zeros_like(x), y)
    assert torch.allclose(operator.project(far, y), far, atol=1e-4) and (far - x).abs().mean() < x.abs().mean()


def test_each_item_is_spoilt_in_its_way():
    x, kinds = smooth(64), ("downscale", "hole", "noise", "blur", "jpeg")
    u, noise = torch.rand(64, 9), torch.randn(64, 1, 12, 16)
    made = degrade.corrupt(x, kinds, (2, 4), 0.25, u, noise)
    assert made.shape == (64, 2, 12, 16)
    hidden = u[:, 2] < 0.25
    assert (made[hidden] == 0).all() and (made[~hidden, 1].flatten(1).sum(1) > 0).all()
    holes = (u[:, 0] * 5).long() == 1
    assert (made[~hidden & ~holes, 1] == 1).all()
    seen = made[:, 1:]
    assert torch.equal(made[holes & ~hidden, :1], (x * seen)[holes & ~hidden])
    assert (made[~hidden & ~holes, :1] != x[~hidden & ~holes]).flatten(1).any(1).all()
    again = degrade.corrupt(x[:5], kinds, (2, 4), 0.25, u[:5], noise[:5])
    assert torch.allclose(again, made[:5], atol=1e-6)  # an item does not depend on the others


def test_holes_are_rectangles_or_of_free_form():
    u = torch.rand(200, 6)
    masks = degrade.random_holes(u, torch.randn(200, 1, 28, 28))
    area = (1 - masks).flatten(1).mean(1)
    free = u[:, 5] >= 0.5
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(area[free], 0.5 - 0.4 * u[free, 4], atol=0.01)
    assert area[~free].max() <= 0.78**2 and area[~free].min() > 0


def test_blocks_at_the_border_may_be_smaller():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    found = degrade.block_means(x, 2)
    assert found.shape == x.shape
    assert found[0, 0, 0, 0] == x[0, 0, :2, :2].mean() and found[0, 0, 2, 4] == x[0, 0, 2, 4]
