"""Optimizers, and learning rates as one factor per optimizer step."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from zoopraxis.adaptation.schedules import annealing
from zoopraxis.config.localization import LocalizationDescentConfig
from zoopraxis.config.schema import DescentConfig, OptimConfig, ScheduleConfig
from zoopraxis.errors import ConfigError
from zoopraxis.models.parameter_groups import LayerDecay, parameter_groups

__all__ = [
    "build_optimizer",
    "check_descent",
    "check_optimizer",
    "check_schedule",
    "descent",
    "learning_rate_factor",
    "scale_learning_rate",
]

Scaled = TypeVar("Scaled", OptimConfig, LocalizationDescentConfig)

_WARMUP_START = 0.01
_ADAPTIVE: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimizer of a recipe over the model's trainable parameters.

    With `optim.groups=effective` every group has the same rate and weight decay: the multipliers that the published baselines
    attach to their groups never reached their optimizer, and the published numbers were made without them.

    Raises:
        ConfigError: If settings do not go together (`check_optimizer`), or the groups do not suit the network.
    """
    check_optimizer(config)
    layer_decay = LayerDecay(
        factor=config.layer_decay,
        new_parts=tuple(config.new_parts),
        new_parts_lr=config.new_parts_lr,
        head_lr=config.head_lr,
    )
    groups: list[dict[str, Any]] = [
        {
            "name": group["name"],
            "params": group["params"],
            "lr": config.lr * group["lr_mult"],
            "weight_decay": config.weight_decay * group["decay_mult"],
        }
        for group in parameter_groups(model, policy=config.groups, layer_decay=layer_decay)
    ]
    return descent(groups, config)


def descent(groups: Iterable[Any], config: DescentConfig) -> Optimizer:
    """The optimizer that the settings name, over parameters or groups of them."""
    lr, weight_decay = config.lr, config.weight_decay
    if config.name == "sgd":
        return SGD(groups, lr=lr, weight_decay=weight_decay, momentum=config.momentum, nesterov=config.nesterov)
    return _ADAPTIVE[config.name](groups, lr=lr, weight_decay=weight_decay)


def check_descent(config: DescentConfig) -> None:
    """See that Nesterov's momentum is given one.

    Raises:
        ConfigError: If it is not.
    """
    if config.name == "sgd" and config.nesterov and config.momentum == 0:
        raise ConfigError("optim.nesterov=true needs momentum, but optim.momentum=0; give e.g. optim.momentum=0.9")


def check_optimizer(config: OptimConfig) -> None:
    """See that no setting would have no effect.

    Raises:
        ConfigError: If `optim.nesterov` has no momentum to work on, or rates of `groups=layer_decay` are given with others.
    """
    check_descent(config)
    default = OptimConfig()
    for name in ("layer_decay", "new_parts", "new_parts_lr", "head_lr"):
        value = getattr(config, name)
        if config.groups != "layer_decay" and value != getattr(default, name):
            raise ConfigError(
                f"optim.{name}={value} has no effect with optim.groups={config.groups}; set optim.groups=layer_decay, or leave "
                f"optim.{name} out"
            )


def scale_learning_rate(
    optim: Scaled, schedule: ScheduleConfig, *, batch_size: int, things: str = "clips"
) -> tuple[Scaled, ScheduleConfig, str | None]:
    """Scale the rates of a recipe to the batches of a run, where `optim.base_batch_size` asks for it.

    Args:
        optim: With `lr` meant for batches of `base_batch_size` clips.
        schedule: Its `warmup_start_lr` and `end_lr` are scaled likewise.
        batch_size: Clips of one optimizer step: over all devices, accumulated.
        things: What batches are of, for the line.

    Returns:
        Both with scaled rates, and one line that says what was done; as they are, and None, without `base_batch_size`.

    Source: Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.1.
    """
    base = optim.base_batch_size
    if base is None:
        return optim, schedule, None
    lr = optim.lr * batch_size / base
    line = (
        f"learning rate {optim.lr:g} x {batch_size}/{base} = {lr:g}: batches of {batch_size} {things}, recipe made for {base}"
    )
    if schedule.warmup_epochs > 0 and schedule.warmup_start_lr is not None:
        start = schedule.warmup_start_lr * batch_size / base
        line += f"; warm-up from {start:g} instead of {schedule.warmup_start_lr:g}"
        schedule = dataclasses.replace(schedule, warmup_start_lr=start)
    if schedule.end_lr > 0:
        end = schedule.end_lr * batch_size / base
        line += f"; to {end:g} instead of {schedule.end_lr:g}"
        schedule = dataclasses.replace(schedule, end_lr=end)
    return dataclasses.replace(optim, lr=lr), schedule, line


