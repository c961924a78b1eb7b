"""The loop, its state, and what it leaves on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from maquette.core.errors import UserError
from maquette.core.model import Optim, Watch
from maquette.core.run import RunFolder, read_tensors
from maquette.engine import alarms as alarms_module
from maquette.engine import train
from maquette.engine.alarms import Alarms
from maquette.engine.guard import sole_owner
from maquette.engine.loop import Loop, seed_everything
from maquette.engine.muon import orthogonalise
from maquette.engine.schedule import learning_rate
from maquette.engine.state import State, build_optimizers
from maquette.engine.update import NonFinite
from maquette.engine.world import World
from toy_job import toy_job

PROGRAM = Path(__file__).parents[1] / "toy_job.py"


def final(path: Path) -> dict[str, torch.Tensor]:
    newest = sorted((path / "checkpoints").glob("step-*"))[-1]
    # Copies: safetensors maps the file, and a test may damage it later.
    return {k: v.clone() for k, v in read_tensors(newest / "state.safetensors").items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def start(path: Path, steps: int, pause: float, checkpoint_seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAM), str(path), str(steps), str(pause), str(checkpoint_seconds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


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
    train(toy_job(tmp_path / "straight", steps=60))
    path = tmp_path / "killed"
    process = start(path, 60, 0.02, 0.05)
    for _ in range(3):  # killed again and again, each time wherever it happens to be
        before = len(list((path / "checkpoints").glob("step-*"))) if path.exists() else 0
        wait_for(lambda before=before: any((path / "checkpoints").glob("step-*")) and before >= 0)
        time.sleep(0.15)
        process.kill()
        process.wait()
        process = start(path, 60, 0.005, 0.05)
    assert process.wait(60) == 0
    assert same(final(path), final(tmp_path / "straight"))
    assert not list((path / "checkpoints").glob(".writing-*"))
    logged = [line["step"] for line in RunFolder(path).log() if "d/loss" in line]
    assert logged == sorted(set(logged)) and logged[-1] == 60  # nothing twice, nothing missing at the end


def test_ctrl_c_once_saves_and_leaves_with_130(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 100_000, 0.01, 1000)
    wait_for(lambda: (tmp_path / "run" / "log.jsonl").exists() and (tmp_path / "run" / "log.jsonl").stat().st_size)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert b"maquette resume" in process.stderr.read()
    assert final(tmp_path / "run")


def test_ctrl_c_twice_leaves_at_once(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 100_000, 2.0, 1000)
    wait_for(lambda: (tmp_path / "run" / ".lock").exists() and list((tmp_path / "run").glob("samples/*")))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(1.5) == 130
    assert [p.name for p in (tmp_path / "run" / "checkpoints").glob("step-*")] == ["step-00000000"]


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    process = start(tmp_path / "run", 100_000, 0.05, 1000)
    wait_for(lambda: (tmp_path / "run" / ".owner").exists())
    with pytest.raises(UserError, match=f"process {process.pid}"):
        train(toy_job(tmp_path / "run"))
    process.kill()
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
        return Loop(State(job.model, 0.9), World("cpu"), 0, 10, 8, "fp32")

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
    job = toy_job(tmp_path / "run", steps=None, budget="3s", precision="auto", log_every="auto", preview_every="auto",
                  compile="auto")  # fmt: skip
    train(job)
    planned = job.folder.recipe().train
    assert planned.steps and planned.precision in ("fp32", "bf16") and planned.compile == "off"
    assert max(line["step"] for line in job.folder.log()) == planned.steps


def test_two_processes_equal_one(tmp_path: Path) -> None:
    train(toy_job(tmp_path / "one", steps=10))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(PROGRAM), str(tmp_path / "two"), "10", "0", "1000"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "ACCELERATE_USE_CPU": "true"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "2"]  # both say how many they are
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-5)


def test_schedules() -> None:
    optim = Optim(lr=1.0, schedule="cosine", warmup=0.1, final=0.1)
    rates = [learning_rate(optim, step, 100) for step in range(101)]
    assert rates[0] < rates[5] < rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.55, abs=1e-6)
    assert rates[100] == pytest.approx(0.1)
    held = Optim(lr=1.0, schedule="linear", constant_until=0.5)
    assert [learning_rate(held, s, 100) for s in (0, 49, 75, 100)] == pytest.approx([1, 1, 0.5, 0])


def test_an_alarm_needs_patience_and_is_raised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "SOONEST_STEP", 0)
    watch = Watch("vanishing", "g/grad_norm", "it vanished", "raise it", below=0.1, patience=0.1, after=0.2)
    alarms = Alarms([watch], total=100)
    raised = [(s, a.name) for s in range(0, 100, 5) for a in alarms.check(s, {"g/grad_norm": 0.01 if s > 40 else 1.0})]
    assert raised == [(55, "vanishing")]
    assert not Alarms([watch], 100, raised=["vanishing"]).check(99, {"g/grad_norm": 0.0})


def test_collapsed_samples_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms_module, "SOONEST_STEP", 0)
    job = toy_job(tmp_path / "run", steps=40, model={"lr": 0.0})
    with torch.no_grad():
        job.model.G.weight.zero_()  # every latent gives the same picture
    train(job)
    alarms = [line["alarm"] for line in job.folder.log() if "alarm" in line]
    assert alarms == ["mode collapse"]


def test_the_engine_names_no_family() -> None:
    import maquette.engine
    import maquette.models

    families = {p.stem for p in Path(maquette.models.__path__[0]).glob("*.py") if p.stem != "__init__"}
    for file in Path(maquette.engine.__file__).parent.glob("*.py"):
        words = set(file.read_text().replace("_", " ").replace(".", " ").lower().split())
        assert not words & families, file


def test_log_lines_are_json(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "run")
    train(job)
    with job.folder.log_file.open("a") as file:
        file.write('{"step": 99, "d/lo')  # cut short by a crash
    assert all("step" in line for line in job.folder.log())
    assert json.loads(job.folder.log_file.read_text().splitlines()[1])["step"] == 2


def test_muon_orthogonalises_and_learns() -> None:
    x = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalise(x).float())
    assert singular.min() > 0.6 and singular.max() < 1.3
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


def test_several_processes_share_one_plan(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from toy_job import toy_job;"
        "from maquette.engine import train;"
        "train(toy_job(Path(sys.argv[2]), steps=None, budget='2s', precision='auto', log_every='auto'));"
        "import os; os._exit(0)"
    )
    script = tmp_path / "budgeted.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               str(script), str(PROGRAM.parent), str(tmp_path / "run")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "ACCELERATE_USE_CPU": "true"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("cpu")
    world.size = 3
    # By its name among the modules: `maquette.engine.train` is the function.
    monkeypatch.setattr(sys.modules["maquette.engine.train"], "join_world", lambda device: world)
    with pytest.raises(UserError, match="3 processes"):
        train(toy_job(tmp_path / "run"))


def test_trackers_are_written_and_leave_the_processes_together(tmp_path: Path) -> None:
    train(toy_job(tmp_path / "run", trackers=("tensorboard",)))
    assert list((tmp_path / "run" / "tracking").rglob("events.*"))


def test_seeding_formats_no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(*args: object, **kwargs: object) -> None:
        raise AssertionError("a formatted stack is kept at every call, as torch.manual_seed does without a GPU")

    monkeypatch.setattr("traceback.format_stack", kept)
    seed_everything(5, torch.device("cpu"))
    first = torch.rand(3)
    seed_everything(5, torch.device("cpu"))
    assert torch.equal(first, torch.rand(3))
