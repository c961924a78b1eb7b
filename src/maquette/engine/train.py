"""A training run from its first step, or its last checkpoint, to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import torch

from maquette.core.errors import Interrupted, UserError
from maquette.core.files import make_folder
from maquette.core.held import Gone, check_held, in_place
from maquette.core.lock import sole_owner
from maquette.core.progress import Stage, stage
from maquette.core.recipe import Leg, Recipe
from maquette.core.run import RunFolder
from maquette.engine import checkpoint, compiled
from maquette.engine.alarms import Alarm, Alarms, preview_diversity
from maquette.engine.guard import CtrlC
from maquette.engine.job import Job, Outcome, Progress
from maquette.engine.log import Log, Means, headline, notifier, rewind
from maquette.engine.loop import Loop
from maquette.engine.memory import keep_freed
from maquette.engine.pace import Pace
from maquette.engine.plan import is_planned, make_plan, preview_samples
from maquette.engine.schedule import Course
from maquette.engine.speed import Speed, prepare_model
from maquette.engine.state import State
from maquette.engine.update import NonFinite
from maquette.engine.world import World, join_world

REPORT_SECONDS = 0.25  # between reports of progress where no line is logged meanwhile


def train(job: Job) -> Outcome:
    """Trains a job's model in its run folder, going on from the newest whole checkpoint if there is one.

    Ends early, with everything saved, once `job.stop()` is true. Raises Interrupted after the first Ctrl-C, with
    everything saved; NonFinite when an update was refused; UserError when the folder is in use by another process.
    """
    keep_freed()
    world = join_world(job.recipe.train.device)
    if not world.leads:
        return _train(job, world)
    with sole_owner(job.folder.lock_file):
        return _train(job, world)


def _train(job: Job, world: World) -> Outcome:
    recipe, batch = job.recipe, job.recipe.train.batch_size
    if batch % world.size:
        raise UserError(
            f"train.batch_size = {batch} cannot be shared out evenly to {world.size} processes.",
            f"Use a multiple of {world.size}.",
        )
    # As the leader found it: a slower process may have read what the leader has planned meanwhile.
    if not world.of_leader(int(is_planned(recipe.train))):
        if world.leads:
            job.folder.write_recipe(make_plan(job, world, notifier(job.quiet)))
        world.barrier()
        recipe = job.folder.recipe()
    with CtrlC() as ctrl_c, stage("training") as under_way:
        return _Session(job, recipe, world, under_way).run(ctrl_c)


class _Session:
    """What one process does between starting or resuming a run and leaving it."""

    def __init__(self, job: Job, recipe: Recipe, world: World, under_way: Stage) -> None:
        self.job, self.world, self.recipe, self.config, self.stage = job, world, recipe, recipe.train, under_way
        config = self.config
        self.notify = notifier(job.quiet or not world.leads)
        if config.compile == "on":
            compiled.begin(self.notify)
        model = prepare_model(job.model, world, config, config.compile == "on")
        self.state = State(model, config.ema_decay)
        self.means = Means()
        micro = config.micro_batch if isinstance(config.micro_batch, int) else None
        self.loop = Loop(
            self.state, world, config.seed, Course.planned(config), config.batch_size, config.precision, micro,
            self.means.add,
        )  # fmt: skip
        if checkpoint.load_latest(job.folder.checkpoints, self.state, self.notify):
            self.notify(f"Going on from step {self.state.step:,} of {self.total:,}.")
        self.said = self.total
        self.raised: list[Alarm] = []
        if world.leads:
            self.raised = rewind(job.folder, self.state.step)
        self.alarms = Alarms((*model.watches, *job.watches), self.total, [alarm.name for alarm in self.raised])
        if world.leads:
            self.alarms.recall(job.folder.log())
        self.log = Log(job.folder, job.trackers, config.model_dump(mode="json")) if world.leads else None
        self.before, self.first_step = self.state.seconds, self.state.step
        self.stage.first = self.state.step
        self.began = self.saved = self.logged = self.reported = time.monotonic()
        self.pace = Pace(self.loop.course.leg(self.state.step).until, self.state.step, self.before)
        self.logged_items = self.state.items
        self.values: dict[str, float] = {}
        self.rate = 0.0

    @property
    def total(self) -> int:
        """Steps of the run, as planned by now."""
        return self.loop.course.total(self.state.step)

    def run(self, ctrl_c: CtrlC) -> Outcome:
        state, config = self.state, self.config
        assert isinstance(config.log_every, int) and isinstance(config.preview_every, int)
        batches = self.job.batches(config.batch_size, self.world.rank, self.world.size)
        stopped = False
        try:
            self._report()
            if state.step == 0:
                with self._aside("preview"):
                    self._preview()
                with self._aside("checkpoint"):
                    self._save()  # a run that fails early still has a good state to keep
            elif self.world.leads and self.job.folder.manifest.standing(self.job.folder.weights_file) != "whole":
                save_weights(self.job.folder, state)
            while state.step < self.total and not stopped:
                self.loop.step(batches.batch(state.step).to(self.world.device, config.channels_last))
                done = state.step
                lost, pressed, asked, due, late = self.world.each(
                    self._lost(), ctrl_c.pressed, self.job.stop(), self._checkpoint_due(), self._look_due()
                )
                if lost:
                    self._give_up()
                if late:
                    self._look()
                last = done == self.total
                if done % config.log_every == 0 or last:
                    with self._aside("log"):
                        self._log(batches.waited_seconds)
                elif time.monotonic() - self.reported > REPORT_SECONDS:
                    self._report()
                if last or (done % config.preview_every == 0 and self.pace.affords("preview", self._seconds())):
                    with self._aside("preview"):
                        self._preview()
                stopped = (pressed or asked) and not last
                if pressed or asked or due or last:
                    with self._aside("checkpoint"):
                        self._save()
                if pressed and not last:
                    raise Interrupted(
                        f"Stopped at step {done:,} of {self.total:,}; everything is saved.",
                        f"Go on with: maquette resume {self.job.folder.path}",
                    )
        except NonFinite as error:
            self._raise_alarm(Alarm(f"non-finite {error.what}", error.step, error.problem, error.remedy))
            raise
        finally:
            batches.close()
            if self.log is not None:
                self.log.close()
        if stopped:
            self.notify(f"Stopped at step {state.step:,} of {self.total:,}, as asked; everything is saved.")
        else:
            self.notify(f"Step {state.step:,} of {self.total:,}  {self._state()}".rstrip())
        self.world.leave()
        return Outcome(
            steps=state.step,
            items=state.items,
            seconds=self._seconds(),
            waited_seconds=batches.waited_seconds,
            leads=self.world.leads,
            alarms=tuple(alarm.name for alarm in self.raised),
            stopped=stopped,
            speed=self._speed(),
            processes=self.world.size,
        )

    def _speed(self) -> Speed | None:
        """How fast this session was, if it can tell."""
        step = self.pace.step_seconds(self.state.step, self._seconds())
        if step is None or not self.world.leads:
            return None
        compiles = self.config.compile == "on"
        fewer = self.config.fewer_multiplications
        return Speed(
            step, self.config.precision, compiles, self.loop.micro_batch, self.pace.last("preview"),
            fewer=None if fewer == "auto" else fewer,
        )  # fmt: skip

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def _lost(self) -> bool:
        """Whether the run is no more where it was, so that nothing can be kept of it."""
        return self.world.leads and not (in_place(self.job.folder.path) and self.job.folder.recipe_file.exists())

    def _give_up(self) -> NoReturn:
        """Of several processes, all leave at the same step, and the first one says why."""
        folder = self.job.folder
        if not self.world.leads:
            raise SystemExit(UserError.exit_code)
        try:
            check_held(folder.path)
        except Gone as gone:
            raise UserError(gone.problem, f"Go on with: maquette resume {gone.moved}") if gone.moved else gone from None
        raise UserError(f"'{folder.recipe_file}' was removed meanwhile; nothing more was written.", "Train a new run.")

    def _checkpoint_due(self) -> bool:
        return self.world.leads and time.monotonic() - self.saved > self.config.checkpoint_seconds

    @contextlib.contextmanager
    def _aside(self, kind: str) -> Iterator[None]:
        """What is done in the block is no step."""
        began = time.monotonic()
        yield
        self.pace.aside(kind, time.monotonic() - began)

    def _look_due(self) -> bool:
        """Whether it is time to see if the time is kept; not where a resumed run goes over what was decided before."""
        step, leg = self.state.step, self.loop.course.leg(self.state.step)
        if leg.until != self.pace.until:
            self.pace = Pace(leg.until, step, self._seconds())
        return self.world.leads and leg is self.loop.course.legs[-1] and self.pace.due(step, self._seconds())

    def _look(self) -> None:
        """Fewer steps, or more, where the time would not be kept: stored before they count, so that a resumed run has
        them too."""
        course, step, before = self.loop.course, self.state.step, self.total
        steps = self.pace.steps(step, self._seconds(), before) if self.world.leads else before
        steps = self.world.of_leader(steps)
        if steps == before:
            return
        leg = Leg(step=step, steps=steps, progress=round(course.progress(step), 6), until=course.leg(step).until)
        self.loop.course = course.then(leg)
        self.alarms.total = steps
        if self.world.leads:
            self.job.folder.write_recipe(self.recipe.model_copy(update={"train": self.loop.course.into(self.config)}))
        if abs(steps - self.said) > 0.25 * self.said:  # smaller changes are seen in the progress
            fewer, self.said = ("fewer" if steps < self.said else "more"), steps
            self.notify(f"Step {step:,}: {steps:,} steps in all, {fewer} than planned, to keep the time.")

    def _log(self, waited: float) -> None:
        self.values = self.means.take()
        now, state = time.monotonic(), self.state
        self.rate = (state.items - self.logged_items) / max(now - self.logged, 1e-9)
        self.logged, self.logged_items = now, state.items
        if self.log is not None:
            line = {
                "step": state.step,
                "total": self.total,
                "seconds": round(self._seconds(), 3),
                "items": state.items,
                "items_per_s": round(self.rate, 1),
                "waited_seconds": round(waited, 4),
            }
            self.log.write(line | self.values)
        self._report()
        self._check(self.values)

    def _report(self) -> None:
        """Hands on where we are."""
        if not self.world.leads:
            return
        self.reported = time.monotonic()
        steps = self.state.step - self.first_step
        pace = (self.reported - self.began) / steps if steps else None
        progress = Progress(
            step=self.state.step,
            total=self.total,
            items=self.state.items,
            seconds=self._seconds(),
            items_per_second=self.rate,
            values=self.values,
            alarms=tuple(self.raised),
            eta_seconds=None if pace is None else pace * (self.total - self.state.step),
        )
        self.stage.done, self.stage.total = progress.step, progress.total
        self.stage.state = self._state()
        self.job.progress(progress)

    def _state(self) -> str:
        """The newest losses and the speed, for people."""
        return f"{headline(self.values)}  {self.rate:,.0f} items/s" if self.values else ""

    def _preview(self) -> None:
        if not self.world.leads:
            return
        model = self.state.ema.model
        samples = preview_samples(model, self.job.reference, self.config.seed, self.world)
        step = self.state.step
        self.job.preview(samples, preview_path(self.job.folder, step))
        spread = preview_diversity(samples, self.job.reference, self.job.spec)
        if step:  # what has learned nothing is not looked into: the first step does not wait for it
            spread |= self.job.inspect(model, samples)
        if self.log is not None:
            self.log.write({"step": step, "seconds": round(self._seconds(), 3), **spread})
        self._check(spread)

    def _check(self, values: dict[str, float]) -> None:
        if self.world.leads:
            for alarm in self.alarms.check(self.state.step, values):
                self._raise_alarm(alarm)

    def _raise_alarm(self, alarm: Alarm) -> None:
        self.raised.append(alarm)
        self.notify(f"Alarm at step {alarm.step:,}: {alarm.name}. {alarm.saw}. Try: {alarm.advice}.")
        if self.log is not None:
            self.log.alarm(alarm)
        self._report()

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        if self.world.leads:
            save_weights(self.job.folder, self.state)
            checkpoint.save(self.job.folder.checkpoints, self.state, self.config.keep_checkpoints)
        compiled.done()
        self.saved = time.monotonic()


def save_weights(folder: RunFolder, state: State) -> None:
    """Writes what sampling needs, so that a run can be sampled from while it still trains."""
    weights = {name: value.to(memory_format=torch.contiguous_format) for name, value in state.ema.weights().items()}
    folder.write_weights(weights, state.step)


def preview_path(folder: RunFolder, step: int) -> Path:
    """Where the preview of a step is written, without a suffix; its folder is made."""
    return make_folder(folder.samples) / f"preview-{step:08d}"
