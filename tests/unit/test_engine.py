"""The loop, its state, and what it leaves on disk."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

import toy_family
from maquette.core.batch import Batch
from maquette.core.errors import MaquetteError, UserError
from maquette.core.lock import sole_owner
from maquette.core.model import Optim, Phase, Step, Watch
from maquette.core.rng import StepRng
from maquette.core.run import RunFolder
from maquette.core.spec import DataSpec
from maquette.core.tensors import read_tensors
from maquette.engine import Job, Progress, train
from maquette.engine import alarms as alarms_module
from maquette.engine import muon as muon_module
from maquette.engine.loop import Loop, seed_everything
from maquette.engine.muon import Muon, orthogonalise
from maquette.engine.schedule import Course, learning_rate
from maquette.engine.state import State, build_optimizers
from maquette.engine.update import NonFinite, gradients
from maquette.engine.world import World
from maquette.testing import made_up_batch
from toy_job import ToyProcess, together, toy_job, varying


def final(path: Path) -> dict[str, torch.Tensor]:
    newest = sorted((path / "checkpoints").glob("step-*"))[-1]
    # Copies: safetensors maps the file, and a test may damage it later.
    return {k: v.clone() for k, v in read_tensors(newest / "state.safetensors").items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_run_leaves_what_it_promises(tmp_path: Path) -> None:
    outcome = train(toy_job(tmp_path / "run"))
    folder = RunFolder(tmp_path / "run")
    assert outcome.steps == 20 and outcome.items == 160
    assert set(folder.weights()) == {"G.weight", "G.bias"}  # what sampling needs, and no more
    steps = [line["step"] for line in folder.log() if "d/loss" in line]
    assert steps == list(range(2, 21, 2))
    assert [p.name for p in sorted(folder.samples.iterdir())] == [f"preview-{s:08d}.png" for s in (0, 5, 10, 15, 20)]
    assert sorted(p.name for p in folder.checkpoints.iterdir()) == ["step-00000000", "step-00000020"]
    with sole_owner(folder.lock_file):  # it was given back
        pass


def test_resume_after_kill_at_any_moment_is_bit_identical(tmp_path: Path) -> None:
    train(toy_job(tmp_path / "straight", steps=60, sizes=varying))
    path = tmp_path / "killed"
    for pause in (0.02, 0.005, 0.005):  # killed again and again, each time wherever it happens to be
        process = ToyProcess(path, steps=60, pause=pause, sizes=varying, checkpoint_seconds=0.05)
        wait_for(lambda: any((path / "checkpoints").glob("step-*")))
        time.sleep(0.15)
        process.send(signal.SIGKILL)
        process.wait()
    assert ToyProcess(path, steps=60, sizes=varying).wait() == 0
    assert same(final(path), final(tmp_path / "straight"))
    assert not list((path / "checkpoints").glob(".writing-*"))
    lines = [line for line in RunFolder(path).log() if "items" in line]
    logged = [line["step"] for line in lines]
    assert logged == sorted(set(logged)) and logged[-1] == 60  # nothing twice, nothing missing at the end
    assert [line["items"] for line in lines] == [sum(map(varying, range(step))) for step in logged]


def test_ctrl_c_once_saves_and_leaves_with_130(tmp_path: Path) -> None:
    process = ToyProcess(tmp_path / "run", steps=100_000, pause=0.01)
    wait_for(lambda: (tmp_path / "run" / "log.jsonl").exists() and (tmp_path / "run" / "log.jsonl").stat().st_size)
    process.send(signal.SIGINT)
    assert process.wait(30) == 130
    assert "maquette resume" in process.said
    assert final(tmp_path / "run")


def test_ctrl_c_twice_leaves_at_once(tmp_path: Path) -> None:
    process = ToyProcess(tmp_path / "run", steps=100_000, pause=60.0)
    wait_for(lambda: list((tmp_path / "run" / "checkpoints").glob("step-*")))
    process.send(signal.SIGINT)
    time.sleep(0.3)
    process.send(signal.SIGINT)
    assert process.wait(30) == 130  # long before the step is over
    assert [p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*")] == ["step-00000000"]


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    process = ToyProcess(tmp_path / "run", steps=100_000, pause=0.05)
    wait_for(lambda: (tmp_path / "run" / ".owner").exists())
    with pytest.raises(UserError, match=f"process {process.process.pid}"):
        train(toy_job(tmp_path / "run"))
    process.send(signal.SIGKILL)
    process.wait()
    with sole_owner(tmp_path / "run" / ".lock"):  # the system freed it
        pass


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:-1] + bytes([b[-1] ^ 1])], ids=["cut", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    job = toy_job(tmp_path / "run", steps=20, checkpoint_seconds=1e-6)
    train(job)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1] / "state.safetensors"
    straight = final(tmp_path / "run")
    newest.write_bytes(damage(newest.read_bytes()))
    (tmp_path / "run" / "weights.safetensors").unlink()
    again = toy_job(tmp_path / "run")
    object.__setattr__(again, "quiet", False)
    train(again)
    assert "damaged" in capsys.readouterr().err
    assert same(final(tmp_path / "run"), straight)


def test_only_damaged_checkpoints_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    train(toy_job(tmp_path / "run"))
    for file in (tmp_path / "run" / "checkpoints").rglob("state.json"):
        file.write_text("{")
    with pytest.raises(UserError, match="Every checkpoint"):
        train(toy_job(tmp_path / "run"))


def test_a_non_finite_loss_is_refused_before_the_update(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run", model={"explode_at": 7}, checkpoint_seconds=1e-6)
    with pytest.raises(NonFinite, match="phase 'd'"):
        train(job)
    assert all(torch.isfinite(v).all() for v in final(tmp_path / "run").values())
    alarms = [line for line in job.folder.log() if "alarm" in line]
    assert alarms[0]["alarm"] == "non-finite loss" and alarms[0]["step"] == 7


def test_the_lack_of_memory_halves_micro_batches_and_nothing_else(tmp_path: Path) -> None:
    def loop(job) -> Loop:
        return Loop(State(job.model, 0.9), World("cpu"), 0, Course.of(10), 8, "fp32")

    tight, roomy = loop(toy_job(tmp_path / "a")), loop(toy_job(tmp_path / "b"))
    job = toy_job(tmp_path / "c")
    batch = job.batches(8, 0, 1).batch(0)
    inner = tight.state.phases[0].loss

    def hungry(batch, step):
        if batch.size > 2:
            raise torch.OutOfMemoryError("made up")
        return inner(batch, step)

    object.__setattr__(tight.state.phases[0], "loss", hungry)
    tight.step(batch)
    roomy.step(batch)
    assert tight.micro_batch == 2
    for a, b in zip(tight.state.model.parameters(), roomy.state.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_budget_is_kept_and_the_plan_is_stored(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run", steps=None, budget="1s", precision="auto", log_every="auto", preview_every="auto",
                  compile="auto")  # fmt: skip
    train(job)
    planned = job.folder.recipe().train
    assert planned.steps and planned.precision in ("fp32", "bf16") and planned.compile == "off"
    assert max(line["step"] for line in job.folder.log()) == planned.steps


@pytest.mark.parametrize("sizes", [None, varying], ids=["even", "varying"])
def test_two_processes_equal_one(tmp_path: Path, sizes: Callable[[int], int] | None) -> None:
    """Also where their shares differ, and where one of them, or both, have nothing to learn from."""
    outcome = train(toy_job(tmp_path / "one", steps=12, sizes=sizes))
    processes = together(tmp_path / "two", 2, steps=12, sizes=sizes)
    assert [process.wait() for process in processes] == [0, 0], processes[0].said
    assert ["processes: 2" in process.said for process in processes] == [True, True]
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-5)
    assert outcome.items == [line["items"] for line in RunFolder(tmp_path / "two").log() if "items" in line][-1]


def test_a_job_that_is_asked_to_stop_saves_and_can_be_gone_on_with(tmp_path: Path) -> None:
    def drawn(path: str, stop: Callable[[], bool] = lambda: False) -> Job:
        return dataclasses.replace(toy_job(tmp_path / path, steps=30, sizes=varying), stop=stop)

    train(drawn("straight"))
    asked = iter([False] * 13 + [True])
    outcome = train(drawn("run", lambda: next(asked)))
    assert outcome.stopped and outcome.steps == 14 and outcome.items == sum(map(varying, range(14)))
    assert (tmp_path / "run" / "weights.safetensors").exists()
    again = train(drawn("run"))
    assert not again.stopped and again.steps == 30 and again.items == sum(map(varying, range(30)))
    assert same(final(tmp_path / "run"), final(tmp_path / "straight"))


def test_progress_is_reported_as_values(tmp_path: Path) -> None:
    seen: list[Progress] = []
    # Half of the run it stays beyond its limit: after step 10 it is raised, and told of from there on.
    watch = Watch("always", "g/loss", "it is there", "nothing", above=-1.0, patience=0.0, after=0.5)
    job = dataclasses.replace(toy_job(tmp_path / "run"), progress=seen.append, watches=[watch])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alarms_module, "SOONEST_STEP", 0)
        outcome = train(job)
    assert {p.total for p in seen} == {20} and [p.step for p in seen] == sorted(p.step for p in seen)
    assert seen[0].step == 0 and seen[0].eta_seconds is None and not seen[0].values
    assert seen[-1].step == 20 and seen[-1].items == 160 and seen[-1].eta_seconds == 0.0
    assert seen[-1].seconds > 0 and seen[-1].items_per_second > 0
    logged = [line for line in job.folder.log() if "d/loss" in line]
    assert seen[-1].values == {k: v for k, v in logged[-1].items() if "/" in k}
    assert [alarm.name for alarm in seen[-1].alarms] == ["always"] == list(outcome.alarms)
    assert min(p.step for p in seen if p.alarms) == 10


class Halves(toy_family.Toy):
    """The bias of G learns on its own; the weight of D was frozen when it was built."""

    def __init__(self, config: toy_family.Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.D.weight.requires_grad = False

    def phases(self) -> Sequence[Phase]:
        def bias(name: str, parameter: torch.nn.Parameter) -> bool:
            return name == "G.bias" and parameter.ndim == 1

        d, g = super().phases()
        more = dataclasses.replace(g, name="more", parameters=lambda name, parameter: name.endswith("bias"))
        return d, dataclasses.replace(g, parameters=bias), more


def halves(path: Path) -> tuple[Loop, Batch]:
    job = toy_job(path)
    model = Halves(toy_family.Config(), job.spec)
    return Loop(State(model, 0.9), World("cpu"), 0, Course.of(10), 8, "fp32"), job.batches(8, 0, 1).batch(0)


def test_a_phase_may_name_parameters_and_what_was_frozen_stays_frozen(tmp_path: Path) -> None:
    loop, batch = halves(tmp_path / "run")
    model = loop.state.model
    needed = {name: p.requires_grad for name, p in model.named_parameters()}
    changes = {"d": {"D.bias"}, "g": {"G.bias"}, "more": {"G.bias"}}
    for phase in loop.state.phases:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        loop.phase(phase, batch)
        assert {n for n, p in model.named_parameters() if not torch.equal(p, before[n])} == changes[phase.name]
    # Phases that update the same parameters share an optimizer, and the model is left as it was built.
    assert loop.state.trainable["g"] is loop.state.trainable["more"] is not loop.state.trainable["d"]
    assert {name: p.requires_grad for name, p in model.named_parameters()} == needed
    assert sum(key.startswith("optim.") for key in loop.state.tensors()) == 2 * 3  # moments and step of two biases


def test_phases_come_each_so_many_steps_and_after_their_share_of_the_run(tmp_path: Path) -> None:
    loop, batch = halves(tmp_path / "run")
    d, g, _ = loop.state.phases
    loop.state.phases = (dataclasses.replace(d, every=4), dataclasses.replace(g, after=0.5))
    done: list[tuple[int, str]] = []
    loop.on_part = lambda key, value: done.append((loop.state.step, key)) if key.endswith("/loss") else None
    for _ in range(10):
        loop.step(batch)
    assert done == sorted([(step, "d/loss") for step in (0, 4, 8)] + [(step, "g/loss") for step in range(5, 10)])


def test_a_phase_without_anything_to_learn_is_refused_by_name(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run")
    job.model.G.requires_grad_(False)
    with pytest.raises(MaquetteError, match="'g' has nothing to learn"):
        State(job.model, 0.9)
    phase = job.model.phases()[0]
    job.model.phases = lambda: (phase, phase)
    with pytest.raises(MaquetteError, match="two phases 'd'"):
        State(job.model, 0.9)


def test_an_empty_batch_moves_only_what_reads_no_data(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run")
    parts: dict[str, float] = {}
    loop = Loop(State(job.model, 0.9), World("cpu"), 0, Course.of(10), 8, "fp32", on_part=parts.__setitem__)
    before = {name: p.detach().clone() for name, p in job.model.named_parameters()}
    loop.step(made_up_batch(job.spec, 8).rows(0, 0))
    changed = {name for name, p in job.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"G.weight", "G.bias"} and set(parts) == {"g/loss", "g/grad_norm"}
    assert loop.state.step == 1 and loop.state.items == 0


def test_a_phase_that_reads_no_data_does_not_see_how_many_items_there_are(tmp_path: Path) -> None:
    steps = []
    for size in (8, 3):
        job = toy_job(tmp_path / str(size))
        loop = Loop(State(job.model, 0.9), World("cpu"), 0, Course.of(10), 8, "fp32")
        loop.phase(loop.state.phases[1], made_up_batch(job.spec, size))
        steps.append(job.model.G.weight.detach().clone())
    assert torch.equal(*steps)


@pytest.mark.parametrize("micro", [None, 2])
def test_gradients_of_uneven_shares_average_to_those_of_the_whole(tmp_path: Path, micro: int | None) -> None:
    job = toy_job(tmp_path / "run")
    batch, phase = made_up_batch(job.spec, 7), job.model.phases()[0]

    def made(rows: Batch, offset: int, weight: float) -> tuple[torch.Tensor, float]:
        job.model.zero_grad()
        result = gradients(
            phase, rows, lambda start: Step(0, 10, StepRng(5, 7, offset + start)), weight=weight, micro_batch=micro
        )
        assert result.finite
        return job.model.D.weight.grad.clone(), float(result.parts["loss"])

    whole, loss = made(batch, 0, 1.0)
    (a, left), (b, right) = made(batch.rows(0, 2), 0, 2 * 2 / 7), made(batch.rows(2, 7), 2, 2 * 5 / 7)
    torch.testing.assert_close((a + b) / 2, whole)
    assert (2 * left + 5 * right) / 7 == pytest.approx(loss, rel=1e-5)


def test_schedules() -> None:
    optim = Optim(lr=1.0, schedule="cosine", warmup=0.1, final=0.1)
    rates = [learning_rate(optim, step / 100, 100) for step in range(101)]
    assert rates[0] < rates[5] < rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55, abs=1e-6)
    assert rates[100] == pytest.approx(0.1)
    held = Optim(lr=1.0, schedule="linear", constant_until=0.5)
    assert [learning_rate(held, s / 100, 100) for s in (0, 49, 75, 100)] == pytest.approx([1, 1, 0.5, 0])


def test_the_engine_names_no_family_and_no_modality() -> None:
    import maquette.engine
    import maquette.models
    from maquette.core.find import modality_names

    families = {p.stem for p in Path(maquette.models.__path__[0]).glob("*.py") if p.stem != "__init__"}
    kinds = {*modality_names()} - {"label", "number"}  # words that mean something else as well
    items = {word + ending for word in (*kinds, "picture", "pixel", "image", "text") for ending in ("", "s")}
    for file in Path(maquette.engine.__file__).parent.glob("*.py"):
        source = file.read_text().lower()
        assert not set(source.replace("_", " ").replace(".", " ").split()) & families, file
        assert not set(re.findall(r"\w+", source)) & items, file
        assert not re.search(r"kind\s*(==|!=|in)\s", source), file


def test_log_lines_are_json(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run")
    train(job)
    with job.folder.log_file.open("a") as file:
        file.write('{"step": 99, "d/lo')  # cut short by a crash
    assert all("step" in line for line in job.folder.log())
    assert json.loads(job.folder.log_file.read_text().splitlines()[1])["step"] == 2


def test_muon_orthogonalises_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalise(x).float())
    assert singular.min() > 0.6 and singular.max() < 1.3
    monkeypatch.setattr(muon_module, "multiplies_bf16", lambda device: False)
    for low in (x, x.mT, x[..., :3] @ torch.randn(3, 3, 40)):  # the last one of low rank
        y = low.double() / low.double().norm(dim=(-2, -1), keepdim=True)
        for _ in range(5):
            y = 3.4445 * y - 4.7750 * y @ y.mT @ y + 2.0315 * y @ y.mT @ y @ y.mT @ y
        torch.testing.assert_close(orthogonalise(low).double(), y, rtol=0, atol=1e-3)
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3), torch.nn.Conv2d(8, 4, 3))
    optim = Optim(lr=0.01, muon=2.0, not_muon=("1.",))
    muon, adam = build_optimizers(optim, {f"net.{n}": p for n, p in net.named_parameters()})
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(8, 4, 3, 3)]
    assert len(adam.param_groups[0]["params"]) == 3
    data = torch.randn(8, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(50):
        loss = (net(data) - data[:, :, 2:-2, 2:-2]).square().mean()
        loss.backward()
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("shape", [(2, 16, 20), (2, 16, 90), (2, 90, 16)])
def test_muon_maps_singular_values_by_its_quintic(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maquette.engine.muon.multiplies_bf16", lambda device: False)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(x.double(), full_matrices=False)
    s = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalise(x), (u * s[:, None] @ v).float(), atol=1e-4, rtol=0)


def test_muon_orthogonalises_block_by_block_with_updates_of_one_size() -> None:
    moved = []
    for block in (0, 8, 7):  # 7 does not divide the rows: all are one block
        weight = torch.nn.Parameter(torch.zeros(32, 24))
        weight.grad = torch.randn(32, 24, generator=torch.Generator().manual_seed(0))
        Muon([weight], lr=1.0, block=block).step()
        moved.append(weight.detach())
    whole, blocks, indivisible = moved
    assert torch.equal(whole, indivisible)
    assert 0.7 < (blocks.square().mean() / whole.square().mean()).sqrt() < 1.4
    for rows in blocks.split(8):
        singular = torch.linalg.svdvals(rows) / (0.2 * 24**0.5)
        assert singular.min() > 0.6 and singular.max() < 1.3


def test_several_processes_share_one_plan(tmp_path: Path) -> None:
    processes = together(tmp_path / "run", 2, steps=6, precision="auto", log_every="auto", preview_every="auto")
    assert [process.wait() for process in processes] == [0, 0], processes[0].said
    planned = RunFolder(tmp_path / "run").recipe().train
    assert planned.precision in ("fp32", "bf16") and planned.log_every == 1
    assert final(tmp_path / "run")


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("cpu")
    world.size = 3
    # By its name among the modules: `maquette.engine.train` is the function.
    monkeypatch.setattr(sys.modules["maquette.engine.train"], "join_world", lambda device: world)
    with pytest.raises(UserError, match="3 processes"):
        train(toy_job(tmp_path / "run"))


def test_trackers_are_written_and_leave_the_processes_together(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run", trackers=("tensorboard",))
    train(job)
    assert list((tmp_path / "run" / "tracking").rglob("events.*"))
    other = toy_job(tmp_path / "other", trackers=("tensorboard",))
    train(dataclasses.replace(other, trackers=()))  # those that only the recipe names
    assert not (tmp_path / "other" / "tracking").exists()


def test_seeding_formats_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(*args: object, **kwargs: object) -> None:
        raise AssertionError("a formatted stack is kept at every call, as torch.manual_seed does without a GPU")

    monkeypatch.setattr("traceback.format_stack", kept)
    seed_everything(5, torch.device("cpu"))
    first = torch.rand(3)
    seed_everything(5, torch.device("cpu"))
    assert torch.equal(first, torch.rand(3))
