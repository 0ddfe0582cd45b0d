"""A run's folder: what stands in it, and the checkpoint that a run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from zoopraxis.config.load import Config, config_to_dict, config_to_yaml
from zoopraxis.errors import ConfigError
from zoopraxis.files import write_text

__all__ = ["TrainOutcome", "checkpoint_to_resume", "finish_run", "write_config"]

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


def checkpoint_to_resume(config: Config, run_dir: Path) -> Path | None:
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


def write_config(config: Config, run_dir: Path, trainer: L.Trainer) -> None:
    """Keep the run's settings in its folder, by the first process."""
    if trainer.is_global_zero:
        write_text(run_dir / "config.yaml", config_to_yaml(config))


def finish_run(
    trainer: L.Trainer, run_dir: Path, *, num_train_clips: int, resumed: bool, notes: tuple[str, ...]
) -> TrainOutcome:
    """Keep the last validation's metrics in the run's folder, and say what stands in it.

    Args:
        trainer: After its last validation.
        run_dir: The folder.
        num_train_clips: Clips an epoch.
        resumed: Whether the run went on from a checkpoint.
        notes: What a person should know of the settings.
    """
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    if trainer.is_global_zero:
        write_text(run_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
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
