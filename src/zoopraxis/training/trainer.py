"""Lightning's Trainer as a recipe describes it."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from zoopraxis.config.load import Config
from zoopraxis.config.schema import RunFolderConfig
from zoopraxis.errors import ConfigError, MissingExtraError, did_you_mean
from zoopraxis.training.checkpoints import SafeCheckpointIO
from zoopraxis.training.sharding import FSDP2, ShardedStrategy

__all__ = [
    "build_trainer",
    "check_devices",
    "check_norms",
    "inference_trainer",
    "num_epochs",
    "quiet_lightning",
    "resolve_monitor",
]

_REFUSALS = (MisconfigurationException, ModuleNotFoundError, ValueError, TypeError)
"""What Lightning raises for arguments that do not suit it or this machine."""


def build_trainer(
    config: Config,
    run_dir: Path,
    *,
    monitor: str | None,
    show_progress: bool,
    callbacks: Sequence[Callback] = (),
    has_idle_parameters: bool = False,
) -> L.Trainer:
    """The Trainer of a run of any task.

    Args:
        config: The run's settings; `config.trainer` goes to Lightning as it stands, but for our strategy `fsdp2`.
        run_dir: Where checkpoints and logs go.
        monitor: The metric whose best checkpoint is kept; none without a validation split.
        show_progress: Whether to draw a progress bar (on standard error).
        callbacks: Further ones of the task.
        has_idle_parameters: Whether steps may leave parameters without gradients; processes then look for these.

    Raises:
        ConfigError: If an argument does not suit Lightning, or a device is not there.
    """
    arguments = dict(config.trainer)
    accelerator, devices = arguments.get("accelerator", "auto"), arguments.get("devices", "auto")
    check_devices(accelerator, devices)
    is_shared_out = arguments.get("strategy", "auto") in ("auto", "ddp")
    if has_idle_parameters and is_shared_out and _num_devices(accelerator, devices) * arguments.get("num_nodes", 1) > 1:
        arguments["strategy"] = DDPStrategy(find_unused_parameters=True)
    if arguments.get("strategy") == FSDP2:
        arguments["strategy"] = ShardedStrategy()
    try:
        return L.Trainer(
            **arguments,
            callbacks=[*callbacks, *_callbacks(config.run, run_dir, monitor=monitor, show_progress=show_progress)],
            logger=_loggers(config.run.loggers, run_dir),
            plugins=[SafeCheckpointIO()],
            default_root_dir=run_dir,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_progress_bar=show_progress,
            enable_model_summary=False,
        )
    except _REFUSALS as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def inference_trainer(*, accelerator: str, devices: int | str, show_progress: bool) -> L.Trainer:
    """The Trainer of a test: no logs, no checkpoints.

    Raises:
        ConfigError: If a device is not there, or unknown to Lightning.
    """
    check_devices(accelerator, devices)
    try:
        return L.Trainer(
            accelerator=accelerator,
            devices=devices,
            callbacks=[_progress_bar()] if show_progress else None,
            logger=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            enable_progress_bar=show_progress,
            enable_model_summary=False,
        )
    except _REFUSALS as error:
        raise ConfigError(f"accelerator {accelerator}: {' '.join(str(error).split())}") from error


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes about hardware and its advice about loaders away from the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        logger.setLevel(level)


def check_devices(accelerator: str, devices: Any) -> None:
    """Refuse more devices than this machine has.

    Raises:
        ConfigError: With the number asked for and the number there is.
    """
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())
    available = torch.cuda.device_count() if on_gpu else os.cpu_count() or 1
    kind = "GPU" if on_gpu else "CPU core"
    if accelerator in ("gpu", "cuda") and available == 0:
        raise ConfigError(f"trainer.accelerator={accelerator}, but there is no GPU here; use trainer.accelerator=cpu")
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        return
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    wanted = len(devices) if isinstance(devices, list) else devices
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > available:
        plural = "" if available == 1 else "s"
        raise ConfigError(f"trainer.devices={devices}, but there are {available} {kind}{plural} here; use {available} or fewer")
    if isinstance(wanted, int) and (wanted == 0 or wanted < -1):
        raise ConfigError(f"trainer.devices={devices}, but it must be 1 or more, -1 (all) or auto; use trainer.devices=auto")


def resolve_monitor(wanted: str, heads: Sequence[str]) -> str:
    """The metric to watch: the recipe's, or the first head's accuracy where verbs and nouns are not both predicted.

    Raises:
        ConfigError: If no such metric is computed.
    """
    scored = [*heads, "action"] if {"verb", "noun"} <= set(heads) else list(heads)
    known = ["val/loss", *(f"val/{head}_loss" for head in heads), *(f"val/{h}_acc@{k}" for h in scored for k in (1, 5))]
    if wanted in known:
        return wanted
    if wanted == "val/action_acc@1":
        return f"val/{scored[0]}_acc@1"
    raise ConfigError(f"run.monitor={wanted} is not computed; {did_you_mean(wanted, known)}")


def _num_devices(accelerator: str, devices: Any) -> int:
    """Devices of one machine that Lightning will use; it also takes their numbers, as a list or as text (`0,1`).

    Raises:
        ConfigError: If that is no number of devices.
    """
    numbers = devices.strip(",").split(",") if isinstance(devices, str) and "," in devices else devices
    if isinstance(numbers, list):
        return len(numbers)
    if devices in ("auto", -1, "-1"):
        on_gpu = accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
        return torch.cuda.device_count() if on_gpu else 1
    try:
        return int(devices)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer.devices={devices} is no number of devices; give e.g. 2, or auto") from error


def check_norms(model: nn.Module, trainer: Mapping[str, Any]) -> None:
    """See that synchronized batch norms would not take the place of norms that do more: torch's own conversion would do so.

    Raises:
        ConfigError: With the kinds of these norms.
    """
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    special = {type(module).__name__ for module in model.modules() if isinstance(module, plain) and type(module) not in plain}
    if trainer.get("sync_batchnorm") and special:
        raise ConfigError(
            f"trainer.sync_batchnorm=true would turn this network's {', '.join(sorted(special))} into plain batch norms; "
            "set trainer.sync_batchnorm=false, or choose a network of plain batch norms"
        )


def num_epochs(trainer: Mapping[str, Any]) -> int | None:
    """Epochs of the run; none if it ends after a number of steps or never."""
    wanted: int | None = trainer.get("max_epochs")
    is_counted = wanted is not None and wanted > 0 and trainer.get("max_steps", -1) < 0
    return wanted if is_counted else None


def _callbacks(run: RunFolderConfig, run_dir: Path, *, monitor: str | None, show_progress: bool) -> list[Callback]:
    folder = run_dir / "checkpoints"
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "auto_insert_metric_name": False}
    callbacks: list[Callback] = [LearningRateMonitor("step")] if run.loggers else []
    if monitor is not None:
        mode = "min" if monitor.endswith(("loss", "entropy")) else "max"
        callbacks.append(ModelCheckpoint(filename="best", monitor=monitor, mode=mode, save_top_k=1, **common))
    if run.checkpoint_every_n_steps:
        every = run.checkpoint_every_n_steps
        callbacks.append(ModelCheckpoint(filename="last", every_n_train_steps=every, save_on_train_epoch_end=False, **common))
    callbacks.append(ModelCheckpoint(filename="last", every_n_epochs=1, save_on_train_epoch_end=True, **common))
    if show_progress:
        callbacks.append(_progress_bar())
    return callbacks


def _progress_bar() -> Callback:
    return RichProgressBar(console_kwargs={"stderr": True})


def _loggers(names: Sequence[str], run_dir: Path) -> list[Logger]:
    """Lightning's loggers by name: `csv` is CSVLogger, `tensorboard` is TensorBoardLogger, and so on."""
    known = {name.removesuffix("Logger").lower(): name for name in lightning_loggers.__all__ if name != "Logger"}
    built = []
    for name in names:
        if name not in known:
            raise ConfigError(f"run.loggers has {name!r}; {did_you_mean(name, known)}")
        kind = getattr(lightning_loggers, known[name])
        parameters = inspect.signature(kind).parameters
        folder = next((key for key in ("save_dir", "offline_directory") if key in parameters), None)
        places: dict[str, Any] = {folder: str(run_dir)} if folder else {}
        if name in ("csv", "tensorboard"):
            places |= {"name": "logs", "version": ""}
        try:
            built.append(kind(**places))
        except ModuleNotFoundError as error:
            package = error.name or name
            raise MissingExtraError(package, "logging") from error
    return built
