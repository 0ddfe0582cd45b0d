"""Tokens of a clip: its tubelets (a few frames of a patch), and their positions.

# B clips, T frames, C channels, H height, W width; t, h, w tubelets along time, height and width; D features
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "TubeletStem",
    "check_divisible",
    "resize_frame_positions",
    "resize_grid_positions",
    "resize_time_positions",
    "tubelet_grid",
    "with_class_token",
]


class TubeletStem(nn.Module):
    """A linear map of each tubelet.

    Args:
        in_channels: C.
        dim: D.
        patch_size: Height and width of a tubelet, px.
        tubelet_size: Its frames.
    """

    def __init__(self, in_channels: int, dim: int, *, patch_size: int, tubelet_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        kernel = (tubelet_size, patch_size, patch_size)
        self.conv1 = nn.Conv3d(in_channels, dim, kernel, stride=kernel)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, t, h, w, D)."""
        tokens_BDthw: Tensor = self.conv1(clip_BTCHW.transpose(1, 2))
        return tokens_BDthw.permute(0, 2, 3, 4, 1)

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse what cannot be cut into tubelets.

        Raises:
            ValueError: With the value and the nearest that can.
        """
        check_divisible("num_frames", num_frames, "tubelet_size", self.tubelet_size)
        check_divisible("the height", height, "patch_size", self.patch_size)
        check_divisible("the width", width, "patch_size", self.patch_size)


def tubelet_grid(num_frames: int, image_size: int, tubelet_size: int, patch_size: int) -> tuple[int, int, int]:
    """(t, h, w) of clips of square frames.

    Raises:
        ValueError: If the tubelets do not divide them.
    """
    check_divisible("num_frames", num_frames, "tubelet_size", tubelet_size)
    check_divisible("image_size", image_size, "patch_size", patch_size)
    return num_frames // tubelet_size, image_size // patch_size, image_size // patch_size


def with_class_token(token_11D: Tensor, tokens_NLD: Tensor) -> Tensor:
    """(N, L, D) to (N, 1 + L, D), the class token first."""
    return torch.cat([token_11D.expand(tokens_NLD.shape[0], -1, -1), tokens_NLD], dim=1)


def check_divisible(name: str, value: int, unit_name: str, unit: int) -> None:
    """Refuse a size of the input that is no multiple of a size of the tubelets.

    Raises:
        ValueError: With both and the nearest sizes that are.
    """
    if value < 1 or value % unit:
        below = value - value % unit
        cure = f"try {below} or {below + unit}" if below else f"try {unit}"
        raise ValueError(f"{name} ({value}) must be divisible by {unit_name} ({unit}); {cure}")


def resize_frame_positions(positions_1LD: Tensor, size: Sequence[int]) -> Tensor:
    """Positions of a class token and of the patches of a square frame, for frames of another size.

    Args:
        positions_1LD: Shape (1, 1 + side * side, D), the class token's first.
        size: (h, w).

    Returns:
        Shape (1, 1 + h * w, D): the grid resized bilinearly, the class token's as it was; the argument itself if the size is
        the same.

    Source: the published code of TAdaConv's authors, which does so in evaluation with square frames.
    """
    side = math.isqrt(positions_1LD.shape[1] - 1)
    if tuple(size) == (side, side):
        return positions_1LD
    return resize_grid_positions(positions_1LD, (1, side, side), (1, *size))


def resize_time_positions(positions_1LD: Tensor, length: int) -> Tensor:
    """Positions of a class token and of `length` places in time, from those of another number: shape (1, 1 + length, D)."""
    if positions_1LD.shape[1] == 1 + length:
        return positions_1LD
    return resize_grid_positions(positions_1LD, (positions_1LD.shape[1] - 1, 1, 1), (length, 1, 1))


def resize_grid_positions(positions_1LD: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Positions of a class token and of all tubelets of a clip, for clips of another length or size.

    Args:
        positions_1LD: Shape (1, 1 + t * h * w, D), the class token's first.
        grid: (t, h, w) that they are of.
        size: (t, h, w) that they are to be of.

    Returns:
        Resized bilinearly in space and linearly in time, the class token's as it was; the argument itself if the sizes are
        the same.
    """
    if tuple(grid) == tuple(size):
        return positions_1LD
    first_11D, rest_1LD = positions_1LD[:, :1], positions_1LD[:, 1:]
    maps_tDhw = torch.unflatten(rest_1LD, 1, tuple(grid)).squeeze(0).permute(0, 3, 1, 2)
    if tuple(grid[1:]) != tuple(size[1:]):
        maps_tDhw = functional.interpolate(maps_tDhw, size=tuple(size[1:]), mode="bilinear")
    lines_1Nt = maps_tDhw.flatten(1).transpose(0, 1).unsqueeze(0)
    if grid[0] != size[0]:
        lines_1Nt = functional.interpolate(lines_1Nt, size=size[0], mode="linear")
    resized_tDhw = torch.unflatten(lines_1Nt.squeeze(0).transpose(0, 1), 1, (-1, *size[1:]))
    return torch.cat([first_11D, resized_tDhw.permute(0, 2, 3, 1).flatten(0, 2).unsqueeze(0)], dim=1)
