"""TANet: a TSN with temporal adaptive modules, its published records, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoopraxis.errors import ConfigError
from zoopraxis.models import MODELS, WEIGHTS, VideoModel, create_model, load_families
from zoopraxis.temporal import TemporalAdaptiveModule

load_families()


def _create(**settings: Any) -> VideoModel:
    return create_model("tanet", **{"heads": {"label": 5}, "backbone": "test_resnet", "num_segments": 4, **settings})


def _modules(model: VideoModel) -> list[TemporalAdaptiveModule]:
    return [module for module in model.modules() if isinstance(module, TemporalAdaptiveModule)]


def test_every_block_of_a_resnet50_mixes_frames_before_its_3x3_convolution() -> None:
    with torch.device("meta"):
        model = create_model("tanet", heads={"label": 400})
    assert len(model.backbone.hosts) == 16
    assert model.backbone.hosts[0] == "layer1.0.conv2"
    assert sum(p.numel() for p in model.parameters()) == 25_590_320
    assert len(model.state_dict()) == 544
    assert "backbone.network.layer1.0.conv2.temporal.G.0.weight" in model.state_dict()
    widths = [module.L[0].in_channels for module in _modules(model)]
    assert widths == [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3


def test_it_is_a_tsn_with_the_module_and_the_published_defaults() -> None:
    model = _create()
    twin = create_model("tsn", heads={"label": 5}, backbone="test_resnet", num_segments=4, temporal="tam").eval()
    twin.load_state_dict(model.state_dict())
    clip = torch.randn(2, 4, 3, 32, 32)
    assert torch.equal(model.eval()(clip)["label"], twin(clip)["label"])
    assert (model.architecture["dropout"], model.architecture["partial_bn"]) == (0.5, False)
    assert model.preprocessing.std == (0.229, 0.224, 0.225)
    assert not model.preprocessing.antialias
    assert all(p.requires_grad for p in model.parameters())


def test_order_of_frames_counts_and_clips_do_not_mix() -> None:
    torch.manual_seed(0)
    model = _create(backbone_args={"zero_init_last": False}).eval()
    clips = torch.randn(3, 4, 3, 32, 32)
    with torch.inference_mode():
        scores = model(clips)["label"]
        assert not torch.allclose(model(clips.flip(1))["label"], scores, rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(model(clips[1:2])["label"], scores[1:2], rtol=1e-4, atol=1e-6)


def test_arguments_reach_every_module() -> None:
    for module in _modules(_create(kernel_size=5, local_kernel_size=3, alpha=3, beta=2)):
        channels = module.L[0].in_channels
        assert module.L[0].weight.shape == (channels // 2, channels, 3)
        assert module.G[0].weight.shape == (12, 4)
        assert module.G[3].weight.shape == (5, 12)


def test_flow_is_normalized_as_flow() -> None:
    model = _create(modality="flow", segment_length=5)
    assert (model.preprocessing.mean, model.preprocessing.in_channels) == ((0.5,), 10)
    assert model(torch.randn(1, 4, 10, 32, 32))["label"].shape == (1, 5)


def test_published_records_have_the_model_zoos_numbers() -> None:
    results = {
        name.partition(".")[2]: [tuple(evaluation.accuracy.values()) for evaluation in WEIGHTS.get(name).evaluations]
        for name in WEIGHTS.names()
        if name.startswith("tanet_")
    }
    assert results == {
        "mmaction2_kinetics_dense_1x1x8": [(76.28, 92.60)],
        "kinetics_8f": [(76.1, 92.3), (76.22, 92.53)],
        "mmaction2_sthv1_1x1x8": [(49.58, 77.31), (47.34, 75.72)],
        "mmaction2_sthv1_1x1x16": [(50.91, 79.13), (49.05, 77.90)],
    }
    record = WEIGHTS.get("tanet_resnet50.mmaction2_sthv1_1x1x16")
    assert record.url.endswith("tanet_r50_1x1x16_50e_sthv1_rgb/tanet_r50_1x1x16_50e_sthv1_rgb_20211202-370c2128.pth")
    assert record.preprocessing.mean[2] == 103.5 / 255
    assert [(e.num_views, e.size) for e in record.evaluations] == [(6, 256), (1, 224)]


def test_every_model_of_the_table_has_a_kind_of_its_own() -> None:
    kind = MODELS.get("tanet")
    assert (kind.dropout, kind.partial_bn) == (0.5, False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temporal": "shift"}, "this model has the temporal module 'tam', not 'shift'"),
        ({"beta": 5}, r"temporal module 'tam' cannot be built: beta \(5\) must divide the number of channels"),
        ({"kernel_size": 2}, r"kernel_size \(2\) must be odd"),
        ({"kernal_size": 3}, "model 'tanet' has no argument 'kernal_size'; did you mean 'kernel_size'"),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _create(**settings)


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="the clip has 5 frames, but the temporal adaptive module maps all 4 frames"):
        _create()(torch.randn(1, 5, 3, 32, 32))
