"""The recipes of TAdaConvNeXtV2 against the published hyper-parameters."""

from __future__ import annotations

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.config.schema import TrainConfig
from zoopraxis.training.build import build_model

VARIANTS = ["tiny", "small", "base"]
NAMES = [f"tadaconvnextv2_{variant}_{data}" for variant in VARIANTS for data in ("k400", "ssv2")]


def _load(name: str) -> TrainConfig:
    return load_config(name, ["data.root=/data"])


@pytest.mark.parametrize("name", NAMES)
def test_what_all_share(name: str) -> None:
    config = _load(name)
    assert (config.model.name, config.model.backbone, config.model.pretrained) == ("tadaconvnextv2", name.split("_")[1], True)
    assert (config.model.dropout, config.model.mean, config.model.std) == (0.5, [0.45], [0.225])
    assert (config.optim.name, config.optim.groups, config.optim.weight_decay) == ("adamw", "tadaconv_finetune", 0.02)
    assert (config.schedule.name, config.schedule.is_cosine_after_warmup) == ("cosine", False)
    assert (config.schedule.warmup_start_lr, config.schedule.end_lr) == (1e-6, 0)
    transform = config.data.transform
    assert (transform.size, transform.resize, transform.test_size, transform.antialias) == (224, 256, 256, False)
    assert (transform.crop, transform.area, transform.aspect, transform.flip) == (
        "random_resized",
        [0.08, 1],
        [0.75, 1.333],
        0.5,
    )
    augment = transform.rand_augment
    assert (augment.num_ops, augment.magnitude, augment.magnitude_std, augment.probability) == (4, 9, 0.5, 0.5)
    assert (transform.color.grayscale, transform.color.probability) == (0.2, 0)
    assert (config.mix.mixup, config.mix.cutmix, config.mix.erasing, config.loss.label_smoothing, config.ema.decay) == (0,) * 5
    assert (config.data.num_segments, config.views.num_crops, config.views.average) == (16, 3, "prob")
    assert config.trainer["gradient_clip_val"] is None


@pytest.mark.parametrize(
    ("variant", "lr", "batch_size", "drop_paths"),
    [("tiny", 5e-4, 512, (0.2, 0.3)), ("small", 2.5e-4, 256, (0.4, 0.5)), ("base", 2.5e-4, 256, (0.6, 0.6))],
)
def test_how_each_trains(variant: str, lr: float, batch_size: int, drop_paths: tuple[float, float]) -> None:
    kinetics, something = (_load(f"tadaconvnextv2_{variant}_{data}") for data in ("k400", "ssv2"))
    for config, drop_path in zip((kinetics, something), drop_paths, strict=True):
        assert (config.optim.lr, config.data.batch_size, config.model.args) == (lr, batch_size, {"drop_path": drop_path})
    assert (kinetics.trainer["max_epochs"], kinetics.schedule.warmup_epochs, kinetics.views.num_clips) == (100, 8, 4)
    assert (something.trainer["max_epochs"], something.schedule.warmup_epochs, something.views.num_clips) == (64, 2.5, 2)
    assert (kinetics.data.sampling, kinetics.data.interval) == ("interval", 5)
    assert (something.data.sampling, something.data.interval) == ("segments_tadaconv", 1)
    assert kinetics.data.transform.flip_pairs == []
    assert something.data.transform.flip_pairs == [[86, 87], [93, 94], [166, 167]]


def test_a_recipe_builds_its_network() -> None:
    model = build_model(_load("tadaconvnextv2_tiny_ssv2"), {"label": 174}, pretrained=False)
    assert {"backbone": "tiny", "drop_path": 0.3, "dropout": 0.5, "num_segments": 16}.items() <= model.architecture.items()
    assert model.preprocessing.sampling == "segments_tadaconv"
