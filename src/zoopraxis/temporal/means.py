"""The mean of each frame over its positions, which the adaptive modules decide by.

# B clips, T frames, C channels, S any spatial axes
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["frame_means", "is_recording"]


def frame_means(features_BTCS: Tensor) -> Tensor:
    """The mean over positions, (B, T, C, *spatial) to (B, T, C), in any memory format.

    Its gradient is a view of few numbers; autograd's own would be written out as large as the features, in another format.
    """
    if is_recording() or not torch.is_grad_enabled():
        return _mean(features_BTCS)
    means_BTC: Tensor = _FrameMeans.apply(features_BTCS)
    return means_BTC


def is_recording() -> bool:
    """Whether the operations are written down for a graph (compile, export, trace) rather than done."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def _mean(features_BTCS: Tensor) -> Tensor:
    """An axis of size one is added, since a mean over no axes would be one over all."""
    return features_BTCS.unsqueeze(-1).mean(tuple(range(3, features_BTCS.ndim + 1)))


class _FrameMeans(torch.autograd.Function):
    @staticmethod
    def forward(features_BTCS: Tensor) -> Tensor:
        return _mean(features_BTCS)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, grad_BTC: Tensor) -> Tensor:
        spatial = ctx.shape[3:]
        share_BTC: Tensor = grad_BTC / math.prod(spatial)
        return share_BTC.reshape(*ctx.shape[:3], *[1] * len(spatial)).expand(ctx.shape)
