"""CSN, R2D3D and R(2+1)D: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.clip_cases import Without, backbone_settings, check_case, head_settings
from zoopraxis.models import VideoModel
from zoopraxis.temporal import NonLocalBlock

HEADS = ("BaseHead", "BaseHeadx2")
SILENT = {
    "CSNBranch": ([True, False, True, True, True], [False, False, True, True, True], 1e-5, "DownSampleStem"),
    "R2D3DBranch": ([True, False, True, True, True], [False, False, False, True, True], 1e-3, "DownSampleStem"),
    "R2Plus1DBranch": ([True, False, True, True, True], [False, False, True, True, True], 1e-3, "R2Plus1DStem"),
}
"""Branch to what no shape tells, as published: strides over space and time, eps of the norms, and the stem."""


def matches(case: Mapping[str, Any]) -> bool:
    return _branch(case) in SILENT and head_settings(case).get("NAME") in HEADS


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    without: dict[str, Without] = {"time": _without_time}
    if any(".nonlocal." in key for key in case["state_dict"]):
        without["non-local blocks"] = _without_nonlocal
    check_case(case, arrays, context, without=without, is_told_by_shapes=_is_told_by_shapes(case))


def _branch(case: Mapping[str, Any]) -> str:
    return str(backbone_settings(case).get("BRANCH", {}).get("NAME"))


def _is_told_by_shapes(case: Mapping[str, Any]) -> bool:
    settings = backbone_settings(case)
    carried = (settings["DOWNSAMPLING"], settings["DOWNSAMPLING_TEMPORAL"], case["BN"]["EPS"], settings["STEM"]["NAME"])
    return carried == SILENT[_branch(case)]


def _without_time(model: VideoModel) -> None:
    """Every kernel sees its central frame only."""
    with torch.no_grad():
        for layer in model.backbone.modules():
            if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] > 1:
                central = layer.weight[:, :, layer.kernel_size[0] // 2].clone()
                layer.weight.zero_()
                layer.weight[:, :, layer.kernel_size[0] // 2] = central


def _without_nonlocal(model: VideoModel) -> None:
    with torch.no_grad():
        for block in model.backbone.modules():
            if isinstance(block, NonLocalBlock):
                block.out_bn.weight.zero_()
                block.out_bn.bias.zero_()
