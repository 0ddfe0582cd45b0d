"""The recipes against the hyper-parameters that the EPIC-KITCHENS-100 baselines effectively used."""

from __future__ import annotations

import pytest

from zoopraxis.config.load import load_config

RGB_SCALES, FLOW_SCALES = [1.0, 0.875, 0.75, 0.66], [1.0, 0.875, 0.75]
RGB_MEAN = [0.485, 0.456, 0.406]


@pytest.mark.parametrize("name", ["tsn_rgb", "tsn_flow", "tsm_rgb", "tsm_flow"])
def test_what_all_recipes_share(name: str) -> None:
    config = load_config(name, ["data.root=/data"])
    assert config.seed == 42
    assert (config.optim.name, config.optim.lr, config.optim.momentum, config.optim.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert config.optim.nesterov is False
    assert (config.schedule.name, config.schedule.milestones, config.schedule.gamma) == ("multistep", [20, 40], 0.1)
    assert config.schedule.warmup_epochs == 0
    assert (config.trainer["max_epochs"], config.trainer["gradient_clip_val"]) == (80, 20)
    assert (config.model.backbone, config.model.dropout, config.model.partial_bn) == ("resnet50", 0.7, True)
    assert (config.data.num_segments, config.data.num_workers, config.data.pin_memory) == (8, 8, True)
    assert (config.data.transform.size, config.data.transform.resize, config.data.transform.flip) == (224, 256, 0.5)
    assert config.ema.decay == 0


@pytest.mark.parametrize(
    ("name", "model", "batch_size", "test_num_segments"),
    [("tsn_rgb", "tsn", 128, 25), ("tsn_flow", "tsn", 128, 25), ("tsm_rgb", "tsm", 64, None), ("tsm_flow", "tsm", 64, None)],
)
def test_what_differs_between_models(name: str, model: str, batch_size: int, test_num_segments: int | None) -> None:
    config = load_config(name, ["data.root=/data"])
    assert config.model.name == model
    assert (config.data.batch_size, config.data.test_num_segments) == (batch_size, test_num_segments)


@pytest.mark.parametrize(
    ("name", "modality", "segment_length", "scales", "mean", "std"),
    [
        ("tsn_rgb", "rgb", 1, RGB_SCALES, RGB_MEAN, RGB_MEAN),
        ("tsm_rgb", "rgb", 1, RGB_SCALES, RGB_MEAN, RGB_MEAN),
        ("tsn_flow", "flow", 5, FLOW_SCALES, [0.5], [0.226]),
        ("tsm_flow", "flow", 5, FLOW_SCALES, [0.5], [0.226]),
    ],
)
def test_what_differs_between_modalities(
    name: str, modality: str, segment_length: int, scales: list[float], mean: list[float], std: list[float]
) -> None:
    config = load_config(name, ["data.root=/data"])
    assert (config.data.modality, config.data.segment_length) == (modality, segment_length)
    assert config.data.transform.scales == scales
    assert (config.model.mean, config.model.std) == (mean, std)
