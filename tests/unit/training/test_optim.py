from __future__ import annotations

import math
from typing import Any

import pytest
from torch import nn

from zoopraxis.config.schema import OptimConfig, ScheduleConfig
from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.training.optim import (
    build_optimizer,
    check_optimizer,
    check_schedule,
    learning_rate_factor,
    scale_learning_rate,
)


def test_multistep_changes_at_the_milestones_epochs() -> None:
    schedule = ScheduleConfig(name="multistep", milestones=[20, 40], gamma=0.1)
    factor = learning_rate_factor(schedule, base_lr=0.01, steps_per_epoch=7, num_steps=80 * 7)
    assert [factor(step) for step in (0, 20 * 7 - 1)] == [1.0, 1.0]
    assert [factor(step) for step in (20 * 7, 40 * 7 - 1)] == pytest.approx([0.1, 0.1])
    assert factor(40 * 7) == pytest.approx(0.01)


def test_cosine_falls_from_one_to_zero_after_the_warmup() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=1)
    factor = learning_rate_factor(schedule, base_lr=0.01, steps_per_epoch=10, num_steps=110)
    assert factor(0) == pytest.approx(0.01)
    assert factor(5) == pytest.approx(0.505)
    assert factor(10) == pytest.approx(1)
    assert factor(60) == pytest.approx(0.5)
    assert factor(110) == pytest.approx(0, abs=1e-12)


def test_a_cosine_over_the_whole_run_is_below_the_base_rate_where_the_warmup_ends() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=2, warmup_start_lr=0.1, is_cosine_after_warmup=False)
    factor = learning_rate_factor(schedule, base_lr=0.4, steps_per_epoch=5, num_steps=50)
    target = (math.cos(math.pi * 10 / 50) + 1) / 2
    assert factor(0) == pytest.approx(0.25)
    assert factor(4) == pytest.approx(0.25 + (target - 0.25) * 0.4)
    assert factor(10) == pytest.approx(target)
    assert factor(25) == pytest.approx(0.5)
    assert factor(50) == pytest.approx(0, abs=1e-12)


def test_a_cosine_may_end_above_zero() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=5, warmup_start_lr=1e-6, end_lr=1e-6)
    factor = learning_rate_factor(schedule, base_lr=5e-5, steps_per_epoch=10, num_steps=300)
    assert [5e-5 * factor(step) for step in (0, 25, 50, 300)] == pytest.approx([1e-6, 25.5e-6, 5e-5, 1e-6])
    assert 5e-5 * factor(175) == pytest.approx((5e-5 + 1e-6) / 2)


def test_a_whole_cosine_may_end_above_zero() -> None:
    schedule = ScheduleConfig(name="cosine", warmup_epochs=0, end_lr=0.1, is_cosine_after_warmup=False)
    factor = learning_rate_factor(schedule, base_lr=0.4, steps_per_epoch=1, num_steps=8)
    assert [factor(step) for step in (0, 4, 8)] == pytest.approx([1, 0.625, 0.25])


def test_a_warmup_rises_to_the_rate_behind_the_milestones_that_it_passes() -> None:
    schedule = ScheduleConfig(name="multistep", milestones=[1, 3], gamma=0.5, warmup_epochs=2, warmup_start_lr=0.02)
    factor = learning_rate_factor(schedule, base_lr=0.2, steps_per_epoch=10, num_steps=50)
    assert [factor(step) for step in (0, 10, 20, 30)] == pytest.approx([0.1, 0.3, 0.5, 0.25])


def test_constant_stays() -> None:
    factor = learning_rate_factor(ScheduleConfig(name="constant"), base_lr=0.1, steps_per_epoch=3, num_steps=9)
    assert {factor(step) for step in range(9)} == {1.0}


def test_a_rate_is_scaled_only_where_it_is_asked_for() -> None:
    optim, schedule = OptimConfig(lr=0.01), ScheduleConfig(warmup_epochs=1, warmup_start_lr=0.001)
    assert scale_learning_rate(optim, schedule, batch_size=32) == (optim, schedule, None)


