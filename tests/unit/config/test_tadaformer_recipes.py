"""The TAdaFormer recipes against the published hyper-parameters."""

from __future__ import annotations

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.config.schema import ColorConfig, RandAugmentConfig, TrainConfig

NAMES = ["tadaformer_b16_k400", "tadaformer_b16_ssv2", "tadaformer_l14_k400", "tadaformer_l14_ssv2"]
PAIRS = [[86, 87], [93, 94], [166, 167]]
SOMETHING = {"double_tada": True, "temporal_enhancement": True}


def _load(name: str) -> TrainConfig:
    return load_config(name, ["data.root=/data"])


@pytest.mark.parametrize("name", NAMES)
def test_what_they_share(name: str) -> None:
    config = _load(name)
    assert (config.model.name, config.model.pretrained, config.model.dropout) == ("tadaformer", True, 0.5)
    assert config.model.mean == [0.48145466, 0.4578275, 0.40821073]
    assert config.model.std == [0.26862954, 0.26130258, 0.27577711]
    data, transform = config.data, config.data.transform
    assert (data.store, data.sampling, data.num_segments) == ("video", "segments_tadaconv", 16)
    assert (transform.size, transform.resize, transform.test_size, transform.antialias) == (224, 224, None, False)
    assert (transform.crop, transform.area, transform.aspect) == ("random_resized", [0.08, 1.0], [0.75, 1.333])
    assert transform.flip == 0.5
    assert transform.rand_augment == RandAugmentConfig(num_ops=4, magnitude=9, magnitude_std=0.5, probability=0.5)
    assert transform.color == ColorConfig(grayscale=0.2)
    optim = config.optim
    assert (optim.name, optim.weight_decay, optim.groups, optim.base_batch_size) == ("adamw", 0.05, "layer_decay", None)
    assert (optim.new_parts, optim.new_parts_lr, optim.head_lr) == (["tada"], 10, 10)
    assert (config.schedule.name, config.schedule.end_lr, config.schedule.is_cosine_after_warmup) == ("cosine", 1e-6, True)
    assert (config.mix.mixup, config.mix.cutmix, config.mix.erasing) == (0, 0, 0)
    assert (config.loss.label_smoothing, config.ema.decay, config.trainer["gradient_clip_val"]) == (0.1, 0, None)
    assert (config.views.num_crops, config.views.average) == (3, "prob")


@pytest.mark.parametrize(
    ("name", "variant", "args", "batch_size", "lr", "layer_decay", "num_epochs", "warmup", "num_clips", "pairs"),
    [
        (NAMES[0], "b16", {}, 256, 5e-5, 0.7, 30, (5, 1e-6), 4, []),
        (NAMES[1], "b16", SOMETHING, 256, 5e-4, 0.7, 24, (4, 1e-8), 2, PAIRS),
        (NAMES[2], "l14", {}, 64, 2e-5, 0.85, 24, (5, 1e-6), 4, []),
        (NAMES[3], "l14", {**SOMETHING, "drop_path": 0.2}, 128, 2.5e-4, 0.85, 24, (4, 1e-8), 2, PAIRS),
    ],
)
def test_what_differs_between_them(
    name: str,
    variant: str,
    args: dict[str, object],
    batch_size: int,
    lr: float,
    layer_decay: float,
    num_epochs: int,
    warmup: tuple[float, float],
    num_clips: int,
    pairs: list[list[int]],
) -> None:
    config = _load(name)
    assert (config.model.backbone, config.model.args) == (variant, args)
    assert (config.data.batch_size, config.optim.lr, config.optim.layer_decay) == (batch_size, lr, layer_decay)
    assert config.trainer["max_epochs"] == num_epochs
    assert (config.schedule.warmup_epochs, config.schedule.warmup_start_lr) == warmup
    assert (config.views.num_clips, config.data.transform.flip_pairs) == (num_clips, pairs)
