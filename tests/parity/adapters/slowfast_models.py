"""SlowFast and its single paths: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.backbones.slowfast import FastToSlow
from zoopraxis.models import VideoModel

PUBLISHED = {"DOWNSAMPLING": [True, False, True, True, True], "DOWNSAMPLING_TEMPORAL": [False] * 5}
ALPHA_OF_KERNEL = {7: 4, 5: 8}


def matches(case: Mapping[str, Any]) -> bool:
    return backbone_settings(case).get("META_ARCH") == "Slowfast"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    without: dict[str, Callable[[VideoModel], object]] = {"its kernels over frames": _take_frames_apart}
    if backbone_settings(case)["SLOWFAST"]["MODE"] == "slowfast":
        without["what the fast path tells the slow one"] = _silence
    check_case(case, arrays, context, without=without, is_told_by_shapes=_is_told_by_shapes(case))


def _is_told_by_shapes(case: Mapping[str, Any]) -> bool:
    settings = backbone_settings(case)
    slowfast, depth = settings["SLOWFAST"], settings["DEPTH"]
    if slowfast["MODE"] != "slowfast":
        return False
    is_usual = slowfast["FUSION_RELU"] and settings["STEM"]["NAME"] == "DownSampleStem" and case["BN"]["EPS"] == 1e-5
    alpha = 4 if depth == 101 else ALPHA_OF_KERNEL.get(slowfast["KERNEL_SIZE"])
    return is_usual and slowfast["ALPHA"] == alpha and all(settings[name] == value for name, value in PUBLISHED.items())


@torch.no_grad()
def _take_frames_apart(model: VideoModel) -> None:
    for convolution in model.modules():
        if isinstance(convolution, nn.Conv3d) and convolution.kernel_size[0] > 1:
            center = convolution.kernel_size[0] // 2
            convolution.weight[:, :, :center] = 0
            convolution.weight[:, :, center + 1 :] = 0


@torch.no_grad()
def _silence(model: VideoModel) -> None:
    for exchange in model.modules():
        if isinstance(exchange, FastToSlow):
            for parameter in exchange.parameters():
                parameter.zero_()
