"""Residual networks over whole clips: a stem, four stages of blocks, the mean over frames and positions.

A family of them is one branch of a block, and perhaps its own stem; the rest is here. Parameters have the published names:
`conv1.{a,a_bn}` of the stem and, of block N in stage S = 2..5, `convS.res_N.{short_cut,short_cut_bn}` and
`convS.res_N.conv_branch.{a,a_bn,b,b_bn,c,c_bn}`. A non-local block at a stage's end is `convS.nonlocal_block.*` (published:
`nonlocal`, which is a word of Python's, so that no exported network can have a part of that name).

# B clips, T frames, C channels, H height, W width, D features

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, and the published code of TAdaConv's authors.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import max_pool3d, relu

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.recompute import recompute
from zoopraxis.errors import ConfigError
from zoopraxis.temporal.nonlocal_block import NonLocalBlock

__all__ = [
    "BLOCKS",
    "STAGES",
    "BlockShape",
    "BottleneckBranch",
    "Branch",
    "ConvStem",
    "ResNet3D",
    "ResNet3DSizes",
    "ResidualBlock",
    "SimpleBranch",
    "Triple",
    "build_stage",
    "convolution",
    "stage_shapes",
]

Triple = tuple[int, int, int]
"""Of time, height and width."""

BLOCKS: Mapping[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    16: (2, 2, 2, 1),
    18: (2, 2, 2, 2),
    26: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth, as names of networks have it, to blocks of the four stages."""

STAGES = (2, 3, 4, 5)
"""The stages as keys count them; the stem is 1."""


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """What the branch of a block is built for.

    Attributes:
        in_channels: Channels that enter the block.
        channels: Channels that leave it.
        width: Channels between the first and the last convolution of a bottleneck; a simple branch does not look at it.
        kernel: Size of the large convolution; of a simple branch: of both.
        stride: Of the block; a bottleneck has it in its middle convolution, a simple branch in its first.
        eps: Added to variances in batch norms.
    """

    in_channels: int
    channels: int
    width: int
    kernel: Triple
    stride: Triple = (1, 1, 1)
    eps: float = 1e-5


Branch = Callable[[BlockShape], nn.Module]
"""Builds what a block adds to its shortcut: (B, in_channels, T, H, W) to (B, channels, T', H', W')."""


@dataclass(frozen=True, kw_only=True)
class ResNet3DSizes:
    """The numbers of a residual network; those of five begin with the stem's, the others are the stages'.

    Attributes:
        blocks: Blocks of the four stages.
        widths: Channels that leave the stem and the stages.
        kernels: Sizes of the large convolutions, each of time, height and width; odd.
        spatial_strides: Of height and width, 1 or 2 each.
        temporal_strides: 1 or 2 each.
        expansion: Channels that leave a bottleneck over those inside it.
        nonlocal_stages: Stages (2 to 5) that end in a non-local block.
        norm_eps: Added to variances in batch norms, but those of non-local blocks (1e-5).
        has_stem_pool: Whether a spatial max pool of stride 2 ends the stem.

    Raises:
        ConfigError: If there are more or fewer numbers, or one is out of range.
    """

    blocks: Sequence[int]
    widths: Sequence[int]
    kernels: Sequence[Sequence[int]]
    spatial_strides: Sequence[int] = (2, 1, 2, 2, 2)
    temporal_strides: Sequence[int] = (1, 1, 2, 2, 2)
    expansion: int = 4
    nonlocal_stages: Sequence[int] = ()
    norm_eps: float = 1e-5
    has_stem_pool: bool = True

    def __post_init__(self) -> None:
        for name, length in (("blocks", 4), ("widths", 5), ("kernels", 5), ("spatial_strides", 5), ("temporal_strides", 5)):
            if len(getattr(self, name)) != length:
                parts = "the four stages" if length == 4 else "the stem and the four stages"
                raise ConfigError(f"{name} has {len(getattr(self, name))} entries, but needs {length}, for {parts}")
        for name in ("blocks", "widths"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} ({list(getattr(self, name))}) must be at least 1 each")
        if not 1 <= self.expansion <= min(self.widths[1:]):
            raise ConfigError(f"expansion ({self.expansion}) must be from 1 to the smallest width ({min(self.widths[1:])})")
        for kernel in self.kernels:
            if len(kernel) != 3 or any(size < 1 or size % 2 == 0 for size in kernel):
                raise ConfigError(f"a kernel ({list(kernel)}) must be three odd sizes, of time, height and width: [3, 3, 3]")
        for name in ("spatial_strides", "temporal_strides"):
            if not set(getattr(self, name)) <= {1, 2}:
                raise ConfigError(f"{name} ({list(getattr(self, name))}) must be 1 or 2 each")
        if not set(self.nonlocal_stages) <= set(STAGES):
            raise ConfigError(f"nonlocal_stages ({list(self.nonlocal_stages)}) must be among the stages {list(STAGES)}")
        if self.norm_eps <= 0:
            raise ConfigError(f"norm_eps ({self.norm_eps}) must be positive; published are 1e-5 and 1e-3")

    def kernel(self, stage: int) -> Triple:
        """The size of the large convolutions of the stem (1) or a stage (2 to 5)."""
        time, height, width = self.kernels[stage - 1]
        return time, height, width

    def stride(self, stage: int) -> Triple:
        """The stride of the stem (1) or of a stage's first block (2 to 5)."""
        spatial = self.spatial_strides[stage - 1]
        return self.temporal_strides[stage - 1], spatial, spatial


