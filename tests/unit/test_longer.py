"""How long a run is: budgets as people write them, kept on a machine that gets busier, and runs that are given more."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import maquette
import toy_family  # noqa: F401  vouched for by this
from maquette.core.budget import seconds_of
from maquette.core.errors import UserError
from maquette.core.recipe import Leg, parse_recipe
from maquette.core.run import RunFolder
from maquette.core.tensors import read_tensors
from maquette.engine import plan as plan_module
from maquette.engine import train
from maquette.engine.longer import lengthen
from maquette.engine.pace import Pace
from maquette.engine.schedule import Course
from maquette.engine.speed import Speed
from toy_job import ToyProcess, together, toy_job, varying
from trained import QUICK

# -- budgets -----------------------------------------------------------------------------------------

UNITS = {"s": 1, " sec": 1, "seconds": 1, "m": 60, "min": 60, " minutes": 60, "h": 3600, " hours": 3600, "d": 86400}


@given(st.integers(1, 300), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_a_budget_is_read_as_people_write_it(number: int, unit: str, blank: str) -> None:
    assert seconds_of(f"{blank}{number}{unit}".upper()) == number * UNITS[unit]
    assert seconds_of(f"{number}.5{unit}") == (number + 0.5) * UNITS[unit]


def test_compound_budgets_and_bare_numbers() -> None:
    assert seconds_of("1h30m") == seconds_of("1 h 30 min") == seconds_of("1.5h") == 5400
    assert seconds_of("60") == 60
    for typed in ("60", 60, "60s"):
        assert parse_recipe("about: x\nfamily: gan", [f"train.budget={typed}"]).train.budget == "60s"


@pytest.mark.parametrize(
    "typed",
    ["0", "0s", "-5m", "", "m", "1h30", "1:30", "30m1h", "5m5m", "inf", "nan", "1e3", "9999999h", "ten", "1,5h"],
)
def test_what_is_no_budget_is_refused_with_how_to_write_one(typed: str) -> None:
    with pytest.raises(UserError, match="not a budget") as error:
        seconds_of(typed)
    assert "60s" in error.value.remedy


# -- the time is kept --------------------------------------------------------------------------------

MACHINES: dict[str, Callable[[float], float]] = {  # how much slower it is, by the share of the time that is over
    "steady": lambda share: 1.0,
    "busier": lambda share: 1.0 if share < 0.3 else 3.0,
    "quieter": lambda share: 1.0 if share < 0.3 else 0.4,
    "busy for a while": lambda share: 5.0 if 0.4 < share < 0.6 else 1.0,
    "busy at the end": lambda share: 3.0 if share > 0.9 else 1.0,
    "slower all the time": lambda share: 1.0 + 4.0 * share,
    "planned all wrong": lambda share: 10.0,
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("until", "step", "preview", "compiled"), [(60, 0.02, 0.2, 0), (600, 0.3, 2, 30), (60, 0.5, 1, 0)]
)
def test_training_ends_at_its_time(machine: str, until: float, step: float, preview: float, compiled: float) -> None:
    slower, clock, done = MACHINES[machine], 0.0, 0
    course = Course((Leg(step=0, steps=int(0.9 * until / step), until=until),))
    every, pace = max(1, course.total(0) // 30), Pace(until, 0, 0.0)
    standings = [0.0]
    while done < course.total(done):
        clock += step * slower(clock / until) + (compiled if not done else 0)
        done += 1
        if pace.due(done, clock):
            steps = pace.steps(done, clock, course.total(done))
            if steps != course.total(done):
                course = course.then(Leg(step=done, steps=steps, progress=course.progress(done), until=until))
        standings.append(course.progress(done))
        if done == course.total(done) or (done % every == 0 and pace.affords("preview", clock)):
            pace.aside("preview", preview * slower(clock / until))
            clock += preview * slower(clock / until)
    assert abs(clock - until) < max(0.05 * until, 10.0), (clock, len(course.legs))
    assert standings == sorted(standings)  # schedules never go back
    assert len(course.legs) < 30  # nor is each look a change
    assert standings[-1] == pytest.approx(1.0) or machine == "busy at the end"


def test_schedules_go_on_evenly_from_where_a_leg_begins() -> None:
    course = Course.of(100).then(Leg(step=50, steps=75, progress=0.5)).then(Leg(step=60, steps=100, progress=0.7))
    assert [course.total(step) for step in (0, 49, 50, 59, 60)] == [100, 100, 75, 75, 100]
    assert [course.progress(step) for step in (0, 25, 50, 55, 60, 80, 100)] == [0, 0.25, 0.5, 0.6, 0.7, 0.85, 1.0]
    assert course.then(Leg(step=55, steps=60)).legs[1:] == (
        Leg(step=50, steps=75, progress=0.5),
        Leg(step=55, steps=60),
    )


# -- and runs are exact ------------------------------------------------------------------------------


def final(path: Path) -> dict[str, bytes]:
    newest = sorted((path / "checkpoints").glob("step-*"))[-1]
    return {k: v.numpy().tobytes() for k, v in read_tensors(newest / "state.safetensors").items()}


def timeless(course: tuple[Leg, ...]) -> list[Leg]:
    """The same legs, repeated however long it takes."""
    return [leg.model_copy(update={"until": None}) for leg in course]


def killed(path: Path, times: int, **job: object) -> None:
    """Trains to the end, killed on the way."""
    for _ in range(times):
        process = ToyProcess(path, pause=0.01, sizes=varying, checkpoint_seconds=0.05, **job)
        time.sleep(0.6)
        process.send(signal.SIGKILL)
        process.wait()
    process = ToyProcess(path, pause=0.01, sizes=varying, **job)
    assert process.wait() == 0, process.said


def test_a_run_that_was_shortened_on_the_way_is_exact(tmp_path: Path) -> None:
    settings = {"steps": 5000, "course": (Leg(step=0, steps=5000, until=3.0),)}
    killed(tmp_path / "run", 2, **settings)
    found = RunFolder(tmp_path / "run").recipe().train
    assert found.steps is not None and 5 < found.steps < 1000 and len(found.course) > 1
    lines = [line for line in RunFolder(tmp_path / "run").log() if "items" in line]
    assert lines[-1]["step"] == lines[-1]["total"] == found.steps and lines[0]["total"] == 5000
    assert abs(lines[-1]["seconds"] - 3.0) < 2.5
    train(toy_job(tmp_path / "again", steps=found.steps, course=timeless(found.course), sizes=varying))
    assert final(tmp_path / "again") == final(tmp_path / "run")


@pytest.mark.parametrize("schedule", ["continue", "restart"])
def test_a_longer_run_is_exact(tmp_path: Path, schedule: str) -> None:
    ends = []
    for name in ("straight", "killed"):
        train(toy_job(tmp_path / name, steps=20, sizes=varying))
        said = lengthen(RunFolder(tmp_path / name), steps=90, budget=None, schedule=schedule, began=time.monotonic())
        assert "90 steps in all, 70 more" in said
        if name == "straight":
            train(toy_job(tmp_path / name, sizes=varying))
        else:
            killed(tmp_path / name, 2)
        ends.append(final(tmp_path / name))
        found = RunFolder(tmp_path / name).recipe().train
        assert found.steps == 90 and found.course[1].progress == (0.222222 if schedule == "continue" else 0.0)
        totals = {line["total"] for line in RunFolder(tmp_path / name).log() if "items" in line}
        assert totals == {20, 90}
    assert ends[0] == ends[1]


def test_a_run_is_given_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    train(toy_job(folder.path, steps=20, pause=0.005))
    seconds = [line["seconds"] for line in folder.log()][-1]
    lengthen(folder, steps=None, budget="3s", schedule="continue", began=time.monotonic())
    train(toy_job(folder.path, pause=0.005))
    more = [line["seconds"] for line in folder.log()][-1] - seconds
    train_config = folder.recipe().train
    assert train_config.steps > 20 and 0 < train_config.course[1].until - seconds <= 3.0  # from the last of the log on
    assert 0.3 < more < 10.0  # a test machine may be busy


def test_several_processes_agree_on_fewer_steps(tmp_path: Path) -> None:
    settings = {"steps": 5000, "course": (Leg(step=0, steps=5000, until=2.0),), "pause": 0.01}
    processes = together(tmp_path / "run", 2, **settings)
    assert [process.wait() for process in processes] == [0, 0], processes[0].said
    found = RunFolder(tmp_path / "run").recipe().train
    assert found.steps is not None and found.steps < 1000
    train(
        toy_job(
            tmp_path / "again",
            steps=found.steps,
            course=[leg.model_copy(update={"until": None}) for leg in found.course],
        )
    )
    again, ours = (read_tensors(tmp_path / name / "weights.safetensors") for name in ("again", "run"))
    assert all((again[name] - ours[name]).abs().max() < 1e-4 for name in again)


# -- as people meet it -------------------------------------------------------------------------------


def test_a_finished_run_says_so_and_is_trained_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = maquette.train("image/vae-mlp", "digits", out=tmp_path / "run", steps=6, quiet=True, settings=QUICK)
    assert run.finished and run.resume() is run
    said = capsys.readouterr().err
    assert "was finished" in said and "nothing was done" in said and "--budget" in said and len(said.splitlines()) == 1
    with pytest.raises(UserError, match="6 steps are done") as error:
        run.resume(steps=6)
    assert "--steps 12" in error.value.remedy
    for wrong, match in (
        ({"steps": 9, "budget": "1m"}, "exclude"), ({"schedule": "restart"}, "another length"),
        ({"steps": 9, "schedule": "warm"}, "no schedule"), ({"budget": "soon"}, "not a budget"),
        ({"budget": "auto"}, "for a new run"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            run.resume(**wrong)
    assert run.finished
    longer = run.resume(steps=9, quiet=True)
    assert longer.finished and longer.recipe.train.steps == 9 and len(longer.sample(2)) == 2
    assert "9 steps (6 + 3)" in (tmp_path / "run/README.md").read_text()


def test_a_run_that_never_took_a_step_leaves_its_name_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"out": tmp_path / "run", "quiet": True, "settings": QUICK}

    def fails(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("maquette.engine.train.make_plan", "maquette.engine.checkpoint.write_tensors"):
        with monkeypatch.context() as patch:
            module, _, attribute = name.rpartition(".")
            patch.setattr(__import__("sys").modules[module], attribute, fails)
            with pytest.raises((OSError, UserError), match=r"No space|disk is full"):
                maquette.train("image/vae-mlp", "digits", budget="5s", **asked)
        assert not (tmp_path / "run").exists()
    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "fastest", lambda *args: Speed(9.0, "fp32"))
        patch.setattr(plan_module.Speeds, "recall", lambda *args: None)
        patch.setattr(plan_module.Speeds, "keep", lambda *args: None)
        with pytest.raises(UserError, match="too short"):
            maquette.train("image/vae-mlp", "digits", budget="1s", **asked)
    assert not (tmp_path / "run").exists()
    maquette.train("image/vae-mlp", "digits", steps=1, **asked)
    with pytest.raises(UserError, match="already holds a run") as error:
        maquette.train("image/vae-mlp", "digits", steps=1, **asked)
    assert "resume" in error.value.remedy and "--budget" in error.value.remedy and (tmp_path / "run").exists()


def test_a_recipe_of_a_run_is_repeated_step_by_step_or_given_another_length(tmp_path: Path) -> None:
    run = maquette.train("image/vae-mlp", "digits", out=tmp_path / "run", steps=4, quiet=True, settings=QUICK)
    run = run.resume(steps=7, quiet=True)
    recipe = str(run.folder.recipe_file)
    again = maquette.train(recipe, "digits", out=tmp_path / "again", quiet=True)
    assert final(again.folder.path) == final(run.folder.path)
    other = maquette.train(recipe, "digits", out=tmp_path / "other", steps=3, quiet=True)
    assert other.recipe.train.steps == 3 and not other.recipe.train.course


def test_a_repeated_run_of_which_something_is_measured_anew_keeps_its_schedules(tmp_path: Path) -> None:
    course = (Leg(step=0, steps=4), Leg(step=2, steps=6, progress=0.5))
    train(toy_job(tmp_path / "run", steps=6, course=course, log_every="auto"))
    found = RunFolder(tmp_path / "run").recipe().train
    assert found.log_every == 1 and found.course == course
