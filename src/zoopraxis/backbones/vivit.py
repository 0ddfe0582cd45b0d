"""ViViT: transformers over tubelets, in space and then in time (factorized encoder) or over all of a clip (joint).

# B clips, T frames, C channels, H height, W width; t, h, w tubelets along time, height and width; L tokens, D features

Source: Arnab et al., ViViT: A Video Vision Transformer, ICCV 2021 (models 2 and 1), and the published code of TAdaConv's
authors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.backbones.attention import NORM_EPS, TransformerLayer, drop_path_rates, initialize_maps
from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.recompute import recompute
from zoopraxis.backbones.tubelets import (
    TubeletStem,
    resize_frame_positions,
    resize_grid_positions,
    resize_time_positions,
    tubelet_grid,
    with_class_token,
)

__all__ = ["FactorizedViViT", "JointTransformer"]


class FactorizedViViT(ClipBackbone):
    """Layers over the tokens of each moment, then layers over the moments' class tokens.

    Args:
        depth: Layers in space.
        depth_temporal: Layers in time.
        num_frames: T that positions are learned for.
        image_size: H = W that positions are learned for, px.
        in_channels: C.
        dim: D.
        patch_size: Height and width of a tubelet, px.
        tubelet_size: Its frames.
        drop_path: Of the last layer in time; rising evenly from 0 at the first in space.
        layer: Further arguments of `TransformerLayer`.

    Raises:
        ValueError: If `num_frames` or `image_size` is no multiple of the tubelets'.

    Attributes:
        grid: (t, h, w) that positions are learned for.

    Differs: the published network resizes positions in evaluation only, for square frames only, and takes no other number of
    frames than it was built for; a grid of other sides but as many patches gets the learned positions as they are.
    """

    def __init__(
        self,
        *,
        depth: int,
        depth_temporal: int,
        num_frames: int,
        image_size: int,
        in_channels: int = 3,
        dim: int,
        patch_size: int,
        tubelet_size: int,
        drop_path: float = 0.0,
        **layer: Any,
    ) -> None:
        super().__init__(num_features=dim, in_channels=in_channels)
        length, height, width = self.grid = tubelet_grid(num_frames, image_size, tubelet_size, patch_size)
        self.stem = TubeletStem(in_channels, dim, patch_size=patch_size, tubelet_size=tubelet_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embd = nn.Parameter(torch.zeros(1, 1 + height * width, dim))
        self.temp_embd = nn.Parameter(torch.zeros(1, 1 + length, dim))
        self.cls_token_out = nn.Parameter(torch.zeros(1, 1, dim))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        layers = [TransformerLayer(dim, drop_path=rate, **layer) for rate in drop_path_rates(drop_path, depth + depth_temporal)]
        self.layers = nn.ModuleList(layers[:depth])
        self.layers_temporal = nn.ModuleList(layers[depth:])
        self.norm_out = nn.LayerNorm(dim, eps=NORM_EPS)
        initialize_maps(self, self.pos_embd, self.temp_embd, self.cls_token, self.cls_token_out)

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse what cannot be cut into tubelets."""
        self.stem.check_view(num_frames, height, width)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """The class token's features, (B, D), of clips (B, T, C, H, W) of any length and size that tubelets divide.

        Raises:
            ValueError: If the tensor is no clip, or cannot be cut into tubelets.
        """
        self.check_clip(clip_BTCHW)
        tokens_BthwD = self.stem(clip_BTCHW)
        num_clips, length, height, width, _ = tokens_BthwD.shape
        positions_1LD = resize_frame_positions(self.pos_embd, (height, width))
        frames_NLD = with_class_token(self.cls_token, tokens_BthwD.flatten(2, 3).flatten(0, 1)) + positions_1LD
        for layer in self.layers:
            frames_NLD = recompute(layer, frames_NLD, enable=self.grad_checkpointing)
        moments_BtD = self.norm(frames_NLD[:, 0]).unflatten(0, (num_clips, length))
        moments_BLD = with_class_token(self.cls_token_out, moments_BtD) + resize_time_positions(self.temp_embd, length)
        for layer in self.layers_temporal:
            moments_BLD = recompute(layer, moments_BLD, enable=self.grad_checkpointing)
        features_BD: Tensor = self.norm_out(moments_BLD[:, 0])
        return features_BD


class JointTransformer(ClipBackbone):
    """Layers over all tokens of a clip: joint ViViT, and TimeSformer with its divided layers.

    Args:
        depth: Layers.
        num_frames: T that positions are learned for.
        image_size: H = W that positions are learned for, px.
        in_channels: C.
        dim: D.
        patch_size: Height and width of a tubelet, px.
        tubelet_size: Its frames.
        drop_path: Of the last layer; rising evenly from 0 at the first.
        layer_type: Of the layers; one with a true attribute `is_divided` is called with the number of moments as well.
        layer: Further arguments of the layers.

    Raises:
        ValueError: If `num_frames` or `image_size` is no multiple of the tubelets'.

    Attributes:
        grid: (t, h, w) that positions are learned for.

    Differs: the published networks take only clips of as many tubelets as they were built for, and give them the learned
    positions in order whatever their grid is.
    """

    def __init__(
        self,
        *,
        depth: int,
        num_frames: int,
        image_size: int,
        in_channels: int = 3,
        dim: int,
        patch_size: int,
        tubelet_size: int,
        drop_path: float = 0.0,
        layer_type: Callable[..., nn.Module] = TransformerLayer,
        **layer: Any,
    ) -> None:
        super().__init__(num_features=dim, in_channels=in_channels)
        length, height, width = self.grid = tubelet_grid(num_frames, image_size, tubelet_size, patch_size)
        self.stem = TubeletStem(in_channels, dim, patch_size=patch_size, tubelet_size=tubelet_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embd = nn.Parameter(torch.zeros(1, 1 + length * height * width, dim))
        rates = drop_path_rates(drop_path, depth)
        self.layers = nn.ModuleList([layer_type(dim, drop_path=rate, **layer) for rate in rates])
        self.is_divided = bool(getattr(layer_type, "is_divided", False))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        initialize_maps(self, self.pos_embd, self.cls_token)

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse what cannot be cut into tubelets."""
        self.stem.check_view(num_frames, height, width)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """The class token's features, (B, D), of clips (B, T, C, H, W) of any length and size that tubelets divide.

        Raises:
            ValueError: If the tensor is no clip, or cannot be cut into tubelets.
        """
        self.check_clip(clip_BTCHW)
        tokens_BthwD = self.stem(clip_BTCHW)
        grid = tokens_BthwD.shape[1:4]
        positions_1LD = resize_grid_positions(self.pos_embd, self.grid, grid)
        tokens_BLD = with_class_token(self.cls_token, tokens_BthwD.flatten(1, 3)) + positions_1LD
        moments = (grid[0],) if self.is_divided else ()
        for layer in self.layers:
            tokens_BLD = recompute(layer, tokens_BLD, *moments, enable=self.grad_checkpointing)
        features_BD: Tensor = self.norm(tokens_BLD[:, 0])
        return features_BD