def test_a_rate_is_scaled_to_the_batches_and_says_so() -> None:
    optim, schedule, line = scale_learning_rate(OptimConfig(lr=0.01, base_batch_size=64), ScheduleConfig(), batch_size=32)
    assert optim.lr == pytest.approx(0.005)
    assert schedule == ScheduleConfig()
    assert line == "learning rate 0.01 x 32/64 = 0.005: batches of 32 clips, recipe made for 64"


def test_the_start_of_a_warmup_is_scaled_with_the_rate() -> None:
    given = ScheduleConfig(name="cosine", warmup_epochs=8, warmup_start_lr=0.01)
    optim, schedule, line = scale_learning_rate(OptimConfig(lr=0.24, base_batch_size=128), given, batch_size=256)
    assert (optim.lr, schedule.warmup_start_lr) == pytest.approx((0.48, 0.02))
    assert line == (
        "learning rate 0.24 x 256/128 = 0.48: batches of 256 clips, recipe made for 128; warm-up from 0.02 instead of 0.01"
    )
    plain = learning_rate_factor(given, base_lr=0.24, steps_per_epoch=2, num_steps=200)
    scaled = learning_rate_factor(schedule, base_lr=optim.lr, steps_per_epoch=2, num_steps=200)
    assert [scaled(step) for step in range(200)] == pytest.approx([plain(step) for step in range(200)])


def test_the_end_of_a_cosine_is_scaled_with_the_rate() -> None:
    given = ScheduleConfig(name="cosine", end_lr=1e-6)
    _, schedule, line = scale_learning_rate(OptimConfig(lr=5e-5, base_batch_size=256), given, batch_size=128)
    assert schedule.end_lr == pytest.approx(5e-7)
    assert line == (
        "learning rate 5e-05 x 128/256 = 2.5e-05: batches of 128 clips, recipe made for 256; to 5e-07 instead of 1e-06"
    )


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"name": "cosine", "end_lr": 0.5},
            r"schedule\.end_lr=0\.5 is above optim\.lr=0\.24, so that the cosine would rise; give 0\.24 or less",
        ),
        (
            {"name": "multistep", "end_lr": 0.1},
            r"schedule\.end_lr=0\.1 has no effect with schedule\.name=multistep; set schedule\.name=cosine, or leave "
            r"schedule\.end_lr out",
        ),
        (
            {"warmup_epochs": 8, "warmup_start_lr": 0.3},
            r"schedule\.warmup_start_lr=0\.3 is above optim\.lr=0\.24, so that the warm-up would fall; give 0\.24 or less",
        ),
        (
            {"warmup_epochs": 8},
            r"schedule\.warmup_epochs=8 is longer than the run of trainer\.max_epochs=5; give 5 or less",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_schedule(ScheduleConfig(**schedule), lr=0.24, num_epochs=5)


def test_milestones_behind_the_end_are_told() -> None:
    schedule = ScheduleConfig(milestones=[50, 75, 90])
    assert check_schedule(schedule, lr=0.01, num_epochs=60) == (
        "schedule.milestones: the run of trainer.max_epochs=60 ends before epoch 75, 90, so that its learning rate does not "
        "fall there"
    )
    assert check_schedule(schedule, lr=0.01, num_epochs=100) is None
    assert check_schedule(schedule, lr=0.01, num_epochs=None) is None
    assert check_schedule(ScheduleConfig(name="cosine", milestones=[50]), lr=0.01, num_epochs=10) is None


def test_every_group_has_the_published_effective_rate_and_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    optimizer = build_optimizer(nn.ModuleDict({"backbone": model[:2], "classifiers": nn.Linear(4, 2)}), OptimConfig())
    assert {(group["lr"], group["weight_decay"], group["momentum"]) for group in optimizer.param_groups} == {(0.01, 5e-4, 0.9)}


@pytest.mark.parametrize(
    ("policy", "group", "rate_and_decay"),
    [
        ("multipliers", "normal_bias", (0.02, 0.0)),
        ("tsm", "classifier_weight", (0.05, 5e-4)),
        ("tanet", "linear_bias", (0.1, 0.0)),
        ("tada2d", "classifier_weight", (0.01, 5e-4)),
        ("tada2d_finetune", "classifier_bias", (0.1, 0.0)),
        ("tadaconv_finetune", "classifier_weight", (0.05, 5e-4)),
    ],
)
def test_multipliers_reach_the_groups_when_they_are_asked_for(
    policy: Any, group: str, rate_and_decay: tuple[float, float]
) -> None:
    model = nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 3), "classifiers": nn.Linear(4, 2)})
    optimizer = build_optimizer(model, OptimConfig(groups=policy))
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    normal = "first_conv_weight" if policy in ("multipliers", "tsm", "tanet") else "normal_weight"
    assert rates[normal] == (0.01, 5e-4)
    assert rates[group] == pytest.approx(rate_and_decay)


