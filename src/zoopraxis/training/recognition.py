"""A whole run of recognition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from zoopraxis.config.load import config_to_dict
from zoopraxis.config.schema import TrainConfig
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.checkpoints import initialize, model_record
from zoopraxis.training.build import build_model, check_views
from zoopraxis.training.clip_data import check_sizes
from zoopraxis.training.data import JoinedStore, RecognitionData, Split, open_split
from zoopraxis.training.ema import WeightAverage
from zoopraxis.training.folders import TrainOutcome, checkpoint_to_resume, finish_run, write_config
from zoopraxis.training.mixing import check_mixing
from zoopraxis.training.optim import check_optimizer, check_schedule, scale_learning_rate
from zoopraxis.training.sharding import FSDP2, ShardedSystem, check_sharding
from zoopraxis.training.system import RecognitionSystem
from zoopraxis.training.trainer import build_trainer, check_norms, num_epochs, quiet_lightning, resolve_monitor

__all__ = ["train_recognition"]


def train_recognition(
    config: TrainConfig, *, show_progress: bool = False, tell: Callable[[str], None] | None = None
) -> TrainOutcome:
    """Train a recognition network, or go on with a run that was broken off.

    Everything is checked before the first step: settings, devices, every annotation row and the presence of its frames.

    Args:
        config: The run's settings, as `load_config` gives them.
        show_progress: Whether to draw a progress bar on standard error.
        tell: Called with each of the outcome's notes before the first step.

    Raises:
        ConfigError: If a setting does not fit, or the run folder holds a run with other settings.
        DataError: If annotations or frames are broken, or the loss is not finite (the message names the clips).
    """
    run_dir = Path(config.run.dir)
    check_sizes(config.data.transform)
    check_mixing(config.mix, config.data)
    check_optimizer(config.optim)
    check_sharding(config)
    missed = check_schedule(config.schedule, lr=config.optim.lr, num_epochs=num_epochs(config.trainer))
    checkpoint = checkpoint_to_resume(config, run_dir)
    data = _open_data(config)
    monitor = None if data.val is None else resolve_monitor(config.run.monitor, list(data.heads))
    with quiet_lightning():
        average = [WeightAverage(config.ema.decay)] if config.ema.decay > 0 else []
        trainer = build_trainer(config, run_dir, monitor=monitor, show_progress=show_progress, callbacks=average)
        batch_size = config.data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        optim, schedule, scaled = scale_learning_rate(config.optim, config.schedule, batch_size=batch_size)
        notes = tuple(line for line in (scaled, missed) if line is not None)
        if tell is not None:
            for line in notes:
                tell(line)
        model = _build_model(config, data.heads, has_initial_weights=checkpoint is None)
        check_norms(model, config.trainer)
        check_views(model, config.data)
        kind = ShardedSystem if config.trainer.get("strategy") == FSDP2 else RecognitionSystem
        system = kind(
            model,
            optim=optim,
            schedule=schedule,
            mix=config.mix,
            loss=config.loss,
            seed=config.seed,
            train_clip_ids=data.train.index.clip_ids,
            record=model_record(model, class_names=data.train.index.class_names, config=config_to_dict(config)),
        )
        if config.compile:
            model.compile()
        write_config(config, run_dir, trainer)
        trainer.fit(system, datamodule=data, ckpt_path=checkpoint)
        if data.val is not None and monitor not in trainer.callback_metrics:
            trainer.validate(system, datamodule=data, verbose=False)
    return finish_run(trainer, run_dir, num_train_clips=len(data.train.index), resumed=checkpoint is not None, notes=notes)


def _open_data(config: TrainConfig) -> RecognitionData:
    """The clips of training and validation, every row checked."""
    train_split = open_split(config.data, "train")
    if train_split is None:
        raise ConfigError(
            f"no training clips: data.train is not set and data.root={config.data.root} has no gulp folder of them"
        )
    val_split = open_split(config.data, "val", class_names=train_split.index.class_names)
    if config.data.train_on_val and val_split is not None:
        train_split = _join(train_split, val_split)
    heads = config.model.heads or train_split.index.heads
    data = RecognitionData(config.data, heads=heads, train=train_split, val=val_split, seed=config.seed)
    data.check()
    return data


def _build_model(config: TrainConfig, heads: Mapping[str, int], *, has_initial_weights: bool) -> VideoModel:
    """The network as a run starts with it; one that goes on from a checkpoint needs no initial weights."""
    settings = config.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(config, heads, pretrained=settings.pretrained and has_initial_weights and settings.weights is None)
    if settings.weights is not None and has_initial_weights:
        initialize(model, settings.weights)
    if settings.grad_checkpointing:
        model.set_grad_checkpointing()
    return model


def _join(train_split: Split, val_split: Split) -> Split:
    return Split(ClipIndex.concat([train_split.index, val_split.index]), JoinedStore([train_split.store, val_split.store]))
