"""Whole runs of every task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import Config
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.config.schema import TrainConfig
from zoopraxis.training.adaptation.run import train_adaptation
from zoopraxis.training.folders import TrainOutcome
from zoopraxis.training.localization.run import train_localization
from zoopraxis.training.recognition import train_recognition

__all__ = ["TrainOutcome", "train"]

_TASKS: dict[type[Any], Callable[..., TrainOutcome]] = {
    TrainConfig: train_recognition,
    AdaptationConfig: train_adaptation,
    LocalizationConfig: train_localization,
}
"""The schema of a task to the function that trains by it."""


def train(config: Config, *, show_progress: bool = False, tell: Callable[[str], None] | None = None) -> TrainOutcome:
    """Train a network by a recipe of any task, or go on with a run that was broken off.

    Everything is checked before the first step: settings, devices, every annotation row and the presence of its frames or
    features.

    Args:
        config: The run's settings, as `load_config` gives them; their kind decides the task.
        show_progress: Whether to draw a progress bar on standard error.
        tell: Called with each of the outcome's notes before the first step.

    Raises:
        ConfigError: If a setting does not fit, or the run folder holds a run with other settings.
        DataError: If annotations, frames or features are broken, or the loss is not finite (the message names the clips).
    """
    return _TASKS[type(config)](config, show_progress=show_progress, tell=tell)