def test_nesterov_reaches_the_optimizer_and_needs_momentum() -> None:
    optimizer = build_optimizer(nn.Linear(3, 2), OptimConfig(nesterov=True))
    assert {(group["nesterov"], group["momentum"]) for group in optimizer.param_groups} == {(True, 0.9)}
    with pytest.raises(ConfigError, match=r"optim\.nesterov=true needs momentum, but optim\.momentum=0"):
        build_optimizer(nn.Linear(3, 2), OptimConfig(nesterov=True, momentum=0))


def test_adamw_takes_rate_and_decay() -> None:
    optimizer = build_optimizer(nn.Linear(3, 2), OptimConfig(name="adamw", lr=1e-3, weight_decay=0.05))
    assert type(optimizer).__name__ == "AdamW"
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(1e-3, 0.05)}


def test_adam_takes_rate_and_decay() -> None:
    optimizer = build_optimizer(nn.Linear(3, 2), OptimConfig(name="adam", lr=2e-3, weight_decay=1e-3))
    assert type(optimizer).__name__ == "Adam"
    assert {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups} == {(2e-3, 1e-3)}


def test_rates_of_layers_reach_the_optimizer() -> None:
    config = OptimConfig(
        name="adamw",
        lr=1e-3,
        weight_decay=0.05,
        groups="layer_decay",
        layer_decay=0.5,
        new_parts=["bn"],
        new_parts_lr=3,
        head_lr=7,
    )
    optimizer = build_optimizer(create_model("tsn", heads={"label": 3}, backbone="test_resnet", partial_bn=False), config)
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates["head_weight"] == pytest.approx((7e-3, 0.05))
    last = max(int(name[5:].split("_")[0]) for name in rates if name.startswith("layer"))
    assert rates[f"layer{last}_weight"] == pytest.approx((5e-4, 0.05))
    assert rates[f"layer{last}_new_bias"] == pytest.approx((1.5e-3, 0.0))


@pytest.mark.parametrize(
    ("setting", "value", "shown"),
    [
        ("layer_decay", 0.7, r"0\.7"),
        ("new_parts", ["tada"], r"\['tada'\]"),
        ("new_parts_lr", 10.0, r"10\.0"),
        ("head_lr", 10.0, r"10\.0"),
    ],
)
def test_rates_that_would_have_no_effect_are_refused(setting: str, value: Any, shown: str) -> None:
    wanted = rf"optim\.{setting}={shown} has no effect with optim\.groups=tadaconv; set optim\.groups=layer_decay, or leave "
    with pytest.raises(ConfigError, match=wanted):
        check_optimizer(OptimConfig(groups="tadaconv", **{setting: value}))
    check_optimizer(OptimConfig(groups="layer_decay", **{setting: value}))


def test_dann_falls_with_the_part_of_the_run_that_lies_behind() -> None:
    schedule = ScheduleConfig(name="dann")
    factor = learning_rate_factor(schedule, base_lr=0.03, steps_per_epoch=3, num_steps=90)
    assert [factor(step) for step in (0, 9, 90)] == pytest.approx([1.0, 2**-0.75, 11**-0.75])
    behind = learning_rate_factor(schedule, base_lr=0.03, steps_per_epoch=3, num_steps=90, progress=lambda step: step / 10)
    assert behind(1) == pytest.approx(2**-0.75)
