"""The temporal shift of TSM: a part of the channels sees the neighboring frames. It has no parameters.

# B clips, T frames, C channels, S any spatial axes

Source: Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.temporal.kinds import TEMPORAL, TemporalKind

__all__ = ["TemporalMaxPool", "TemporalShift", "temporal_max_pool", "temporal_shift"]


def temporal_shift(features_BTCS: Tensor, *, shift_div: int = 8) -> Tensor:
    """Let two parts of the channels take the neighboring frames' values.

    With fold = C // shift_div, channels [0, fold) take the next frame's values (zero in the last frame), channels
    [fold, 2 fold) the previous frame's (zero in the first frame), and the rest stay. Fewer than `shift_div` channels are left
    as they are.

    Args:
        features_BTCS: Shape (B, T, C, *spatial), any dtype and memory format.
        shift_div: The inverse of the part that is shifted each way, at least 2.

    Returns:
        A new tensor of the same shape, dtype and memory format.

    Raises:
        ValueError: If `shift_div` is below 2 or there is no channel axis.

    Differs: the published code writes into a zero-filled tensor, and in training pays for one copy of the gradient for each
    slice; here output and gradient are each written once.
    """
    if shift_div < 2:
        raise ValueError(f"shift_div ({shift_div}) must be at least 2; the published value is 8")
    if features_BTCS.ndim < 3:
        raise ValueError(f"features must have shape (B, T, C, *spatial), not {tuple(features_BTCS.shape)}")
    shifted: Tensor = _Shift.apply(features_BTCS, features_BTCS.shape[2] // shift_div, False)
    return shifted


class TemporalShift(nn.Module):
    """`temporal_shift` as a module, (B, T, C, *spatial) to the same shape, for any T and C."""

    def __init__(self, *, shift_div: int = 8) -> None:
        super().__init__()
        if shift_div < 2:
            raise ValueError(f"shift_div ({shift_div}) must be at least 2; the published value is 8")
        self.shift_div = shift_div

    def forward(self, features_BTCS: Tensor) -> Tensor:
        return temporal_shift(features_BTCS, shift_div=self.shift_div)

    def extra_repr(self) -> str:
        return f"shift_div={self.shift_div}"


def temporal_max_pool(features_BTCS: Tensor) -> Tensor:
    """Halve the number of frames by the maximum over windows of three frames at every second frame.

    Args:
        features_BTCS: Shape (B, T, C, *spatial) with at least one spatial axis.

    Returns:
        Shape (B, ceil(T / 2), C, *spatial); frame t is the maximum over the frames 2t - 1, 2t and 2t + 1 that exist.
    """
    spatial = features_BTCS.shape[3:]
    features_BCTS = features_BTCS.flatten(3).transpose(1, 2)
    pooled = nn.functional.max_pool2d(features_BCTS, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0))
    return torch.unflatten(pooled.transpose(1, 2), 3, spatial)


class TemporalMaxPool(nn.Module):
    """`temporal_max_pool` as a module: (B, T, C, *spatial) to (B, ceil(T / 2), C, *spatial)."""

    def forward(self, features_BTCS: Tensor) -> Tensor:
        return temporal_max_pool(features_BTCS)


class _Shift(torch.autograd.Function):
    """The shift; `is_adjoint` moves the channels the other way round, which is its own gradient."""

    @staticmethod
    def forward(features_BTCS: Tensor, fold: int, is_adjoint: bool) -> Tensor:
        from_next = slice(fold, 2 * fold) if is_adjoint else slice(0, fold)
        from_previous = slice(0, fold) if is_adjoint else slice(fold, 2 * fold)
        shifted = torch.empty_like(features_BTCS)
        shifted[:, :-1, from_next] = features_BTCS[:, 1:, from_next]
        shifted[:, -1:, from_next] = 0
        shifted[:, 1:, from_previous] = features_BTCS[:, :-1, from_previous]
        shifted[:, :1, from_previous] = 0
        shifted[:, :, 2 * fold :] = features_BTCS[:, :, 2 * fold :]
        return shifted

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, bool], output: Tensor) -> None:
        _, ctx.fold, ctx.is_adjoint = inputs

    @staticmethod
    def backward(ctx: Any, grad_BTCS: Tensor) -> tuple[Tensor, None, None]:
        return _Shift.apply(grad_BTCS, ctx.fold, not ctx.is_adjoint), None, None


def _build_shift(*, channels: int, num_frames: int, shift_div: int = 8) -> TemporalShift:
    return TemporalShift(shift_div=shift_div)


TEMPORAL.register("shift")(TemporalKind(build=_build_shift, site="branch_input", sparse_from=23))
