"""The branches of channel-separated networks (CSN): the large convolution looks at each channel by itself.

Source: Tran et al., Video Classification with Channel-Separated Convolutional Networks, ICCV 2019.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from zoopraxis.backbones.resnet3d import BlockShape, BottleneckBranch, convolution

__all__ = ["InteractionPreservedBranch", "InteractionReducedBranch"]


class InteractionReducedBranch(BottleneckBranch):
    """ir-CSN: channels meet only in the 1x1x1 convolutions of the bottleneck; keys `a`, `a_bn`, `b`, `b_bn`, `c`, `c_bn`."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__(shape, is_depthwise=True)


class InteractionPreservedBranch(nn.Module):
    """ip-CSN: a 1x1x1 convolution and its norm before the depthwise one keep the channels' meeting that it gives up.

    Its keys are those of the bottleneck, and `b_1x1`, `b_1x1_bn`, which nobody has published.

    Args:
        shape: Of the block.

    Source: as above, section 3.3, and the authors' code (VMZ), which has no ReLU between the two convolutions.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        width = shape.width
        self.a = convolution(shape.in_channels, width)
        self.a_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.b_1x1 = convolution(width, width)
        self.b_1x1_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.b = convolution(width, width, shape.kernel, stride=shape.stride, groups=width)
        self.b_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.c = convolution(width, shape.channels)
        self.c_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a_bn(self.a(maps_BCTHW)), inplace=True)
        maps_BCTHW = self.b_1x1_bn(self.b_1x1(maps_BCTHW))
        maps_BCTHW = relu(self.b_bn(self.b(maps_BCTHW)), inplace=True)
        out_BCTHW: Tensor = self.c_bn(self.c(maps_BCTHW))
        return out_BCTHW
