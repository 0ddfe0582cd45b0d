"""Optimizers, and learning rates as one factor per optimizer step."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from zoopraxis.config.schema import OptimConfig, ScheduleConfig
from zoopraxis.models.parameter_groups import parameter_groups

__all__ = ["build_optimizer", "learning_rate_factor"]

_WARMUP_START = 0.01


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimizer of a recipe over the model's trainable parameters.

    With `optim.groups=effective` every group has the same rate and weight decay: the multipliers that the published baselines
    attach to their groups never reached their optimizer, and the published numbers were made without them.
    """
    groups: list[dict[str, Any]] = [
        {
            "name": group["name"],
            "params": group["params"],
            "lr": config.lr * group["lr_mult"],
            "weight_decay": config.weight_decay * group["decay_mult"],
        }
        for group in parameter_groups(model, policy=config.groups)
    ]
    if config.name == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    return AdamW(groups, lr=config.lr)


def learning_rate_factor(config: ScheduleConfig, *, steps_per_epoch: float, num_steps: int) -> Callable[[int], float]:
    """What the base rate is multiplied by at each optimizer step, counted from 0.

    Args:
        config: Milestones and warm-up are in epochs.
        steps_per_epoch: Optimizer steps an epoch.
        num_steps: Optimizer steps of the whole run, where the cosine reaches zero.
    """
    warmup_steps = config.warmup_epochs * steps_per_epoch
    milestones = [epoch * steps_per_epoch for epoch in sorted(config.milestones)]

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _WARMUP_START + (1 - _WARMUP_START) * step / warmup_steps
        if config.name == "multistep":
            return float(config.gamma ** bisect.bisect_right(milestones, step))
        if config.name == "cosine":
            progress = (step - warmup_steps) / max(1.0, num_steps - warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return 1.0

    return factor
