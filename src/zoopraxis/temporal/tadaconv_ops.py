"""The published operators of TAdaConv, for a network of one's own: convolutions whose kernel each frame calibrates.

In the network, beside its other layers, stand the convolution and the function that gives its factors:

>>> import torch
>>> from torch import nn
>>> from zoopraxis.temporal import RouteFuncMLP, TAdaConv2d
>>> class Layer(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.conv_rf = RouteFuncMLP(c_in=64, ratio=4, kernels=[3, 3])
...         self.conv = TAdaConv2d(
...             in_channels=64,
...             out_channels=64,
...             kernel_size=[1, 3, 3],
...             stride=[1, 1, 1],
...             padding=[0, 1, 1],
...             bias=False,
...             cal_dim="cin",
...         )
...
...     def forward(self, x):
...         return self.conv(x, self.conv_rf(x))
>>> Layer()(torch.zeros(2, 64, 8, 14, 14)).shape
torch.Size([2, 64, 8, 14, 14])

A trained image network's kernel (Co, Ci, k, k) becomes that of `TAdaConv2d` by two `unsqueeze(0)`. Inside a network of timm
neither is needed: `temporal="tadaconv"` leaves its convolutions as they are.

# B clips, T frames, C channels, H height, W width, O output channels, I input channels of a group, N = B * T frames

Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CalibratedAxis", "TAdaConv2d", "TAdaConv3d"]

CalibratedAxis = Literal["cin", "cout"]
"""What the factors scale: the kernel's input channels, or its output channels."""


