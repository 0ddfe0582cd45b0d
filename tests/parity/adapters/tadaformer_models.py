"""TAdaFormer: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.models import VideoModel

_HEAD_WIDTH = 64


def matches(case: Mapping[str, Any]) -> bool:
    return backbone_settings(case).get("META_ARCH") == "VisionTransformer"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    settings = backbone_settings(case)
    without = {"TAda": lambda model: _switch_off(model, "tada")}
    if settings.get("DOUBLE_TADA"):
        without["the second TAda"] = lambda model: _switch_off(model, "tada2")
    is_usual = settings["NUM_HEADS"] * _HEAD_WIDTH == settings["NUM_FEATURES"] and settings["TUBLET_STRIDE"] == 2
    check_case(case, arrays, context, without=without, is_told_by_shapes=is_usual)


def _switch_off(model: VideoModel, name: str) -> None:
    layers = model.backbone.layers
    assert isinstance(layers, nn.ModuleList)
    with torch.no_grad():
        for layer in layers:
            for parameter in getattr(layer, name).tada_proj.parameters():
                parameter.zero_()
