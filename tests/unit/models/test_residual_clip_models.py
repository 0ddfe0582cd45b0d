"""CSN, R2D3D and R(2+1)D: what their variants cost, and how a published checkpoint tells its own numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tiny_models import TINY
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import VideoModel, create_model, load_families, load_model, measure_cost
from zoopraxis.models.resnet3d_variants import input_arguments

load_families()

WIDTHS = [4, 8, 8, 16, 16]


@pytest.mark.parametrize(("variant", "gmacs"), [("ir101", 73.8), ("ir152", 96.7), ("ip101", 83.0), ("ip152", 108.8)])
def test_csn_costs_what_its_paper_says(variant: str, gmacs: float) -> None:
    with torch.device("meta"):
        model = create_model("csn", backbone=variant, heads={"label": 400})
    assert measure_cost(model, num_frames=32, size=256).gmacs == pytest.approx(gmacs, abs=0.05)


def _create(name: str, variant: str, **more: Any) -> VideoModel:
    """A network with values as a trained one has them."""
    torch.manual_seed(0)
    arguments = {"widths": WIDTHS, "blocks": [1, 2, 1, 1], "heads": {"label": 5}, "num_segments": 4, **more}
    model = create_model(name, backbone=variant, **arguments)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm3d):
                norm.weight.uniform_(0.5, 1.5)
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
    return model.eval()


def _publish(model: VideoModel, path: Path, configuration: dict[str, Any] | None = None) -> Path:
    """The network's weights as TAdaConv's authors write them."""
    heads = {"classifiers.label.": "head.out.", "classifiers.verb.": "head.linear1.", "classifiers.noun.": "head.linear2."}
    tensors = {key.replace("nonlocal_block", "nonlocal"): tensor for key, tensor in model.state_dict().items()}
    for ours, theirs in heads.items():
        tensors = {re.sub(f"^{re.escape(ours)}", theirs, key): tensor for key, tensor in tensors.items()}
    cfg = {} if configuration is None else {"cfg": json.dumps(configuration)}
    torch.save({"epoch": 1, "model_state": tensors, **cfg}, path)
    return path


def _clip(channels: int = 3) -> Tensor:
    return torch.randn(2, 4, channels, 32, 32, generator=torch.Generator().manual_seed(1))


def _assert_same(loaded: VideoModel, model: VideoModel) -> None:
    clip = _clip(model.preprocessing.in_channels)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(clip), model(clip))


@pytest.mark.parametrize(
    ("name", "variant", "more"),
    [
        ("csn", "ir152", {}),
        ("csn", "ir152", {"heads": {"verb": 3, "noun": 4}, "expansion": 2, "nonlocal_stages": [5]}),
        ("csn", "ip152", {"modality": "flow", "segment_length": 5}),
        ("csn", "ir50", {"blocks": [3, 4, 6, 3]}),
        ("r2d3d", "r18", {"nonlocal_stages": [4, 5]}),
        ("r2d3d", "r34", {"blocks": [3, 4, 6, 3]}),
        ("r2d3d", "r50", {"kernels": [[1, 3, 3], [3, 3, 3], [1, 3, 3], [1, 1, 1], [3, 1, 1]], "expansion": 4}),
        ("r2plus1d", "r10", {"kernels": [[5, 7, 7], [3, 3, 3], [1, 3, 3], [3, 5, 5], [3, 3, 3]]}),
        ("r2plus1d", "r50", {"nonlocal_stages": [2]}),
    ],
)
def test_keys_and_shapes_tell_a_network_whose_strides_are_the_familys(
    name: str, variant: str, more: dict[str, Any], tmp_path: Path
) -> None:
    model = _create(name, variant, **more)
    loaded = load_model(_publish(model, tmp_path / "published.pyth"))
    assert (loaded.architecture["name"], loaded.architecture["modality"]) == (name, model.preprocessing.modality)
    _assert_same(loaded, model)


def test_depths_are_named_and_other_numbers_of_blocks_are_kept(tmp_path: Path) -> None:
    named = load_model(_publish(_create("csn", "ir50", blocks=[3, 4, 6, 3]), tmp_path / "50.pyth")).architecture
    other = load_model(_publish(_create("csn", "ir50"), tmp_path / "other.pyth")).architecture
    assert (named["backbone"], named.get("blocks")) == ("ir50", None)
    assert (other["backbone"], other["blocks"]) == ("ir152", [1, 2, 1, 1])


@pytest.mark.parametrize(("name", "variant"), [("csn", "ir50"), ("r2d3d", "r10"), ("r2plus1d", "r10")])
def test_the_configuration_tells_strides_eps_and_frames(name: str, variant: str, tmp_path: Path) -> None:
    changed = {"spatial_strides": [2, 2, 1, 2, 2], "temporal_strides": [1, 2, 1, 1, 2], "norm_eps": 0.1}
    model = _create(name, variant, widths=[4, 6, 8, 12, 16], **changed)
    backbone = {
        "DOWNSAMPLING": [True, True, False, True, True],
        "DOWNSAMPLING_TEMPORAL": [False, True, True, False, True],
        "STEM": {"NAME": "R2Plus1DStem" if name == "r2plus1d" else "DownSampleStem"},
    }
    data = {"NUM_INPUT_FRAMES": 4, "TEST_CROP_SIZE": 32}
    configuration = {"VIDEO": {"BACKBONE": backbone, "HEAD": {"DROPOUT_RATE": 0.25}}, "BN": {"EPS": 0.1}, "DATA": data}
    loaded = load_model(_publish(model, tmp_path / "published.pyth", configuration))
    assert {number: loaded.architecture[number] for number in changed} == changed
    assert (loaded.architecture["num_segments"], loaded.dropout.p, loaded.preprocessing.size) == (4, 0.25, 32)
    _assert_same(loaded, model)
    without = load_model(_publish(model, tmp_path / "without.pyth"))
    assert not torch.allclose(without(_clip())["label"], model(_clip())["label"], rtol=1e-2)


@pytest.mark.parametrize(("stem", "has_pool", "stride"), [("Base3DStem", False, 2), ("Base2DStem", False, 1)])
def test_the_configuration_names_the_stem(stem: str, has_pool: bool, stride: int, tmp_path: Path) -> None:
    strides = [stride, 1, 1, 2, 2]
    model = _create("r2d3d", "r18", has_stem_pool=has_pool, temporal_strides=strides)
    backbone = {
        "DOWNSAMPLING": [True, False, True, True, True],
        "DOWNSAMPLING_TEMPORAL": [True, False, False, True, True],
        "STEM": {"NAME": stem},
    }
    loaded = load_model(_publish(model, tmp_path / "published.pyth", {"VIDEO": {"BACKBONE": backbone}}))
    _assert_same(loaded, model)


def test_a_checkpoint_without_a_stage_is_refused(tmp_path: Path) -> None:
    path = _publish(_create("r2d3d", "r18"), tmp_path / "published.pyth")
    archive = torch.load(path, weights_only=True)
    archive["model_state"] = {key: value for key, value in archive["model_state"].items() if ".conv5." not in key}
    torch.save(archive, path)
    message = r"the checkpoint has no backbone\.conv5\.res_1\.conv_branch\.a\.weight: it is of no whole residual network"
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    path = _publish(_create("r2d3d", "r18"), tmp_path / "published.pyth")
    message = r"holds a R2D3D network \(r18.*\) in the layout of TAdaConv's authors, not a CSN network"
    with pytest.raises(CheckpointError, match=message):
        load_model(path, architecture="csn")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (3, {}),
        (15, {"modality": "rgb", "segment_length": 5}),
        (2, {"modality": "flow", "segment_length": 1}),
        (10, {"modality": "flow", "segment_length": 5}),
    ],
)
def test_input_channels_tell_the_modality(channels: int, expected: dict[str, Any]) -> None:
    assert input_arguments(channels) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "ir15"}, r"model 'csn' has no variant 'ir15'; .*ir152"),
        ({"pretrained": True}, r"there are no image weights for csn of variant 'ir152'; set model\.pretrained=false"),
        ({"temporal": "shift"}, r"CSN looks at whole clips and takes no temporal module \('shift'\)"),
        ({"widths": [1, 2]}, r"widths has 2 entries, but needs 5, for the stem and the four stages"),
    ],
)
def test_what_cannot_be_built_is_refused(settings: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_model("csn", heads={"label": 5}, **settings)


@pytest.mark.parametrize(("name", "resize"), [("r2d3d", 128), ("r2plus1d", 128), ("csn", 224)])
def test_the_configurations_scale_is_read_as_the_publishers_code_did(name: str, resize: int, tmp_path: Path) -> None:
    model = create_model(name, heads={"label": 3}, **TINY[name])
    tensors = {re.sub(r"^classifiers\.label", "head.out", key): tensor for key, tensor in model.state_dict().items()}
    configuration = json.dumps({"DATA": {"TEST_SCALE": 224, "TEST_CROP_SIZE": 112, "NUM_INPUT_FRAMES": 16}})
    torch.save({"model_state": tensors, "cfg": configuration}, tmp_path / "published.pyth")
    assert load_model(tmp_path / "published.pyth").preprocessing.resize == resize
