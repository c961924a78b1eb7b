"""The measures against closed forms and constructed answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maquette.evaluation import bootstrap
from maquette.evaluation.measures import classes, copies
from maquette.evaluation.measures.frechet import Moments, distance, frechet, moments
from maquette.evaluation.measures.kernel import kernel_distance
from maquette.evaluation.measures.manifold import manifold, radii, squared_distances
from maquette.evaluation.measures.two_sample import two_sample
from maquette.evaluation.neighbours import nearest
from maquette.modalities.image.features import comparable


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- Fréchet ---------------------------------------------------------------------------------------


def test_frechet_of_commuting_gaussians_is_the_closed_form() -> None:
    # |m1 - m2|^2 + sum (sqrt(l1) - sqrt(l2))^2 in a shared eigenbasis.
    basis = np.linalg.qr(rng().normal(size=(5, 5)))[0]
    one, two = np.array([1.0, 2, 3, 4, 0]), np.array([4.0, 1, 3, 0, 9])
    a = Moments(np.zeros(5), basis * one @ basis.T)
    b = Moments(np.full(5, 2.0), basis * two @ basis.T)
    assert distance(a, b) == pytest.approx(20 + ((np.sqrt(one) - np.sqrt(two)) ** 2).sum(), abs=1e-6)


def test_frechet_agrees_with_the_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    x, y = rng(1).normal(size=(2, 50, 6, 6))
    one, two = x.reshape(50, 36)[:, :6], y.reshape(50, 36)[:, :6] * 2 + 1
    a, b = moments(one), moments(two)
    gap = a.mean - b.mean
    plain = gap @ gap + np.trace(a.cov + b.cov - 2 * np.real(sqrtm(a.cov @ b.cov)))
    assert distance(a, b) == pytest.approx(plain, rel=1e-9)


def test_frechet_is_zero_and_finite_with_fewer_items_than_features() -> None:
    x = rng(2).normal(size=(10, 40))
    assert distance(moments(x), moments(x)) == pytest.approx(0, abs=1e-6)


def test_weighted_moments_are_those_of_the_repeated_items() -> None:
    x, w = rng(3).normal(size=(6, 3)), np.array([2.0, 0, 1, 3, 0, 1])
    found, plain = moments(x, w), moments(np.repeat(x, w.astype(int), axis=0))
    np.testing.assert_allclose(found.mean, plain.mean)
    np.testing.assert_allclose(found.cov, plain.cov)


def test_frechet_interval_covers_the_expected_value_at_its_size() -> None:
    # Many repetitions of a small problem: the mean over repetitions is the value at this size.
    runs = []
    for i in range(60):
        g = rng(100 + i)
        runs.append(frechet(g.normal(size=(100, 4)), g.normal(0.7, 1, size=(100, 4)), g, resamples=60))
    expected = np.mean([r.value for r in runs])
    assert expected > 4 * 0.49  # the finite-sample bias is upwards
    covered = np.mean([r.low <= expected <= r.high for r in runs if r.low is not None and r.high is not None])
    assert 0.87 <= covered <= 1.0


# -- kernel distance -------------------------------------------------------------------------------


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off(m: np.ndarray) -> float:
        return (m.sum() - np.trace(m)) / (len(m) * (len(m) - 1))

    return off(k(x, x)) + off(k(y, y)) - 2 * k(x, y).mean()


def test_kernel_distance_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maquette.evaluation.measures.kernel.BLOCK", 7)  # several blocks, the last one partial
    x, y = rng(4).normal(size=(30, 5)), rng(5).normal(0.5, 1, size=(23, 5))
    assert kernel_distance(x, y, rng()).value == pytest.approx(_mmd(x, y), rel=1e-9)


def test_kernel_distance_is_unbiased() -> None:
    values = [
        kernel_distance(rng(i).normal(size=(40, 3)), rng(1000 + i).normal(size=(40, 3)), rng(), resamples=2).value
        for i in range(300)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_kernel_distance_sees_a_shift_and_its_interval_holds_the_value() -> None:
    g = rng(6)
    found = kernel_distance(g.normal(size=(300, 4)), g.normal(1, 1, size=(300, 4)), g)
    assert found.low is not None and found.high is not None
    assert 0 < found.low < found.value < found.high


# -- manifolds -------------------------------------------------------------------------------------


def test_radii_are_distances_to_the_kth_other_item() -> None:
    x = np.array([[0.0], [1], [3], [7]])
    first, second = radii(x, (1, 2))
    np.testing.assert_allclose(first, [1, 1, 4, 16])
    np.testing.assert_allclose(second, [9, 4, 9, 36])
    assert (squared_distances(x, x).diagonal() == 0).all()


def _clusters(centres: list[float], n: int, seed: int) -> np.ndarray:
    g = rng(seed)
    return np.concatenate([g.normal(c, 1, size=(n, 3)) for c in centres])


def test_a_generator_that_drops_a_cluster_keeps_precision_and_loses_coverage() -> None:
    real = _clusters([0, 50], 300, 1)
    found = manifold(_clusters([0], 600, 2), real)
    assert found.precision.mean() > 0.9
    assert found.recall.mean() == pytest.approx(0.5, abs=0.05)
    assert found.coverage.mean() == pytest.approx(0.5, abs=0.03)


def test_a_generator_that_adds_a_cluster_loses_precision_and_keeps_coverage() -> None:
    found = manifold(_clusters([0, 50], 300, 3), _clusters([0], 600, 4))
    assert found.precision.mean() == pytest.approx(0.5, abs=0.05)
    assert found.density.mean() == pytest.approx(0.5, abs=0.1)
    assert found.recall.mean() > 0.9


def test_real_against_real_has_the_coverage_that_theory_gives() -> None:
    # Naeem et al. 2020, eq. 9: E[coverage] = 1 - prod_{j=0}^{k-1} (N-1-j)/(N+M-1-j), and E[density] = 1.
    n, k = 800, 5
    found = manifold(rng(5).normal(size=(n, 2)), rng(6).normal(size=(n, 2)))
    j = np.arange(k)
    expected = 1 - np.prod((n - 1 - j) / (2 * n - 1 - j))
    assert found.coverage.mean() == pytest.approx(expected, abs=0.02)
    assert found.density.mean() == pytest.approx(1, abs=0.06)


# -- two-sample test -------------------------------------------------------------------------------


def test_two_sample_guesses_on_equal_and_knows_on_different_distributions() -> None:
    g = rng(7)
    same = two_sample(g.normal(size=(800, 6)), g.normal(size=(800, 6)), rng())
    assert same.value == pytest.approx(0.5, abs=0.06) and (same.p_value or 0) > 0.01
    apart = two_sample(g.normal(size=(400, 6)), g.normal(3, 1, size=(800, 6)), rng())
    assert apart.value > 0.99 and (apart.p_value or 1) < 1e-6


def test_two_sample_sees_a_difference_in_spread_alone() -> None:
    g = rng(8)
    assert two_sample(g.normal(size=(800, 6)), g.normal(0, 2.5, size=(800, 6)), rng()).value > 0.8


# -- copies ----------------------------------------------------------------------------------------


def test_a_planted_copy_is_found() -> None:
    train = torch.rand(700, 1, 40, 8) * 2 - 1
    fake = torch.rand(50, 1, 40, 8) * 2 - 1
    fake[17] = train[423]
    fake[3] = train[650] + 0.01
    near = nearest(comparable(fake), train.split(100), comparable)
    distance, row = near.distance[:, 0], near.row[:, 0]
    assert row[17] == 423 and distance[17] == 0
    assert row[3] == 650 and distance[3] == pytest.approx(0.01, rel=1e-4)
    assert np.argsort(distance)[:2].tolist() == [17, 3]
    held = nearest(comparable(torch.rand(200, 1, 40, 8) * 2 - 1), train.split(100), comparable).distance[:, 0]
    assert copies.copies(distance, held, rng()).value == pytest.approx(2 / 50, abs=0.05)
    assert copies.control_share(distance, held)[17] == 0


@pytest.mark.parametrize("k", [1, 3, 90])
def test_nearest_neighbours_are_those_of_brute_force(k: int) -> None:
    train, queries = torch.randn(70, 1, 5, 4), torch.randn(9, 1, 5, 4)
    train[40:44] = train[20:24]  # at one distance, the first row stands first
    queries[0] = train[21]
    found = nearest(comparable(queries), train.split(13), comparable, k)
    apart = ((queries[:, None] - train) ** 2).flatten(2).mean(2).sqrt().numpy()
    expected = np.argsort(apart, axis=1, kind="stable")[:, :k]
    assert found.row.shape == (9, min(k, 70)) and found.row[0, 0] == 21 and found.distance[0, 0] == 0
    np.testing.assert_allclose(found.distance, np.take_along_axis(apart, expected, 1), atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(apart, found.row, 1), found.distance, atol=1e-6)
    with pytest.raises(bootstrap.TooFew):
        nearest(comparable(queries), iter(()), comparable)


def test_copies_of_new_pictures_are_at_the_level_of_the_control() -> None:
    g = rng(9)
    found = copies.copies(g.gamma(5, size=4000), g.gamma(5, size=4000), g)
    assert found.low is not None and found.high is not None
    assert found.low <= copies.LEVEL <= found.high


# -- classes ---------------------------------------------------------------------------------------


def test_class_shares_and_missing_classes() -> None:
    real = np.repeat(np.arange(4), 250)
    fake = np.repeat([0, 1, 2], [500, 250, 250])
    assert classes.share_distance(fake, real, 4, rng()).value == pytest.approx(0.25)
    assert classes.share_distance(real, real, 4, rng()).value == 0
    assert classes.missing(fake, real, 4, rng()).value == 1
    assert classes.missing(real, real, 4, rng()).value == 0


def test_rows_by_class() -> None:
    real, seen = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    asked, made = np.array([0, 1, 1]), np.array([0, 1, 0])
    zero, one, none = classes.class_rows(("a", "b", "c"), real, seen, made, asked)
    assert (zero.real_accuracy, one.real_accuracy, none.real_accuracy) == (0.5, 1.0, None)
    assert (zero.accuracy, one.accuracy, none.accuracy) == (1.0, 0.5, None)
    assert zero.fake_share == pytest.approx(2 / 3) and none.fake_share == 0


# -- bootstrap -------------------------------------------------------------------------------------


def test_bootstrap_interval_of_a_mean_covers_it() -> None:
    hits = 0
    for i in range(200):
        g = rng(i)
        found = bootstrap.mean(g.exponential(size=80), g, resamples=200)
        assert found.low is not None and found.high is not None
        hits += found.low <= 1 <= found.high
    assert 0.87 <= hits / 200 <= 0.99  # nominal 0.95; a skewed mean of 80 falls somewhat short


def test_centred_interval_holds_its_value_despite_bias() -> None:
    low, high = bootstrap.centred(rng().normal(10, 1, size=500), 4.0)
    assert low < 4 < high and high - low == pytest.approx(3.92, abs=0.5)
    assert bootstrap.centred(rng().normal(10, 1, size=500), 0.5, least=0.0)[0] == 0


@pytest.mark.parametrize(
    "measure",
    [
        lambda: frechet(np.zeros((1, 2)), np.zeros((9, 2)), rng()),
        lambda: kernel_distance(np.zeros((1, 2)), np.zeros((9, 2)), rng()),
        lambda: manifold(np.zeros((5, 2)), np.zeros((9, 2))),
        lambda: two_sample(np.zeros((19, 2)), np.zeros((90, 2)), rng()),
        lambda: copies.copies(np.zeros(5), np.zeros(19), rng()),
        lambda: classes.share_distance(np.zeros(1, int), np.zeros(9, int), 2, rng()),
        lambda: bootstrap.mean(np.zeros(0), rng()),
    ],
)
def test_too_little_data_is_said_by_name(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(bootstrap.TooFew):
        measure()
