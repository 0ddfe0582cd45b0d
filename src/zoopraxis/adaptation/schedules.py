"""Strengths and weights over the run: plain numbers from the part of the run that lies behind.

The part p is (step + epoch * steps_per_epoch) / (num_epochs * steps_per_epoch), where the published code numbers epochs from 1:
p begins at 1 / num_epochs and ends above 1. `first_epoch` is that number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

__all__ = [
    "BelowZero",
    "Progress",
    "Warmup",
    "WarmupEach",
    "annealing",
    "discrepancy_weight",
    "run_part",
    "scheduled_strengths",
]

Warmup = Literal["none", "slow", "dann"]
WarmupEach = Literal["step", "epoch"]
BelowZero = Literal["warmup", "slow", "dann"]

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        epoch: Epoch of the run, counted from 0.
        step: Step in the epoch, counted from 0.
        steps_per_epoch: Batches of the source, whether or not the epoch has so many steps.
        num_epochs: Epochs of the run.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    num_epochs: int


def run_part(progress: Progress, *, first_epoch: int = 1) -> float:
    """The part p of the run that lies behind a step."""
    steps = progress.step + (first_epoch + progress.epoch) * progress.steps_per_epoch
    return steps / (progress.num_epochs * progress.steps_per_epoch)


def scheduled_strengths(
    strengths: Mapping[Name, float],
    progress: Progress,
    *,
    warmup: Warmup = "slow",
    warmup_each: WarmupEach = "step",
    first_epoch: int = 1,
    below_zero: BelowZero = "warmup",
) -> dict[Name, float]:
    """What gradients are multiplied by, reversed, at a step.

    Args:
        strengths: Of each level. One of 0 or more is multiplied by the warm-up's factor; one below 0 stands for a curve.
        progress: The step.
        warmup: The factor. slow: 2 / (1 + exp(-p)) - 1, up to 0.46; dann: 2 / (1 + exp(-10 p)) - 1, up to 1; none: 1.
        warmup_each: Whether the curve of strengths below 0 moves at each step or once an epoch.
        first_epoch: The number of the run's first epoch.
        below_zero: The curve of strengths below 0. warmup: the factor alone; slow, dann: that curve times the factor.

    Returns:
        Under the same names.

    Source: the curve dann: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016, section 5.2.2.

    Differs: the published code overwrites strengths below 0 at the first batch of an epoch by the curve, so that they stand
    still until the next, and multiplies them by the factor once more where it has one. That is `warmup_each="epoch"` with
    `below_zero="dann"` (UCF-HMDB, warmup="none") or "slow" (EPIC-KITCHENS-100). Its port to Lightning multiplies what the last
    batch left, beginning with 0, so that no gradient is ever reversed; here a step's strengths follow from its progress alone.
    """
    part = run_part(progress, first_epoch=first_epoch)
    factor = _CURVES[warmup](part)
    curve_part = part if warmup_each == "step" else (first_epoch + progress.epoch) / progress.num_epochs
    curve = _CURVES[warmup](curve_part) if below_zero == "warmup" else _CURVES[below_zero](curve_part) * factor
    return {name: strength * factor if strength >= 0 else curve for name, strength in strengths.items()}


def discrepancy_weight(weight: float, progress: Progress, *, first_epoch: int = 1) -> float:
    """The weight of the discrepancy in an epoch: as it is, or 2 / (1 + exp(-epoch / num_epochs)) - 1 if it is below 0."""
    return weight if weight >= 0 else _CURVES["slow"]((first_epoch + progress.epoch) / progress.num_epochs)


def annealing(part: float) -> float:
    """What DANN multiplies the learning rate by: (1 + 10 p)^-0.75.

    The published code sets the rate behind each step, so that step i has the p of step i - 1, and the first step of the run the
    full rate.
    """
    return float((1 + 10 * part) ** -0.75)


def _rise(coefficient: float) -> Callable[[float], float]:
    return lambda part: 2 / (1 + math.exp(-coefficient * part)) - 1


_CURVES: Mapping[str, Callable[[float], float]] = {"none": lambda part: 1.0, "slow": _rise(1), "dann": _rise(10)}
