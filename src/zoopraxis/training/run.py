"""Whole runs: train, test on a split, predict on one video."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from zoopraxis.config.load import config_to_dict, config_to_yaml
from zoopraxis.config.schema import DataConfig, TrainConfig, TransformConfig
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import ConfigError
from zoopraxis.files import write_text
from zoopraxis.models.base import VideoModel
from zoopraxis.models.checkpoints import initialize, model_record
from zoopraxis.training.build import build_model
from zoopraxis.training.data import JoinedStore, RecognitionData, Split, open_split
from zoopraxis.training.mixing import check_mixing
from zoopraxis.training.optim import check_optimizer, check_schedule, scale_learning_rate
from zoopraxis.training.sharding import FSDP2, ShardedSystem, check_sharding
from zoopraxis.training.system import RecognitionSystem
from zoopraxis.training.trainer import build_trainer, quiet_lightning, resolve_monitor

__all__ = ["TrainOutcome", "train"]

_MAY_CHANGE = (
    "run",
    "trainer.max_epochs",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "data.num_workers",
    "data.pin_memory",
)
"""What a resumed run may set otherwise than the run it goes on with."""


@dataclass(frozen=True)
class TrainOutcome:
    """What a training run left behind.

    Attributes:
        run_dir: Its folder: `config.yaml`, `metrics.json`, `checkpoints/`, logs.
        best_checkpoint: The best by the watched metric; without a validation split the last.
        last_checkpoint: The last.
        metrics: Of the last validation, by name (accuracies in percent).
        num_train_clips: Clips an epoch.
        resumed: Whether it went on from a checkpoint.
        notes: What a person should know of the settings, one line each: a scaled learning rate, milestones out of reach.
    """

    run_dir: Path
    best_checkpoint: Path
    last_checkpoint: Path
    metrics: dict[str, float]
    num_train_clips: int
    resumed: bool
    notes: tuple[str, ...] = ()


def train(config: TrainConfig, *, show_progress: bool = False, tell: Callable[[str], None] | None = None) -> TrainOutcome:
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
    _check_sizes(config.data.transform)
    check_mixing(config.mix, config.data)
    check_optimizer(config.optim)
    check_sharding(config)
    missed = check_schedule(config.schedule, lr=config.optim.lr, num_epochs=_num_epochs(config.trainer))
    checkpoint = _checkpoint_to_resume(config, run_dir)
    data = _open_data(config)
    monitor = None if data.val is None else resolve_monitor(config.run.monitor, list(data.heads))
    with quiet_lightning():
        trainer = build_trainer(config, run_dir, monitor=monitor, show_progress=show_progress)
        batch_size = config.data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        optim, schedule, scaled = scale_learning_rate(config.optim, config.schedule, batch_size=batch_size)
        notes = tuple(line for line in (scaled, missed) if line is not None)
        if tell is not None:
            for line in notes:
                tell(line)
        model = _build_model(config, data.heads, has_initial_weights=checkpoint is None)
        _check_norms(model, config.trainer)
        _check_views(model, config.data)
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
        if trainer.is_global_zero:
            write_text(run_dir / "config.yaml", config_to_yaml(config))
        trainer.fit(system, datamodule=data, ckpt_path=checkpoint)
        if data.val is not None and monitor not in trainer.callback_metrics:
            trainer.validate(system, datamodule=data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    if trainer.is_global_zero:
        write_text(run_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return _outcome(run_dir, metrics, num_train_clips=len(data.train.index), resumed=checkpoint is not None, notes=notes)


def _outcome(
    run_dir: Path, metrics: dict[str, float], *, num_train_clips: int, resumed: bool, notes: tuple[str, ...]
) -> TrainOutcome:
    last = run_dir / "checkpoints" / "last.ckpt"
    best = run_dir / "checkpoints" / "best.ckpt"
    return TrainOutcome(
        run_dir=run_dir,
        best_checkpoint=best if best.exists() else last,
        last_checkpoint=last,
        metrics=metrics,
        num_train_clips=num_train_clips,
        resumed=resumed,
        notes=notes,
    )


def _check_sizes(transform: TransformConfig) -> None:
    """See that the crops of validation and test lie in the frames that they are cut from."""
    for name, size in (("size", transform.size), ("test_size", transform.test_size)):
        if size is not None and size > transform.resize:
            raise ConfigError(
                f"data.transform.{name}={size} is larger than the frames that it is cut from, data.transform.resize="
                f"{transform.resize}; give {transform.resize} or less, or a larger data.transform.resize"
            )


def _check_views(model: VideoModel, data: DataConfig) -> None:
    """See that the network can take the views of training and validation, and those of the tests that will follow."""
    size, num_segments = data.transform.size, data.num_segments
    model.check_view(num_segments, size)
    model.check_view(num_segments, data.transform.test_size or size)
    model.check_view(data.test_num_segments or num_segments, data.transform.test_size or size)


def _check_norms(model: nn.Module, trainer: Mapping[str, Any]) -> None:
    """See that synchronized batch norms would not take the place of norms that do more: torch's own conversion would do so."""
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    special = {type(module).__name__ for module in model.modules() if isinstance(module, plain) and type(module) not in plain}
    if trainer.get("sync_batchnorm") and special:
        raise ConfigError(
            f"trainer.sync_batchnorm=true would turn this network's {', '.join(sorted(special))} into plain batch norms; "
            "set trainer.sync_batchnorm=false, or choose a network of plain batch norms"
        )


def _num_epochs(trainer: Mapping[str, Any]) -> int | None:
    """Epochs of the run; none if it ends after a number of steps or never."""
    num_epochs = trainer.get("max_epochs")
    is_counted = num_epochs is not None and num_epochs > 0 and trainer.get("max_steps", -1) < 0
    return num_epochs if is_counted else None


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


def _checkpoint_to_resume(config: TrainConfig, run_dir: Path) -> Path | None:
    """The checkpoint to go on from, if the folder holds a run of the same settings.

    Raises:
        ConfigError: If the folder's run has other settings, or may not be resumed.
    """
    if config.run.resume not in ("auto", "never"):
        chosen = Path(config.run.resume)
        if not chosen.is_file():
            raise ConfigError(f"run.resume={config.run.resume} is no file; name a checkpoint, or use auto or never")
        return chosen
    last = run_dir / "checkpoints" / "last.ckpt"
    is_first_process = int(os.environ.get("LOCAL_RANK", "0")) == 0
    stored_path = run_dir / "config.yaml"
    if config.run.resume == "never" and stored_path.exists() and is_first_process:
        raise ConfigError(f"{run_dir} holds a run already and run.resume=never; choose another run.dir")
    if not last.exists():
        return None
    stored = _flat(yaml.safe_load(stored_path.read_text())) if stored_path.exists() else {}
    wanted = _flat(config_to_dict(config))
    for path in sorted(stored.keys() | wanted.keys()):
        if path in _MAY_CHANGE or path.split(".")[0] in _MAY_CHANGE or stored.get(path) == wanted.get(path):
            continue
        raise ConfigError(
            f"{run_dir} holds a run with {path}={stored.get(path)}, and this one has {path}={wanted.get(path)}; "
            "choose another run.dir, or give the old settings to go on with it"
        )
    return last


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        flat |= _flat(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return flat


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