def check_schedule(schedule: ScheduleConfig, *, lr: float, num_epochs: int | None) -> str | None:
    """Hold a schedule against the run.

    Args:
        schedule: Milestones and warm-up in epochs.
        lr: The base rate, `optim.lr`.
        num_epochs: Epochs of the run; none: it ends otherwise, and is not looked at.

    Returns:
        One line about milestones that the run does not reach, or None.

    Raises:
        ConfigError: If the warm-up is longer than the run, or would begin above the base rate, or the rate would end above it,
            or ends without a cosine.
    """
    if schedule.end_lr > 0 and schedule.name != "cosine":
        raise ConfigError(
            f"schedule.end_lr={schedule.end_lr:g} has no effect with schedule.name={schedule.name}; set schedule.name=cosine, "
            "or leave schedule.end_lr out"
        )
    if schedule.end_lr > lr:
        raise ConfigError(
            f"schedule.end_lr={schedule.end_lr:g} is above optim.lr={lr:g}, so that the cosine would rise; give {lr:g} or less"
        )
    if schedule.warmup_epochs > 0 and (schedule.warmup_start_lr or 0) > lr:
        raise ConfigError(
            f"schedule.warmup_start_lr={schedule.warmup_start_lr:g} is above optim.lr={lr:g}, so that the warm-up would fall; "
            f"give {lr:g} or less"
        )
    if num_epochs is None:
        return None
    if schedule.warmup_epochs > num_epochs:
        raise ConfigError(
            f"schedule.warmup_epochs={schedule.warmup_epochs:g} is longer than the run of trainer.max_epochs={num_epochs}; "
            f"give {num_epochs} or less"
        )
    missed = [f"{epoch:g}" for epoch in sorted(schedule.milestones) if epoch >= num_epochs]
    if schedule.name != "multistep" or not missed:
        return None
    return (
        f"schedule.milestones: the run of trainer.max_epochs={num_epochs} ends before epoch {', '.join(missed)}, "
        "so that its learning rate does not fall there"
    )


def learning_rate_factor(
    config: ScheduleConfig,
    *,
    base_lr: float,
    steps_per_epoch: float,
    num_steps: int,
    progress: Callable[[int], float] | None = None,
) -> Callable[[int], float]:
    """What the base rate is multiplied by at each optimizer step, counted from 0.

    The warm-up rises linearly to the factor that the schedule has where the warm-up ends.

    Args:
        config: Milestones and warm-up are in epochs.
        base_lr: The base rate, which turns `warmup_start_lr` and `end_lr` into factors.
        steps_per_epoch: Optimizer steps an epoch.
        num_steps: Optimizer steps of the whole run, where the cosine reaches `end_lr`.
        progress: The part of the run that lies behind at a step, for `dann`; none: the steps behind over all steps.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017; the cosine over the whole run, and the one that ends above zero: TAdaConv,
    `lr_policy` (cosine, cosine_v2); dann: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016, section 5.2.
    """
    warmup_steps = config.warmup_epochs * steps_per_epoch
    milestones = [epoch * steps_per_epoch for epoch in sorted(config.milestones)]
    end = config.end_lr / base_lr
    cosine_start = warmup_steps if config.is_cosine_after_warmup else 0.0

    def cosine(step: float) -> float:
        part = (step - cosine_start) / max(1.0, num_steps - cosine_start)
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))

    def dann(step: float) -> float:
        part = progress(int(step)) if progress is not None else step / max(1, num_steps)
        return annealing(part)

    curves: dict[str, Callable[[float], float]] = {
        "constant": lambda _: 1.0,
        "multistep": lambda step: float(config.gamma ** bisect.bisect_right(milestones, step)),
        "cosine": cosine,
        "dann": dann,
    }
    after_warmup = curves[config.name]
    start = _WARMUP_START if config.warmup_start_lr is None else config.warmup_start_lr / base_lr
    target = after_warmup(warmup_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return start + (target - start) * step / warmup_steps
        return after_warmup(step)

    return factor
