"""TimeSformer: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.models import VideoModel

USUAL_SIZE, USUAL_HEAD_DIM = 224, 64


def matches(case: Mapping[str, Any]) -> bool:
    return backbone_settings(case).get("BRANCH", {}).get("NAME") == "TimesformerLayer"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    backbone = backbone_settings(case)
    has_usual_heads = backbone["NUM_FEATURES"] == USUAL_HEAD_DIM * backbone["NUM_HEADS"]
    is_told = has_usual_heads and case["DATA"]["TRAIN_CROP_SIZE"] == USUAL_SIZE
    check_case(case, arrays, context, without=_without_attention_in_time, is_told_by_shapes=is_told)


@torch.no_grad()
def _without_attention_in_time(model: VideoModel) -> None:
    for layer in model.backbone.layers:
        layer.attn_temporal.proj.weight.zero_()
