"""The temporal adaptive module of TANet: frames are mixed by a kernel that the clip itself decides.

# B clips, T frames, C channels, S any spatial axes, K taps of the kernel

The spatial mean of each frame feeds two branches. The local one looks at neighboring frames and gives each frame and channel a
factor in (0, 1); the global one looks at all frames of a channel and gives K weights that sum to 1. A frame of the output is
the sum of K neighboring frames (zeros beyond the clip's ends), each times its factor and the weight of its place.

Source: Liu et al., TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021, and the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.temporal.kinds import TEMPORAL, TemporalKind
from zoopraxis.temporal.means import frame_means, is_recording

__all__ = ["TemporalAdaptiveModule", "temporal_aggregate"]

_CACHED_NUMBERS = 2**18
"""Numbers of features that a CPU's core surely holds close by, 1 MiB of them."""


class TemporalAdaptiveModule(nn.Module):
    """Mix each channel over time by weights that the clip decides; (B, T, C, *spatial) to the same shape and memory format.

    The state dict has the published keys: `L.*` is the local branch, `G.*` the global one.

    Args:
        channels: C, a multiple of `beta`.
        num_frames: T. The linear maps of the global branch go over all frames, so clips of another length are refused.
        kernel_size: K, odd.
        local_kernel_size: Taps of the local branch's convolution over time, odd; none: `kernel_size` (as the authors have it;
            mmaction2 sets the two apart and has 3 here by default).
        alpha: The global branch widens T frames to `alpha * T` units.
        beta: The local branch narrows C channels to `C // beta`.

    Raises:
        ValueError: If a number is out of range.

    Differs: in the published code a clip of another length is cut at wrong places in silence where the batch allows it, and
    channels that `beta` does not divide are rounded down. The published padding is an argument, but none other than half the
    kernel gives back T frames.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_frames: int,
        kernel_size: int = 3,
        local_kernel_size: int | None = None,
        alpha: int = 2,
        beta: int = 4,
    ) -> None:
        super().__init__()
        local_kernel_size = kernel_size if local_kernel_size is None else local_kernel_size
        for name, value in (("channels", channels), ("num_frames", num_frames), ("alpha", alpha), ("beta", beta)):
            if value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        for name, size in (("kernel_size", kernel_size), ("local_kernel_size", local_kernel_size)):
            if size < 1 or size % 2 == 0:
                raise ValueError(f"{name} ({size}) must be odd and at least 1; the published value is 3")
        if channels % beta:
            raise ValueError(f"beta ({beta}) must divide the number of channels ({channels}); the published value is 4")
        self.num_frames = num_frames
        self.L = nn.Sequential(
            _FrameConvolution(channels, channels // beta, local_kernel_size, num_frames=num_frames),
            nn.BatchNorm1d(channels // beta),
            nn.ReLU(inplace=True),
            _FrameConvolution(channels // beta, channels, 1, num_frames=num_frames),
            nn.Sigmoid(),
        )
        self.G = nn.Sequential(
            nn.Linear(num_frames, alpha * num_frames, bias=False),
            nn.BatchNorm1d(alpha * num_frames),
            nn.ReLU(inplace=True),
            nn.Linear(alpha * num_frames, kernel_size, bias=False),
        )

    def forward(self, features_BTCS: Tensor) -> Tensor:
        """Mix the frames of each clip.

        Args:
            features_BTCS: Shape (B, T, C, *spatial) with at least one spatial axis; any floating dtype and memory format.

        Returns:
            A new tensor of the same shape, dtype and memory format.

        Raises:
            ValueError: If there is no spatial axis or T is not `num_frames`.
        """
        weights_KBTC = _tap_weights(*self.branches(features_BTCS))
        return temporal_aggregate(features_BTCS, weights_KBTC.to(features_BTCS.dtype))

    def branches(self, features_BTCS: Tensor) -> tuple[Tensor, Tensor]:
        """What the clip decides: the kernel (K, B, C), not negative, sum 1; and the frames' factors (B, T, C), in (0, 1).

        Raises:
            ValueError: As `forward`.
        """
        if features_BTCS.ndim < 4:
            raise ValueError(f"features must have shape (B, T, C, *spatial), not {tuple(features_BTCS.shape)}")
        if features_BTCS.shape[1] != self.num_frames:
            raise ValueError(
                f"the clip has {features_BTCS.shape[1]} frames, but the temporal adaptive module maps all {self.num_frames} "
                f"frames that it was built for; give clips of {self.num_frames} frames, or build and train another network"
            )
        means_BTC = frame_means(features_BTCS)
        clips, frames, channels = means_BTC.shape
        scores_NK = self.G(means_BTC.transpose(1, 2).reshape(-1, frames))
        kernel_KBC = torch.softmax(scores_NK.t(), dim=0).view(-1, clips, channels)
        return kernel_KBC, self.L(means_BTC.reshape(-1, channels)).view(clips, frames, channels)

    def extra_repr(self) -> str:
        return f"num_frames={self.num_frames}"


def temporal_aggregate(features_BTCS: Tensor, weights_KBTC: Tensor) -> Tensor:
    """Sum K neighboring frames with weights of their own: y[b, t, c] = sum over j of w[j, b, t, c] * x[b, t + j - K // 2, c].

    Frames beyond the clip's ends count as zero. Eagerly it adds the frames up in place and has a backward of its own, which
    keeps no copy of the features, keeps their memory format and can be differentiated again; while a graph is compiled or
    exported it is a sum of slices that the compiler fuses. Both give the same numbers but for rounding.

    Args:
        features_BTCS: Shape (B, T, C, *spatial).
        weights_KBTC: Shape (K, B, T, C), K odd, the dtype of the features.

    Returns:
        A new tensor of the features' shape, dtype and memory format.

    Raises:
        ValueError: If the shapes or dtypes do not fit.

    Differs: the published code multiplies the features by the local factors first, and brings them into the order
    (B, C, T, *spatial) and back for a grouped convolution of B * C groups.
    """
    num_taps = weights_KBTC.shape[0]
    if num_taps % 2 == 0 or weights_KBTC.shape[1:] != features_BTCS.shape[:3]:
        raise ValueError(
            f"weights of shape {tuple(weights_KBTC.shape)} do not fit features of shape {tuple(features_BTCS.shape)}; "
            "they must be (K, B, T, C) with K odd"
        )
    if weights_KBTC.dtype != features_BTCS.dtype:
        raise ValueError(f"weights are {weights_KBTC.dtype}, features {features_BTCS.dtype}; convert the weights")
    if is_recording():
        return _aggregate_slices(features_BTCS, weights_KBTC)
    if not torch.is_grad_enabled():
        return _aggregate(features_BTCS, weights_KBTC)
    aggregated: Tensor = _Aggregate.apply(features_BTCS, weights_KBTC, False)
    return aggregated


class _FrameConvolution(nn.Conv1d):
    """A convolution over the frames of clips that lie as rows: (B * T, C) to (B * T, C'), by one matrix product.

    The parameters are those of `nn.Conv1d`; for the short clips here the product takes a part of a convolution's time.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, num_frames: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.num_frames = num_frames

    def forward(self, rows_NC: Tensor) -> Tensor:
        size, reach = self.weight.shape[2], self.weight.shape[2] // 2
        if size > 1:
            clips_BTC = rows_NC.view(-1, self.num_frames, self.in_channels)
            windows_BTCK = nn.functional.pad(clips_BTC, (0, 0, reach, reach)).unfold(1, size, 1)
            rows_NC = windows_BTCK.reshape(-1, self.in_channels * size)
        return nn.functional.linear(rows_NC, self.weight.flatten(1))


class _Aggregate(torch.autograd.Function):
    """The sum of neighboring frames; `is_adjoint` gives each frame to its neighbors instead, which is the gradient."""

    @staticmethod
    def forward(features_BTCS: Tensor, weights_KBTC: Tensor, is_adjoint: bool) -> Tensor:
        return _aggregate(features_BTCS, weights_KBTC, is_adjoint=is_adjoint)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        features_BTCS, weights_KBTC, ctx.is_adjoint = inputs
        ctx.save_for_backward(features_BTCS, weights_KBTC)

    @staticmethod
    def backward(ctx: Any, grad_BTCS: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features_BTCS, weights_KBTC = ctx.saved_tensors
        of_features = of_weights = None
        if ctx.needs_input_grad[0]:
            of_features = _Aggregate.apply(grad_BTCS, weights_KBTC, not ctx.is_adjoint)
        if ctx.needs_input_grad[1]:
            pair = (features_BTCS, grad_BTCS) if ctx.is_adjoint else (grad_BTCS, features_BTCS)
            of_weights = _weight_gradient(*pair, num_taps=len(weights_KBTC))
        return of_features, of_weights, None


def _aggregate(features_BTCS: Tensor, weights_KBTC: Tensor, *, is_adjoint: bool = False) -> Tensor:
    taps_KBTCS = _over_space(weights_KBTC, features_BTCS)
    aggregated = torch.empty_like(features_BTCS)
    size = _part_size(features_BTCS)
    parts = torch.split(features_BTCS, size), torch.split(taps_KBTCS, size, dim=1), torch.split(aggregated, size)
    for part in zip(*parts, strict=True):
        _add_up(*part, is_adjoint=is_adjoint)
    return aggregated


def _add_up(features_BTCS: Tensor, taps_KBTCS: Tensor, aggregated_BTCS: Tensor, *, is_adjoint: bool) -> None:
    center = len(taps_KBTCS) // 2
    torch.mul(features_BTCS, taps_KBTCS[center], out=aggregated_BTCS)
    for tap, here, there in _overlaps(len(taps_KBTCS), features_BTCS.shape[1]):
        if tap != center:
            source, target = (here, there) if is_adjoint else (there, here)
            aggregated_BTCS[:, target].addcmul_(features_BTCS[:, source], taps_KBTCS[tap][:, here])


def _tap_weights(kernel_KBC: Tensor, factors_BTC: Tensor) -> Tensor:
    """The kernel times the factors of the frames on which its taps lie, shape (K, B, T, C)."""
    num_taps = len(kernel_KBC)
    windows_BTCK = nn.functional.pad(factors_BTC, (0, 0, num_taps // 2, num_taps // 2)).unfold(1, num_taps, 1)
    return windows_BTCK.permute(3, 0, 1, 2) * kernel_KBC[:, :, None]


def _aggregate_slices(features_BTCS: Tensor, weights_KBTC: Tensor) -> Tensor:
    """`temporal_aggregate` for compilers: K slices of the padded clip."""
    num_taps, _, num_frames, _ = weights_KBTC.shape
    reach = num_taps // 2
    padded = nn.functional.pad(features_BTCS, [0, 0] * (features_BTCS.ndim - 2) + [reach, reach])
    taps_KBTCS = _over_space(weights_KBTC, features_BTCS).unbind(0)
    aggregated = taps_KBTCS[reach] * features_BTCS
    for tap, weights_BTCS in enumerate(taps_KBTCS):
        if tap != reach:
            aggregated = torch.addcmul(aggregated, weights_BTCS, padded[:, tap : tap + num_frames])
    return aggregated


def _weight_gradient(grad_BTCS: Tensor, features_BTCS: Tensor, *, num_taps: int) -> Tensor:
    """For each tap the product of gradient and features, summed over space, shape (K, B, T, C)."""
    is_channels_last = features_BTCS.stride(2) == 1
    if torch.is_grad_enabled() or (is_channels_last and features_BTCS.device.type != "cpu"):
        return _weight_gradient_by_products(grad_BTCS, features_BTCS, num_taps)
    if is_channels_last:
        return _weight_gradient_by_frames(grad_BTCS, features_BTCS, num_taps)
    return _weight_gradient_by_matrices(grad_BTCS, features_BTCS, num_taps)


def _weight_gradient_by_products(grad_BTCS: Tensor, features_BTCS: Tensor, num_taps: int) -> Tensor:
    """The form that can be differentiated."""
    num_frames, axes = features_BTCS.shape[1], _spatial_axes(features_BTCS)
    rows = [
        nn.functional.pad((grad_BTCS[:, here] * features_BTCS[:, there]).sum(axes), (0, 0, here.start, num_frames - here.stop))
        for _, here, there in _overlaps(num_taps, num_frames)
    ]
    return torch.stack(rows)


def _weight_gradient_by_frames(grad_BTCS: Tensor, features_BTCS: Tensor, num_taps: int) -> Tensor:
    """The same with the product of only a few frames at once, which stays in the cache."""
    gradient_KBTC = grad_BTCS.new_zeros(num_taps, *grad_BTCS.shape[:3])
    size = min(_part_size(features_BTCS[0]), features_BTCS.shape[1])
    product_TCS = torch.empty_like(features_BTCS[0, :size])
    axes = tuple(range(2, product_TCS.ndim))
    for tap, here, there in _overlaps(num_taps, grad_BTCS.shape[1]):
        for clip in range(len(grad_BTCS)):
            tensors = grad_BTCS[clip, here], features_BTCS[clip, there], gradient_KBTC[tap, clip, here]
            for grad_TCS, features_TCS, rows_TC in zip(*(torch.split(t, size) for t in tensors), strict=True):
                torch.sum(torch.mul(grad_TCS, features_TCS, out=product_TCS[: len(rows_TC)]), axes, out=rows_TC)
    return gradient_KBTC


def _weight_gradient_by_matrices(grad_BTCS: Tensor, features_BTCS: Tensor, num_taps: int) -> Tensor:
    """Multiply each clip's gradient by all its frames as matrices, of which K diagonals are wanted."""
    clips = zip(grad_BTCS.flatten(3).transpose(1, 2), features_BTCS.flatten(3).permute(0, 2, 3, 1), strict=True)
    products_BCTT = torch.stack([torch.bmm(grad_CTS, features_CST) for grad_CTS, features_CST in clips])
    gradient = products_BCTT.new_zeros(num_taps, *grad_BTCS.shape[:3])
    for tap, here, _ in _overlaps(num_taps, grad_BTCS.shape[1]):
        gradient[tap][:, here] = products_BCTT.diagonal(tap - num_taps // 2, 2, 3).transpose(1, 2)
    return gradient


def _overlaps(num_taps: int, num_frames: int) -> Iterator[tuple[int, slice, slice]]:
    """Each tap, the frames in which it lies inside the clip, and the frames on which it lies there."""
    for tap in range(num_taps):
        offset = tap - num_taps // 2
        first = min(max(0, -offset), num_frames)
        last = max(min(num_frames, num_frames - offset), first)
        yield tap, slice(first, last), slice(first + offset, last + offset)


def _part_size(parts: Tensor) -> int:
    """How many of `parts`, which lie along the first axis, are worked on at once: on a CPU only what its cache holds."""
    size = _CACHED_NUMBERS // max(1, math.prod(parts.shape[1:])) if parts.device.type == "cpu" else len(parts)
    return max(1, size)


def _over_space(weights_KBTC: Tensor, features_BTCS: Tensor) -> Tensor:
    return weights_KBTC[(...,) + (None,) * (features_BTCS.ndim - 3)]


def _spatial_axes(features_BTCS: Tensor) -> tuple[int, ...]:
    return tuple(range(3, features_BTCS.ndim))


TEMPORAL.register("tam")(TemporalKind(build=TemporalAdaptiveModule, site="spatial_conv"))
