"""Temporally-adaptive convolution (TAdaConv): each frame calibrates the kernel of a spatial convolution by what the clip shows.

The calibration of input channels commutes with the convolution, (alpha_t W) * x_t = W * (alpha_t x_t): inside an image network
it is a module before the plain convolution, whose weights and name stay (`TemporalCalibration`). TAda2D adds an average over
neighboring frames behind the convolution, with a batch norm of its own (`TemporalBatchNorm2d`). Both are the identity at birth.
The published operators, which hold their kernel themselves, are in `tadaconv_ops`.

# B clips, T frames, C channels, S any spatial axes, R hidden channels of the routing function, K taps of a temporal kernel

Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoopraxis.temporal.kinds import TEMPORAL, TemporalKind
from zoopraxis.temporal.layouts import on_flat_weights
from zoopraxis.temporal.means import frame_means
from zoopraxis.temporal.neighbors import normalize_with_neighbors

__all__ = ["RouteFuncMLP", "TemporalBatchNorm2d", "TemporalCalibration", "TimeConv"]


class RouteFuncMLP(nn.Module):
    """What calibrates each frame's kernel: frame means and clip mean through two temporal convolutions.

    alpha = 1 + b(relu(bn(a(s + g(mean_t s))))) with s the mean of each frame over its positions; `b` has no bias and starts at
    zero, so that alpha starts at one. There is no other bound on alpha.

    Its parameters have the published names and shapes: `g` (C, C, 1, 1, 1), `a` (R, C, K, 1, 1), `bn` (R) and `b`
    (C, R, K, 1, 1) with R = C // ratio. An initialization of a whole network must leave modules with a true attribute
    `skip_init` (`b` has it) as they are.

    Args:
        c_in: C.
        ratio: C over the hidden channels.
        kernels: K of `a` and of `b`, both odd.
        bn_eps: Added to the variance in `bn`.
        bn_mmt: Momentum of the running statistics of `bn`.

    Raises:
        ValueError: If no hidden channel is left, or a kernel is not odd.

    Differs: the published code reduces the whole input twice, for the frame means and the clip mean. Frames are of one size, so
    the clip mean is the mean of the frame means.
    """

    def __init__(self, c_in: int, ratio: int, kernels: Sequence[int], bn_eps: float = 1e-5, bn_mmt: float = 0.1) -> None:
        super().__init__()
        if not 1 <= ratio <= c_in:
            raise ValueError(f"ratio ({ratio}) must be at least 1 and at most the {c_in} channels; the published value is 4")
        if len(kernels) != 2 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels ({list(kernels)}) must be two odd positive sizes; the published value is [3, 3]")
        hidden = c_in // ratio
        first, second = kernels
        self.g = TimeConv(c_in, c_in, 1)
        self.a = TimeConv(c_in, hidden, first)
        self.bn = nn.BatchNorm1d(hidden, eps=bn_eps, momentum=bn_mmt)
        self.b = TimeConv(hidden, c_in, second, bias=False)
        self.b.skip_init = True  # type: ignore[assignment]
        nn.init.zeros_(self.b.weight)

    def forward(self, features_BCTHW: Tensor) -> Tensor:
        """The factors that `TAdaConv2d` takes.

        Args:
            features_BCTHW: Shape (B, C, T, H, W), any memory format.

        Returns:
            Shape (B, C, T, 1, 1), one factor for each channel of each frame.
        """
        return self._factors(features_BCTHW.transpose(1, 2)).transpose(1, 2)[..., None, None]

    def _factors(self, features_BTCS: Tensor) -> Tensor:
        """Shape (B, T, C), in the dtype of the features."""
        means_BCT = frame_means(features_BTCS).transpose(1, 2)
        context_BC1 = self.g(means_BCT.mean(dim=2, keepdim=True))
        hidden_BRT = torch.relu(self.bn(self.a(means_BCT + context_BC1)))
        factors_BCT: Tensor = self.b(hidden_BRT) + 1
        return factors_BCT.transpose(1, 2).to(features_BTCS.dtype)


class TimeConv(nn.Conv3d):
    """A convolution over frames, (B, C, T) to (B, out, T), whose weight has the published shape (out, C, K, 1, 1)."""

    def __init__(self, in_channels: int, out_channels: int, taps: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, (taps, 1, 1), padding=(taps // 2, 0, 0), bias=bias)

    def forward(self, features_BCT: Tensor) -> Tensor:
        return nn.functional.conv1d(features_BCT, self.weight.flatten(2), self.bias, padding=self.padding[0])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Hide the two axes of size one: no tensor of five axes can follow a network `.to(memory_format=channels_last)`."""
        super()._apply(on_flat_weights(fn), recurse)  # type: ignore[no-untyped-call]
        return self


