"""TAda2D: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.models import VideoModel, load_model
from zoopraxis.temporal import TemporalBatchNorm2d, TemporalCalibration

HEADS = ("verb", "noun")


def matches(case: Mapping[str, Any]) -> bool:
    video = case.get("VIDEO")
    branch = video.get("BACKBONE", {}).get("BRANCH", {}) if isinstance(video, Mapping) else {}
    return "state_dict" in case and branch.get("NAME") == "TAda2DBlock"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    clip = context.input(spec).transpose(1, 2)
    path = context.tmp_path / "published.pyth"
    configuration = {name: case[name] for name in ("VIDEO", "BN", "DATA") if name in case}
    torch.save({"epoch": 1, "model_state": context.state_dict(case), "cfg": json.dumps(configuration)}, path)
    model = load_model(path)
    path.unlink()
    features: list[Tensor] = []
    model.backbone.register_forward_hook(lambda _, __, output: features.append(output.mean(dim=1)))
    with torch.inference_mode():
        logits = model(clip)
        expected = _expected_logits(logits, arrays)
        for head, scores in logits.items():
            context.assert_close(scores, expected[head], f"logits of {head}")
        if len(logits) == 1 and "out" in arrays:
            (scores,) = logits.values()
            context.assert_close(scores.softmax(dim=1), arrays["out"], "probabilities")
        if "feature" in arrays:
            context.assert_close(features[0], arrays["feature"], "feature")
        for switched in (TemporalCalibration, TemporalBatchNorm2d):
            without = _without(model, switched)(clip[:1])
            seen = [context.is_close(scores, expected[head][:1]) for head, scores in without.items()]
            assert not any(seen), f"the case does not see {switched.__name__}"


def _expected_logits(logits: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The case's logits by our names of heads: the only ones, or the verb's and the noun's."""
    found = {name: array for name, array in arrays.items() if name.startswith("head_") and name.endswith("_presoftmax")}
    assert len(found) == len(logits), f"{len(logits)} heads, but arrays {sorted(found)}"
    if len(found) == 1:
        return dict(zip(logits, found.values(), strict=True))
    return dict(zip(HEADS, (found[name] for name in sorted(found)), strict=True))


def _without(model: VideoModel, switched: type) -> VideoModel:
    """The model with one of its parts switched off; it stays so."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, TemporalCalibration) and switched is TemporalCalibration:
                module.b.weight.zero_()
            if isinstance(module, TemporalBatchNorm2d) and switched is TemporalBatchNorm2d:
                module.temporal.weight.zero_()
                module.temporal.bias.zero_()
    return model
