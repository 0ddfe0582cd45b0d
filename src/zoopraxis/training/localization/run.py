"""A whole run of localization."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zoopraxis.config.load import config_to_dict
from zoopraxis.config.localization import LocalizationConfig, LocalizationLossConfig
from zoopraxis.data.features.folder import DESCRIPTION, read_description
from zoopraxis.errors import ConfigError
from zoopraxis.localization.losses import LocalizationLoss
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.training.folders import TrainOutcome, checkpoint_to_resume, finish_run, write_config
from zoopraxis.training.localization.checkpoints import initialize_localizer
from zoopraxis.training.localization.data import LocalizationData
from zoopraxis.training.localization.system import LocalizationSystem
from zoopraxis.training.localization.windows import describe_windows
from zoopraxis.training.optim import check_descent, check_schedule, scale_learning_rate
from zoopraxis.training.trainer import build_trainer, check_norms, num_epochs, quiet_lightning

__all__ = ["build_loss", "build_network", "train_localization"]


def train_localization(
    config: LocalizationConfig, *, show_progress: bool = False, tell: Callable[[str], None] | None = None
) -> TrainOutcome:
    """Train a network that finds actions in long videos, or go on with a run that was broken off.

    Everything is checked before the first step: settings, devices, every segment, and the presence of every video's features.

    Args:
        config: The run's settings, as `load_config` gives them.
        show_progress: Whether to draw a progress bar on standard error.
        tell: Called with each of the outcome's notes before the first step.

    Raises:
        ConfigError: If settings do not go together, or the run folder holds a run with other settings.
        AnnotationError: If annotations are broken.
        DataError: If features are missing or broken, or the loss is not finite (the message names the windows).
        CheckpointError: If `model.weights` cannot be loaded.
    """
    run_dir = Path(config.run.dir)
    loss = build_loss(config.loss)
    check_descent(config.optim)
    _check_run(config)
    missed = check_schedule(config.schedule, lr=config.optim.lr, num_epochs=num_epochs(config.trainer))
    checkpoint = checkpoint_to_resume(config, run_dir)
    data = LocalizationData(config)
    monitor = _monitor(config, data)
    with quiet_lightning():
        trainer = build_trainer(config, run_dir, monitor=monitor, show_progress=show_progress)
        data.trainer = trainer  # which processes share an epoch decides how many batches it has
        batch_size = config.data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        optim, schedule, scaled = scale_learning_rate(config.optim, config.schedule, batch_size=batch_size, things="windows")
        model = build_network(config, data, has_initial_weights=checkpoint is None)
        check_norms(model, config.trainer)
        notes = tuple(line for line in (*data.notes, scaled, missed) if line is not None)
        if tell is not None:
            for line in notes:
                tell(line)
        system = LocalizationSystem(
            model,
            loss=loss,
            optim=optim,
            schedule=schedule,
            num_epochs=config.trainer["max_epochs"],
            seed=config.seed,
            name_windows=partial(describe_windows, data.train.videos, data.train.table),
            record=_record(model, config, data),
        )
        write_config(config, run_dir, trainer)
        trainer.fit(system, datamodule=data, ckpt_path=checkpoint)
        if data.val is not None and not any(name.startswith("val/") for name in trainer.callback_metrics):
            trainer.validate(system, datamodule=data, verbose=False)
    return finish_run(trainer, run_dir, num_train_clips=len(data.train.table), resumed=checkpoint is not None, notes=notes)


def build_loss(settings: LocalizationLossConfig) -> LocalizationLoss:
    """The loss that the settings describe.

    Raises:
        ConfigError: If its bounds of overlaps do not go together.
    """
    try:
        return LocalizationLoss(**dataclasses.asdict(settings))
    except ValueError as error:
        raise ConfigError(f"loss: {error}") from error


def build_network(
    config: LocalizationConfig, data: LocalizationData, *, has_initial_weights: bool = True
) -> BoundaryMatchingNetwork:
    """The network as a run starts with it; one that goes on from a checkpoint needs no initial weights.

    Raises:
        ConfigError: If its sizes do not go together.
        CheckpointError: If `model.weights` cannot be loaded, or are of another network.
    """
    settings = dataclasses.asdict(config.model)
    weights, has_class_maps = settings.pop("weights"), settings.pop("class_maps")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            network = BoundaryMatchingNetwork(
                in_dim=data.train.features.num_channels,
                num_steps=config.data.num_steps,
                max_duration=config.data.max_duration,
                heads=data.train.videos.heads if has_class_maps else {},
                **settings,
            )
        except ValueError as error:
            raise ConfigError(f"model: {error}") from error
    if weights is not None and has_initial_weights:
        initialize_localizer(network, weights)
    return network


def _check_run(config: LocalizationConfig) -> None:
    """See that the run has epochs, and that its network will be able to name proposals as the settings want them named.

    Raises:
        ConfigError: If not.
    """
    if (config.trainer.get("max_epochs") or 0) < 1:
        raise ConfigError(
            f"trainer.max_epochs={config.trainer.get('max_epochs')}, but the run's length is needed in epochs; give e.g. "
            "trainer.max_epochs=10 (trainer.max_steps may end the run before)"
        )
    if config.classes.by == "maps" and not config.model.class_maps:
        raise ConfigError(
            "classes.by=maps names proposals by the network's maps of classes, and this one would learn none; set "
            "model.class_maps=true, or name proposals otherwise, e.g. with classes.by=scores"
        )


def _monitor(config: LocalizationConfig, data: LocalizationData) -> str | None:
    """The metric whose best checkpoint is kept; none: the last is the best.

    Raises:
        ConfigError: If it needs annotations of validation and there are none.
    """
    if config.run.select == "last":
        return None
    if data.val is None:
        raise ConfigError(
            "run.select=loss needs the segments of data.val, and there are none; name their annotations with data.val=..., or "
            "set run.select=last"
        )
    return "val/loss"


def _record(model: BoundaryMatchingNetwork, config: LocalizationConfig, data: LocalizationData) -> dict[str, Any]:
    """What a checkpoint of the run keeps under `zoopraxis`."""
    root = Path(config.data.root)
    meta = read_description(root).meta if (root / DESCRIPTION).is_file() else {}
    return {
        "task": config.task,
        "network": model.arguments,
        "features": {"modalities": data.modalities, "meta": meta},
        "class_names": {head: list(names) for head, names in data.train.videos.class_names.items()},
        "config": config_to_dict(config),
    }
