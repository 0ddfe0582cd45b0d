"""TimeSformer: attention divided into time and space.

# B clips; t moments, s patches of a moment; L = 1 + t * s tokens, the class token's first; D features

Source: Bertasius et al., Is Space-Time Attention All You Need for Video Understanding?, ICML 2021, and the published code of
TAdaConv's authors, which differs from the paper's: the class token takes part in both attentions, and no further linear map
follows the one in time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.attention import NORM_EPS, Attention, FeedForward, drop_path_rates, initialize_maps
from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.recompute import recompute
from zoopraxis.backbones.tubelets import TubeletStem, resize_grid_positions, tubelet_grid, with_class_token

__all__ = ["DividedAttention", "DividedLayer", "TimeSformer"]


class DividedAttention(Attention):
    """Attention of each token to the class token and to those of the same place (in time) or moment (in space).

    The class token attends to all. Arguments as for `Attention`.

    Args:
        is_temporal: Whether tokens of the same place attend to each other, or those of the same moment.
    """

    def __init__(self, dim: int, *, is_temporal: bool, **args: Any) -> None:
        super().__init__(dim, **args)
        self.is_temporal = is_temporal

    def forward(self, tokens_BLD: Tensor, length: int = 1) -> Tensor:
        """(B, L, D) of `length` moments to the same."""
        query, key, value = self.split(tokens_BLD)
        first = self.attend(query[:, :, :1], key, value)
        grouped_query, grouped_key, grouped_value = (self._group(tensor[:, :, 1:], length) for tensor in (query, key, value))
        grouped = self.attend(grouped_query, self._with_class(key, grouped_key), self._with_class(value, grouped_value))
        if self.is_temporal:
            grouped = grouped.transpose(2, 3)
        return self.merge(torch.cat([first, grouped.flatten(2, 3)], dim=2))

    def _group(self, heads: Tensor, length: int) -> Tensor:
        """(B, heads, t * s, d) to (B, heads, s, t, d) in time, to (B, heads, t, s, d) in space."""
        moments = torch.unflatten(heads, 2, (length, -1))
        return moments.transpose(2, 3) if self.is_temporal else moments

    @staticmethod
    def _with_class(heads: Tensor, grouped: Tensor) -> Tensor:
        """Put the class token's own before those of each group."""
        first = heads[:, :, None, :1].expand(-1, -1, grouped.shape[2], -1, -1)
        return torch.cat([first, grouped], dim=3)


class DividedLayer(nn.Module):
    """Attention in time, attention in space and a feed-forward network, each behind a layer norm and beside a residual one.

    Arguments as for `attention.TransformerLayer`.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        head_dim: int | None = None,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        args: dict[str, Any] = {"num_heads": num_heads, "head_dim": head_dim}
        args |= {"attention_dropout": attention_dropout, "dropout": ffn_dropout}
        self.norm_temporal = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn_temporal = DividedAttention(dim, is_temporal=True, **args)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = DividedAttention(dim, is_temporal=False, **args)
        self.norm_ffn = nn.LayerNorm(dim, eps=NORM_EPS)
        self.ffn = FeedForward(dim, mlp_ratio=mlp_ratio, dropout=ffn_dropout)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, tokens_BLD: Tensor, length: int) -> Tensor:
        """(B, L, D) of `length` moments to the same."""
        tokens_BLD = tokens_BLD + self.drop_path(self.attn_temporal(self.norm_temporal(tokens_BLD), length))
        tokens_BLD = tokens_BLD + self.drop_path(self.attn(self.norm(tokens_BLD), length))
        out: Tensor = tokens_BLD + self.drop_path(self.ffn(self.norm_ffn(tokens_BLD)))
        return out


class TimeSformer(ClipBackbone):
    """Layers of divided attention over all tokens of a clip.

    Args:
        depth: Layers.
        num_frames: T that positions are learned for.
        image_size: H = W that positions are learned for, px.
        in_channels: C.
        dim: D.
        patch_size: Height and width of a tubelet, px.
        tubelet_size: Its frames.
        drop_path: Of the last layer; rising evenly from 0 at the first.
        layer: Further arguments of `DividedLayer`.

    Raises:
        ValueError: If `num_frames` or `image_size` is no multiple of the tubelets'.

    Attributes:
        grid: (t, h, w) that positions are learned for.

    Differs: the published network cannot be trained, for it changes in place what the backward pass needs, and takes only clips
    of as many patches as it was built for, which get the learned positions in order whatever their grid is.
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
        tubelet_size: int = 1,
        drop_path: float = 0.0,
        **layer: Any,
    ) -> None:
        super().__init__(num_features=dim, in_channels=in_channels)
        length, height, width = self.grid = tubelet_grid(num_frames, image_size, tubelet_size, patch_size)
        self.stem = TubeletStem(in_channels, dim, patch_size=patch_size, tubelet_size=tubelet_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embd = nn.Parameter(torch.zeros(1, 1 + length * height * width, dim))
        self.layers = nn.ModuleList([DividedLayer(dim, drop_path=rate, **layer) for rate in drop_path_rates(drop_path, depth)])
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        initialize_maps(self, self.pos_embd, self.cls_token)

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse what cannot be cut into patches."""
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
        for layer in self.layers:
            tokens_BLD = recompute(layer, tokens_BLD, grid[0], enable=self.grad_checkpointing)
        features_BD: Tensor = self.norm(tokens_BLD[:, 0])
        return features_BD
