"""ViViT, factorized and joint: published checkpoints loaded by their own keys give the published scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.models import VideoModel

ARCHITECTURES = ("FactorizedTransformer", "Transformer")
USUAL_SIZE, USUAL_HEAD_DIM = 224, 64


def matches(case: Mapping[str, Any]) -> bool:
    backbone = backbone_settings(case)
    branch = backbone.get("BRANCH", {}).get("NAME")
    return backbone.get("META_ARCH") in ARCHITECTURES and branch == "BaseTransformerLayer"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    is_factorized = "backbone.temp_embd" in case["state_dict"]
    without = _without_attention_in_time if is_factorized else _without_times
    check_case(case, arrays, context, without=without, is_told_by_shapes=_is_told_by_shapes(case, is_factorized))


def _is_told_by_shapes(case: Mapping[str, Any], is_factorized: bool) -> bool:
    backbone = backbone_settings(case)
    has_usual_heads = backbone["NUM_FEATURES"] == USUAL_HEAD_DIM * backbone["NUM_HEADS"]
    return has_usual_heads and (is_factorized or case["DATA"]["TRAIN_CROP_SIZE"] == USUAL_SIZE)


@torch.no_grad()
def _without_attention_in_time(model: VideoModel) -> None:
    for layer in model.backbone.layers_temporal:
        layer.attn.proj.weight.zero_()


@torch.no_grad()
def _without_times(model: VideoModel) -> None:
    positions_1LD, length = model.backbone.pos_embd, model.backbone.grid[0]
    grid = positions_1LD[:, 1:].unflatten(1, (length, math.prod(model.backbone.grid[1:])))
    positions_1LD[:, 1:] = grid.mean(dim=1, keepdim=True).expand_as(grid).flatten(1, 2)
