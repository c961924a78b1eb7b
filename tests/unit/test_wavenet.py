"""WaveNet: its network against plain convolutions, its loops against one another, its clips and their ends."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.about import About
from maquette.core.batch import Batch
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Step
from maquette.core.rng import ItemRng, StepRng
from maquette.core.spec import DataSpec
from maquette.losses import logistics, mu_law
from maquette.modalities.audio import options
from maquette.modalities.audio.files import quantised
from maquette.models import wavenet
from maquette.models._wavenet import WaveNetModel
from maquette.nets import sounding
from maquette.nets.sounding import ENDED, NO_CODES, Sizes, Voice
from maquette.nets.wavenet import Frames, WaveNet
from maquette.testing import check_model, column_spec, data_spec

SMALL = {"blocks": 2, "layers": 4, "residual": 16, "skip": 32, "condition": 16}


def network(blocks: int, layers: int, residual: int, skip: int, mixtures: int = 0, framed: bool = False) -> WaveNet:
    """Freshly drawn, with a head that says something."""
    torch.manual_seed(blocks)
    codes, outputs = (0, 3 * mixtures + 1) if mixtures else (256, 257)
    net = WaveNet(Sizes(codes, outputs, blocks, layers, residual, skip), None, Frames(5, 6, 7) if framed else None)
    torch.nn.init.normal_(net.head.weight, std=0.3)
    with torch.no_grad():
        net.head.bias[-1] = -4.0  # so that clips last
    return net


def plain(net: WaveNet, before: Tensor, grid: Tensor | None = None) -> Tensor:
    """The network in textbook convolutions, of everything that there is."""
    steering = net.steering(None, grid)
    frame = (torch.arange(len(before)) // net.hop).clamp(max=len(steering) - 1)
    x, said, r = net.embedding(before).T[None], [], net.residual
    for i, d in enumerate(net.dilations):
        kernel = torch.stack([net.past[i].weight, net.now[i].weight], -1)
        a = F.conv1d(F.pad(x, (d, 0)), kernel, dilation=d) + steering[frame, 2 * r * i : 2 * r * (i + 1)].T
        z = (a[:, :r] / 2).tanh() / 2 * a[:, r:].sigmoid()
        said.append(z)
        x = x + F.conv1d(z, net.out[i].weight[..., None])
    return net.head(F.relu(net.inner(F.relu(net.skip(torch.cat(said, 1)[0].T)))))


# -- the network -------------------------------------------------------------------------------------


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("first", [0, 1, 5, 17, 19])
def test_outputs_and_gradients_are_those_of_convolutions(first: int, framed: bool) -> None:
    net = network(2, 3, 4, 8, framed=framed).double()
    before, grid = torch.randint(0, 257, (20,)), torch.randn(5, 4).double() if framed else None
    ours, theirs = net(before, None, first, grid), plain(net, before, grid)[first:]
    weight, parameters = torch.randn_like(ours), [*net.parameters()]
    assert torch.allclose(ours, theirs, atol=1e-12)
    found = [torch.autograd.grad((made * weight).sum(), parameters, allow_unused=True) for made in (ours, theirs)]
    for mine, other, parameter in zip(*found, parameters, strict=True):
        zero = torch.zeros_like(parameter)
        assert torch.allclose(zero if mine is None else mine, zero if other is None else other, atol=1e-10)


def test_the_receptive_field_is_enough_and_no_less() -> None:
    net = network(2, 3, 4, 8).double()
    before, field = torch.randint(0, 256, (40,)), net.receptive_field
    assert field == 15 and WaveNet(Sizes(256, 257, 4, 10, 2, 2)).receptive_field == 4093
    whole = net(before)[-1]
    assert torch.allclose(net(before[-field:], None, field - 1)[-1], whole, atol=1e-12)
    before[-field] += 1
    assert not torch.allclose(net(before)[-1], whole, atol=1e-12)


def test_codes_begin_as_neighbours() -> None:
    weight = WaveNet(Sizes(256, 257, 1, 1, 32, 8)).embedding.weight.detach()
    apart = torch.cdist(weight[:-1], weight[:-1])
    nearest = apart.fill_diagonal_(math.inf).argmin(1)
    assert bool(((nearest - torch.arange(256)).abs() == 1).all()) and not weight[-1].any()
    assert weight[:-1].square().mean().item() == pytest.approx(1, abs=0.05)


# -- what a sample is --------------------------------------------------------------------------------


def test_codes_come_back_and_silence_is_silent() -> None:
    codes = torch.arange(256)
    assert torch.equal(mu_law.encode(mu_law.decode(codes)), codes)
    assert mu_law.decode(torch.tensor(mu_law.SILENCE)) == 0.0 == mu_law.decode(mu_law.encode(torch.zeros(())))
    x = torch.linspace(-1, 1, 4001)
    near = mu_law.decode(mu_law.encode(x))
    assert ((near - x).abs() <= 0.022 * x.abs() + 1e-4)[x < 0.95].all()
    assert mu_law.encode(torch.tensor([-1.0, 1.0])).tolist() == [0, 255]


def test_a_mixture_of_logistics_is_a_distribution_over_16_bits() -> None:
    torch.manual_seed(0)
    values = (torch.arange(2**16) - 2**15) / 2**15
    mean, log_scale = torch.tensor([[0.3, -0.9, 1.5, 0.0]]), torch.tensor([[-3.0, -6.0, -1.0, -9.9]])
    mass = logistics.log_mass(values.double(), mean.double(), log_scale.double()).exp().sum(0)
    assert torch.allclose(mass, torch.ones(4, dtype=torch.float64), atol=2e-3)
    far = logistics.log_mass(torch.tensor([0.9]), torch.full((1, 1), -0.9), torch.full((1, 1), -9.0))
    assert torch.isfinite(far).all() and far < -1e3


# -- the loops ---------------------------------------------------------------------------------------


def noise(n: int, samples: int) -> np.ndarray:
    uniform = np.random.default_rng(3).random((n, samples, 2)).astype(np.float32)
    uniform[..., 1] = np.log(uniform[..., 1] / (1 - uniform[..., 1]))
    return uniform


def voices(net: WaveNet, mixtures: int = 0) -> list[Voice]:
    values = NO_CODES if mixtures else mu_law.Coder.values
    return [Voice(net.weights(), values, mixtures, compiled=compiled) for compiled in (True, False)]


def steered(net: WaveNet, n: int = 1) -> np.ndarray:
    return np.tile(net.arrays()["bias"], (n, 1))


def naive(net: WaveNet, drawn_by: np.ndarray, steps: int, given: np.ndarray) -> np.ndarray:
    """Codes as a loop without states draws them, over the whole receptive field each time, in the same sums."""
    w, half, r = net.weights(), np.float32(0.5), net.residual
    steering = given.reshape(len(given), -1, 2 * r) * half
    codes = [256]
    for t in range(steps):
        x = w.embedding[codes[-net.receptive_field :]]
        said = []
        frame = np.minimum(np.arange(t + 1)[-len(x) :] // net.hop, len(given) - 1)
        for i, d in enumerate(net.dilations):
            past = np.concatenate([np.zeros((d, r), np.float32), x])[: len(x)]
            a = sounding._tanh(sounding._summed(sounding._summed(steering[frame, i], past, w.past[i]), x, w.now[i]))
            z = (a[:, :r] * half) * (a[:, r:] * half + half)
            said.append(z[-1])
            x = sounding._summed(x, z, w.out[i])
        h = np.maximum(sounding._summed(w.skip_bias[None], np.concatenate(said)[None], w.skip), 0)
        h = np.maximum(sounding._summed(w.inner_bias[None], h, w.inner), 0)
        y = sounding._summed(w.head_bias[None], h, w.head)[0]
        codes.append(int(sounding._picked(y[:257], drawn_by[t, 0], np.float32(1))))
        if codes[-1] == 256:
            break
    return np.array(codes[1:])


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("sizes", [(1, 5, 12, 20), (2, 4, 16, 32), (3, 2, 5, 7)])
def test_cached_and_compiled_loops_draw_what_the_naive_one_draws(
    sizes: tuple[int, int, int, int], framed: bool
) -> None:  # fmt: skip
    net, drawn_by = network(*sizes, framed=framed), noise(1, 150)
    given = net.steering(None, torch.randn(5, 20) if framed else None).detach().numpy()
    codes = naive(net, drawn_by[0], 150, given)
    assert len(codes) > 40 and len(given) == (20 if framed else 1)
    for voice in voices(net):
        made = voice.advance(voice.begin(given[None], net.hop), drawn_by)[0]
        there = made[~np.isnan(made)]
        assert np.array_equal(there, mu_law.Coder.values[codes[codes < 256]])
        assert len(there) == len(codes) - (codes[-1] == 256)


@pytest.mark.parametrize("mixtures", [0, 4])
def test_however_streams_are_cut_and_put_together_they_are_the_same(mixtures: int) -> None:
    net, drawn_by = network(2, 4, 16, 32, mixtures), noise(6, 90)
    steering = steered(net, 6) + np.random.default_rng(0).standard_normal((6, len(net.bias)), np.float32)
    for voice in voices(net, mixtures):
        whole = voice.advance(voice.begin(steering), drawn_by)
        state, parts = voice.begin(steering), []
        for begin, end in itertools.pairwise((0, 1, 33, 90)):
            parts.append(voice.advance(state, drawn_by[:, begin:end]))
        assert np.array_equal(np.concatenate(parts, 1), whole, equal_nan=True)
        alone = voice.advance(voice.begin(steering[4:5]), drawn_by[4:5])
        assert np.array_equal(alone[0], whole[4], equal_nan=True)
        state = voice.begin(steering)
        voice.advance(state, drawn_by[:, :33])
        order = np.array([5, 2])
        assert np.array_equal(voice.advance(state.rows(order), drawn_by[order, 33:]), whole[order, 33:], equal_nan=True)
    compiled, by_numpy = (v.advance(v.begin(steering), drawn_by) for v in voices(net, mixtures))
    assert np.array_equal(compiled, by_numpy, equal_nan=True)


def test_draws_are_those_of_the_probabilities_that_are_learned() -> None:
    """The network itself, in sums of another order, gives each sample that was drawn."""
    net, drawn_by = network(2, 5, 16, 32), noise(1, 2000)
    voice = voices(net)[0]
    made = voice.advance(voice.begin(steered(net)), drawn_by)[0]
    x = torch.from_numpy(made[~np.isnan(made)])
    with torch.no_grad():
        sums = net(mu_law.Coder().before(x[:-1], start=True)).softmax(-1).cumsum(-1)
    edges = torch.nn.functional.pad(sums, (1, 0))
    codes, uniform = mu_law.encode(x)[:, None], torch.from_numpy(drawn_by[0, : len(x), :1])
    assert len(x) > 100
    assert bool((edges.gather(1, codes) - 1e-4 <= uniform).all() and (uniform <= sums.gather(1, codes) + 1e-4).all())


def test_polynomials_are_near_to_what_they_stand_for() -> None:
    x = np.linspace(-30, 30, 10001, dtype=np.float32)
    assert np.abs(sounding._tanh(x) - np.tanh(x)).max() < 1e-6 and sounding._tanh(np.zeros(1, np.float32))[0] == 0
    assert np.abs(sounding._exp(x) / np.exp(x.astype(np.float64)) - 1).max() < 1e-6


@pytest.mark.parametrize("given", [{}, {"label": "label"}, {"label": "label", "who": "label"}])
@pytest.mark.parametrize("output", ["mu-law", "logistics"])
def test_shapes_are_those_of_the_network(given: dict[str, str], output: str) -> None:
    spec = spec_of(**given)
    model = model_of(spec, output=output)
    classes = [spec.columns[name].num_classes for name in spec.given]
    found = {name: tuple(value.shape) for name, value in model.net.state_dict().items()}
    assert found == sounding.shapes(model.config.sizes, classes, model.config.condition)


@pytest.mark.parametrize("mixtures", [0, 4])
def test_weights_of_8_bits_are_nearly_those_of_32(mixtures: int) -> None:
    net, values = network(2, 4, 16, 32, mixtures), NO_CODES if mixtures else mu_law.Coder.values
    whole, eight = net.weights(), net.weights().rounded()
    assert {w.dtype.name for w in (eight.past, eight.now, eight.out, eight.skip, eight.inner, eight.head)} == {"int8"}
    assert np.abs(eight.past * eight.gate_unit[:, None] - whole.past).max() <= 0.51 * eight.gate_unit.max()
    assert np.allclose(eight.head_bias * eight.head_unit, whole.head_bias, rtol=1e-5)
    drawn_by, made = noise(5, 200), []
    for weights, compiled in ((eight, True), (eight, False), (whole, True)):
        voice = Voice(weights, values, mixtures, compiled=compiled)
        made.append(voice.advance(voice.begin(steered(net, 5)), drawn_by))
    assert np.array_equal(made[0], made[1], equal_nan=True)
    assert np.allclose(made[0][:, :3], made[2][:, :3], atol=0.1)


# -- the model ---------------------------------------------------------------------------------------


def spec_of(length: int = 200, **given: str) -> DataSpec:
    return data_spec(column_spec("audio", 1, length), **{name: column_spec(kind) for name, kind in given.items()})


def model_of(spec: DataSpec, **settings: object) -> WaveNetModel:
    torch.manual_seed(0)
    return wavenet.build(wavenet.Config.model_validate({**SMALL, **settings}), spec)


def clips(*lengths: int, room: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.zeros(len(lengths), 1, room)
    for i, n in enumerate(lengths):
        x[i, 0, :n] = torch.rand(n, generator=generator) * 1.8 - 0.9
    return x


def test_mixtures_meet_the_contract() -> None:
    """Codes do in tests/contract."""
    check_model("wavenet", spec_of(128, label="label"), {**SMALL, "output": "logistics", "lr": 1e-2}, steps=60)


@pytest.mark.parametrize("output", ["mu-law", "logistics"])
def test_a_clip_costs_its_samples_and_its_end(output: str) -> None:
    model, x = model_of(spec_of(), output=output), clips(50, 0, 200, 50)
    torch.nn.init.normal_(model.net.head.weight, std=0.1)
    log_p = model.log_prob(Batch({"audio": x}, {}, 4), ItemRng(0, range(4)))
    roomier = F.pad(x, (0, 300))
    wide = model_of(spec_of(500), output=output)
    wide.load_state_dict(model.state_dict())
    again = wide.log_prob(Batch({"audio": roomier}, {}, 4), ItemRng(0, range(4)))
    assert torch.allclose(log_p[:2], again[:2]) and log_p[1] < 0  # nothing is heard, and it ends
    assert again[2] < log_p[2]  # where there is room left, a clip has to end
    pieces = [model._log_prob(x[0, 0, :50], None, a, b) for a, b in itertools.pairwise((0, 1, 40, 51))]
    assert torch.allclose(torch.cat(pieces).sum(), log_p[0], rtol=1e-5) and sum(map(len, pieces)) == 51


def test_a_new_network_knows_nothing_of_a_code() -> None:
    log_p = model_of(spec_of()).log_prob(Batch({"audio": clips(50)}, {}, 1), ItemRng(0, [0]))
    assert log_p.item() == pytest.approx(-51 * math.log(257), rel=1e-5)


def test_crops_reach_every_sample_of_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_of(spec_of(), crop=64), clips(150, 10)
    seen = np.zeros(151)

    def noted(x: Tensor, y: Tensor | None, begin: int, end: int, grid: Tensor | None) -> Tensor:
        if len(x) == 150:
            seen[begin:end] += 1
            assert end - begin == 64
        else:
            assert (begin, end) == (0, 11)
        return x.new_zeros(1)

    monkeypatch.setattr(model, "_log_prob", noted)
    for i in range(200):
        model.nll(Batch({"audio": x}, {}, 2), Step(i, 200, StepRng(i, 2)))
    assert seen.min() > 20 and seen[0] > 40 and seen[-1] > 40


def test_what_ends_stays_silent_and_pieces_are_the_whole() -> None:
    model = model_of(spec_of(3000)).eval()
    torch.nn.init.normal_(model.net.head.weight, std=0.3)
    with torch.no_grad():
        model.net.head.bias[-1] = -2.0
        made = model.sample(6, {}, ItemRng(0, range(6)))["audio"]
        pieces = list(model.unfold({}, ItemRng(0, [3])))
    x = torch.cat(pieces, 1)
    assert torch.equal(x, made[3, :, : x.shape[1]]) and not made[3, :, x.shape[1] :].any() and x.shape[1] < 3000


def test_a_vocoder_learns_from_bands_and_sounds_like_them() -> None:
    torch.manual_seed(0)
    spec, x = spec_of(700), clips(600, 300, room=700)
    model = model_of(spec, mel=True, output="logistics").eval()
    for parameter in (model.net.head.weight, model.net.framed.weight):
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        model.net.head.bias[-1] = -20.0
    loss = model.nll(Batch({"audio": x}, {}, 2), Step(0, 1, StepRng(1, 2))).total
    loss.backward()
    grads = {name: p.grad for name, p in model.net.named_parameters() if "frame" in name and "none" not in name}
    assert len(grads) == 5 and all(grad is not None and grad.any() for grad in grads.values())
    log_p = model.log_prob(Batch({"audio": x}, {}, 2), ItemRng(0, range(2)))
    silent = model.nll(Batch({"audio": torch.zeros_like(x)}, {}, 2), Step(0, 1, StepRng(1, 2))).total
    assert silent.isfinite(), "a clip with no sample has no bands, and can be read"
    grid = model.grid(x[0, 0, :600])
    pieces = [model._log_prob(x[0, 0, :600], None, a, b, grid) for a, b in itertools.pairwise((0, 7, 333, 601))]
    assert torch.allclose(torch.cat(pieces).sum(), log_p[0], rtol=1e-4)
    with torch.no_grad():
        made = model.sample(2, {}, ItemRng(0, range(2)), like=x[0])["audio"]
        again = torch.cat(list(model.unfold({}, ItemRng(0, [1]), like=x[0])), 1)
        other = model.sample(2, {}, ItemRng(0, range(2)))["audio"]
    assert torch.equal(made[1, :, : again.shape[1]], again) and not torch.equal(made, other)
    assert [option.name for option in options.OPTIONS(model, spec.only())] == ["stream", "like"]


def test_what_is_given_steers_alike_alone_and_among_others() -> None:
    model = model_of(spec_of(label="label", value="number"))
    torch.nn.init.normal_(model.net.given.weight)
    given = {"label": torch.arange(37) % 2, "value": torch.randn(37)}
    together, alone = model._steering(37, given), {name: x[36:] for name, x in given.items()}
    assert together.shape[1] == 1 and np.array_equal(together[36], model._steering(1, alone)[0])
    assert not np.array_equal(together[35], together[36])


def test_a_stream_is_a_wav_file_of_the_sample() -> None:
    soundfile = pytest.importorskip("soundfile")
    spec = spec_of(700)
    model = model_of(spec)
    torch.nn.init.normal_(model.net.head.weight, std=0.3)
    generator, about = Generator(model, spec), About("Maquette", run="r", family="wavenet", seed=3, item=1)
    pieces = list(options.stream(generator, "audio", {}, {}, 3, 1, {}, about))
    with soundfile.SoundFile(io.BytesIO(b"".join(pieces))) as file:
        assert (file.samplerate, file.channels, json.loads(file.comment)) == (16_000, 1, about.fields)
        read = file.read(dtype="int16")
    made = generator.sample(2, {}, seed=3)["audio"][1]
    assert len(pieces) > 1 and np.array_equal(read, quantised(made)[0, : len(read)])
    assert not made[:, len(read) :].any()


def test_colder_samples_are_likelier() -> None:
    model = model_of(spec_of(400)).eval()
    torch.nn.init.normal_(model.net.head.weight, std=0.5)
    with torch.no_grad():
        model.net.head.bias[-1] = -20.0
        kinds = [len(model.sample(1, {}, ItemRng(0, [0]), temperature=t)["audio"].unique()) for t in (0.05, 1.0)]
    assert kinds[0] < kinds[1]


@pytest.mark.parametrize(("kind", "shape", "says"), [("audio", (2, 100), "mix=mono"), ("image", (1, 8, 8), "recipes")])
def test_what_is_no_single_channel_is_refused(kind: str, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(UserError) as refused:
        model_of(data_spec(column_spec(kind, *shape)))
    assert says in refused.value.remedy


def test_streams_that_have_ended_stay_so() -> None:
    net = network(1, 2, 4, 8)
    with torch.no_grad():
        net.head.bias[-1] = 50.0
    for voice in voices(net):
        state = voice.begin(steered(net, 2))
        assert np.isnan(voice.advance(state, noise(2, 5))).all() and (state.phase == ENDED).all()