class TemporalCalibration(RouteFuncMLP):
    """TAdaConv inside an image network: what enters a spatial convolution times its factors, (B, T, C, *spatial) to the same.

    Before a dense convolution this is TAdaConv with calibrated input channels (`cin`), exactly. Before a depthwise one, where
    output channel c sees input channel c alone, input and output calibration are the same. Before a grouped one it is what the
    published operator cannot do: each input channel of each group calibrated by itself.

    Args:
        channels: C.
        ratio: C over the hidden channels of the routing function.
        kernels: Temporal sizes of its two convolutions.
    """

    def __init__(self, *, channels: int, ratio: int = 4, kernels: Sequence[int] = (3, 3)) -> None:
        super().__init__(channels, ratio, kernels)
        for layer in (self.g, self.a):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features_BTCS: Tensor) -> Tensor:
        """Scale each channel of each frame.

        Args:
            features_BTCS: Shape (B, T, C, *spatial), any memory format, which is kept.

        Returns:
            A new tensor of the same shape and dtype.
        """
        factors_BTC = self._factors(features_BTCS)
        return features_BTCS * factors_BTC.reshape(*factors_BTC.shape, *[1] * (features_BTCS.ndim - 3))


class TemporalBatchNorm2d(nn.BatchNorm2d):
    """The norm behind TAda2D's convolution: bn(z) + temporal(mean of each frame and its two neighbors).

    The mean divides by three at the ends of a clip too, as if a frame of zeros stood there. `temporal` is a batch norm whose
    weight and bias start at zero: at birth this is the plain norm, bit for bit. Keys are those of the plain norm, and
    `temporal.*`.

    Args:
        batch_norm: The plain norm, whose parameters and buffers it shares.

    Raises:
        ValueError: If the plain norm has no weight and bias or no running statistics.

    Differs: in evaluation the published code makes four passes over the features: a norm, a mean over frames (which is slow
    on a CPU), another norm and a sum; here both norms are one, and the neighbors are added to it in place.
    """

    def __init__(self, batch_norm: nn.BatchNorm2d) -> None:
        if not (batch_norm.affine and batch_norm.track_running_stats):
            raise ValueError(
                f"{batch_norm} must have weight, bias and running statistics; "
                "build the network with affine=True and track_running_stats=True"
            )
        weight = batch_norm.weight
        common: dict[str, Any] = {"eps": batch_norm.eps, "momentum": batch_norm.momentum}
        common |= {"device": weight.device, "dtype": weight.dtype}
        super().__init__(batch_norm.num_features, **common)
        for name, parameter in batch_norm.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in batch_norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.temporal = nn.BatchNorm2d(batch_norm.num_features, **common)
        nn.init.zeros_(self.temporal.weight)
        self.train(batch_norm.training)

    def forward(self, features_BTCHW: Tensor) -> Tensor:
        """Normalize.

        Args:
            features_BTCHW: Shape (B, T, C, H, W), any memory format, which is kept.

        Returns:
            A new tensor of the same shape and dtype.
        """
        return normalize_with_neighbors(features_BTCHW, self, self.temporal)


def _build_calibration(
    *, channels: int, num_frames: int, ratio: int = 4, kernels: Sequence[int] = (3, 3)
) -> TemporalCalibration:
    return TemporalCalibration(channels=channels, ratio=ratio, kernels=kernels)


TEMPORAL.register("tadaconv")(TemporalKind(build=_build_calibration, site="spatial_conv", layouts=("map",)))
TEMPORAL.register("tada2d")(
    TemporalKind(build=_build_calibration, site="spatial_conv", layouts=("map",), norm=TemporalBatchNorm2d)
)
