"""SlowFast: a wide residual network over few frames and a narrow one over all, which tells the wide one stage by stage.

Parameters have the published names: those of `resnet3d` with `slow_` or `fast_` before the stage (`slow_conv1.a`,
`fast_conv4.res_2.conv_branch.b`), and `slowfast_fusionS.{conv_fast_to_slow,bn}` behind the stages S = 1 to 4.

# B clips, T frames, C channels, H height, W width, D features

Source: Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019, and the published code of TAdaConv's authors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.recompute import recompute
from zoopraxis.backbones.resnet3d import (
    STAGES,
    BottleneckBranch,
    Branch,
    ConvStem,
    ResidualBlock,
    ResNet3DSizes,
    SimpleBranch,
    build_stage,
    stage_shapes,
)
from zoopraxis.errors import ConfigError

__all__ = ["FastToSlow", "Fusion", "Pathway", "SlowFast"]

_STEM = 1


@dataclass(frozen=True, kw_only=True)
class Pathway:
    """One of the two residual networks.

    Attributes:
        sizes: Its numbers.
        temporal_stages: Stages (2 to 5) whose bottlenecks look at three frames in their first convolution.
        has_bottlenecks: Whether its blocks are bottlenecks; else they are simple, with two large convolutions.

    Raises:
        ConfigError: If there is no such stage.
    """

    sizes: ResNet3DSizes
    temporal_stages: Sequence[int] = STAGES
    has_bottlenecks: bool = True

    def __post_init__(self) -> None:
        if not set(self.temporal_stages) <= set(STAGES):
            raise ConfigError(f"temporal stages ({list(self.temporal_stages)}) must be among the stages {list(STAGES)}")

    def branch(self, stage: int) -> Branch:
        """What builds the branches of a stage's blocks."""
        if not self.has_bottlenecks:
            return SimpleBranch
        return partial(BottleneckBranch, first_kernel=(3 if stage in self.temporal_stages else 1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the fast path tells the slow one.

    Attributes:
        ratio: Channels that the slow path is given, over the fast path's own.
        kernel_size: Frames that each of them looks at.
        has_bias: Whether the convolution has a bias.
        has_norm: Whether a batch norm stands behind it.
        has_relu: Whether a ReLU stands behind that.

    Raises:
        ConfigError: If a number is out of range.
    """

    ratio: int = 2
    kernel_size: int = 7
    has_bias: bool = False
    has_norm: bool = True
    has_relu: bool = True

    def __post_init__(self) -> None:
        if self.ratio < 1:
            raise ConfigError(f"the fusion's ratio ({self.ratio}) must be at least 1; the published one is 2")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"the fusion's kernel ({self.kernel_size}) must be odd and positive; published are 7 and 5")


class FastToSlow(nn.Module):
    """Maps of the fast path for the slow one, (B, C, T, H, W) to (B, ratio * C, T / alpha, H, W).

    Args:
        channels: C.
        alpha: Frames of the fast path for one of the slow path.
        fusion: Its form.
        eps: Added to variances in the batch norm.
    """

    def __init__(self, channels: int, *, alpha: int, fusion: Fusion, eps: float) -> None:
        super().__init__()
        size = fusion.kernel_size
        self.conv_fast_to_slow = nn.Conv3d(
            channels,
            fusion.ratio * channels,
            (size, 1, 1),
            stride=(alpha, 1, 1),
            padding=(size // 2, 0, 0),
            bias=fusion.has_bias,
        )
        if fusion.has_norm:
            self.bn = nn.BatchNorm3d(fusion.ratio * channels, eps=eps)
        self.fusion = fusion

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        maps_BCTHW = self.conv_fast_to_slow(maps_BCTHW)
        if self.fusion.has_norm:
            maps_BCTHW = self.bn(maps_BCTHW)
        return relu(maps_BCTHW, inplace=True) if self.fusion.has_relu else maps_BCTHW


class SlowFast(ClipBackbone):
    """Both paths over the same clip, or one of them alone; D is the last width of the slow path plus that of the fast one.

    Clips are of any length that alpha divides (without a slow path: of any) and any size.

    Args:
        slow: The path that sees each alpha-th frame, from the first on; none: there is none (`fastonly`).
        fast: The path that sees all frames; none: there is none (`slowonly`).
        alpha: Frames of the clip for one of the slow path.
        fusion: How the fast path tells the slow one, where both are there.
        in_channels: C.

    Raises:
        ConfigError: If there is no path, or alpha is below 1.

    Differs: the published code of one path feeds the other's clip to the class of the identity in place of a layer, which works
    because nobody looks at the result; here the other path is not there.
    """

    def __init__(self, *, slow: Pathway | None, fast: Pathway | None, alpha: int, fusion: Fusion, in_channels: int) -> None:
        paths = {name: path for name, path in (("slow", slow), ("fast", fast)) if path is not None}
        if not paths:
            raise ConfigError("a SlowFast network needs a slow path, a fast path or both")
        if alpha < 1:
            raise ConfigError(f"alpha ({alpha}) must be at least 1; published are 4 and 8")
        super().__init__(num_features=sum(path.sizes.widths[-1] for path in paths.values()), in_channels=in_channels)
        self.paths = tuple(paths)
        self.alpha = alpha
        given = [fusion.ratio * width for width in fast.sizes.widths] if slow is not None and fast is not None else [0] * 5
        for name, path in paths.items():
            self._add_path(name, path, given if name == "slow" else [0] * 5)
        if slow is not None and fast is not None:
            for stage, width in zip((_STEM, *STAGES[:-1]), fast.sizes.widths, strict=False):
                exchange = FastToSlow(width, alpha=alpha, fusion=fusion, eps=fast.sizes.norm_eps)
                self.add_module(f"slowfast_fusion{stage}", exchange)
        self._initialize()

    def _add_path(self, name: str, path: Pathway, given: Sequence[int]) -> None:
        """Add the layers of a path, each stage of which is given so many channels by the other path before it."""
        sizes = path.sizes
        stem = ConvStem(
            self.in_channels,
            sizes.widths[0],
            kernel=sizes.kernel(_STEM),
            stride=sizes.stride(_STEM),
            eps=sizes.norm_eps,
            has_pool=sizes.has_stem_pool,
        )
        self.add_module(f"{name}_conv{_STEM}", stem)
        for (stage, shape), more in zip(stage_shapes(sizes).items(), given, strict=False):
            first = dataclasses.replace(shape, in_channels=shape.in_channels + more)
            has_nonlocal = stage in sizes.nonlocal_stages
            blocks = build_stage(first, sizes.blocks[stage - 2], path.branch(stage), has_nonlocal=has_nonlocal)
            self.add_module(f"{name}_conv{stage}", blocks)

    @torch.no_grad()
    def _initialize(self) -> None:
        """Kernels N(0, 2 / fan out), biases zero; the last norm of each branch zero, so that a block begins as its shortcut."""
        for module in self.modules():
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if isinstance(weight, Tensor) and weight.ndim == 5:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
                if bias is not None:
                    nn.init.zeros_(bias)
            if isinstance(module, ResidualBlock):
                *_, last = (child for child in module.conv_branch.children() if isinstance(child, nn.BatchNorm3d))
                nn.init.zeros_(last.weight)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Describe clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats: the frames of the fast path.

        Returns:
            Features, shape (B, D): the means of the slow path's last maps, then of the fast path's.

        Raises:
            ValueError: If the clip has another number of axes or channels, or a number of frames that alpha does not divide.
        """
        self.check_clip(clip_BTCHW)
        maps = self._split(clip_BTCHW)
        for stage in (_STEM, *STAGES):
            maps = {name: self._run(f"{name}_conv{stage}", maps_BCTHW) for name, maps_BCTHW in maps.items()}
            if len(maps) == 2 and stage != STAGES[-1]:
                told_BCTHW = self.get_submodule(f"slowfast_fusion{stage}")(maps["fast"])
                maps["slow"] = torch.cat([maps["slow"], told_BCTHW], dim=1)
        return torch.cat([maps_BCTHW.mean(dim=(2, 3, 4)) for maps_BCTHW in maps.values()], dim=1)

    def _split(self, clip_BTCHW: Tensor) -> dict[str, Tensor]:
        """The frames of each path, (B, C, T', H, W)."""
        clip_BCTHW = clip_BTCHW.transpose(1, 2)
        return {name: clip_BCTHW[:, :, :: self.alpha] if name == "slow" else clip_BCTHW for name in self.paths}

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse a number of frames that alpha does not divide."""
        if "slow" in self.paths and num_frames % self.alpha:
            raise ValueError(
                f"the number of frames ({num_frames}) must be divisible by alpha ({self.alpha}), the frames of the fast path "
                f"for one of the slow path; try {max(self.alpha, num_frames - num_frames % self.alpha)} frames"
            )

    def _run(self, layers: str, maps_BCTHW: Tensor) -> Tensor:
        """A stem, or the blocks of a stage."""
        module = self.get_submodule(layers)
        if isinstance(module, ConvStem):
            return module(maps_BCTHW)  # type: ignore[no-any-return]
        for block in module.children():
            maps_BCTHW = recompute(block, maps_BCTHW, enable=self.grad_checkpointing)
        return maps_BCTHW
