from __future__ import annotations

import pytest
from torch import nn

from zoopraxis.config.schema import OptimConfig, ScheduleConfig
from zoopraxis.training.optim import build_optimizer, learning_rate_factor


def test_multistep_changes_at_the_milestones_epochs() -> None:
    schedule = ScheduleConfig(name="multistep", milestones=[20, 40], gamma=0.1)
    factor = learning_rate_factor(schedule, steps_per_epoch=7, num_steps=80 * 7)
    assert [factor(step) for step in (0, 20 * 7 - 1)] == [1.0, 1.0]
    assert [factor(step) for step in (20 * 7, 40 * 7 - 1)] == pytest.approx([0.1, 0.1])
    assert factor(40 * 7) == pytest.approx(0.01)


def test_cosine_falls_from_one_to_zero_after_the_warmup() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=1)
    factor = learning_rate_factor(schedule, steps_per_epoch=10, num_steps=110)
    assert factor(0) == pytest.approx(0.01)
    assert factor(5) == pytest.approx(0.505)
    assert factor(10) == pytest.approx(1)
    assert factor(60) == pytest.approx(0.5)
    assert factor(110) == pytest.approx(0, abs=1e-12)


def test_constant_stays() -> None:
    factor = learning_rate_factor(ScheduleConfig(name="constant"), steps_per_epoch=3, num_steps=9)
    assert {factor(step) for step in range(9)} == {1.0}


def test_every_group_has_the_published_effective_rate_and_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    optimizer = build_optimizer(nn.ModuleDict({"backbone": model[:2], "classifiers": nn.Linear(4, 2)}), OptimConfig())
    assert {(group["lr"], group["weight_decay"], group["momentum"]) for group in optimizer.param_groups} == {(0.01, 5e-4, 0.9)}


def test_multipliers_reach_the_groups_when_they_are_asked_for() -> None:
    model = nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 3), "classifiers": nn.Linear(4, 2)})
    optimizer = build_optimizer(model, OptimConfig(groups="multipliers"))
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates["normal_weight"] == (0.01, 5e-4)
    assert rates["normal_bias"] == (0.02, 0.0)


def test_adamw_takes_rate_and_decay() -> None:
    optimizer = build_optimizer(nn.Linear(3, 2), OptimConfig(name="adamw", lr=1e-3, weight_decay=0.05))
    assert type(optimizer).__name__ == "AdamW"
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(1e-3, 0.05)}
