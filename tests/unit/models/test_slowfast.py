"""The model SlowFast: variants, what is read off a published file, and its defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import VideoModel, create_model, load_model

TINY: dict[str, Any] = {
    "num_segments": 8,
    "blocks": [1, 2, 1, 1],
    "widths": [8, 16, 16, 32, 32],
    "beta": 4,
    "expansion": 2,
}
EPIC_HEADS = {"verb": 7, "noun": 3}


def _create(**settings: Any) -> VideoModel:
    torch.manual_seed(0)
    model = create_model("slowfast", **{"heads": {"label": 5}, **TINY, **settings}).eval()
    for name, tensor in model.named_parameters():
        if name.endswith(("c_bn.weight", "b_bn.weight")):
            torch.nn.init.ones_(tensor)
    return model


def _publish(model: VideoModel, path: Path, **cfg: Any) -> Path:
    """The model as its publisher would have written it."""
    heads = {"label": "out"} if "label" in model.heads else {"verb": "out1", "noun": "out2"}
    tensors = {}
    for key, tensor in model.state_dict().items():
        prefix, name, *rest = key.split(".")
        tensors[".".join(("head", heads[name], *rest)) if prefix == "classifiers" else key] = tensor
    torch.save({"epoch": 1, "model_state": tensors, **({"cfg": json.dumps(cfg)} if cfg else {})}, path)
    return path


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"backbone": "r50_4x16"},
        {"backbone": "r101_8x8", "blocks": [3, 4, 23, 3]},
        {"heads": EPIC_HEADS},
        {"nonlocal_stages": [2, 5]},
        {"slow_temporal_stages": [2, 4, 5], "fast_temporal_stages": [3]},
        {"has_bottlenecks": False, "slow_kernels": [[1, 5, 5], *[[3, 3, 3]] * 4]},
        {"fusion_ratio": 3, "fusion_bias": True, "fusion_norm": False},
    ],
)
def test_a_published_file_without_configuration_tells_all_that_shapes_do(own: dict[str, Any], tmp_path: Path) -> None:
    model = _create(**own)
    loaded = load_model(_publish(model, tmp_path / "file.pyth"), architecture={"num_segments": 8})
    clips = torch.randn(2, 8, 3, 32, 32)
    for head, scores in model(clips).items():
        assert torch.equal(loaded(clips)[head], scores)
    assert loaded.architecture["backbone"] == model.architecture["backbone"]


@pytest.mark.parametrize(
    ("own", "cfg"),
    [
        ({"alpha": 2}, {"VIDEO": {"BACKBONE": {"SLOWFAST": {"MODE": "slowfast", "ALPHA": 2, "BETA": 4}}}}),
        ({"fusion_relu": False}, {"VIDEO": {"BACKBONE": {"SLOWFAST": {"FUSION_RELU": False}}}}),
        ({"norm_eps": 1e-2}, {"BN": {"EPS": 1e-2}}),
        ({"has_stem_pool": False}, {"VIDEO": {"BACKBONE": {"STEM": {"NAME": "Base3DStem"}}}}),
        (
            {"spatial_strides": [2, 2, 1, 2, 2], "temporal_strides": [1, 1, 1, 2, 1]},
            {
                "VIDEO": {
                    "BACKBONE": {
                        "DOWNSAMPLING": [True, True, False, True, True],
                        "DOWNSAMPLING_TEMPORAL": [False, False, True, True, False],
                    }
                }
            },
        ),
        ({"mode": "slowonly", "alpha": 2}, {"VIDEO": {"BACKBONE": {"SLOWFAST": {"MODE": "slowonly", "ALPHA": 2, "BETA": 8}}}}),
        ({"mode": "fastonly"}, {"VIDEO": {"BACKBONE": {"SLOWFAST": {"MODE": "fastonly", "ALPHA": 4, "BETA": 4}}}}),
    ],
)
def test_the_configuration_in_a_file_tells_what_shapes_do_not(own: dict[str, Any], cfg: dict[str, Any], tmp_path: Path) -> None:
    model = _create(**own)
    loaded = load_model(_publish(model, tmp_path / "file.pyth", **cfg, DATA={"NUM_INPUT_FRAMES": 8}))
    clips = torch.randn(2, 8, 3, 32, 32)
    assert torch.equal(loaded(clips)["label"], model(clips)["label"])
    assert {name: loaded.architecture[name] for name in own} == own


@pytest.mark.parametrize(
    ("variant", "alpha", "kernel", "blocks"), [("r50_8x8", 4, 7, 6), ("r50_4x16", 8, 5, 6), ("r101_8x8", 4, 5, 23)]
)
def test_variants_have_the_published_numbers(variant: str, alpha: int, kernel: int, blocks: int) -> None:
    with torch.device("meta"):
        backbone = create_model("slowfast", heads={"label": 400}, backbone=variant).backbone
    fusion = backbone.slowfast_fusion4.conv_fast_to_slow
    assert (backbone.alpha, fusion.kernel_size[0], fusion.stride[0]) == (alpha, kernel, alpha)
    assert (len(backbone.slow_conv4), backbone.num_features) == (blocks, 2304)


def test_defaults_are_the_published_ones() -> None:
    model = _create()
    expects = create_model("slowfast", heads={"label": 5}, **{**TINY, "num_segments": 32}).preprocessing
    assert (expects.num_segments, expects.interval, expects.sampling, expects.size) == (32, 2, "interval", 224)
    assert model.architecture["dropout"] == 0.5
    weight = _create(heads={"label": 400}).classifiers["label"].weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.classifiers["label"].bias.eq(0).all()


def test_arguments_that_cannot_be_are_refused() -> None:
    message = r"num_segments \(10\) must be divisible by alpha \(4\), .* for one of the slow path; try num_segments=8"
    with pytest.raises(ConfigError, match=message):
        _create(num_segments=10)
    assert _create(num_segments=10, mode="fastonly").backbone.num_features == 8
    with pytest.raises(ConfigError, match=r"SlowFast has no mode 'slow'; did you mean 'slowonly'\?"):
        _create(mode="slow")
    with pytest.raises(ConfigError, match=r"beta \(16\) must be from 1 to the smallest width \(8\); the published one is 8"):
        _create(beta=16)


def test_a_file_without_its_middle_is_refused(tmp_path: Path) -> None:
    model = _create()
    del model.backbone.fast_conv4
    with pytest.raises(
        CheckpointError, match=r"a SlowFast network's, but has no backbone\.fast_conv4\.res_1\.conv_branch\.b\.weight"
    ):
        load_model(_publish(model, tmp_path / "file.pyth"))
