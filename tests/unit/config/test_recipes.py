"""The recipes against the published hyper-parameters; for the EPIC-KITCHENS-100 baselines those that they effectively used."""

from __future__ import annotations

from typing import Any

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.config.schema import TrainConfig
from zoopraxis.models.build import MODELS, load_families
from zoopraxis.training.optim import check_schedule

RGB_SCALES, FLOW_SCALES = [1.0, 0.875, 0.75, 0.66], [1.0, 0.875, 0.75]
RGB_MEAN = [0.485, 0.456, 0.406]
SSV1_PAIRS, SSV2_PAIRS = [[2, 4], [30, 41], [52, 66]], [[86, 87], [93, 94], [166, 167]]
TANET = ["tanet_r50_k400_8f_dense", "tanet_r50_sthv1_8f", "tanet_r50_sthv1_16f", "tanet_r50_sthv2_8f"]
TADA2D = ["tada2d_r50_k400_8x8", "tada2d_r50_k400_16x5", "tada2d_r50_ssv2_8f", "tada2d_r50_ssv2_16f"]


def _load(name: str, *overrides: str) -> TrainConfig:
    return load_config(name, ["data.root=/data", *overrides])


@pytest.mark.parametrize("name", ["tsn_rgb", "tsn_flow", "trn_rgb", "trn_flow", "tsm_rgb", "tsm_flow"])
def test_what_all_recipes_share(name: str) -> None:
    config = _load(name)
    assert config.seed == 42
    assert (config.optim.name, config.optim.lr, config.optim.momentum, config.optim.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert config.optim.nesterov is False
    assert (config.schedule.name, config.schedule.milestones, config.schedule.gamma) == ("multistep", [20, 40], 0.1)
    assert config.schedule.warmup_epochs == 0
    assert (config.trainer["max_epochs"], config.trainer["gradient_clip_val"]) == (80, 20)
    assert (config.model.backbone, config.model.dropout, config.model.partial_bn) == ("resnet50", None, None)
    load_families()
    kind = MODELS.get(config.model.name)
    assert (kind.dropout, kind.partial_bn) == (0.7, True)
    assert (config.data.num_segments, config.data.num_workers, config.data.pin_memory) == (8, 8, True)
    assert (config.data.transform.size, config.data.transform.resize, config.data.transform.flip) == (224, 256, 0.5)
    assert config.ema.decay == 0


@pytest.mark.parametrize(
    ("name", "model", "batch_size", "test_num_segments"),
    [
        ("tsn_rgb", "tsn", 128, 25),
        ("tsn_flow", "tsn", 128, 25),
        ("trn_rgb", "trn", 128, None),
        ("trn_flow", "trn", 128, None),
        ("tsm_rgb", "tsm", 64, None),
        ("tsm_flow", "tsm", 64, None),
    ],
)
def test_what_differs_between_models(name: str, model: str, batch_size: int, test_num_segments: int | None) -> None:
    config = _load(name)
    assert config.model.name == model
    assert (config.data.batch_size, config.data.test_num_segments) == (batch_size, test_num_segments)


@pytest.mark.parametrize(
    ("name", "modality", "segment_length", "scales", "mean", "std"),
    [
        ("tsn_rgb", "rgb", 1, RGB_SCALES, RGB_MEAN, RGB_MEAN),
        ("trn_rgb", "rgb", 1, RGB_SCALES, RGB_MEAN, RGB_MEAN),
        ("tsm_rgb", "rgb", 1, RGB_SCALES, RGB_MEAN, RGB_MEAN),
        ("tsn_flow", "flow", 5, FLOW_SCALES, [0.5], [0.226]),
        ("trn_flow", "flow", 5, FLOW_SCALES, [0.5], [0.226]),
        ("tsm_flow", "flow", 5, FLOW_SCALES, [0.5], [0.226]),
    ],
)
def test_what_differs_between_modalities(
    name: str, modality: str, segment_length: int, scales: list[float], mean: list[float], std: list[float]
) -> None:
    config = _load(name)
    assert (config.data.modality, config.data.segment_length) == (modality, segment_length)
    assert config.data.transform.scales == scales
    assert (config.model.mean, config.model.std) == (mean, std)


@pytest.mark.parametrize("name", TANET)
def test_what_the_tanet_recipes_share(name: str) -> None:
    config = _load(name)
    assert (config.model.name, config.model.backbone, config.model.pretrained) == ("tanet", "resnet50.tv_in1k", True)
    assert config.model.partial_bn is False
    assert (config.model.mean, config.model.std) == (RGB_MEAN, [0.229, 0.224, 0.225])
    assert (config.optim.name, config.optim.momentum, config.optim.nesterov) == ("sgd", 0.9, False)
    assert config.optim.base_batch_size is None
    assert (config.schedule.name, config.schedule.gamma, config.schedule.warmup_epochs) == ("multistep", 0.1, 0)
    assert config.trainer["gradient_clip_val"] == 20
    transform = config.data.transform
    assert (transform.size, transform.resize, transform.test_size, transform.antialias) == (224, 256, 256, False)
    assert (transform.crop, transform.scales, transform.flip) == ("multi_scale", RGB_SCALES, 0.5)
    assert (config.views.num_crops, config.views.crop_order) == (3, "left_right_center")
    assert (config.data.segment_length, config.data.modality, config.ema.decay) == (1, "rgb", 0)


@pytest.mark.parametrize(
    ("name", "frames", "batch_size", "lr", "weight_decay", "dropout", "milestones", "num_epochs"),
    [
        (TANET[0], 8, 64, 0.01, 1e-4, 0.5, [50, 75, 90], 100),
        (TANET[1], 8, 64, 0.01, 1e-3, 0.6, [30, 40, 45], 50),
        (TANET[2], 16, 48, 0.0075, 1e-3, 0.6, [30, 40, 45], 50),
        (TANET[3], 8, 128, 0.02, 5e-4, 0.5, [30, 40, 45], 50),
    ],
)
def test_how_the_tanet_recipes_train(
    name: str,
    frames: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    dropout: float,
    milestones: list[int],
    num_epochs: int,
) -> None:
    config = _load(name)
    assert (config.data.num_segments, config.data.batch_size) == (frames, batch_size)
    assert (config.optim.lr, config.optim.weight_decay, config.model.dropout) == (lr, weight_decay, dropout)
    assert (config.schedule.milestones, config.trainer["max_epochs"]) == (milestones, num_epochs)


@pytest.mark.parametrize(
    ("name", "store", "sampling", "num_clips", "average", "groups", "pairs"),
    [
        (TANET[0], "video", "dense", 10, "prob", "tsm", []),
        (TANET[1], "frames", "segments_mmaction2", 2, "prob", "tsm", SSV1_PAIRS),
        (TANET[2], "frames", "segments_mmaction2", 2, "prob", "tsm", SSV1_PAIRS),
        (TANET[3], "video", "segments_tanet", 2, "score", "tanet", SSV2_PAIRS),
    ],
)
def test_what_the_tanet_recipes_look_at(
    name: str, store: str, sampling: str, num_clips: int, average: str, groups: str, pairs: list[list[int]]
) -> None:
    config = _load(name)
    assert (config.data.store, config.data.sampling, config.data.transform.flip_pairs) == (store, sampling, pairs)
    assert (config.views.num_clips, config.views.average, config.optim.groups) == (num_clips, average, groups)


@pytest.mark.parametrize("name", TADA2D)
def test_what_the_tada2d_recipes_share(name: str) -> None:
    config = _load(name)
    assert (config.model.name, config.model.backbone, config.model.pretrained) == ("tada2d", "resnet50.tv_in1k", True)
    assert (config.model.dropout, config.model.partial_bn) == (0.5, False)
    assert (config.model.mean, config.model.std) == ([0.45], [0.225])
    assert (config.optim.name, config.optim.momentum, config.optim.nesterov) == ("sgd", 0.9, True)
    assert (config.optim.weight_decay, config.optim.groups, config.optim.base_batch_size) == (1e-4, "tada2d", None)
    assert (config.schedule.name, config.schedule.is_cosine_after_warmup) == ("cosine", False)
    assert config.trainer["gradient_clip_val"] is None
    transform = config.data.transform
    assert (transform.size, transform.resize, transform.test_size, transform.antialias) == (224, 256, 256, False)
    assert (transform.crop, transform.short_side, transform.flip) == ("random_short_side", [224, 340], 0.5)
    assert (config.views.num_crops, config.views.average, config.views.crop_order) == (3, "prob", "left_center_right")
    assert config.data.store == "video"


@pytest.mark.parametrize(
    ("name", "frames", "batch_size", "lr", "num_epochs", "warmup", "sampling", "num_clips", "pairs"),
    [
        (TADA2D[0], 8, 128, 0.24, 100, (8, 0.01), ("interval", 8), 10, []),
        (TADA2D[1], 16, 64, 0.12, 100, (8, 0.01), ("interval", 5), 10, []),
        (TADA2D[2], 8, 128, 0.48, 64, (4, 1e-4), ("segments_tadaconv", 1), 2, SSV2_PAIRS),
        (TADA2D[3], 16, 64, 0.24, 64, (4, 1e-4), ("segments_tadaconv", 1), 2, SSV2_PAIRS),
    ],
)
def test_what_differs_between_the_tada2d_recipes(
    name: str,
    frames: int,
    batch_size: int,
    lr: float,
    num_epochs: int,
    warmup: tuple[float, float],
    sampling: tuple[str, int],
    num_clips: int,
    pairs: list[list[int]],
) -> None:
    config = _load(name)
    assert (config.data.num_segments, config.data.batch_size) == (frames, batch_size)
    assert (config.optim.lr, config.trainer["max_epochs"]) == (lr, num_epochs)
    assert (config.schedule.warmup_epochs, config.schedule.warmup_start_lr) == warmup
    assert (config.data.sampling, config.data.interval, config.data.target_fps) == (*sampling, 30)
    assert (config.views.num_clips, config.data.transform.flip_pairs) == (num_clips, pairs)


@pytest.mark.parametrize("name", [*TANET, *TADA2D])
def test_schedules_fit_their_runs_and_heads_come_from_the_annotations(name: str) -> None:
    config = _load(name)
    assert check_schedule(config.schedule, lr=config.optim.lr, num_epochs=config.trainer["max_epochs"]) is None
    assert config.model.heads is None


@pytest.mark.parametrize(("name", "base"), [(TANET[2], 48), (TADA2D[0], 128)])
def test_scaling_is_a_switch_beside_the_recipe(name: str, base: int) -> None:
    switched: Any = _load(name, f"optim.base_batch_size={base}").optim
    assert (switched.base_batch_size, switched.lr) == (base, _load(name).optim.lr)
    assert _load(name).data.batch_size == base
