"""TAdaConvNeXtV2 as a model: its published sizes, what a ConvNeXt's weights make of it, and what a checkpoint tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import MODELS, VideoModel, create_model, initialize, load_families, load_model, measure_cost, save_model
from zoopraxis.models.clip_families import family_of
from zoopraxis.models.tadaconvnextv2 import expand_convnext
from zoopraxis.temporal import quick_gelu

DIMS, DEPTHS = [8, 16, 24, 32], [1, 2, 1, 1]
HEADS = {"label": 5}

load_families()


def _model(**settings: Any) -> VideoModel:
    torch.manual_seed(0)
    arguments = {"heads": HEADS, "dims": DIMS, "depths": DEPTHS, "head_dim": 4, "num_segments": 8, **settings}
    return create_model("tadaconvnextv2", **arguments).eval()


class QuickGELU(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return quick_gelu(features)


def _convnext(**settings: Any) -> nn.Module:
    """Timm's network of the same size, away from its values at birth."""
    torch.manual_seed(1)
    network = timm.models.ConvNeXt(dims=DIMS, depths=DEPTHS, num_classes=0, act_layer=QuickGELU, **settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.5, 0.5)
            else:
                parameter.mul_(5)
    return network


def _as_its_authors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Timm's keys in the names that ConvNeXt was published with."""
    names = (
        ("stem.", "downsample_layers.0."),
        (".blocks.", "."),
        ("conv_dw", "dwconv"),
        ("mlp.fc", "pwconv"),
        ("head.norm", "norm"),
    )
    renamed = {}
    for key, tensor in tensors.items():
        if ".downsample." in key:
            _, stage, _, rest = key.split(".", 3)
            key = f"downsample_layers.{stage}.{rest}"
        for theirs, published in names:
            key = key.replace(theirs, published)
        renamed[key] = tensor
    return {**renamed, "head.weight": torch.zeros(7, DIMS[-1]), "head.bias": torch.zeros(7)}


def test_published_size_and_input() -> None:
    with torch.device("meta"):
        model = create_model("tadaconvnextv2", heads={"label": 400})
    cost = measure_cost(model, num_frames=16, size=224)
    assert cost.num_parameters == 45_971_488
    assert cost.gmacs == pytest.approx(36.01238016, rel=1e-6)
    assert (model.preprocessing.num_segments, model.preprocessing.interval, model.dropout.p) == (16, 5, 0.5)


@pytest.mark.parametrize("is_timm", [True, False])
def test_started_from_a_convnext_it_scores_a_still_clip_as_that_does_its_frame(is_timm: bool, tmp_path: Path) -> None:
    image_network = _convnext()
    tensors = dict(image_network.state_dict())
    file = tmp_path / "convnext.pth"
    torch.save(tensors if is_timm else {"model": _as_its_authors(tensors)}, file)
    model = _model(stem_kernel=5)
    fresh = initialize(model, file)
    assert set(fresh) == {key for key in model.state_dict() if "dwconv_rf" in key or "avgpool" in key or "classifiers" in key}
    frame = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    still = frame[:, None].expand(-1, 8, -1, -1, -1)
    with torch.inference_mode():
        torch.testing.assert_close(model.backbone(still), image_network(frame), rtol=1e-4, atol=1e-5)
        moving = torch.cat([still[:, :6], still[:, 6:].flip(-1)], dim=1)
        assert not torch.allclose(model.backbone(moving), image_network(frame), rtol=1e-2)


def test_weights_of_another_image_network_are_refused() -> None:
    model, tensors = _model(), dict(_convnext().state_dict())
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight is no part of a ConvNeXt of this size"):
        expand_convnext(model, {"layer1.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"lack what backbone\.downsample_layers\.0\.0\.weight starts from"):
        expand_convnext(model, {key: tensor for key, tensor in tensors.items() if key != "stem.0.weight"})
    with pytest.raises(
        CheckpointError, match=r"give .*downsample_layers\.0\.0\.weight the shape \(8, 3, 3, 4, 4\) where \(16, 3"
    ):
        expand_convnext(_model(dims=(16, *DIMS[1:])), tensors)


def test_a_stem_for_flow_starts_from_the_mean_over_colors() -> None:
    tensors = dict(_convnext().state_dict())
    kernel = expand_convnext(_model(modality="flow", segment_length=5), tensors)["backbone.downsample_layers.0.0.weight"]
    assert kernel.shape[1:3] == (10, 3)
    assert not kernel[:, :, [0, 2]].any()
    for channel in kernel[:, :, 1].unbind(1):
        torch.testing.assert_close(channel, tensors["stem.0.weight"].mean(1))


def test_every_variant_has_an_image_network_that_timm_knows() -> None:
    kind = MODELS.get("tadaconvnextv2")
    assert set(kind.image_networks) == set(kind.variants)
    for name in kind.image_networks.values():
        architecture, _, tag = name.partition(".")
        assert tag in timm.models.get_arch_pretrained_cfgs(architecture) or name in timm.list_pretrained(f"{architecture}.*")


def _published(model: VideoModel) -> dict[str, Tensor]:
    return {key.replace("classifiers.label", "head.out"): tensor for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"head_dim": 2, "ratio": 4, "kernels": (1, 5), "stem_kernel": 5, "stem_stride": 1, "drop_path": 0.3},
        {"layer_scale": 0.0, "has_temporal_pool": False},
        {"layer_scale": 0.1},
    ],
)
def test_a_checkpoint_tells_how_it_was_built(settings: dict[str, Any], tmp_path: Path) -> None:
    model = _model(**settings)
    own = model.architecture
    backbone = {
        "BRANCH": {"HEAD_DIM": own["head_dim"]},
        "STEM": {"T_STRIDE": own.get("stem_stride", 2)},
        "DROP_PATH": own.get("drop_path", 0.0),
        "LARGE_SCALE_INIT_VALUE": own.get("layer_scale", 1e-6),
    }
    file = tmp_path / "published.pyth"
    torch.save({"model_state": _published(model), "cfg": json.dumps({"VIDEO": {"BACKBONE": backbone}})}, file)
    loaded = load_model(file)
    assert {"dims": tuple(DIMS), "depths": tuple(DEPTHS), "head_dim": 4, **settings}.items() <= loaded.architecture.items()
    clip = torch.randn(1, 8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(clip)["label"], model(clip)["label"])


@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
def test_published_variants_are_told_without_configuration(variant: str) -> None:
    with torch.device("meta"):
        model = create_model("tadaconvnextv2", heads=HEADS, backbone=variant)
    family = family_of(model.state_dict())
    assert family is not None
    assert (family.model, family.infer(model.state_dict(), {})) == ("tadaconvnextv2", {"backbone": variant})


def test_our_checkpoint_needs_no_arguments(tmp_path: Path) -> None:
    model = _model(stem_stride=1, drop_path=0.1)
    file = save_model(model, tmp_path / "ours.safetensors")
    assert load_model(file).architecture == model.architecture


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"drop_path \(1\) must be at least 0 and below 1"):
        _model(drop_path=1)
    with pytest.raises(ConfigError, match=r"tadaconvnextv2 cannot be built: head_dim \(5\) must divide the 4 hidden channels"):
        _model(head_dim=5)
