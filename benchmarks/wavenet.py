"""How fast a WaveNet speaks and learns, whether its samples are exact, and how well it knows held-out clips.

    OMP_NUM_THREADS=1 python benchmarks/wavenet.py                      # the network of audio/wavenet before training
    OMP_NUM_THREADS=2 python benchmarks/wavenet.py --streams 16
    OMP_NUM_THREADS=1 python benchmarks/wavenet.py --exact 100000       # beside the loop without states
    MAQUETTE_DATA=... OMP_NUM_THREADS=1 python benchmarks/wavenet.py --run runs/digits

1. Samples a second, of one stream and of several, with weights of 32 bits and of 8.
2. --exact: so many draws, of several networks, by a loop that goes through the whole receptive field for each sample,
   written apart from the one it judges; and those that the network which is trained would draw.
3. Seconds of sound that are learned a second, beside a plain PyTorch version (peers/wavenet.py): of clips as long as
   those of fsdd, which the plain one has to pad.
4. --run: nats a sample of held-out clips, also with weights of 8 bits, beside 3-grams of their codes, interpolated
   (Witten-Bell), and a GRU of as many parameters that learned for --gru seconds of the processor. Neither is told what
   is given.
5. --run of a vocoder (model.mel=true): how far what it makes of the mel bands of held-out clips is from these.
6. --run: seconds from the command to the first piece of a stream, with what numba compiles at hand.

Times are of the process, all of its threads: they count the work, not what else the machine does. Of a core with AVX2
alone: ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= MKL_ENABLE_INSTRUCTIONS=AVX2, too.
"""

from __future__ import annotations

import copy
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

import _run
import maquette
from maquette.core.batch import Batch, lengths
from maquette.core.rng import ItemRng
from maquette.core.spec import GridSpec
from maquette.evaluation.similarity import log_spectral_distance
from maquette.losses import mu_law
from maquette.models._voice import VoiceConfig, voice
from maquette.nets import sounding
from maquette.nets.sounding import Sizes, Voice
from maquette.nets.wavenet import WaveNet
from peers.gru import trained
from peers.wavenet import WaveNet as Plain

RUNS = """maquette train audio/wavenet --data $MAQUETTE_DATA/fsdd data.label_pattern={label}_{speaker}_{take} \
data.test_where=take=0,1,2,3,4 --given label --given speaker --budget 30m -o runs/digits"""
# blocks, layers, residual, skip, and the share of the draws: those of small networks take less time.
EXACT = ((1, 5, 16, 32, 0.3), (2, 6, 16, 64, 0.35), (3, 7, 16, 64, 0.25), (1, 9, 32, 64, 0.09), (4, 10, 32, 256, 0.01))
RATE = 8000
LENGTHS = (2384, 5148, 4727, 3131, 3906, 3467, 4548, 3463)  # of clips of fsdd, samples


def network(blocks: int = 4, layers: int = 10, residual: int = 32, skip: int = 256, ends: float = -50.0) -> WaveNet:
    """Drawn freshly, with outputs that differ. ends: logit of the end of a clip"""
    torch.manual_seed(0)
    net = WaveNet(Sizes(mu_law.CODES, mu_law.CODES + 1, blocks, layers, residual, skip)).requires_grad_(False)
    torch.nn.init.normal_(net.head.weight, std=0.1)
    net.head.bias[-1] = ends
    return net


def noise(n: int, samples: int) -> np.ndarray:
    return np.random.default_rng(1).random((n, samples, 2), np.float32)


def speed(net: WaveNet, streams: int, samples: int, rounds: int) -> None:
    """Prints how many samples a second there are, the best of a few times."""
    weights = net.weights()
    kinds = {"32 bits": weights, "8 bits": weights.rounded()}
    for n, bits in itertools.product(dict.fromkeys((1, streams)), kinds):
        voice = Voice(kinds[bits], mu_law.Coder.values, threads=torch.get_num_threads())
        state, drawn_by, took = voice.begin(np.tile(net.bias.numpy(), (n, 1))), noise(n, samples), []
        voice.advance(state, drawn_by[:, :2])  # compiled
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            voice.advance(state, drawn_by)
            took.append((time.process_time() - cpu, time.perf_counter() - wall))
        cpu, wall = (n * samples / min(times) for times in zip(*took, strict=True))
        print(
            f"{n} streams, {bits}: {cpu:,.0f} samples/CPU s, {wall:,.0f} samples/s of the clock, "
            f"{wall / RATE:.1f} x 8 kHz"
        )


