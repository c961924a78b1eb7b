"""A whole evaluation: of generators whose quality is known, on data of every kind and size."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Model
from maquette.core.rng import Rng
from maquette.core.spec import ColumnSpec, DataSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation import Effort, Evaluation, evaluate
from maquette.evaluation.measures.likelihood import likelihood
from maquette.evaluation.results import HEADER
from maquette.modalities.image import Spec as ImageSpec
from maquette.modalities.image import inception, own_features
from maquette.modalities.label import Spec as LabelSpec


class Held:
    """A column in memory."""

    def __init__(self, values: Tensor, spec: ColumnSpec) -> None:
        self.values, self.spec = values, spec

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.as_tensor(rows)]


def table(x: Tensor, y: Tensor | None) -> Table:
    columns = {"image": Held(x, ImageSpec(shape=tuple(x.shape[1:])))}
    if y is not None:
        names = tuple("abcdefghij"[: int(y.max()) + 1])
        columns["label"] = Held(y, LabelSpec(classes=names))
    return Table(columns, [f"{i}.png" for i in range(len(x))])


def digits(n: int | None = None, labels: bool = True) -> Dataset:
    from sklearn.datasets import load_digits

    found = load_digits()
    rows = np.random.default_rng(0).permutation(len(found.target))[:n]
    x = torch.from_numpy(found.images[rows]).float()[:, None] / 8 - 1
    y = torch.from_numpy(found.target[rows]) if labels else None
    cut = len(rows) // 4

    def part(s: slice) -> Table:
        return table(x[s], None if y is None else y[s])

    return Dataset("digits", f"test-digits-{n}-{labels}", part(slice(cut, None)), part(slice(0, cut)))


def noise(n: int, shape: tuple[int, int, int], classes: int = 0) -> Dataset:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=g) * 2 - 1
    y = torch.arange(n) % classes if classes else None
    cut = max(n // 3, 1)
    halves = [table(x[s], None if y is None else y[s]) for s in (slice(cut, None), slice(0, cut))]
    return Dataset("noise", f"test-noise-{n}-{shape}-{classes}", *halves)


class Repeats(Model):
    """Gives back pictures of a table, of the class asked for; `noise` changes them."""

    def __init__(self, source: Table, noise: float = 0.0, only: int | None = None) -> None:
        super().__init__()
        self.source, self.noise, self.only = source, noise, only

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        u = rng.uniform(n).numpy()
        x = self.source.columns["image"].take(np.arange(len(self.source)))[: self.only]
        if "label" in given:
            y = self.source.columns["label"].take(np.arange(len(self.source)))[: self.only].numpy()
            pools = [np.flatnonzero(y == int(c)) for c in given["label"]]
            rows = np.array([pool[int(v * len(pool))] for pool, v in zip(pools, u, strict=True)])
        else:
            rows = (u * len(x)).astype(int)
        x = x[rows]
        return {"image": (x + self.noise * rng.normal(*x.shape)).clamp(-1, 1) if self.noise else x}


def generator(data: Dataset, model: Model, conditional: bool = True) -> Generator:
    given = ["label"] if conditional and "label" in data.train.columns else []
    return Generator(model, data.spec(["image"], given))


@pytest.fixture(scope="module", autouse=True)
def short_training() -> object:
    """Networks learn less here than for a person, who waits 10 s for them."""
    patch = pytest.MonkeyPatch()
    plan = own_features.plan
    patch.setattr(own_features, "plan", lambda n, *rest: (min(240, plan(n, *rest)[0]), plan(n, *rest)[1]))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits(1000)


@pytest.fixture(scope="module")
def real(data: Dataset, cache: Path) -> Evaluation:
    return evaluate(generator(data, Repeats(data.test)), data, cache=cache)


def test_a_perfect_generator_reaches_its_floors(real: Evaluation) -> None:
    frechet = real["frechet"]
    assert frechet.title == "Fréchet distance, own features" and frechet.features == "own"
    assert frechet.low is not None and frechet.floor_high is not None and frechet.low <= frechet.floor_high
    assert real["class_accuracy"].value > 0.9
    assert real["class_accuracy"].floor == pytest.approx(real.settings.classifier_accuracy)
    assert (real["two_sample"].p_value or 0) > 0.01
    assert real["coverage"].value > 0.9 and real["precision"].value > 0.9
    assert real["missing_classes"].value == 0
    assert real["copies"].value < 0.05
    assert all(metric.reading and metric.asks for metric in real.metrics)
    assert not any("{" in f"{m.title}{m.reading}{m.asks}" for m in real.metrics)
    rows = real.details["per_class"]
    assert len(rows) == 10 and sum(row["asked"] or 0 for row in rows) == real.settings.samples


def test_same_seed_same_numbers(real: Evaluation, data: Dataset, cache: Path) -> None:
    again = evaluate(generator(data, Repeats(data.test)), data, cache=cache)
    assert again.metrics == real.metrics and again.details == real.details


def test_saves_loads_and_draws(real: Evaluation, tmp_path: Path) -> None:
    path = real.save(tmp_path / "metrics.json")
    assert Evaluation.load(path) == real
    assert {"metrics", "warnings", "details", "settings"} <= set(json.loads(path.read_text()))
    assert real.settings.nouns == ("picture", "pictures") and real.settings.column == "image"
    assert all(len(row) == len(HEADER) for row in real.rows())
    assert "Fréchet distance, own features" in str(real) and "<table>" in real._repr_html_()
    path.write_text("{}")
    with pytest.raises(UserError, match="not an evaluation"):
        Evaluation.load(path)


def test_noise_is_seen(real: Evaluation, data: Dataset, cache: Path) -> None:
    noisy = evaluate(generator(data, Repeats(data.test, noise=0.8)), data, cache=cache)
    assert noisy["frechet"].value > 3 * real["frechet"].value
    assert (noisy["two_sample"].p_value or 0) < 0.01
    assert noisy["coverage"].value < real["coverage"].value


def test_copies_are_listed_with_where_they_come_from(data: Dataset, cache: Path) -> None:
    model = Repeats(data.train)
    found = evaluate(generator(data, model), data, cache=cache, samples=60)
    assert found["copies"].value == 1 and "look at the nearest pairs" in found["copies"].reading
    first = found.details["copies"][0]
    assert first["distance"] == 0 and first["train_name"] == f"{first['train_row']}.png"
    made = generator(data, model).sample(60)["image"][first["sample"]]
    assert torch.equal(made, data.train.columns["image"].take(np.array([first["train_row"]]))[0])


def test_collapse_is_seen_in_an_unconditional_model_of_labelled_data(data: Dataset, cache: Path) -> None:
    found = evaluate(generator(data, Repeats(data.test, only=4), conditional=False), data, cache=cache)
    assert "class_accuracy" not in found and found["missing_classes"].value >= 6
    assert found["coverage"].value < 0.3 and found["class_shares"].value > 0.5
    assert found.details["per_class"][0]["asked"] is None and not found.settings.conditional


def test_unlabelled_data(cache: Path) -> None:
    data = digits(900, labels=False)
    found = evaluate(generator(data, Repeats(data.test)), data, cache=cache, samples=500)
    assert "contrastive" in found.settings.network and "per_class" not in found.details
    assert found["frechet"].value < 3 * (found["frechet"].floor or 0) + 1


@pytest.mark.parametrize(
    ("n", "shape", "classes"), [(20, (3, 16, 24), 2), (6, (1, 8, 8), 0), (9, (4, 100, 128), 1), (8, (1, 9, 9), 4)]
)
def test_tiny_data_of_any_shape(n: int, shape: tuple[int, int, int], classes: int, tmp_path: Path) -> None:
    data = noise(n, shape, classes)
    if classes == 4:  # a class that the test split lacks
        model: Model = Repeats(data.train)
    else:
        model = Repeats(data.test)
    found = evaluate(generator(data, model, conditional=False), data, cache=tmp_path, samples=10)
    assert any(text.startswith("Left out: Nearer to a training picture") for text in found.warnings)
    assert all(math.isfinite(metric.value) for metric in found.metrics)
    assert str(found)


def test_a_damaged_or_unwritable_cache_is_no_obstacle(tmp_path: Path) -> None:
    data = noise(30, (1, 8, 8))
    judged = generator(data, Repeats(data.test))
    first = evaluate(judged, data, cache=tmp_path, samples=20)
    (kept,) = tmp_path.glob("*.safetensors")
    kept.write_bytes(b"broken")
    assert evaluate(judged, data, cache=tmp_path, samples=20).metrics == first.metrics
    (tmp_path / "file").write_text("")
    said: list[str] = []
    evaluate(judged, data, cache=tmp_path / "file", samples=20, notify=said.append)
    assert any("could not be kept" in line for line in said)


def test_what_cannot_be_judged_is_refused(data: Dataset, cache: Path) -> None:
    judged = generator(data, Repeats(data.test))
    for options, match in (
        ({"samples": 1}, "at least 2"),
        ({"seed": -1}, "seed"),
        ({"features": "incepton"}, "inception"),
    ):
        with pytest.raises(UserError, match=match):
            evaluate(judged, data, cache=cache, **options)  # type: ignore[arg-type]
    other = noise(30, (3, 8, 8))
    with pytest.raises(UserError, match="shape"):
        evaluate(judged, other, cache=cache)


# -- Inception -------------------------------------------------------------------------------------


def test_inception_says_where_its_weights_go(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAQUETTE_INCEPTION", raising=False)
    with pytest.raises(UserError, match="MAQUETTE_INCEPTION"):
        evaluate(generator(data, Repeats(data.test)), data, features="inception", cache=tmp_path)
    bad = tmp_path / "weights.pth"
    bad.write_bytes(b"\x80\x02cos\nsystem\n.")
    monkeypatch.setenv("MAQUETTE_INCEPTION", str(bad))
    with pytest.raises(UserError, match="refused"):
        inception.inception_features(tmp_path)


def test_inception_reads_a_state_dict_and_gives_its_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    state = inception.Inception().state_dict()
    path = tmp_path / "weights.pth"
    torch.save({**state, "fc.weight": torch.zeros(1008, 2048)}, path)  # as the original file has it
    monkeypatch.setenv("MAQUETTE_INCEPTION", str(path))
    with pytest.raises(UserError, match="checksum"):  # only the published file is unpickled
        inception.inception_features(tmp_path)
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    network = inception.inception_features(tmp_path)
    seen = network.see(iter([torch.rand(2, 1, 8, 8) * 2 - 1]))
    assert seen.features.shape == (2, 2048) and np.isfinite(seen.features).all()
    assert network.identity.startswith("inception-fid-")
    assert len(state) == 94 * 6  # convolutions, each with a weight and five of its normalisation
    rgba = torch.full((1, 4, 2, 2), -1.0)
    assert (inception.three_channels(rgba) == 1).all()  # transparent black is white


# -- likelihood ------------------------------------------------------------------------------------


class Linear(Model):
    """x = W z + s e with z, e ~ N(0, I): p(x) and the posterior are known. The encoder is a bit too wide."""

    latent_dim = 3
    wide = 1.3
    exact = False
    density = "discrete"  # so that nats turn into bits without the width of a pixel

    def __init__(self, dims: int = 16) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.net = nn.Linear(2, dims, bias=False)
        self.net.weight.data = torch.randn(dims, 2, generator=g) * 0.4
        self.s = 0.5

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        w = self.net.weight
        cov = torch.linalg.inv(torch.eye(2) + w.T @ w / self.s**2)
        return x @ w @ cov / self.s**2, cov

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        x = batch.only().flatten(1)
        mean, cov = self._posterior(x)
        q = torch.distributions.MultivariateNormal(mean, cov * self.wide**2)
        noise = rng.normal(len(x), samples * 2).view(len(x), samples, 2).transpose(0, 1)
        z = mean + noise @ torch.linalg.cholesky(cov * self.wide**2).T
        log_px = torch.distributions.Normal(z @ self.net.weight.T, self.s).log_prob(x).sum(-1)
        log_pz = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        return torch.logsumexp(log_px + log_pz - q.log_prob(z), 0) - math.log(samples)

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def encode(self, batch: Batch) -> Tensor:
        mean = self._posterior(batch.only().flatten(1))[0]
        return torch.cat([mean, torch.zeros(len(mean), 1)], 1)  # the third latent is never used

    def decode(self, z: Tensor, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"image": (z[:, :2] @ self.net.weight.T).view(-1, 1, 4, 4)}

    def sample(self, n: int, given: Mapping[str, Tensor], rng: Rng) -> dict[str, Tensor]:
        return {"image": (rng.normal(n, 2) @ self.net.weight.T + self.s * rng.normal(n, 16)).view(n, 1, 4, 4)}

    def truth(self, x: Tensor) -> Tensor:
        w = self.net.weight
        cov = w @ w.T + self.s**2 * torch.eye(len(w))
        return torch.distributions.MultivariateNormal(torch.zeros(len(w)), cov).log_prob(x.flatten(1))


@torch.no_grad()
def test_bounds_rise_to_the_known_likelihood() -> None:
    model = Linear()
    x = (torch.randn(400, 2) @ model.net.weight.T + 0.5 * torch.randn(400, 16)).view(-1, 1, 4, 4)
    spec = DataSpec(columns={"image": ImageSpec(shape=(1, 4, 4))}, target=("image",))
    found = likelihood(model, table(x, None), spec, effort=Effort(400, 20, 40, 2000, at_once=700))
    truth = float(model.truth(x).mean())
    # KL of a Gaussian against one 1.3 times as wide, 2 dimensions: the ELBO's gap.
    gap = 2 * (1.3**2 / 2 - 0.5 - math.log(1.3))
    assert found.elbo.mean() == pytest.approx(truth - gap, abs=0.2)
    assert found.elbo.mean() < found.bound.mean() < truth + 0.05
    assert found.large is not None and found.large.value == pytest.approx(truth, abs=0.1)
    assert found.dims == 16 and found.large_items == 40


@torch.no_grad()
def test_likelihood_metrics_are_reported(tmp_path: Path) -> None:
    model = Linear()
    spec = DataSpec(columns={"image": ImageSpec(shape=(1, 4, 4))}, target=("image",))
    x = Generator(model, spec).sample(300, seed=9)["image"]
    data = Dataset("lines", "test-lines", table(x[:200], None), table(x[200:], None))
    found = evaluate(Generator(model, spec), data, cache=tmp_path, samples=100, effort=Effort(100, 20, 20, 500))
    nats, bits = found["iwae_large"].value, found["bits_per_dim"]
    assert bits.value == pytest.approx(-nats / 16 / math.log(2))
    assert bits.low is not None and bits.high is not None and bits.low < bits.value < bits.high
    assert all(metric.reading for metric in found.metrics)
    assert found["active_units"].value == 2 and "of 3" in found["active_units"].title
    error = found["reconstruction"].value
    assert 0 < error < 0.5 and found["psnr"].value == pytest.approx(10 * math.log10(4 / error))


@torch.no_grad()
def test_a_likelihood_that_is_known_is_no_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each picture, and called by its name; the interval is that of the bits."""
    model, calls = Linear(), []
    monkeypatch.setattr(Linear, "exact", True)

    def log_prob(batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        calls.append(batch.size)
        return model.truth(batch.only())

    monkeypatch.setattr(model, "log_prob", log_prob)
    monkeypatch.setattr(model, "density", "continuous")
    spec = DataSpec(columns={"image": ImageSpec(shape=(1, 4, 4))}, target=("image",))
    x = Generator(model, spec).sample(600, seed=9)["image"]
    data = Dataset("lines", "test-lines", table(x[:300], None), table(x[300:], None))
    found = evaluate(Generator(model, spec), data, cache=tmp_path, samples=100, effort=Effort(exact_items=150))
    assert sum(calls) == 150 and not {"elbo", "iwae", "iwae_large"} & set(found.names())
    nats, bits = found["log_likelihood"], found["bits_per_dim"]
    assert nats.value == pytest.approx(float(model.truth(x[300:]).mean()), abs=2)
    assert bits.value == pytest.approx(np.log2(127.5) - nats.value / 16 / math.log(2))
    assert bits.low == pytest.approx(np.log2(127.5) - nats.high / 16 / math.log(2)) and bits.low < bits.value
    monkeypatch.setattr(Linear, "counted", lambda model, batch: torch.full((batch.size,), 8), raising=False)
    again = evaluate(Generator(model, spec), data, cache=tmp_path / "b", samples=100, effort=Effort(exact_items=150))
    assert again["bits_per_dim"].value == pytest.approx(np.log2(127.5) - nats.value / 8 / math.log(2))


@torch.no_grad()
def test_what_is_no_likelihood_is_not_called_one(tmp_path: Path) -> None:
    spec = DataSpec(columns={"image": ImageSpec(shape=(1, 4, 4))}, target=("image",))
    model = Linear()
    x = Generator(model, spec).sample(300, seed=9)["image"]
    data = Dataset("lines", "test-lines", table(x[:200], None), table(x[200:], None))

    def measured(density: str):
        model.density = density
        return evaluate(Generator(model, spec), data, cache=tmp_path, samples=100, effort=Effort(100, 20, 20, 500))

    grey = measured("none")
    assert "bits_per_dim" not in grey and any("cross-entropies" in text for text in grey.warnings)
    wider = measured("continuous")["bits_per_dim"].value - measured("discrete")["bits_per_dim"].value
    assert wider == pytest.approx(np.log2(127.5), abs=1e-6)


def test_copies_are_not_looked_for_in_other_data(tmp_path: Path) -> None:
    spec = DataSpec(columns={"image": ImageSpec(shape=(1, 4, 4))}, target=("image",))
    x = Generator(Linear(), spec).sample(300, seed=9)["image"]
    data = Dataset("lines", "test-lines", table(x[:200], None), table(x[200:], None))
    found = evaluate(Generator(Linear(), spec), data, cache=tmp_path, samples=100, own_data=False)
    assert "copies" not in found and "copies" not in found.details
    assert any("not the data" in text for text in found.warnings)
