"""TAdaConvNeXtV2: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.backbones.tadaconvnext import TAdaConvNeXtV2Block
from zoopraxis.models import VideoModel
from zoopraxis.temporal import RouteFuncTransformer

PUBLISHED_HEAD_DIMS = (64, 48)


def matches(case: Mapping[str, Any]) -> bool:
    settings = backbone_settings(case)
    return settings.get("META_ARCH") == "ConvNeXt" and settings.get("BRANCH", {}).get("NAME") == "TAdaConvNeXtV2Block"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    without = {"the routing functions": _without_routes, "the average over neighboring frames": _without_pools}
    check_case(case, arrays, context, without=without, is_told_by_shapes=_is_usual(case))


def _is_usual(case: Mapping[str, Any]) -> bool:
    """Whether what shapes do not tell, the width of the attention's heads and the stem's stride, is as published."""
    settings = backbone_settings(case)
    hidden = case["state_dict"]["backbone.stages.0.0.dwconv_rf.a.weight"][1][0]
    usual = next((width for width in PUBLISHED_HEAD_DIMS if hidden % width == 0), hidden)
    return (settings["BRANCH"].get("HEAD_DIM"), settings.get("STEM", {}).get("T_STRIDE")) == (usual, 2)


def _without_routes(model: VideoModel) -> None:
    for module in model.modules():
        if isinstance(module, RouteFuncTransformer):
            module.b.weight.data.zero_()
            if module.b_bias is not None:
                module.b_bias.weight.data.zero_()


def _without_pools(model: VideoModel) -> None:
    for module in model.modules():
        if isinstance(module, TAdaConvNeXtV2Block) and module.norm_avgpool is not None:
            module.norm_avgpool.weight.data.zero_()
            module.norm_avgpool.bias.data.zero_()
