"""Averages over neighboring frames, and the two batch norms that TAdaConv's networks put behind a calibrated convolution.

# B clips, T frames, C channels, N = B * T frames, H height, W width
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.temporal.means import is_recording

__all__ = ["neighbor_mean", "normalize_with_neighbors"]


def neighbor_mean(features: Tensor) -> Tensor:
    """A third of the sum of each frame and its two neighbors, (B, T, ...) to the same shape and memory format.

    It divides by three at the ends of a clip too, as if a frame of zeros stood there.
    """
    if is_recording() or not torch.is_grad_enabled():
        return _neighbor_mean(features)
    mean: Tensor = _NeighborMean.apply(features)
    return mean


def normalize_with_neighbors(features_BTCHW: Tensor, plain: nn.BatchNorm2d, temporal: nn.BatchNorm2d) -> Tensor:
    """plain(z) + temporal(mean of each frame and its two neighbors), in one pass where both use their running statistics.

    In evaluation both norms are one filter over three frames: weights [n, w + n, n], n = temporal weight / (3 temporal std).

    Args:
        features_BTCHW: Shape (B, T, C, H, W), any memory format, which is kept.
        plain: Has weight, bias and running statistics.
        temporal: Likewise.

    Returns:
        A new tensor of the same shape and dtype.
    """
    num_frames = features_BTCHW.shape[1]
    if plain.training or temporal.training:
        plain_NCHW = nn.BatchNorm2d.forward(plain, features_BTCHW.flatten(0, 1))
        summed_NCHW = plain_NCHW.add_(temporal(neighbor_mean(features_BTCHW).flatten(0, 1)))
        return torch.unflatten(summed_NCHW, 0, (-1, num_frames))
    assert plain.running_mean is not None and plain.running_var is not None
    assert temporal.running_mean is not None and temporal.running_var is not None
    scale_C = temporal.weight * torch.rsqrt(temporal.running_var + temporal.eps)
    neighbor_C = scale_C / 3
    weight_C = plain.weight + neighbor_C * torch.sqrt(plain.running_var + plain.eps)
    bias_C = plain.bias + (temporal.bias - temporal.running_mean * scale_C + neighbor_C * plain.running_mean)
    summed_NCHW = nn.functional.batch_norm(
        features_BTCHW.flatten(0, 1), plain.running_mean, plain.running_var, weight_C, bias_C, eps=plain.eps
    )
    summed_BTCHW = torch.unflatten(summed_NCHW, 0, (-1, num_frames))
    neighbor_C11 = neighbor_C.to(summed_BTCHW.dtype)[:, None, None]
    summed_BTCHW[:, 1:].addcmul_(features_BTCHW[:, :-1], neighbor_C11)
    summed_BTCHW[:, :-1].addcmul_(features_BTCHW[:, 1:], neighbor_C11)
    return summed_BTCHW


def _neighbor_mean(features: Tensor) -> Tensor:
    third = features / 3
    mean = third.clone()
    mean[:, 1:].add_(third[:, :-1])
    mean[:, :-1].add_(third[:, 1:])
    return mean


class _NeighborMean(torch.autograd.Function):
    """Its gradient is the same mean; autograd's own would write out each frame's three times."""

    @staticmethod
    def forward(features: Tensor) -> Tensor:
        return _neighbor_mean(features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return neighbor_mean(grad)
