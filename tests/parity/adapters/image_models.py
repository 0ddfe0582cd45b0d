"""TSN and TSM: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.models import create_model, load_model


def matches(case: Mapping[str, Any]) -> bool:
    config = case.get("config")
    if "state_dict" not in case or not isinstance(config, Mapping):
        return False
    return _is_baseline(config) or _is_mmaction(config)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    clip = context.input(spec)
    path = context.tmp_path / "published.ckpt"
    model = load_model(context.write_checkpoint(case, path), architecture=_known(case["config"], clip))
    path.unlink()
    with torch.inference_mode():
        features: list[torch.Tensor] = []
        model.backbone.register_forward_hook(lambda _, __, output: features.append(output))
        logits = model(clip)
        context.assert_close(torch.cat(list(logits.values()), dim=1), arrays["logits"], "logits")
        for head in logits.keys() & set(arrays):
            context.assert_close(logits[head], arrays[head], head)
        if "features" in arrays:
            context.assert_close(features[0], arrays["features"], "features")
        if "backbone_mean_std" in arrays:
            maps = model.backbone.forward_maps(clip).flatten(0, 1).flatten(1)
            context.assert_close(torch.stack([maps.mean(1), maps.std(1)]), arrays["backbone_mean_std"], "backbone_mean_std")
        other = _with_shift_switched(model)(clip[:1])
        assert not context.is_close(torch.cat(list(other.values()), dim=1), arrays["logits"][:1]), (
            "the case does not see the shift"
        )


def _is_baseline(config: Mapping[str, Any]) -> bool:
    return config.get("model") in ("TSN", "TSM") and not config.get("non_local")


def _is_mmaction(config: Mapping[str, Any]) -> bool:
    backbone, head = config.get("backbone"), config.get("cls_head")
    if config.get("type") != "Recognizer2D" or not isinstance(backbone, Mapping) or not isinstance(head, Mapping):
        return False
    is_known = backbone.get("type") in ("ResNet", "ResNetTSM") and head.get("type") in ("TSNHead", "TSMHead")
    return is_known and not backbone.get("non_local_cfg")


def _known(config: Mapping[str, Any], clip: torch.Tensor) -> dict[str, Any]:
    """What neither keys nor shapes nor carried settings tell."""
    if not _is_mmaction(config) or config["backbone"]["type"] != "ResNetTSM":
        return {}
    return {"num_segments": clip.shape[1], "shift_div": config["backbone"].get("shift_div", 8)}


def _with_shift_switched(model: Any) -> Any:
    """The same weights in the network that has no shift, or of TSN in the one that has."""
    common = ("heads", "backbone", "num_segments", "segment_length", "modality")
    name = "tsn" if model.architecture["name"] == "tsm" else "tsm"
    other = create_model(name, **{key: model.architecture[key] for key in common})
    other.load_state_dict(model.state_dict())
    return other.eval()
