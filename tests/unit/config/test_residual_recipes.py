"""The recipes of CSN, R2D3D and R(2+1)D against the published hyper-parameters."""

from __future__ import annotations

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.config.schema import TrainConfig
from zoopraxis.training.optim import check_schedule

MOSI = ["r2d3d_hmdb51", "r2d3d_ucf101", "r2plus1d_hmdb51", "r2plus1d_ucf101"]


def _load(name: str) -> TrainConfig:
    return load_config(name, ["data.root=/data"])


@pytest.mark.parametrize("name", ["csn_ek100", *MOSI])
def test_what_all_share(name: str) -> None:
    config = _load(name)
    assert (config.model.pretrained, config.model.dropout, config.model.heads) == (False, 0.5, None)
    assert (config.model.mean, config.model.std) == ([0.45], [0.225])
    assert (config.optim.groups, config.optim.base_batch_size) == ("tadaconv", None)
    assert (config.schedule.name, config.schedule.end_lr, config.schedule.is_cosine_after_warmup) == ("cosine", 0, False)
    assert check_schedule(config.schedule, lr=config.optim.lr, num_epochs=config.trainer["max_epochs"]) is None
    assert config.trainer["gradient_clip_val"] is None
    transform = config.data.transform
    assert (transform.crop, transform.flip, transform.antialias) == ("random_short_side", 0.5, False)
    color = transform.color
    assert (color.probability, color.brightness, color.contrast, color.saturation, color.hue) == (1, 0.5, 0.5, 0.5, 0.25)
    assert (config.data.sampling, config.data.store, config.views.average) == ("interval", "video", "prob")
    assert config.views.num_clips == 10


def test_how_csn_learns_epic_kitchens() -> None:
    config = _load("csn_ek100")
    assert (config.model.name, config.model.backbone, config.model.freeze_norms) == ("csn", "ir152", True)
    assert (config.data.num_segments, config.data.interval, config.data.target_fps) == (32, 2, 60)
    transform = config.data.transform
    assert (transform.size, transform.resize, transform.test_size, transform.short_side) == (224, 256, 256, [256, 320])
    assert transform.color.grayscale == 0
    assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("adamw", 1e-4, 0.05)
    assert (config.data.batch_size, config.trainer["max_epochs"], config.data.num_folds) == (256, 50, 1)
    assert (config.schedule.warmup_epochs, config.schedule.warmup_start_lr) == (5, 1e-6)
    mix = config.mix
    assert (mix.mixup, mix.cutmix, mix.cutmix_probability, mix.erasing) == (0.2, 1, 0.5, 0.25)
    assert (config.loss.label_smoothing, config.loss.heads, config.views.num_crops) == (0.2, "sum", 3)


@pytest.mark.parametrize(
    ("name", "model", "annotations", "batch_size", "lr"),
    [
        (MOSI[0], ("r2d3d", "r18"), "hmdb51", 1024, 0.002),
        (MOSI[1], ("r2d3d", "r18"), "ucf101", 1024, 0.004),
        (MOSI[2], ("r2plus1d", "r10"), "hmdb51", 384, 0.00075),
        (MOSI[3], ("r2plus1d", "r10"), "ucf101", 384, 0.0015),
    ],
)
def test_how_small_networks_learn_small_data_sets(
    name: str, model: tuple[str, str], annotations: str, batch_size: int, lr: float
) -> None:
    config = _load(name)
    assert (config.model.name, config.model.backbone) == model
    assert (config.data.annotations, config.data.batch_size) == (annotations, batch_size)
    assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("adam", lr, 1e-3)
    assert (config.schedule.warmup_epochs, config.schedule.warmup_start_lr) == (10, pytest.approx(lr / 10))
    assert (config.trainer["max_epochs"], config.data.num_folds) == (300, 30)
    assert (config.data.num_segments, config.data.interval, config.data.target_fps) == (16, 4, 30)
    transform = config.data.transform
    assert (transform.size, transform.short_side, transform.color.grayscale) == (112, [168, 224], 0.3)
    assert config.views.num_crops == 1