def convolution(
    in_channels: int, out_channels: int, kernel: Triple = (1, 1, 1), *, stride: Triple = (1, 1, 1), groups: int = 1
) -> nn.Conv3d:
    """A convolution without bias, padded by half its kernel: with stride 1 the size stays."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)


class ConvStem(nn.Module):
    """Convolution, norm, ReLU and perhaps a spatial max pool of stride 2; keys `a`, `a_bn`.

    Args:
        in_channels: Of the clip.
        channels: That leave the stem.
        kernel: Of the convolution.
        stride: Of the convolution.
        eps: Added to variances.
        has_pool: Whether the max pool is there.
    """

    def __init__(
        self, in_channels: int, channels: int, *, kernel: Triple, stride: Triple, eps: float = 1e-5, has_pool: bool = True
    ) -> None:
        super().__init__()
        self.a = convolution(in_channels, channels, kernel, stride=stride)
        self.a_bn = nn.BatchNorm3d(channels, eps=eps)
        self.has_pool = has_pool

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a_bn(self.a(clip_BCTHW)), inplace=True)
        return max_pool3d(maps_BCTHW, (1, 3, 3), (1, 2, 2), (0, 1, 1)) if self.has_pool else maps_BCTHW


class SimpleBranch(nn.Module):
    """Two large convolutions, the first with the stride; keys `a`, `a_bn`, `b`, `b_bn`."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.a = convolution(shape.in_channels, shape.channels, shape.kernel, stride=shape.stride)
        self.a_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)
        self.b = convolution(shape.channels, shape.channels, shape.kernel)
        self.b_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a_bn(self.a(maps_BCTHW)), inplace=True)
        out_BCTHW: Tensor = self.b_bn(self.b(maps_BCTHW))
        return out_BCTHW


class BottleneckBranch(nn.Module):
    """Narrow, look, widen: 1x1x1, the large convolution with the stride, 1x1x1; keys `a`, `a_bn`, `b`, `b_bn`, `c`, `c_bn`.

    Args:
        shape: Of the block.
        first_kernel: Of the convolution that narrows.
        is_depthwise: Whether the large convolution looks at each channel by itself.
    """

    def __init__(self, shape: BlockShape, *, first_kernel: Triple = (1, 1, 1), is_depthwise: bool = False) -> None:
        super().__init__()
        width = shape.width
        self.a = convolution(shape.in_channels, width, first_kernel)
        self.a_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.b = convolution(width, width, shape.kernel, stride=shape.stride, groups=width if is_depthwise else 1)
        self.b_bn = nn.BatchNorm3d(width, eps=shape.eps)
        self.c = convolution(width, shape.channels)
        self.c_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = relu(self.a_bn(self.a(maps_BCTHW)), inplace=True)
        maps_BCTHW = relu(self.b_bn(self.b(maps_BCTHW)), inplace=True)
        out_BCTHW: Tensor = self.c_bn(self.c(maps_BCTHW))
        return out_BCTHW