# -- exactness ---------------------------------------------------------------------------------------


def naive_loop() -> Any:
    """A loop that remembers nothing but the samples; in scalars, compiled."""
    from numba import njit

    tanh, exp = njit(sounding_tanh()), njit(sounding_exp())

    @njit
    def naive(w, drawn_by, steps, field, codes):  # type: ignore[no-untyped-def]
        embedding, past, now, out, skip, skip_bias, inner, inner_bias, head, head_bias, dilations, steering = w
        r, half, made = past.shape[1], np.float32(0.5), np.empty(steps, np.int64)
        for t in range(steps):
            first = max(0, t + 1 - field)
            x = np.zeros((t + 1 - first, r), np.float32)
            for i in range(len(x)):
                x[i] = embedding[made[first + i - 1] if first + i > 0 else codes]
            said = np.empty(len(skip), np.float32)
            z = np.empty_like(x)
            for layer in range(len(dilations)):
                d = dilations[layer]
                for i in range(len(x)):
                    a = steering[layer].copy()
                    for j in range(r):
                        before = x[i - d, j] if i >= d else np.float32(0)
                        for o in range(2 * r):
                            a[o] += before * past[layer, j, o]
                    for j in range(r):
                        for o in range(2 * r):
                            a[o] += x[i, j] * now[layer, j, o]
                    for o in range(r):
                        z[i, o] = (tanh(a[o]) * half) * (tanh(a[r + o]) * half + half)
                said[layer * r : (layer + 1) * r] = z[-1]
                for i in range(len(x)):
                    for j in range(r):
                        for o in range(r):
                            x[i, o] += z[i, j] * out[layer, j, o]
            h = said
            for weight, bias, last in ((skip, skip_bias, False), (inner, inner_bias, False), (head, head_bias, True)):
                y = bias.copy()
                for j in range(len(h)):
                    for o in range(len(y)):
                        y[o] += h[j] * weight[j, o]
                h = y if last else np.maximum(y, np.float32(0))
            top, total, sums = h[: codes + 1].max(), np.float32(0), np.empty(codes + 1, np.float32)
            for o in range(codes + 1):
                total += exp(max(h[o] - top, np.float32(-87)))
                sums[o] = total
            made[t] = min(np.searchsorted(sums, drawn_by[t] * total, side="right"), codes)
        return made

    return naive


def sounding_tanh() -> Any:
    p0, p1, p2, p3, p4, p5, p6 = sounding._P
    q0, q1, q2, q3 = sounding._Q
    flat = np.float32(sounding._FLAT)

    def tanh(x):  # type: ignore[no-untyped-def]
        x = min(max(x, -flat), flat)
        y = x * x
        p = p0 * y + p1
        p = p * y + p2
        p = p * y + p3
        p = p * y + p4
        p = p * y + p5
        p = p * y + p6
        return x * p / (((q0 * y + q1) * y + q2) * y + q3)

    return tanh


def sounding_exp() -> Any:
    log2e, c1, c2, half, one = sounding._LOG2E, sounding._C1, sounding._C2, np.float32(0.5), np.float32(1)
    e0, e1, e2, e3, e4, e5 = sounding._E

    def exp(x):  # type: ignore[no-untyped-def]
        n = np.floor(x * log2e + half)
        r = (x - n * c1) - n * c2
        p = ((((e0 * r + e1) * r + e2) * r + e3) * r + e4) * r + e5
        return ((p * (r * r) + r) + one) * np.float32(2.0**n)

    return exp


