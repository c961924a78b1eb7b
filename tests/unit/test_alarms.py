"""Alarms: what is watched, when it is raised, and what people are shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maquette.core.batch import Batch
from maquette.core.model import Watch
from maquette.core.spec import DataSpec
from maquette.engine import alarms as alarms_module
from maquette.engine import train
from maquette.engine.alarms import Alarms, diversity
from maquette.engine.log import headline
from specs import image_spec
from toy_job import toy_job


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


def raised(lines: list[dict[str, float]], first: int = 1000, total: int = 2000) -> list[str]:
    alarms = Alarms((), total)
    return [alarm.name for i, line in enumerate(lines) for alarm in alarms.check(first + 10 * i, line)]


def test_a_loss_that_jumps_is_a_spike_and_one_that_always_jumps_is_not() -> None:
    usual = [{"lm/loss": 2.0 + 0.1 * (i % 3)} for i in range(40)]
    assert raised([*usual, {"lm/loss": 7.0}]) == ["loss spike"]
    assert raised([*usual, {"lm/loss": 7.0}], first=-200) == []  # no run is judged by its first steps
    assert raised([*usual, {"lm/loss": 3.0}]) == []
    assert raised([{"lm/loss": 7.0 if i % 5 == 0 else 2.0} for i in range(60)]) == []
    assert raised([*[{"elbo/loss": -5.0}] * 40, {"elbo/loss": 50.0}]) == []
    # A sum over a batch of long items is no worse where the loss per unit is as it was.
    short, long = {"nll/loss": 20.0, "nll/nats_per_token": 2.0}, {"nll/loss": 200.0, "nll/nats_per_token": 2.0}
    assert raised([*[short] * 60, long]) == []
    assert raised([*[short] * 60, {**short, "nll/nats_per_token": 14.0}]) == ["loss spike"]


def test_the_rise_of_a_held_out_loss_is_there_for_watches() -> None:
    watch = Watch("over", "preview/over_fitting", "it rose", "stop", above=0.05, patience=0.0, after=0.0)
    alarms = Alarms([watch], total=100)
    checks = [alarms.check(400 + i, {"preview/held_out_nats": v}) for i, v in enumerate([3.0, 2.0, 2.09, 2.2])]
    assert [[alarm.name for alarm in check] for check in checks] == [[], [], [], ["over"]]


def test_diversity_is_that_within_the_given_classes() -> None:
    spec = image_spec(1, 4, 4, classes=2)
    column = spec.columns["label"]
    spec = DataSpec(columns={**spec.columns, "size": column}, target=("image",), given=("label", "size"))
    draw = torch.Generator().manual_seed(0)
    a, b = torch.arange(16) % 2, torch.arange(16) // 8
    centres = torch.stack([a, b], 1).float() @ torch.randn(2, 16, generator=draw) * 5
    real = (centres + torch.randn(16, 16, generator=draw)).view(16, 1, 4, 4)
    reference = Batch({"image": real}, {"label": a, "size": b}, 16)
    assert diversity({"image": real}, reference, spec) == pytest.approx(1.0)
    one_each = {"image": centres.view(16, 1, 4, 4)}
    assert diversity(one_each, reference, spec) == pytest.approx(0.0, abs=1e-5)
    # Where each class is there once, there is no spread within it: all are one class.
    once = reference.rows(0, 2)
    assert diversity({"image": real[:2]}, once, spec) == pytest.approx(1.0)


def test_people_see_the_loss_per_unit_where_there_is_one() -> None:
    values = {"d/loss": 1.0, "d/real": 2.0, "nll/loss": 40.0, "nll/nats_per_token": 1.25, "d/grad_norm": 3.0}
    assert headline(values) == "d 1.000  nll 1.250 nats per token"
