from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_videos import SMALL_RUN
from zoopraxis.config.load import load_config
from zoopraxis.config.localization import LocalizationConfig, LocalizationLossConfig
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.localization.data import LocalizationData
from zoopraxis.training.localization.run import build_loss, build_network, train_localization
from zoopraxis.training.localization.system import LocalizationSystem


def _config(root: Path, run_dir: Path, *more: str) -> LocalizationConfig:
    places = [f"data.root={root / 'features'}", f"data.annotations={root / 'annotations'}", f"run.dir={run_dir}"]
    config = load_config("bmn_epic", [*places, *SMALL_RUN, "run.loggers=[]", *more])
    assert isinstance(config, LocalizationConfig)
    return config


def _system(config: LocalizationConfig, **more: Any) -> LocalizationSystem:
    network = build_network(config, LocalizationData(config))
    return LocalizationSystem(network, loss=build_loss(config.loss), optim=config.optim, schedule=config.schedule, **more)


def test_a_network_is_as_the_settings_and_annotations_say(tiny_videos: Path, tmp_path: Path) -> None:
    config = _config(tiny_videos, tmp_path, "model.class_maps=true", "model.regression=true")
    first, second = (build_network(config, LocalizationData(config)) for _ in range(2))
    assert first.arguments["heads"] == {"verb": 97, "noun": 300}
    assert first.arguments["regression"]
    assert torch.equal(first.match_weight, second.match_weight)


def test_sizes_that_do_not_go_together_are_told(tiny_videos: Path, tmp_path: Path) -> None:
    config = _config(tiny_videos, tmp_path, "model.groups=3")
    with pytest.raises(ConfigError, match=r"model: base_dim \(8\) must be divisible by groups \(3\)"):
        build_network(config, LocalizationData(config))
    with pytest.raises(ConfigError, match=r"loss: low_below \(0\.8\) must be below high_above \(0\.7\), both from 0 to 1"):
        build_loss(LocalizationLossConfig(low_below=0.8))


def test_the_same_step_draws_the_same_cells(tiny_videos: Path, tmp_path: Path) -> None:
    config = _config(tiny_videos, tmp_path)
    system = _system(config, seed=3)
    batch = next(iter(LocalizationData(config).train_dataloader()))
    losses = [float(system._losses(batch, epoch, 0)["loss"].detach()) for epoch in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_biases_decay_only_where_they_should(tiny_videos: Path, tmp_path: Path) -> None:
    weights, biases = _system(_config(tiny_videos, tmp_path))._groups()
    assert biases["weight_decay"] == 0.0
    assert all(value.ndim == 1 for value in biases["params"])
    assert all(value.ndim > 1 for value in weights["params"])
    (everything,) = _system(_config(tiny_videos, tmp_path, "optim.decay_biases=true"))._groups()
    assert len(everything["params"]) == len(weights["params"]) + len(biases["params"])


def test_a_loss_that_is_not_finite_names_its_windows(
    tiny_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(tiny_videos, tmp_path)
    found = {"loss": torch.tensor(float("nan"))}
    monkeypatch.setattr(LocalizationSystem, "_losses", lambda self, batch, epoch, batch_idx: found)
    line = r"the loss is nan in epoch 0, batch 0, of the windows P0\d_0\d from \d+\.0 s, P0\d_0\d from \d+\.0 s; look at their"
    with pytest.raises(DataError, match=line):
        train_localization(config)


def test_the_best_checkpoint_needs_a_validation_split(tiny_videos: Path, tmp_path: Path) -> None:
    train_only = f"data.annotations={tiny_videos / 'annotations' / 'EPIC_100_train.csv'}"
    with pytest.raises(ConfigError, match=r"run\.select=loss needs the segments of data\.val, and there are none; name their"):
        train_localization(_config(tiny_videos, tmp_path, train_only, "run.select=loss"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0, but the run's length is needed in epochs; give"),
        ("trainer.max_epochs=-1", r"trainer\.max_epochs=-1, but the run's length is needed"),
        ("classes.by=maps", r"classes\.by=maps names proposals .* would learn none; set model\.class_maps=true"),
    ],
)
def test_runs_that_would_be_of_no_use_are_refused(tiny_videos: Path, tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_localization(_config(tiny_videos, tmp_path / "run", setting))
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_comes_before_the_notes(tiny_videos: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(ConfigError, match=r"model: base_dim"):
        train_localization(_config(tiny_videos, tmp_path / "run", "model.groups=3"), tell=told.append)
    assert told == []


def test_a_rate_is_scaled_to_the_batches(tiny_videos: Path, tmp_path: Path) -> None:
    told: list[str] = []
    config = _config(tiny_videos, tmp_path, "optim.base_batch_size=8", "trainer.max_steps=1", "trainer.limit_val_batches=0")
    outcome = train_localization(config, tell=told.append)
    assert outcome.notes == tuple(told)
    assert told[-1].startswith("learning rate 0.002 x 2/8 = 0.0005: batches of 2 windows, recipe made for 8")
    assert outcome.num_train_clips == 9