def exact(networks: Sequence[tuple[int, int, int, int, float]], draws: int) -> None:
    """Prints how many draws are those of the naive loop, and those of the network that is trained."""
    naive, found, asked_for = naive_loop(), 0, 0
    for blocks, layers, residual, skip, share in networks:
        net, steps = network(blocks, layers, residual, skip), max(2, round(draws * share))
        w, drawn_by = net.weights(), noise(1, steps)
        steering = net.bias.numpy().reshape(-1, 2 * residual) * np.float32(0.5)
        asked = (*list(vars(w).values())[:11], steering), drawn_by[0, :, 0]
        naive(*asked, 1, net.receptive_field, mu_law.CODES)  # compiled
        began = time.process_time()
        codes = naive(*asked, steps, net.receptive_field, mu_law.CODES)
        slow = time.process_time() - began
        voice = Voice(w, mu_law.Coder.values)
        made = voice.advance(voice.begin(net.bias[None].numpy()), drawn_by)[0]
        same = int((mu_law.encode(torch.from_numpy(made)).numpy() == codes).sum())
        logits = net(mu_law.Coder().before(torch.from_numpy(made[:-1]), start=True))
        sums = logits.softmax(-1).cumsum(-1)
        theirs = torch.searchsorted(sums, torch.from_numpy(drawn_by[0, :, :1].copy()), right=True)[:, 0].numpy()
        found, asked_for = found + same, asked_for + steps
        print(
            f"{blocks} x {layers} layers, {residual} / {skip} channels, {net.receptive_field:,} samples heard: "
            f"{same:,} of {steps:,} draws are the naive loop's ({steps / slow:,.0f} samples/s), "
            f"{int((theirs == codes).sum()):,} those of the network in torch"
        )
    print(f"exact: {found:,} of {asked_for:,}")


# -- learning ----------------------------------------------------------------------------------------


def learning(net: WaveNet, rounds: int, clips: int) -> None:
    """Prints seconds of sound a CPU second, ours and plain, of the same clips."""
    from maquette.core.hardware import multiplies_bf16

    bf16 = multiplies_bf16(torch.device("cpu"))
    torch.manual_seed(0)
    sounds = [torch.randint(0, mu_law.CODES, (n,)) for n in LENGTHS[:clips]]
    plain = Plain(mu_law.CODES)
    optims = {which: torch.optim.Adam(which.parameters()) for which in (net.requires_grad_(True), plain)}

    def ours() -> Iterator[Tensor]:
        for x in sounds:
            yield F.cross_entropy(net(F.pad(x[:-1], (1, 0), value=mu_law.CODES)).float(), x, reduction="sum")

    def padded() -> Iterator[Tensor]:
        x = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True, padding_value=-1)
        before = F.pad(x[:, :-1], (1, 0)).clamp(min=0)
        yield F.cross_entropy(plain(before).float(), x, ignore_index=-1, reduction="sum")

    best = dict.fromkeys(("ours", "plain"), float("inf"))
    for _ in range(rounds):  # one after the other: both see the same machine
        for name, which, losses in (("ours", net, ours), ("plain", plain, padded)):
            began = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                total = sum(losses(), torch.zeros(()))
            total.backward()
            optims[which].step()
            optims[which].zero_grad()
            best[name] = min(best[name], time.process_time() - began)
    seconds = sum(map(len, sounds)) / RATE
    print(
        f"learning, {'bf16' if bf16 else 'fp32'}: {seconds / best['ours']:.2f} s of sound a CPU second, "
        f"plain {seconds / best['plain']:.2f}: {best['plain'] / best['ours']:.2f} times as fast"
    )


# -- held-out clips ----------------------------------------------------------------------------------


