"""Stem and branches of R(2+1)D: each large convolution is a spatial one and a temporal one with a norm and a ReLU between.

The spatial half has the block's spatial stride and the number 1 in its keys, the temporal half the temporal stride and a 2:
`a1`, `a1_bn`, `a2`, `a2_bn`, `b1` and so on.

# B clips, T frames, C channels, H height, W width

Source: Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018, and the published code of
TAdaConv's authors.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from zoopraxis.backbones.resnet3d import BlockShape, Triple, convolution

__all__ = ["SplitBottleneckBranch", "SplitSimpleBranch", "SplitStem", "middle_width"]


def middle_width(in_channels: int, out_channels: int, kernel: Triple) -> int:
    """Channels between the halves so that both together have at most the parameters of the whole convolution."""
    time, height, width = kernel
    plane = height * width
    return time * plane * in_channels * out_channels // (plane * in_channels + time * out_channels)


def _spatial(in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> nn.Conv3d:
    return convolution(in_channels, out_channels, (1, *kernel[1:]), stride=(1, *stride[1:]))


def _temporal(in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> nn.Conv3d:
    return convolution(in_channels, out_channels, (kernel[0], 1, 1), stride=(stride[0], 1, 1))


class SplitStem(nn.Module):
    """A split convolution, each half with norm and ReLU, and no pool; keys `a1`, `a1_bn`, `a2`, `a2_bn`."""

    def __init__(self, in_channels: int, channels: int, *, kernel: Triple, stride: Triple, eps: float) -> None:
        super().__init__()
        middle = middle_width(in_channels, channels, kernel)
        self.a1 = _spatial(in_channels, middle, kernel, stride)
        self.a1_bn = nn.BatchNorm3d(middle, eps=eps)
        self.a2 = _temporal(middle, channels, kernel, stride)
        self.a2_bn = nn.BatchNorm3d(channels, eps=eps)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a1_bn(self.a1(clip_BCTHW)), inplace=True)
        return relu(self.a2_bn(self.a2(maps_BCTHW)), inplace=True)


class SplitSimpleBranch(nn.Module):
    """Two split convolutions, the first with the stride; keys `a1`, `a2`, `b1`, `b2` and `_bn` of each."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        channels, kernel = shape.channels, shape.kernel
        middle = middle_width(shape.in_channels, channels, kernel)
        self.a1 = _spatial(shape.in_channels, middle, kernel, shape.stride)
        self.a1_bn = nn.BatchNorm3d(middle, eps=shape.eps)
        self.a2 = _temporal(middle, channels, kernel, shape.stride)
        self.a2_bn = nn.BatchNorm3d(channels, eps=shape.eps)
        middle = middle_width(channels, channels, kernel)
        self.b1 = _spatial(channels, middle, kernel)
        self.b1_bn = nn.BatchNorm3d(middle, eps=shape.eps)
        self.b2 = _temporal(middle, channels, kernel)
        self.b2_bn = nn.BatchNorm3d(channels, eps=shape.eps)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a1_bn(self.a1(maps_BCTHW)), inplace=True)
        maps_BCTHW = relu(self.a2_bn(self.a2(maps_BCTHW)), inplace=True)
        maps_BCTHW = relu(self.b1_bn(self.b1(maps_BCTHW)), inplace=True)
        out_BCTHW: Tensor = self.b2_bn(self.b2(maps_BCTHW))
        return out_BCTHW


class SplitBottleneckBranch(nn.Module):
    """Narrow, a split convolution with the stride, widen; keys `a`, `b1`, `b2`, `c` and `_bn` of each.

    The channels between the halves are the bottleneck's.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        width = shape.width
        self.a = convolution(shape.in_channels, width)
        self.a_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.b1 = _spatial(width, width, shape.kernel, shape.stride)
        self.b1_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.b2 = _temporal(width, width, shape.kernel, shape.stride)
        self.b2_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.c = convolution(width, shape.channels)
        self.c_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a_bn(self.a(maps_BCTHW)), inplace=True)
        maps_BCTHW = relu(self.b1_bn(self.b1(maps_BCTHW)), inplace=True)
        maps_BCTHW = relu(self.b2_bn(self.b2(maps_BCTHW)), inplace=True)
        out_BCTHW: Tensor = self.c_bn(self.c(maps_BCTHW))
        return out_BCTHW
