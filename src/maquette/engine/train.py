"""A training run from its first step, or its last checkpoint, to its end."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from maquette.core.batch import Batch
from maquette.core.errors import Interrupted, UserError
from maquette.core.recipe import Recipe
from maquette.core.run import RunFolder, write_tensors
from maquette.engine import checkpoint
from maquette.engine.alarms import Alarm, Alarms, preview_diversity
from maquette.engine.guard import CtrlC, sole_owner
from maquette.engine.job import Job, Outcome
from maquette.engine.log import Log, Means, Progress, rewind, speaker
from maquette.engine.loop import Loop, NonFinite
from maquette.engine.memory import keep_freed
from maquette.engine.plan import is_planned, make_plan, prepare_model, preview_samples
from maquette.engine.state import State
from maquette.engine.world import World, join_world


def train(job: Job) -> Outcome:
    """Trains a job's model in its run folder, going on from the newest whole checkpoint if there is one.

    Raises Interrupted after the first Ctrl-C, with everything saved; NonFinite when an update was
    refused; UserError when the folder is in use by another process.
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
    if not is_planned(recipe.train):
        if world.leads:
            job.folder.write_recipe(make_plan(job, world, speaker(job.quiet)))
        world.barrier()
        recipe = job.folder.recipe()
    with CtrlC() as ctrl_c:
        return _Session(job, recipe, world).run(ctrl_c)


class _Session:
    """What one process does between starting or resuming a run and leaving it."""

    def __init__(self, job: Job, recipe: Recipe, world: World) -> None:
        self.job, self.world, self.config = job, world, recipe.train
        assert recipe.train.steps is not None
        self.total: int = recipe.train.steps
        config = self.config
        model = prepare_model(job.model, world, config, config.compile == "on")
        self.state = State(model, config.ema_decay)
        self.means = Means()
        micro = config.micro_batch if isinstance(config.micro_batch, int) else None
        self.loop = Loop(
            self.state, world, config.seed, self.total, config.batch_size, config.precision, micro, self.means.add
        )
        say = speaker(job.quiet or not world.leads)
        if checkpoint.load_latest(job.folder.checkpoints, self.state, say):
            say(f"Going on from step {self.state.step:,} of {self.total:,}.")
        raised: list[str] = []
        if world.leads:
            checkpoint.clear_leftovers(job.folder.checkpoints)
            raised = rewind(job.folder, self.state.step)
        self.alarms = Alarms(model.watches, self.total, raised)
        if world.leads:
            self.alarms.recall(job.folder.log())
        self.raised = raised
        self.progress = Progress(self.total, self.state.step, job.quiet or not world.leads)
        self.log = Log(job.folder, config.trackers, config.model_dump(mode="json")) if world.leads else None
        self.before = self.state.seconds
        self.began = self.saved = self.logged = time.monotonic()
        self.logged_step = self.state.step

    def run(self, ctrl_c: CtrlC) -> Outcome:
        state, config = self.state, self.config
        batches = self.job.batches(config.batch_size, self.world.rank, self.world.size)
        try:
            if state.step == 0:
                self._preview()
                self._save()  # a run that fails early still has a good state to keep
            while state.step < self.total:
                batch = batches.batch(state.step).to(self.world.device, config.channels_last)
                self.loop.step(batch)
                done = state.step
                self.progress.step(done)
                if done % config.log_every == 0 or done == self.total:  # type: ignore[operator]
                    self._log(batch, batches.waited_seconds)
                if done % config.preview_every == 0 or done == self.total:  # type: ignore[operator]
                    self._preview()
                stop = self.world.any(ctrl_c.pressed)
                if stop or done == self.total or self.world.any(self._checkpoint_due()):
                    self._save()
                if stop and done < self.total:
                    raise Interrupted(
                        f"Stopped at step {done:,} of {self.total:,}; everything is saved.",
                        f"Go on with: maquette resume {self.job.folder.path}",
                    )
        except NonFinite as error:
            self._raise_alarm(Alarm(f"non-finite {error.what}", error.step, error.problem, error.remedy))
            raise
        finally:
            batches.close()
            self.progress.close()
            if self.log is not None:
                self.log.close()
        self.world.leave()
        return Outcome(
            steps=self.total,
            items=self.total * config.batch_size,
            seconds=self._seconds(),
            waited_seconds=batches.waited_seconds,
            leads=self.world.leads,
            alarms=tuple(self.raised),
        )

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def _checkpoint_due(self) -> bool:
        return self.world.leads and time.monotonic() - self.saved > self.config.checkpoint_seconds

    def _log(self, batch: Batch, waited: float) -> None:
        values = self.means.take()
        now = time.monotonic()
        items = (self.state.step - self.logged_step) * self.config.batch_size
        rate = items / max(now - self.logged, 1e-9)
        self.logged, self.logged_step = now, self.state.step
        self.progress.values(self.state.step, rate, values)
        if self.log is not None:
            line = {
                "step": self.state.step,
                "seconds": round(self._seconds(), 3),
                "items": self.state.step * self.config.batch_size,
                "items_per_s": round(rate, 1),
                "waited_seconds": round(waited, 4),
            }
            self.log.write(line | values)
        self._check(values)

    def _preview(self) -> None:
        if not self.world.leads:
            return
        model = self.state.ema.model
        samples = preview_samples(model, self.job.reference, self.config.seed, self.world)
        step = self.state.step
        self.job.preview(samples, preview_path(self.job.folder, step))
        spread = preview_diversity(samples, self.job.reference, self.job.spec) | self.job.inspect(model, samples)
        if self.log is not None:
            self.log.write({"step": step, "seconds": round(self._seconds(), 3), **spread})
        self._check(spread)

    def _check(self, values: dict[str, float]) -> None:
        if self.world.leads:
            for alarm in self.alarms.check(self.state.step, values):
                self._raise_alarm(alarm)

    def _raise_alarm(self, alarm: Alarm) -> None:
        self.raised.append(alarm.name)
        self.progress.say(f"Alarm at step {alarm.step:,}: {alarm.name}. {alarm.saw}. Try: {alarm.advice}.")
        if self.log is not None:
            self.log.alarm(alarm)

    def _save(self) -> None:
        self.state.seconds = self._seconds()
        if self.world.leads:
            save_weights(self.job.folder, self.state)
            checkpoint.save(self.job.folder.checkpoints, self.state, self.config.keep_checkpoints)
        self.saved = time.monotonic()


def save_weights(folder: RunFolder, state: State) -> None:
    """Writes what sampling needs, so that a run can be sampled from while it still trains."""
    weights = {name: value.to(memory_format=torch.contiguous_format) for name, value in state.ema.weights().items()}
    write_tensors(folder.weights_file, weights, {"step": str(state.step)})


def preview_path(folder: RunFolder, step: int) -> Path:
    folder.samples.mkdir(parents=True, exist_ok=True)
    return folder.samples / f"preview-{step:08d}"
