"""The model S3D-G: variants, what is read off a published file, and its defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import VideoModel, create_model, load_model

BLOCK = [4, 4, 6, 2, 4, 3]
TINY: dict[str, Any] = {"num_segments": 8, "stem_widths": [4, 4, 8], "mixed_widths": [[BLOCK], [BLOCK, BLOCK], [BLOCK]]}
HEADS = {"label": 5}
SECOND_NAMES = {"block1.0": "Conv_1a", "block2.1": "Conv_2b", "block2.2": "Conv_2c", "block3.1": "Mixed_3b"}


def _create(**settings: Any) -> VideoModel:
    return create_model("s3dg", **{"heads": HEADS, **TINY, **settings}).eval()


def _publish(model: VideoModel, path: Path, **cfg: Any) -> Path:
    """The model as its publisher would have written it: each tensor under two names."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in model.state_dict().items():
        for name, second in SECOND_NAMES.items():
            if key.startswith(f"backbone.{name}."):
                tensors[key.replace(name, second, 1)] = torch.zeros_like(tensor)
        tensors[key.replace("classifiers.label", "head.out")] = tensor
    torch.save({"epoch": 1, "model_state": tensors, "cfg": json.dumps(cfg)}, path)
    return path


@pytest.mark.parametrize("variant", ["s3dg", "s3d"])
def test_a_published_file_tells_gates_widths_and_norms(variant: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _create(backbone=variant, norm_eps=1e-2)
    path = _publish(model, tmp_path / "file.pyth", BN={"EPS": 1e-2}, DATA={"NUM_INPUT_FRAMES": 8})
    loaded = load_model(path)
    assert loaded.architecture["backbone"] == variant
    assert {name: loaded.architecture[name] for name in (*TINY, "norm_eps")} == {**TINY, "norm_eps": 1e-2}
    clips = torch.randn(2, 8, 3, 32, 32)
    assert torch.equal(loaded(clips)["label"], model(clips)["label"])


def test_gating_overrides_the_variant() -> None:
    ungated = _create(gating=False)
    assert ungated.state_dict().keys() == _create(backbone="s3d").state_dict().keys()
    assert not any("gating" in key for key in ungated.state_dict())


def test_defaults_are_the_published_ones() -> None:
    with torch.device("meta"):
        model = create_model("s3dg", heads={"label": 400})
    expects = model.preprocessing
    assert (expects.num_segments, expects.interval, expects.target_fps, expects.sampling) == (64, 1, 25.0, "interval")
    assert model.backbone.block1[0].bn1.eps == 1e-3
    assert model.architecture["dropout"] == 0.5


def test_a_file_without_its_middle_is_refused(tmp_path: Path) -> None:
    model = _create()
    del model.backbone.block4[1].branch2
    with pytest.raises(CheckpointError, match=r"an S3D-G network's, but has no backbone\.block4\.1\.branch2\.0\.conv\.weight"):
        load_model(_publish(model, tmp_path / "file.pyth"))


def test_widths_of_another_form_are_refused() -> None:
    message = r"model 's3dg' cannot be built: widths \[4\] and .* must be 3 positive numbers, and 3 stages of blocks of 6"
    with pytest.raises(ConfigError, match=message):
        _create(stem_widths=[4])
