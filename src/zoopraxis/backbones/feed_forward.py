"""Two linear maps with a quick GELU between them, in one pass over the wide features.

# S any leading axes, D features, E wide features
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["quick_gelu_maps"]

_SLOPE = 1.702


def quick_gelu_maps(features_SD: Tensor, first: nn.Linear, second: nn.Linear) -> Tensor:
    """second(quick_gelu(first(x))), with quick_gelu(x) = x * sigmoid(1.702 x) = silu(1.702 x) / 1.702.

    The factors go into the maps' weights, of which there are few: the wide features are read and written once, where x *
    sigmoid(1.702 x) does so three times and keeps one more of them for the backward pass.

    Args:
        features_SD: Shape (*, D).
        first: D to E; its own forward, and hooks on it, are passed by.
        second: E to D, likewise.

    Returns:
        Shape (*, D).
    """
    bias_E = None if first.bias is None else _SLOPE * first.bias
    wide_SE = functional.linear(features_SD, _SLOPE * first.weight, bias_E)
    activated_SE = functional.silu(wide_SE, inplace=not torch.is_grad_enabled())
    return functional.linear(activated_SE, second.weight / _SLOPE, second.bias)
