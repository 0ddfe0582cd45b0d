"""TANet: published checkpoints of both key layouts, loaded by their own keys, give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.models import VideoModel, load_model
from zoopraxis.temporal import TemporalAdaptiveModule


def matches(case: Mapping[str, Any]) -> bool:
    keys = case.get("state_dict")
    return isinstance(keys, Mapping) and any(".tam." in key for key in keys)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    clip = context.input(spec)
    if clip.ndim == 4:  # the authors' frames lie on the channel axis
        clip = clip.unflatten(1, (-1, 3))
    path = context.tmp_path / "published.pth"
    torch.save(_as_published(context.state_dict(case)), path)
    model = load_model(path)
    path.unlink()
    assert model.architecture["name"] == "tanet"
    assert model.architecture["num_segments"] == clip.shape[1]
    with torch.inference_mode():
        statistics = _collect(model)
        (logits,) = model(clip).values()
        context.assert_close(logits, arrays["logits"], "logits")
        for name in (name for name in arrays if name.endswith("_mean_std")):
            stage = name.removesuffix("_mean_std")
            context.assert_close(statistics["layer4" if stage == "backbone" else stage], arrays[name], name)
        for module in model.modules():
            if isinstance(module, TemporalAdaptiveModule):
                module.G[3].weight.zero_()
        (uniform,) = model(clip[:1]).values()
        assert not context.is_close(uniform, arrays["logits"][:1]), "the case does not see the kernels"


def _as_published(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The file as its publisher wrote it: the authors' with the prefix of DataParallel, or mmengine's."""
    if any(key.startswith("base_model.") for key in tensors):
        return {"epoch": 50, "arch": "resnet50", "state_dict": {f"module.{key}": tensor for key, tensor in tensors.items()}}
    return {"meta": {"epoch": 50}, "state_dict": tensors}


def _collect(model: VideoModel) -> dict[str, Tensor]:
    """Filled while the model runs: for each stage mean and standard deviation of each frame's features, shape (2, B * T)."""
    statistics: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def keep(_: Any, __: Any, maps_NCHW: Tensor) -> None:
            rows = maps_NCHW.flatten(1)
            statistics[name] = torch.stack([rows.mean(1), rows.std(1)])

        return keep

    for name, stage in model.backbone.network.named_children():
        if name.startswith("layer"):
            stage.register_forward_hook(hook(name))
    return statistics
