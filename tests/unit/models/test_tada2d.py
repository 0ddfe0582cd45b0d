"""TAda2D: the plain ResNet at birth, whatever its weights come from, and what the model has of its own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones import ImageBackbone, create_image_backbone
from zoopraxis.errors import ConfigError
from zoopraxis.models import WEIGHTS, VideoModel, create_model, initialize, load_families
from zoopraxis.models.tada2d import ClipDropout
from zoopraxis.temporal import TemporalBatchNorm2d, TemporalCalibration

NUM_FRAMES = 3
BACKBONE = "resnet26"
"""Has bottlenecks in each stage, as the published network."""

load_families()


def _create(**settings: Any) -> VideoModel:
    return create_model("tada2d", **{"heads": {"label": 5}, "backbone": BACKBONE, "num_segments": NUM_FRAMES, **settings})


@pytest.fixture(scope="module")
def plain() -> ImageBackbone:
    """The image network with the same stem and strides, with values as a trained one has them."""
    torch.manual_seed(0)
    network = create_image_backbone(BACKBONE, is_stem_pool_free=True)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if "bias" not in name and "mean" not in name else tensor.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def weights(plain: ImageBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the image network's weights, in timm's and torchvision's keys, with a classifier of ImageNet's."""
    path = tmp_path_factory.mktemp("weights") / "image.pth"
    fc = {"fc.weight": torch.zeros(1000, plain.num_features), "fc.bias": torch.zeros(1000)}
    torch.save({**plain.network.state_dict(), **fc}, path)
    return path


def _clips(num_frames: int = NUM_FRAMES) -> Tensor:
    return torch.randn(2, num_frames, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("start", ["initialize", "pretrained"])
def test_with_weights_of_an_image_network_it_is_that_network_bit_for_bit(
    plain: ImageBackbone, weights: Path, start: str, is_training: bool
) -> None:
    if start == "initialize":
        model = _create()
        kept = initialize(model, weights)
        assert kept
        assert all(".temporal." in key or key.startswith("classifiers.") for key in kept)
    else:
        overlay = {"pretrained_cfg_overlay": {"file": str(weights)}}
        model = _create(pretrained=True, backbone_args=overlay)
    expected = copy.deepcopy(plain).train(is_training)(_clips())
    assert torch.equal(model.train(is_training).backbone(_clips()), expected)


def test_every_bottleneck_hosts_a_calibration_and_a_temporal_norm_and_plain_keys_stay(plain: ImageBackbone) -> None:
    model = _create()
    assert model.backbone.hosts == tuple(f"layer{stage}.{block}.conv2" for stage in (1, 2, 3, 4) for block in (0, 1))
    for host in model.backbone.hosts:
        block = model.backbone.network.get_submodule(host.rpartition(".")[0])
        assert isinstance(block.conv2.temporal, TemporalCalibration)
        assert isinstance(block.bn2, TemporalBatchNorm2d)
    assert isinstance(model.backbone.network.maxpool, nn.Identity)
    added = model.backbone.state_dict().keys() - plain.state_dict().keys()
    assert len(added) == 8 * (10 + 5)
    assert all(".conv2.temporal." in key or ".bn2.temporal." in key for key in added)


def test_once_grown_it_tells_the_order_of_frames_and_takes_clips_of_any_length(weights: Path) -> None:
    torch.manual_seed(0)
    model = _create().eval()
    initialize(model, weights)
    clips = _clips(5)
    torch.testing.assert_close(model(clips)["label"], model(clips.flip(1))["label"])
    for module in model.modules():
        if isinstance(module, TemporalCalibration):
            nn.init.normal_(module.b.weight, 0, 0.1)
    for name, classifier in model.classifiers.items():
        nn.init.normal_(classifier.weight)
        assert not torch.allclose(model(clips)[name], model(clips.flip(1))[name], rtol=1e-3)


def test_arguments_of_the_routing_function_are_the_models_own() -> None:
    model = _create(ratio=8, kernels=[1, 5])
    shapes = [tuple(model.backbone.network.layer1[0].conv2.temporal.get_parameter(f"{key}.weight").shape) for key in "ab"]
    assert shapes == [(8, 64, 1, 1, 1), (64, 8, 5, 1, 1)]
    assert (model.architecture["ratio"], model.architecture["kernels"]) == (8, [1, 5])


def test_defaults_are_the_published_ones() -> None:
    model = _create()
    expects = model.preprocessing
    assert (expects.mean, expects.std, expects.scale) == ((0.45,), (0.225,), 255.0)
    assert (expects.sampling, expects.interval, expects.antialias) == ("interval", 8, False)
    assert (model.architecture["dropout"], model.architecture["partial_bn"]) == (0.5, False)


def test_dropout_before_the_mean_over_frames_is_dropout_behind_it() -> None:
    torch.manual_seed(0)
    dropout = ClipDropout(0.25)
    features = torch.rand(64, 4, 32) + 1
    dropped = dropout(features)
    is_kept = dropped[:, 0] != 0
    assert 0.7 < is_kept.float().mean() < 0.8
    torch.testing.assert_close(dropped, features * is_kept[:, None] / 0.75)
    assert torch.equal(dropout.eval()(features), features)
    assert isinstance(_create().dropout, ClipDropout)


def test_arguments_that_cannot_be_are_refused() -> None:
    message = r"temporal module 'tada2d' cannot be built: kernels \(\[2, 3\]\) must be two odd positive sizes"
    with pytest.raises(ConfigError, match=message):
        _create(kernels=[2, 3])
    with pytest.raises(ConfigError, match=r"this model has the temporal module 'tada2d', not 'shift'; use the model 'tsn'"):
        _create(temporal="shift")
    with pytest.raises(ConfigError, match=r"backbone 'test_convnext' is no ResNet whose stem pool could go"):
        _create(backbone="test_convnext")


def test_published_records_have_the_numbers_of_both_sources() -> None:
    published = {
        name.partition(".")[2]: [tuple(evaluation.accuracy.values()) for evaluation in WEIGHTS.get(name).evaluations]
        for name in WEIGHTS.names()
        if name.startswith("tada2d")
    }
    assert published == {
        "kinetics_8x8": [(76.7, 92.6)],
        "kinetics_16x5": [(77.4, 93.1)],
        "sthv2_8f": [(64.0, 88.0), (64.2,)],
        "sthv2_16f": [(65.6, 89.1)],
    }
    longer = WEIGHTS.get("tada2d_resnet50.kinetics_16x5")
    assert (longer.preprocessing.num_segments, longer.preprocessing.interval, longer.evaluations[0].num_views) == (16, 5, 30)
    something = WEIGHTS.get("tada2d_resnet50.sthv2_8f")
    assert (something.preprocessing.sampling, something.evaluations[0].num_views) == ("segments_tadaconv", 6)


def test_an_eps_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"norm_eps \(0.0\) must be above 0; the published networks have 1e-5"):
        _create(norm_eps=0.0)