class ResidualBlock(nn.Module):
    """ReLU of shortcut plus branch; keys `conv_branch.*` and, where channels or size change, `short_cut`, `short_cut_bn`."""

    def __init__(self, shape: BlockShape, branch: Branch) -> None:
        super().__init__()
        self.has_projection = shape.in_channels != shape.channels or max(shape.stride) > 1
        if self.has_projection:
            self.short_cut = convolution(shape.in_channels, shape.channels, stride=shape.stride)
            self.short_cut_bn = nn.BatchNorm3d(shape.channels, eps=shape.eps)
        self.conv_branch = branch(shape)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        """(B, in_channels, T, H, W) to (B, channels, T', H', W')."""
        kept_BCTHW = self.short_cut_bn(self.short_cut(maps_BCTHW)) if self.has_projection else maps_BCTHW
        out_BCTHW: Tensor = self.conv_branch(maps_BCTHW)
        out_BCTHW += kept_BCTHW
        return relu(out_BCTHW, inplace=True)


def build_stage(first: BlockShape, num_blocks: int, branch: Branch, *, has_nonlocal: bool = False) -> nn.Sequential:
    """The blocks of a stage, `res_1`, `res_2`, ..., and perhaps a `nonlocal_block` behind them.

    Args:
        first: The first block, with the stage's stride; the others keep its channels and size.
        num_blocks: At least 1.
        branch: Builds the branch of each block.
        has_nonlocal: Whether the stage ends in a non-local block.

    Differs: the published code cannot put a non-local block into a stage of one block.
    """
    rest = dataclasses.replace(first, in_channels=first.channels, stride=(1, 1, 1))
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, num_blocks + 1):
        modules[f"res_{number}"] = ResidualBlock(first if number == 1 else rest, branch)
    if has_nonlocal:
        modules["nonlocal_block"] = NonLocalBlock(first.channels)
    return nn.Sequential(modules)


def stage_shapes(sizes: ResNet3DSizes) -> dict[int, BlockShape]:
    """The first block of each stage, 2 to 5."""
    return {
        stage: BlockShape(
            in_channels=sizes.widths[stage - 2],
            channels=sizes.widths[stage - 1],
            width=sizes.widths[stage - 1] // sizes.expansion,
            kernel=sizes.kernel(stage),
            stride=sizes.stride(stage),
            eps=sizes.norm_eps,
        )
        for stage in STAGES
    }


class ResNet3D(ClipBackbone):
    """A residual network over clips of any length and size; D is the last stage's width.

    Args:
        sizes: Its numbers.
        branch: Builds the branch of each block.
        in_channels: Of the clips.
        stem: Gives maps of `sizes.widths[0]` channels; none: a `ConvStem`.
    """

    def __init__(self, sizes: ResNet3DSizes, *, branch: Branch, in_channels: int, stem: nn.Module | None = None) -> None:
        super().__init__(num_features=sizes.widths[-1], in_channels=in_channels)
        self.conv1 = stem or ConvStem(
            in_channels,
            sizes.widths[0],
            kernel=sizes.kernel(1),
            stride=sizes.stride(1),
            eps=sizes.norm_eps,
            has_pool=sizes.has_stem_pool,
        )
        for stage, first in stage_shapes(sizes).items():
            blocks = build_stage(first, sizes.blocks[stage - 2], branch, has_nonlocal=stage in sizes.nonlocal_stages)
            self.add_module(f"conv{stage}", blocks)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Features of clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), any T, H, W and memory format.

        Returns:
            Shape (B, D).

        Raises:
            ValueError: If the clip has another number of axes or channels.
        """
        return self.forward_maps(clip_BTCHW).mean(dim=(2, 3, 4))

    def forward_maps(self, clip_BTCHW: Tensor) -> Tensor:
        """As `forward`, without the mean: (B, D, T', H', W'), T frames over the temporal strides."""
        self.check_clip(clip_BTCHW)
        maps_BCTHW: Tensor = self.conv1(clip_BTCHW.transpose(1, 2))
        for stage in STAGES:
            for block in self.get_submodule(f"conv{stage}").children():
                maps_BCTHW = recompute(block, maps_BCTHW, enable=self.grad_checkpointing)
        return maps_BCTHW
