"""The reversal of gradients, by which layers before a discriminator learn to deceive it.

Source: Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015, section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["reverse_gradient", "scale_gradient"]


def scale_gradient(values: Tensor, scale: float) -> Tensor:
    """The values themselves, whose gradient is multiplied by `scale`.

    Args:
        values: Any shape.
        scale: 1 changes nothing, 0 cuts the graph: what is behind computes no gradient for what is before.

    Returns:
        A tensor that equals `values`.
    """
    if scale == 0:
        return values.detach()
    scaled: Tensor = _ScaledGradient.apply(values, scale)
    return scaled


def reverse_gradient(values: Tensor, strength: float) -> Tensor:
    """The values themselves, whose gradient is multiplied by -`strength`; see `scale_gradient`."""
    return scale_gradient(values, -strength)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None
