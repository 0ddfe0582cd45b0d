"""S3D-G: published checkpoints, whose tensors all stand there twice, give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from parity.clip_cases import backbone_settings, check_case
from zoopraxis.backbones.s3dg import ChannelGate, SeparableUnit
from zoopraxis.models import VideoModel

EPS = 1e-3
"""Of the batch norms, unless the configuration tells another."""


def matches(case: Mapping[str, Any]) -> bool:
    return backbone_settings(case).get("META_ARCH") == "Inception3D"


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    settings = backbone_settings(case)
    without = {"its kernels in time": _take_frames_apart}
    if settings["BRANCH"].get("GATING"):
        without["its gates"] = _open_gates
    check_case(case, arrays, context, without=without, is_told_by_shapes=case["BN"]["EPS"] == EPS)


@torch.no_grad()
def _take_frames_apart(model: VideoModel) -> None:
    for unit in model.modules():
        if isinstance(unit, SeparableUnit):
            kernel = unit.conv2.weight
            center = kernel.shape[2] // 2
            kernel[:, :, :center] = 0
            kernel[:, :, center + 1 :] = 0


@torch.no_grad()
def _open_gates(model: VideoModel) -> None:
    for gate in model.modules():
        if isinstance(gate, ChannelGate):
            gate.fc.weight.zero_()
            gate.fc.bias.fill_(100.0)
