from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from zoopraxis.config.schema import TrainConfig
from zoopraxis.errors import ConfigError
from zoopraxis.training.trainer import build_trainer, check_devices, inference_trainer, quiet_lightning, resolve_monitor


def test_more_processes_than_cores_are_refused() -> None:
    cores = os.cpu_count() or 1
    with pytest.raises(ConfigError, match=rf"trainer\.devices={cores + 1}, but there are {cores} CPU cores? here; use {cores}"):
        check_devices("cpu", cores + 1)
    with pytest.raises(ConfigError, match="CPU core"):
        check_devices("cpu", str(cores + 1))
    check_devices("cpu", 1)


def test_no_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices=0, but it must be 1 or more"):
        check_devices("cpu", 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no GPU here; use trainer\.accelerator=cpu"):
        check_devices("gpu", 1)


def test_the_monitor_falls_back_to_the_first_head() -> None:
    assert resolve_monitor("val/action_acc@1", ["verb", "noun"]) == "val/action_acc@1"
    assert resolve_monitor("val/action_acc@1", ["label"]) == "val/label_acc@1"
    assert resolve_monitor("val/loss", ["label"]) == "val/loss"


def test_an_unknown_monitor_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"run\.monitor=val/verb_acc1 is not computed; did you mean 'val/verb_acc@1'\?"):
        resolve_monitor("val/verb_acc1", ["verb", "noun"])


def test_an_unknown_logger_names_the_known(tmp_path: Path) -> None:
    config = TrainConfig()
    config.trainer["accelerator"] = "cpu"
    config.run.loggers = ["tensorbord"]
    with pytest.raises(ConfigError, match=r"run\.loggers has 'tensorbord'; did you mean 'tensorboard'\?"):
        build_trainer(config, tmp_path, monitor=None, show_progress=False)


@pytest.mark.parametrize("accelerator", ["tpu", "abacus"])
def test_an_accelerator_that_is_not_here_is_one_line(tmp_path: Path, accelerator: str) -> None:
    config = TrainConfig()
    config.trainer["accelerator"] = accelerator
    with pytest.raises(ConfigError, match=r"trainer: .*"):
        build_trainer(config, tmp_path, monitor=None, show_progress=False)
    with pytest.raises(ConfigError, match=f"accelerator {accelerator}: "):
        inference_trainer(accelerator=accelerator, devices=1, show_progress=False)


def test_a_wrong_trainer_argument_is_one_line(tmp_path: Path) -> None:
    config = TrainConfig()
    config.trainer |= {"accelerator": "cpu", "strategy": "no_such_strategy"}
    with pytest.raises(ConfigError, match=r"trainer: .*no_such_strategy"):
        build_trainer(config, tmp_path, monitor=None, show_progress=False)


def test_processes_look_for_parameters_that_a_step_leaves_alone(tmp_path: Path) -> None:
    config = TrainConfig()
    config.run.loggers = []
    for devices, is_parallel in ((1, False), (min(2, os.cpu_count() or 1), (os.cpu_count() or 1) > 1)):
        config.trainer |= {"accelerator": "cpu", "devices": devices}
        with quiet_lightning():
            trainer = build_trainer(config, tmp_path, monitor=None, show_progress=False, has_idle_parameters=True)
        assert isinstance(trainer.strategy, DDPStrategy) == is_parallel


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("0,1", r"^trainer: `devices` selected with `CPUAccelerator`"),
        ("two", r"^trainer\.devices=two is no number of devices; give"),
    ],
)
def test_devices_that_are_no_number_are_one_line(devices: str, message: str, tmp_path: Path) -> None:
    config = TrainConfig()
    config.trainer |= {"accelerator": "cpu", "devices": devices}
    with pytest.raises(ConfigError, match=message):
        build_trainer(config, tmp_path, monitor=None, show_progress=False, has_idle_parameters=True)


def test_entropy_is_better_the_lower(tmp_path: Path) -> None:
    config = TrainConfig()
    config.trainer |= {"accelerator": "cpu", "devices": 1}
    config.run.loggers = []
    for monitor, mode in (("val/target_entropy", "min"), ("val/loss", "min"), ("val/action_acc@1", "max")):
        trainer = build_trainer(config, tmp_path, monitor=monitor, show_progress=False)
        assert trainer.checkpoint_callback is not None
        assert trainer.checkpoint_callback.mode == mode  # type: ignore[attr-defined]