class TAdaConv3d(nn.Module):
    """A convolution over frames and positions; the kernel of output frame t is alpha_t times the common one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, O.
        kernel_size: Over frames, height and width; one number for all three.
        stride: Likewise.
        padding: Likewise.
        dilation: Likewise.
        groups: As `nn.Conv3d` has it; more than one only with `cal_dim="cout"`.
        bias: Whether there is a bias, which is not calibrated.
        cal_dim: What alpha scales.

    Attributes:
        weight: Shape (1, 1, O, I, kt, kh, kw), channels last in memory: no copy of it is made for an input that is so, too.
        bias: Shape (1, 1, O), or none.

    Raises:
        ValueError: If an argument is out of range.

    Differs: the published code makes a kernel for each frame of each clip and runs them as groups of one convolution. Here
    there is one kernel: the output is scaled (`cout`), or each output frame's window of the input is (`cin`), which gives the
    same numbers. Its initialization takes the axes before the last five for inputs as well, and so draws weights too small
    by the root of `out_channels`; here they are as those of `nn.Conv3d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        cal_dim: CalibratedAxis = "cin",
    ) -> None:
        super().__init__()
        if cal_dim not in ("cin", "cout"):
            raise ValueError(f"cal_dim ({cal_dim!r}) must be 'cin' or 'cout'")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups ({groups}) must divide in_channels ({in_channels}) and out_channels ({out_channels})")
        if groups > 1 and cal_dim == "cin":
            raise ValueError(f"groups ({groups}) must be 1 with cal_dim='cin'; use cal_dim='cout', which takes any")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride = self._sizes("stride", stride, 1)
        self.padding = self._sizes("padding", padding, 0)
        self.dilation = self._sizes("dilation", dilation, 1)
        self.cal_dim = cal_dim
        kernel = self._kernel_shape()
        self.weight = nn.Parameter(torch.empty(1, 1, out_channels, *kernel, in_channels // groups).movedim(-1, 3))
        self.bias = nn.Parameter(torch.empty(1, 1, out_channels)) if bias else None
        bound = 1 / math.sqrt(in_channels // groups * math.prod(kernel))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x_BCTHW: Tensor, alpha_BCT11: Tensor) -> Tensor:
        """Convolve.

        Args:
            x_BCTHW: Shape (B, in_channels, T, H, W), any memory format; channels last (3-D) is the fastest.
            alpha_BCT11: Shape (B, C, T', 1, 1) for the T' frames of the output, C the channels of the calibrated axis.

        Returns:
            Shape (B, out_channels, T', H', W'); of a kernel of one frame in the input's memory format.

        Raises:
            ValueError: If the factors are of another shape.
        """
        taps, stride, padding, dilation = self.kernel_size[0], self.stride[0], self.padding[0], self.dilation[0]
        num_out = (x_BCTHW.shape[2] + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        self._check_factors(alpha_BCT11, num_out)
        kernel_OIKhw = self.weight.reshape(self.out_channels, -1, *self.kernel_size)
        if x_BCTHW.is_contiguous():
            kernel_OIKhw = kernel_OIKhw.contiguous()  # torch would turn the features into the kernel's memory format
        if self.cal_dim == "cout":
            out_BOTHW = _scale(self._convolve(x_BCTHW, kernel_OIKhw, None), alpha_BCT11)
            return out_BOTHW if self.bias is None else out_BOTHW + self.bias.reshape(-1, 1, 1, 1)
        bias_O = None if self.bias is None else self.bias.flatten()
        if taps == 1 and num_out == x_BCTHW.shape[2]:
            return self._convolve(_scale(x_BCTHW, alpha_BCT11), kernel_OIKhw, bias_O)
        padded = functional.pad(x_BCTHW, (0, 0, 0, 0, padding, padding))
        span = stride * (num_out - 1) + 1
        windows = [_scale(padded[:, :, k * dilation : k * dilation + span : stride], alpha_BCT11) for k in range(taps)]
        return self._convolve_frames(torch.cat(windows, dim=1), kernel_OIKhw.transpose(1, 2).flatten(1, 2), bias_O)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"cal_dim={self.cal_dim!r}"
        )

    def _kernel_shape(self) -> tuple[int, ...]:
        return self.kernel_size

    def _sizes(self, name: str, value: int | Sequence[int], least: int) -> tuple[int, int, int]:
        sizes = (value,) * 3 if isinstance(value, int) else tuple(value)
        if len(sizes) != 3 or min(sizes) < least:
            raise ValueError(f"{name} ({value}) must be one number or three (frames, height, width), each at least {least}")
        return (sizes[0], sizes[1], sizes[2])

    def _check_factors(self, alpha_BCT11: Tensor, num_frames: int) -> None:
        channels = self.in_channels if self.cal_dim == "cin" else self.out_channels
        if alpha_BCT11.ndim != 5 or tuple(alpha_BCT11.shape[1:]) != (channels, num_frames, 1, 1):
            raise ValueError(
                f"alpha must have shape (B, {channels}, {num_frames}, 1, 1), one factor for each channel that "
                f"cal_dim={self.cal_dim!r} calibrates and each frame of the output, not {tuple(alpha_BCT11.shape)}"
            )

    def _convolve(self, x_BCTHW: Tensor, kernel_OIKhw: Tensor, bias_O: Tensor | None) -> Tensor:
        """The plain convolution."""
        if self.kernel_size[0] == self.stride[0] == 1 and self.padding[0] == 0:
            return self._convolve_frames(x_BCTHW, kernel_OIKhw.squeeze(2), bias_O)
        return functional.conv3d(x_BCTHW, kernel_OIKhw, bias_O, self.stride, self.padding, self.dilation, self.groups)

    def _convolve_frames(self, x_BCTHW: Tensor, kernel_OIhw: Tensor, bias_O: Tensor | None) -> Tensor:
        """One kernel over the positions of all frames, without a copy of the input.

        Where frames lie one behind the other, as in channels last, they are a batch of images. In the usual contiguous order
        each channel's frames lie together, and only a three-dimensional convolution takes them as they are.
        """
        stride, padding, dilation = self.stride[1:], self.padding[1:], self.dilation[1:]
        if x_BCTHW.is_contiguous():
            geometry = ((1, *stride), (0, *padding), (1, *dilation))
            return functional.conv3d(x_BCTHW, kernel_OIhw[:, :, None], bias_O, *geometry, self.groups)
        frames_NCHW = x_BCTHW.transpose(1, 2).flatten(0, 1)
        out_NOHW = functional.conv2d(frames_NCHW, kernel_OIhw, bias_O, stride, padding, dilation, self.groups)
        return torch.unflatten(out_NOHW, 0, (-1, x_BCTHW.shape[2])).transpose(1, 2)


class TAdaConv2d(TAdaConv3d):
    """A convolution over the positions of each frame; the kernel of frame t is alpha_t times the common one.

    Input, factors, errors and differences are those of `TAdaConv3d`. Kernel size, stride, padding and dilation must leave
    frames apart: three numbers begin with 1, 1, 0 and 1, and one number is for height and width.

    Attributes:
        weight: Shape (1, 1, O, I, kh, kw).
        bias: Shape (1, 1, O), or none.
    """

    def _kernel_shape(self) -> tuple[int, ...]:
        return self.kernel_size[1:]

    def _sizes(self, name: str, value: int | Sequence[int], least: int) -> tuple[int, int, int]:
        over_time = 0 if name == "padding" else 1
        sizes = super()._sizes(name, (over_time, value, value) if isinstance(value, int) else value, least)
        if sizes[0] != over_time:
            raise ValueError(f"{name} ({value}) of TAdaConv2d must be {over_time} over frames; TAdaConv3d mixes frames")
        return sizes


def _scale(features_BCTHW: Tensor, alpha_BCT11: Tensor) -> Tensor:
    """Each channel of each frame times its factor; frames first, since reductions in the gradient are slow the other way."""
    factors_BTC11 = alpha_BCT11.transpose(1, 2).to(features_BCTHW.dtype)
    return (features_BCTHW.transpose(1, 2) * factors_BTC11).transpose(1, 2)