class Grams:
    """p(code | the two before it), interpolated by how many codes have followed so far (Witten and Bell 1991, C)."""

    ORDER, SYMBOLS = 3, mu_law.CODES + 2  # the end, and what stands before the beginning

    def __init__(self, clips: list[np.ndarray]) -> None:
        joined = [self._grams(clip) for clip in clips]
        self.counts = []
        for order in range(1, self.ORDER + 1):
            keys = np.concatenate([grams[:, -order:] @ self._powers(order) for grams in joined])
            self.counts.append(np.unique(keys, return_counts=True))
        self.before = []
        for keys, counts in self.counts:
            history, place = np.unique(keys // self.SYMBOLS, return_inverse=True)
            self.before.append((history, np.bincount(place, counts), np.bincount(place)))

    def _powers(self, order: int) -> np.ndarray:
        return self.SYMBOLS ** np.arange(order)[::-1]

    def _grams(self, clip: np.ndarray) -> np.ndarray:
        start = np.full(self.ORDER - 1, mu_law.CODES + 1)
        whole = np.concatenate([start, clip, [mu_law.CODES]]).astype(np.int64)
        return np.lib.stride_tricks.sliding_window_view(whole, self.ORDER)

    def nats(self, clip: np.ndarray) -> float:
        """-log p of a clip and its end."""
        grams = self._grams(clip)
        p = np.full(len(grams), 1 / (mu_law.CODES + 1))
        for order, ((keys, counts), (histories, totals, kinds)) in enumerate(
            zip(self.counts, self.before, strict=True), 1
        ):
            wanted = grams[:, -order:] @ self._powers(order)
            count = _looked_up(keys, counts, wanted)
            total, kind = (_looked_up(histories, of, wanted // self.SYMBOLS) for of in (totals, kinds))
            p = np.where(total > 0, (count + kind * p) / np.maximum(total + kind, 1), p)
        return float(-np.log(p).sum())


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def codes_of(batch: Batch) -> list[np.ndarray]:
    """Of each clip of a batch, without its padding."""
    x = batch.only()
    return [mu_law.encode(clip[0, :n]).numpy() for clip, n in zip(x, lengths(x).tolist(), strict=True)]


def eight_bits(net: WaveNet) -> WaveNet:
    """The network with the weights that its loop reads in 8 bits."""
    made, w = copy.deepcopy(net).requires_grad_(False), net.weights().rounded()
    for i in range(len(net.dilations)):
        for layer, of, unit in ((made.past, w.past, 2 * w.gate_unit), (made.now, w.now, 2 * w.gate_unit),
                                (made.out, w.out, w.out_unit)):  # fmt: skip
            layer[i].weight.copy_(torch.from_numpy((of[i] * unit[i]).T))
    for last, of, unit in ((made.skip, w.skip, w.skip_unit), (made.inner, w.inner, w.inner_unit),
                           (made.head, w.head, w.head_unit)):  # fmt: skip
        last.weight.copy_(torch.from_numpy((of * unit).T[: last.out_features]))
    return made


@torch.no_grad()
def score(run: maquette.Run, items: int | None, seconds: float) -> None:
    """Prints nats a sample of held-out clips, ends counted: of the run, and of others of what it learned from: 3-grams,
    and a GRU where it has seconds to learn."""
    dataset, spec, model = run.dataset(quiet=True), run.spec, run.generator.model
    learned = [clip for rows in _parts(len(dataset.train)) for clip in codes_of(dataset.train.batch(rows, spec))]
    grams, gru = Grams(learned), None
    if seconds:
        with torch.enable_grad():
            gru = trained([torch.from_numpy(clip) for clip in learned], mu_law.CODES, seconds)
    ours = eight = theirs = recurrent = samples = 0.0
    rounded = copy.deepcopy(model)
    rounded.net = eight_bits(model.net)  # type: ignore[arg-type]
    for rows in _parts(min(len(dataset.test), items or len(dataset.test))):
        batch = dataset.test.batch(rows, spec)
        rng = ItemRng(0, range(batch.size))
        ours -= float(model.log_prob(batch, rng).double().sum())  # type: ignore[operator]
        eight -= float(rounded.log_prob(batch, rng).double().sum())  # type: ignore[operator]
        clips = codes_of(batch)
        theirs += sum(map(grams.nats, clips))
        if gru is not None:
            recurrent += gru.nats([torch.from_numpy(clip) for clip in clips])
        samples += sum(map(len, clips))
    print(f"nats a sample of {samples:,.0f} held out: {ours / samples:.4f}, weights of 8 bits {eight / samples:.4f}, "
          f"3-grams {theirs / samples:.4f}")  # fmt: skip
    if gru is not None:
        print(f"a GRU of {sum(p.numel() for p in gru.parameters()):,} numbers: {recurrent / samples:.4f}")


def first_piece(run: Path, times: int) -> None:
    """Prints seconds from the command to the first piece of sound on its pipe, after one that compiles."""
    took = []
    for _ in range(times + 1):
        command = [sys.executable, "-m", "maquette", "sample", str(run), "--stream"]
        wall = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        found = b""
        while len(found.partition(b"data")[2]) < 4 + 2 * sounding.FIRST and process.poll() is None:
            found += os.read(process.stdout.fileno(), 2**16)
        spent = psutil.Process(process.pid).cpu_times()
        took.append((time.perf_counter() - wall, spent.user + spent.system))
        process.kill()
        process.communicate()
    clock, cpu = zip(*took[1:], strict=True)
    print(
        f"command to first piece, {times} times: {statistics.median(clock):.2f} s by the clock (best "
        f"{min(clock):.2f}), {statistics.median(cpu):.2f} CPU s (best {min(cpu):.2f})"
    )


@torch.no_grad()
def vocoded(run: maquette.Run, items: int) -> None:
    """Prints the log-spectral distance of what is made of the mel bands of held-out clips, beside Griffin-Lim's."""
    model: Any = run.generator.model
    plain, test = voice(VoiceConfig(vocoder="griffin-lim"), run.spec.only(GridSpec)), run.dataset(quiet=True).test
    rows = np.linspace(0, len(test) - 1, min(items, len(test))).astype(int)
    x = test.batch(rows, run.spec).only()
    found: dict[str, list[Tensor]] = {}
    for i, n in enumerate(lengths(x).tolist()):
        real = x[i, :, :n]
        for temperature in (1.0, 0.7):
            made = model.sample(1, {}, ItemRng(0, [i]), temperature=temperature, like=x[i])[model.target][0, :, :n]
            found.setdefault(f"WaveNet, temperature {temperature:g}", []).append(log_spectral_distance(made, real))
        again = plain.inverse(plain.mel.of(real[None])[0], n)
        found.setdefault("Griffin-Lim", []).append(log_spectral_distance(again, real))
    each = ", ".join(f"{name} {torch.cat(values).mean():.2f} dB" for name, values in found.items())
    print(f"log-spectral distance of {len(rows)} clips that are made of their mel bands: {each}")


def _parts(rows: int) -> list[np.ndarray]:
    return np.array_split(np.arange(rows), -(-rows // 50))


def main() -> None:
    parser = _run.Parser(__doc__, RUNS)
    parser.add_argument("--run", type=Path, help="a trained run of audio/wavenet")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--exact", type=int, default=0, metavar="DRAWS")
    parser.add_argument("--gru", type=float, default=0.0, metavar="SECONDS", help="that a GRU learns [default: 0]")
    parser.add_argument("--items", type=int, help="held-out clips to score [default: all]")
    args = parser.parse_args()
    print(_run.machine())
    smoke = args.smoke
    sizes = {"blocks": 1, "layers": 3, "residual": 8, "skip": 16} if smoke else {}
    run = _run.opened(args.run, RUNS, smoke) if args.run else None
    net = network(**sizes) if run is None else run.generator.model.net.requires_grad_(False)  # type: ignore[union-attr]
    speed(network(**sizes), args.streams, 20 if smoke else 1000, 1 if smoke else 5)
    if args.exact or smoke:
        exact(EXACT[:1] if smoke else EXACT, 20 if smoke else args.exact)
    if run is None:
        learning(net, 1 if smoke else 3, 1 if smoke else len(LENGTHS))
    else:
        first_piece(run.folder.path, 1 if smoke else 9)
        if run.generator.model.mel is not None:  # type: ignore[union-attr]
            vocoded(run, 2 if smoke else 25)
        score(run, 4 if smoke else args.items, 0.1 if smoke else args.gru)


if __name__ == "__main__":
    _run.command(main)
