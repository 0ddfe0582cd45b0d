"""S3D and S3D-G: an Inception network whose kernels in space and in time take turns, with channels gated by their own means.

# B clips, T frames, C channels, H height, W width, D features

Source: Xie et al., Rethinking Spatiotemporal Feature Learning, ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.recompute import recompute
from zoopraxis.backbones.resnet3d import Triple, convolution

__all__ = ["MIXED_WIDTHS", "S3DG", "STEM_WIDTHS", "ChannelGate", "PointwiseUnit", "SeparableUnit"]

STEM_WIDTHS = (64, 64, 192)
"""Of the separable stem, the pointwise unit and the separable unit behind it."""
MIXED_WIDTHS = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Of each mixed block of the three stages: branch 0; branch 1 inside and out; branch 2 inside and out; branch 3."""
_MIN_FRAMES, _MIN_SIDE = 5, 17
"""What is left of less before the last pool, which halves without padding, is a single step."""


class S3DG(ClipBackbone):
    """Clips (B, T, C, H, W) to features (B, D): means of the last maps, which have T / 8 frames and 1/32 of the size.

    Args:
        in_channels: C.
        has_gates: Whether each branch of a mixed block gates its channels (S3D-G), or not (S3D).
        stem_widths: As `STEM_WIDTHS`.
        mixed_widths: As `MIXED_WIDTHS`.
        norm_eps: Of the separable units' batch norms; the pointwise units' have 1e-5, as published.

    Raises:
        ValueError: If the tables of widths have another form.

    Differs: the published module keeps each parameter under two names.

    Source: Xie et al., ECCV 2018, figures 2 and 5; TAdaConv's code (`Inception3D`), which has it from CoCLR's.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        has_gates: bool = True,
        stem_widths: Sequence[int] = STEM_WIDTHS,
        mixed_widths: Sequence[Sequence[Sequence[int]]] = MIXED_WIDTHS,
        norm_eps: float = 1e-3,
    ) -> None:
        _check_widths(stem_widths, mixed_widths)
        super().__init__(num_features=_width_of(mixed_widths[-1][-1]), in_channels=in_channels)
        first, inner, width = stem_widths
        self.block1 = nn.Sequential(SeparableUnit(in_channels, first, kernel_size=7, stride=2, eps=norm_eps))
        self.block2 = nn.Sequential(
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            PointwiseUnit(first, inner),
            SeparableUnit(inner, width, eps=norm_eps),
        )
        pools = (
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.MaxPool3d(3, stride=2, padding=1),
            nn.MaxPool3d(2, stride=2),
        )
        stages = []
        for pool, stage in zip(pools, mixed_widths, strict=True):
            widths_in = (width, *(_width_of(widths) for widths in stage))
            width = widths_in[-1]
            blocks = [
                MixedBlock(block_in, widths, has_gates=has_gates, eps=norm_eps)
                for block_in, widths in zip(widths_in, stage, strict=False)
            ]
            stages.append(nn.Sequential(pool, *blocks))
        self.block3, self.block4, self.block5 = stages

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Describe clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats.

        Returns:
            Features, shape (B, D).

        Raises:
            ValueError: If the clip has another number of axes or channels, or is too short or too small.
        """
        self.check_clip(clip_BTCHW)
        maps_BCTHW = clip_BTCHW.transpose(1, 2)
        for stage in (self.block1, self.block2, self.block3, self.block4, self.block5):
            for block in stage:
                maps_BCTHW = recompute(block, maps_BCTHW, enable=self.grad_checkpointing)
        return maps_BCTHW.mean(dim=(2, 3, 4))

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse what is too short or too small."""
        if num_frames < _MIN_FRAMES or min(height, width) < _MIN_SIDE:
            raise ValueError(
                f"a clip of {num_frames} frames of {height} x {width} px is too small for S3D-G, which halves both five times; "
                f"give at least {_MIN_FRAMES} frames of {_MIN_SIDE} px"
            )


class PointwiseUnit(nn.Module):
    """A 1x1x1 convolution, batch norm and ReLU, (B, C, T, H, W) to (B, width, T, H, W)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = _convolution(in_channels, width, (1, 1, 1))
        self.bn = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        """The unit's maps."""
        return self.relu(self.bn(self.conv(maps_BCTHW)))  # type: ignore[no-any-return]


class SeparableUnit(nn.Module):
    """A convolution in space, then one in time, each with batch norm and ReLU: (B, C, T, H, W) to (B, width, T', H', W').

    Args:
        in_channels: C.
        width: Channels behind either convolution.
        kernel_size: Along each axis, odd.
        stride: Likewise.
        eps: Of the batch norms.
    """

    def __init__(self, in_channels: int, width: int, *, kernel_size: int = 3, stride: int = 1, eps: float) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, width, (1, kernel_size, kernel_size), (1, stride, stride))
        self.conv2 = _convolution(width, width, (kernel_size, 1, 1), (stride, 1, 1))
        self.bn1 = nn.BatchNorm3d(width, eps=eps)
        self.bn2 = nn.BatchNorm3d(width, eps=eps)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        """The unit's maps."""
        maps_BCTHW = self.relu(self.bn1(self.conv1(maps_BCTHW)))
        return self.relu(self.bn2(self.conv2(maps_BCTHW)))  # type: ignore[no-any-return]


class ChannelGate(nn.Module):
    """Each channel times a factor between 0 and 1, a function of all channels' means: (B, C, T, H, W) to the same."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(num_channels, num_channels)

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        """The gated maps."""
        factors_BC = torch.sigmoid(self.fc(maps_BCTHW.mean(dim=(2, 3, 4))))
        return maps_BCTHW * factors_BC[:, :, None, None, None]


class MixedBlock(nn.Module):
    """Four branches side by side, (B, C, T, H, W) to (B, their widths together, T, H, W).

    Args:
        in_channels: C.
        widths: As an entry of `MIXED_WIDTHS`.
        has_gates: Whether each branch gates its channels.
        eps: Of the separable units' batch norms.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], *, has_gates: bool, eps: float) -> None:
        super().__init__()
        out0, inner1, out1, inner2, out2, out3 = widths
        self.branch0 = nn.Sequential(PointwiseUnit(in_channels, out0))
        self.branch1 = nn.Sequential(PointwiseUnit(in_channels, inner1), SeparableUnit(inner1, out1, eps=eps))
        self.branch2 = nn.Sequential(PointwiseUnit(in_channels, inner2), SeparableUnit(inner2, out2, eps=eps))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), PointwiseUnit(in_channels, out3))
        self.gating_b0, self.gating_b1, self.gating_b2, self.gating_b3 = (
            ChannelGate(width) if has_gates else nn.Identity() for width in (out0, out1, out2, out3)
        )

    def forward(self, maps_BCTHW: Tensor) -> Tensor:
        """The branches' maps, one behind the other."""
        branches = (
            (self.branch0, self.gating_b0),
            (self.branch1, self.gating_b1),
            (self.branch2, self.gating_b2),
            (self.branch3, self.gating_b3),
        )
        return torch.cat([gate(branch(maps_BCTHW)) for branch, gate in branches], dim=1)


def _convolution(in_channels: int, out_channels: int, kernel_size: Triple, stride: Triple = (1, 1, 1)) -> nn.Conv3d:
    """A convolution without bias, with the published initial weights."""
    layer = convolution(in_channels, out_channels, kernel_size, stride=stride)
    nn.init.normal_(layer.weight, std=0.01)
    return layer


def _width_of(widths: Sequence[int]) -> int:
    """Channels behind a mixed block."""
    return widths[0] + widths[2] + widths[4] + widths[5]


def _check_widths(stem_widths: Sequence[int], mixed_widths: Sequence[Sequence[Sequence[int]]]) -> None:
    has_form = (
        len(stem_widths) == len(STEM_WIDTHS)
        and len(mixed_widths) == len(MIXED_WIDTHS)
        and all(stage and all(len(widths) == len(MIXED_WIDTHS[0][0]) for widths in stage) for stage in mixed_widths)
    )
    numbers = [*stem_widths, *(width for stage in mixed_widths for widths in stage for width in widths)] if has_form else []
    if not has_form or min(numbers) < 1:
        raise ValueError(
            f"widths {stem_widths} and {mixed_widths} must be 3 positive numbers, and 3 stages of blocks of 6; "
            f"the published ones are {STEM_WIDTHS} and {MIXED_WIDTHS}"
        )
